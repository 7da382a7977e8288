"""Copy as Python: the present figure of a view as a script on the clipboard."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from PySide6.QtGui import QGuiApplication

from loopscope.app.bench.bench import Bench
from loopscope.app.views import BY_KEY
from loopscope.core.run.history import Point
from loopscope.core.run.recorded import Recorded
from loopscope.core.run.recording import Recording

if TYPE_CHECKING:
    from loopscope.app.notebook.script import Scene
    from loopscope.core.run.elsewhere import AnyRun


class Scripts:
    """Writes scripts off the screen's thread: finding locked axes again takes a while.

    Parameters
    ----------
    place_of
        The recording that a run without a model is shown from, and which of its runs it is.
    """

    def __init__(
        self,
        bench: Bench,
        say: Callable[[str], None],
        place_of: Callable[[Recording], tuple[str, int]],
    ) -> None:
        self._bench, self._say, self._place_of = bench, say, place_of

    def copy(self, key: str) -> None:
        """Put the script of the view's figure on the clipboard, and say so."""
        scene, title = self.scene(key), BY_KEY[key].title
        if scene is None:
            self._say("There is no run yet that a script could make again")
            return

        def work() -> str:
            from loopscope.app.notebook.script import script_of

            return script_of(scene)

        def done(future: Future[Any]) -> None:
            if (error := future.exception()) is not None:
                self._say(str(error))
                return
            QGuiApplication.clipboard().setText(future.result())
            self._say(f"A Python script that draws “{title}” again is on the clipboard")

        self._bench.in_background(work, done)

    def scene(self, key: str) -> Scene | None:
        """What the view shows now, as far as a script has to know; None without a run."""
        from loopscope.app.notebook.script import Scene

        session, measuring = self._bench.session, self._bench.measuring
        shown, second, there = session.status.stepper, session.second, session.second_run
        if shown is None:
            return None
        recording, display = shown.recording, self._bench.displays[key]
        made = measuring.made_of(recording)
        beside = None
        if second is not None and there is not None:
            beside = there, self._point(second.stepper)
            made += [m for m in measuring.made_of(there.recording) if not any(m is x for x in made)]
        difference = display.second is not None and display.second.difference
        return Scene(
            display.spec, display.options, session.selection, recording, self._point(shown), beside,
            made, difference=difference,
        )  # fmt: skip

    def _point(self, run: AnyRun | Recorded) -> Point:
        if isinstance(run, Recorded):
            return Point.recorded(run.recording, *self._place_of(run.recording))
        return Point.of(run)
