"""The transport: it steps, plays and stops the run by asking the runner itself."""

from __future__ import annotations

from collections.abc import Callable

from loopscope.app.bench.session import Session
from loopscope.core.run.recording import Recording
from loopscope.core.run.runner import Runner
from loopscope.core.run.stepping import Until


class Transport:
    """Steps and plays the run of a session.

    playing : whether it plays.  rate : recurrences a second that play makes, infinity for as fast
    as it goes.  stop_at_settling : whether playing ends when every token has settled.

    Parameters
    ----------
    settled
        Makes the question that ends playing at settling, by the settings of the moment.
    """

    def __init__(self, runner: Runner, session: Session, settled: Callable[[], Until]) -> None:
        self._runner, self._session, self._settled = runner, session, settled
        self.playing, self.rate, self.stop_at_settling = False, 4.0, False

    # ---- stepping ----
    def step_recurrence(self) -> None:
        """Run to the end of the current recurrence and follow it."""
        run = self._run_to_step()
        if run is not None:
            self._runner.advance(run.n_layers - run.layers_done % run.n_layers)

    def step_layer(self) -> None:
        """Run one layer and follow it."""
        self.advance(1)

    def advance(self, layers: int) -> None:
        """Run ``layers`` more layers of the block and follow them."""
        if self._run_to_step() is not None:
            self._runner.advance(layers)

    def _run_to_step(self) -> Recording | None:
        """The run, which is followed and no longer played; a message where there is none."""
        run = self._session.recording
        if run is None:
            self._session.message.emit("There is no run to step yet")
        elif why := self._session.no_model:
            self._session.message.emit(why)
            return None
        else:
            self.playing, self._session.cursor.following = False, True
        return run

    def stop(self) -> None:
        """Stop stepping or loading."""
        self.playing = False
        self._runner.stop()
        self._session.progressed.emit()

    # ---- playing ----
    def set_playing(self, playing: bool) -> None:
        """Play on from where it was paused, or pause."""
        if not playing:
            self.stop()
            return
        if self._session.recording is None:
            self._session.message.emit("There is no run to play yet")
            return
        if why := self._session.no_model:
            self._session.message.emit(why)
            return
        self.playing = self._session.cursor.following = True
        self._play()
        self._session.progressed.emit()

    def toggle_playing(self) -> None:
        """Play, or pause."""
        self.set_playing(not self.playing)

    def set_rate(self, rate: float) -> None:
        """Recurrences a second that play makes; infinity for as fast as it goes."""
        self.rate = rate
        if self.playing:
            self._play()

    def set_stop_at_settling(self, on: bool) -> None:
        """End playing when every token has settled."""
        self.stop_at_settling = on
        if self.playing:
            self._play()
        self._session.progressed.emit()

    def _play(self) -> None:
        self._runner.play(self.rate, self._settled() if self.stop_at_settling else None)

    # ---- following ----
    @property
    def following(self) -> bool:
        """Whether the cursor follows the latest recurrence."""
        return self._session.cursor.following

    def set_following(self, following: bool) -> None:
        """Follow the latest recurrence, or stay where the cursor is."""
        self._session.set_following(following)
