"""What the commands of the Run menu do that is more than one call of the bench."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from loopscope.app.bench.bench import Bench
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
        self._bench, self._say = bench, say
        self.span_dialog = SpanDialog(parent)
        self.span_dialog.loop_requested.connect(self.loop_requested)

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

    def measure_float32_error(self) -> None:
        """Compare the states of a half-precision run with float32."""
        recording = self._bench.session.recording
        if recording is None or not recording.n_recurrences:
            self._say("There is no run to compare yet")
        elif recording.info.dtype == "float32":
            self._say("This run is in float32: there is no error to show")
        else:
            self._bench.comparison.measure()
