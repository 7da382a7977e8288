"""What the commands of the Run menu do that is more than one call of the bench."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from loopscope.app.bench.bench import Bench
from loopscope.app.bench.continuing import Continued

if TYPE_CHECKING:
    from loopscope.core.generation.continuing import Plan
    from loopscope.core.generation.sampling import Sampling
    from loopscope.core.run.elsewhere import AnyModel
    from loopscope.core.run.run_info import RunInfo
    from loopscope.widgets.runs.continue_dialog import ContinueChoice, ContinueDialog
    from loopscope.widgets.runs.span_dialog import SpanDialog


class RunCommands(QObject):
    """Commands of one window that step its run, loop a span or compare.

    Signals
    -------
    loop_requested(int, int, float, int)
        First and last layer (exclusive) of a span, its damping, and recurrences to run.
    """

    loop_requested = Signal(int, int, float, int)

    def __init__(self, bench: Bench, say: Callable[[str], None], parent: QWidget) -> None:
        super().__init__(parent)
        self._bench, self._say, self._parent = bench, say, parent

    @cached_property
    def span_dialog(self) -> SpanDialog:
        """Asks for a span to loop; made when it is first asked for."""
        from loopscope.widgets.runs.span_dialog import SpanDialog

        dialog = SpanDialog(self._parent)
        dialog.loop_requested.connect(self.loop_requested)
        return dialog

    @cached_property
    def continue_dialog(self) -> ContinueDialog:
        """Asks how to continue the text; made when it is first asked for."""
        from loopscope.widgets.runs.continue_dialog import ContinueDialog

        dialog = ContinueDialog(self._parent)
        dialog.chosen.connect(self._continue)
        return dialog

    def reset(self) -> None:
        """Begin the same run again from r = 0, with its interventions."""
        recording = self._bench.session.recording
        interventions = () if recording is None else recording.info.interventions
        self._bench.restart(recurrences=0, interventions=interventions)

    def run_trained(self) -> None:
        """Run on to the trained number of recurrences."""
        recording = self._bench.session.recording
        if recording is None:
            return
        target = recording.info.architecture.trained_recurrences * recording.n_layers
        left = target - recording.layers_done
        if left > 0:
            self._bench.transport.advance(left)
        else:
            self._say("The trained recurrences have been run already")

    def next_recurrence(self) -> None:
        """Move the cursor on; at the end this says how to step."""
        recording, r = self._bench.session.recording, self._bench.session.selection.recurrence
        if recording is not None and r >= recording.n_recurrences:
            self._say("This is the latest recurrence; Space runs another")
        self._bench.session.scrub(r + 1)

    def ask_for_span(self) -> None:
        """Ask which layers of the deep model to loop."""
        loaded = self._bench.session.status.loaded
        arch = None if loaded is None else loaded.architecture
        if arch is None or not arch.deep:
            self._say("Only the layers of a deep model can be looped; this model is looped already")
            return
        last = arch.n_prelude + arch.n_block
        self.span_dialog.ask(arch.unique_depth, arch.n_prelude, last, arch.damping)

    def ask_to_continue(self) -> None:
        """Ask how the text of the run shown is continued."""
        session = self._bench.session
        loaded, made = session.status.loaded, session.n_recurrences
        arch = None if loaded is None else loaded.architecture
        trained = 1 if arch is None else arch.trained_recurrences
        self.continue_dialog.ask(
            made or trained,
            gate=arch is not None and arch.exit_gate,
            refusal=self._bench.continuing.refusal(),
        )

    def _continue(self, choice: ContinueChoice) -> None:
        loaded, dialog = self._bench.session.status.loaded, self.continue_dialog

        def make(info: RunInfo) -> tuple[Plan, Sampling]:
            from loopscope.core.generation.continuing import Plan
            from loopscope.core.generation.exit_rules import parse_rule
            from loopscope.core.generation.sampling import Sampling

            assert loaded is not None
            plan = Plan(
                choice.tokens, choice.recurrences, parse_rule(choice.rule) if choice.rule else None,
                info.seed, "random" if info.start == "random" else "default", info.start_scale,
                _stops(loaded) if choice.ends else frozenset(),
            )  # fmt: skip
            return plan, Sampling(choice.temperature, choice.seed)

        def done(continued: Continued) -> None:
            n = len(continued.tokens)
            said = f"{n} token{'' if n == 1 else 's'} added"
            said += ", stopped there" if continued.stopped else ""
            dialog.show_tokens(continued.tokens, f"{said}. Undo takes the new run back.")
            self._say(said)

        if self._bench.continuing.start(make, done) is not None:
            dialog.show_tokens((), "Continuing … Cancel it beside its progress.")

    def measure_float32_error(self) -> None:
        """Compare the states of a half-precision run with float32."""
        recording = self._bench.session.recording
        if recording is None or not recording.n_recurrences:
            self._say("There is no run to compare yet")
        elif recording.info.dtype == "float32":
            self._say("This run is in float32: there is no error to show")
        else:
            self._bench.comparison.measure()


def _stops(loaded: AnyModel) -> frozenset[int]:
    """The tokens that end a text, which the model's folder says."""
    from loopscope.core.checkpoint.loading import Loaded
    from loopscope.core.generation.stops import stop_ids, stop_ids_of

    if isinstance(loaded, Loaded):
        return stop_ids(loaded.checkpoint)
    found = loaded.call(stop_ids_of, loaded.checkpoint.path, loaded.checkpoint.config)
    return frozenset(found)
