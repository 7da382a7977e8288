"""What the commands of the Run menu do: stepping, scrubbing, looping a span, comparing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopscope.widgets.runs.span_dialog import SpanDialog

if TYPE_CHECKING:
    from loopscope.app.window.window import Window


class RunCommands:
    """Commands of one window that step, scrub and play its run."""

    def __init__(self, window: Window) -> None:
        self.window, self.bench = window, window.bench
        self.span_dialog = SpanDialog(window)
        self.span_dialog.loop_requested.connect(self._on_loop_requested)

    def do_step_recurrence(self) -> None:
        """Run the block once more."""
        self.bench.transport.step_recurrence()

    def do_step_layer(self) -> None:
        """Run one layer."""
        self.bench.transport.step_layer()

    def do_play(self) -> None:
        """Play or pause."""
        self.bench.transport.set_playing(not self.bench.transport.playing)

    def do_stop(self) -> None:
        """Stop stepping or loading."""
        self.bench.transport.stop()

    def do_reset(self) -> None:
        """Begin the same run again from r = 0, with what was cut into it."""
        recording = self.bench.session.recording
        cuts = () if recording is None else recording.info.interventions
        self.bench.restart(recurrences=0, interventions=cuts)

    def do_run_trained(self) -> None:
        """Run on to the trained number of recurrences."""
        recording = self.bench.session.recording
        if recording is None:
            return
        target = recording.info.architecture.trained_recurrences * recording.n_layers
        left = target - recording.layers_done
        if left > 0:
            self.bench.transport.advance(left)
        else:
            self._say("The trained recurrences have been run already", 5000)

    def do_previous_recurrence(self) -> None:
        """Scrub back."""
        self.bench.session.scrub(self.bench.session.selection.recurrence - 1)

    def do_next_recurrence(self) -> None:
        """Scrub on; at the end this says how to step."""
        recording = self.bench.session.recording
        if recording and self.bench.session.selection.recurrence >= recording.n_recurrences:
            self._say("This is the latest recurrence; Space runs another", 4000)
        self.bench.session.scrub(self.bench.session.selection.recurrence + 1)

    def do_previous_layer(self) -> None:
        """Scrub back one layer."""
        self.bench.session.scrub_layer(-1)

    def do_next_layer(self) -> None:
        """Scrub on one layer."""
        self.bench.session.scrub_layer(1)

    def do_to_start(self) -> None:
        """Cursor to the initial state."""
        self.bench.session.scrub(0)

    def do_to_end(self) -> None:
        """Cursor to the latest recurrence."""
        self.bench.transport.set_following(True)

    def do_loop_span(self) -> None:
        """Ask which layers of the deep model to loop."""
        loaded = self.bench.session.status.loaded
        arch = None if loaded is None else loaded.architecture
        if arch is None or not arch.deep:
            self._say(
                "Only the layers of a deep model can be looped; this model is looped already", 8000
            )
            return
        last = arch.n_prelude + arch.n_block
        self.span_dialog.ask(arch.unique_depth, arch.n_prelude, last, arch.damping)

    def _on_loop_requested(self, first: int, last: int, damping: float, recurrences: int) -> None:
        request = self.bench.session.request
        self.window.reloop(first, last, damping, request.prompt if request else None, recurrences)

    def do_float32_error(self) -> None:
        """Compare the states of a half-precision run with float32."""
        recording = self.bench.session.recording
        if recording is None or not recording.n_recurrences:
            self._say("There is no run to compare yet", 5000)
        elif recording.info.dtype == "float32":
            self._say("This run is in float32: there is no error to show", 5000)
        else:
            self.bench.comparison.measure()

    def do_follow(self) -> None:
        """Follow the latest recurrence, or stop following."""
        self.bench.transport.set_following(not self.bench.transport.following)

    def do_stop_at_settling(self) -> None:
        """End playing when every token has settled."""
        self.bench.transport.set_stop_at_settling(not self.bench.transport.stop_at_settling)
        self.window.transport.set_stop_at_settling(self.bench.transport.stop_at_settling)

    def _say(self, text: str, milliseconds: int = 5000) -> None:
        self.window.statusBar().showMessage(text, milliseconds)
