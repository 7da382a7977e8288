"""The second run in the frames of views: drawn beside the first where it is, and named."""

from __future__ import annotations

from loopscope.app.bench.bench import Bench
from loopscope.app.bench.displays import Display, Drawing
from loopscope.widgets.kit.frame import ViewFrame


class SecondDrawings:
    """Draws visible views a second time while there is a second run, and says which run is which.

    Parameters
    ----------
    frames
        Of the views that are made, by their keys.
    """

    def __init__(self, bench: Bench, frames: dict[str, ViewFrame]) -> None:
        self._bench, self._frames = bench, frames

    def update(self) -> None:
        """Draw each visible view a second time while there is a second run, or no longer."""
        for key in self._frames:
            self._draw(key)
            self.describe(key)

    def _draw(self, key: str) -> None:
        analysis = self._bench.analysis
        display, frame = self._bench.displays[key], self._frames[key]
        wanted = self._wanted(display)
        there = "" if display.second is None else _kind(display.second)
        if there and there != wanted:
            frame.panes.show_second_run(None)
            analysis.drop_second(display)
            there = ""
        if wanted and not there and frame.isVisible():
            drawing = analysis.draw_second(display, difference=wanted == "difference")
            frame.panes.show_second_run(drawing.view)
        two_runs = self._bench.session.two_runs
        alone = two_runs if two_runs != "difference" or wanted == "difference" else "both"
        frame.panes.show_panes(alone if display.second is not None else "first")

    def _wanted(self, display: Display) -> str:
        """What a view is drawn a second time for: "second", "difference", or "" for nothing."""
        second, run = self._bench.session.second, self._bench.session.run
        if second is None or run is None:
            return ""
        if self._bench.session.two_runs == "difference" and display.spec.has_difference:
            return "difference"
        recordings = run.stepper.recording, second.stepper.recording
        return "second" if display.spec.drawn_twice(*recordings) else ""

    def describe(self, key: str) -> None:
        """Name the two runs of a view, and let its title speak of what is in sight."""
        self._caption(key)
        self.show_statement(key)

    def show_statement(self, key: str) -> None:
        """Let the title speak of the drawing that is in sight, the first of two."""
        display, frame = self._bench.displays[key], self._frames[key]
        second = display.second if frame.panes.shown_pane == 1 else None
        data = display.data if second is None else second.data
        if data is not None:
            frame.set_data(data)

    def _caption(self, key: str) -> None:
        """Name the two runs over the two drawings of a view."""
        display, session, frame = self._bench.displays[key], self._bench.session, self._frames[key]
        if session.second is None or session.run is None:
            frame.panes.set_captions("", "")
            return
        # The marks are those of the list of runs.
        one, other = f"● {session.run.name}", f"○ {session.second.name}"
        if display.second is None:
            both = display.view.BOTH
            on_one = both is not None and display.spec.compute_second is not None
            text = f"{one}: {both[0]}   {other}: {both[1]}" if both and on_one else ""
            frame.panes.set_captions(text, "")
            return
        data = display.second.data
        if display.second.difference:
            frame.panes.set_captions("", f"{one} − {other}")
            return
        statement = f": {data.statement}" if data is not None else ""
        frame.panes.set_captions(one, f"{other}{statement}")


def _kind(drawing: Drawing) -> str:
    return "difference" if drawing.difference else "second"
