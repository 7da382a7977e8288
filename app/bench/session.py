"""The session: the run shown, the cursor, the second run, and the signals that tell of them.

Everything of the bench reads it here. `status` is one frozen value that a frame reads once from the
runner, so that model, run and recording are always of one moment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from loopscope.app.bench.cursor import Changes, Cursor
from loopscope.app.bench.run_tree import Run
from loopscope.core.prompts.prompt_set import PromptSet
from loopscope.core.run.pairing import Pairing, StepPairing
from loopscope.core.run.recorded import Recorded
from loopscope.core.run.recording import Recording
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.status import Status
from loopscope.core.selection import RecurrenceRange, Selection, TwoRuns
from loopscope.core.views.second_run import SecondRun

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyRun


# How views show two runs, in words.
TWO_RUNS: dict[TwoRuns, str] = {
    "both": "both runs",
    "first": "the run shown alone",
    "second": "the second run alone",
    "difference": "their difference, where a view has one",
}

# Why a run that is shown from its recording alone goes no further.
WITHOUT_MODEL = (
    "This needs the model, and the run is shown from its recording alone; "
    "File > Go on with a checkpoint… opens it"
)


@dataclass(frozen=True, slots=True, eq=False)
class Second:
    """The second run, as it is stepped.

    stepper : the run.  name : what the user calls it.
    run : its place in the tree; None for a run of another model.
    """

    stepper: AnyRun | Recorded
    name: str
    run: Run | None = None


class Session(QObject):
    """What is shown at this moment.

    status : the runner's, as of the last frame.  run : the run of the tree that is shown.
    request : the run begun last, or that of the run gone back to; None without a run.
    second : the second run.  step_pairing : how it follows the run shown.
    two_runs : how views show the two.
    shown_range : the recurrences that heat maps and curves show.
    prompt_set : of the views over a prompt set.

    Signals
    -------
    status_changed(Status)
        The model, the run or what the runner does is another.
    run_changed()
        Another run is shown, or none.
    settings_changed(str)
        The user changed settings of the view with this key, or took a change of them back.
    runs_changed()
        The tree of runs, a name, the run shown, the second run or its step pairing is another.
    range_changed()
        Heat maps and curves show other recurrences.
    progressed()
        The run has come further, or something else changed that controls show.
    selection_changed(Selection, dict)
        The cursor moved, here or in the second run, or another place is pointed at.
    message(str)
        Something to say in the status line.
    """

    status_changed = Signal(object)
    run_changed = Signal()
    runs_changed = Signal()
    settings_changed = Signal(str)
    range_changed = Signal()
    progressed = Signal()
    selection_changed = Signal(object, dict)
    message = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.status = Status()
        self.run: Run | None = None
        self.request: RunRequest | None = None
        self.cursor = Cursor()
        self.second: Second | None = None
        self.step_pairing: StepPairing = "depth"
        self.two_runs: TwoRuns = "both"
        self.shown_range = RecurrenceRange()
        self.prompt_set: PromptSet | None = None

    def update(self, status: Status) -> None:
        """Take the runner's status; the cursor is kept within its run before anyone looks."""
        self.status = status
        self._tell(self.cursor.move(self.selection, self.recording))

    # ---- the run shown ----
    @property
    def recording(self) -> Recording | None:
        """The recording shown."""
        return self.status.recording

    @property
    def without_model(self) -> bool:
        """Whether the run shown has no model, so that it can be looked at and measured only."""
        return isinstance(self.status.stepper, Recorded)

    @property
    def no_model(self) -> str:
        """Why nothing that needs the model can be done to the run shown, or ""."""
        loaded = self.status.loaded
        if self.without_model:
            return WITHOUT_MODEL
        if loaded is None or not loaded.lost:
            return ""
        return f"{loaded.lost}; what was received is shown, File > Reconnect goes on"

    @property
    def n_recurrences(self) -> int:
        """Recurrences that the run shown has made; 0 without a run."""
        return 0 if self.recording is None else self.recording.n_recurrences

    @property
    def selection(self) -> Selection:
        """The cursor in the run shown."""
        return self.cursor.selection

    @property
    def hover(self) -> dict[str, int]:
        """The place that is pointed at, empty for none."""
        return self.cursor.hover

    def select(self, changes: Changes) -> None:
        """Move the cursor: some fields of `Selection`, as views emit them."""
        self._tell(self.cursor.select(changes, self.recording))
        self.progressed.emit()

    def scrub(self, recurrence: int) -> None:
        """Move the cursor to a recurrence that has been run; nothing is computed."""
        self._tell(self.cursor.scrub(recurrence, self.recording))
        self.progressed.emit()

    def scrub_layer(self, by: int) -> None:
        """Move the cursor by so many layers, over the ends of recurrences."""
        if self.recording is not None:
            self._tell(self.cursor.scrub_layer(by, self.recording))
            self.progressed.emit()

    def return_to(self, selection: Selection) -> None:
        """Move the cursor to where the run shown was left, again when it has come that far."""
        self._tell(self.cursor.return_to(selection, self.recording))

    def set_hover(self, hover: Changes) -> None:
        """Point at a place in every view."""
        self._tell(self.cursor.point(hover))

    def set_following(self, following: bool) -> None:
        """Follow the latest recurrence, or stay where the cursor is."""
        self.cursor.following = following
        if following and self.recording is not None:
            self._tell(self.cursor.keep_up(self.recording))
        self.progressed.emit()

    def keep_up(self) -> None:
        """Take note that the run has come further, or that another is shown."""
        moved = self.recording is not None and self.cursor.keep_up(self.recording)
        self._tell(moved)
        if not moved:  # else the cursor's signal told it
            self.progressed.emit()

    def _tell(self, moved: bool) -> None:
        if moved:
            self.selection_changed.emit(self.selection, self.hover)

    # ---- the range of recurrences ----
    def set_range(self, shown: RecurrenceRange) -> None:
        """Show these recurrences in every heat map and curve."""
        if shown != self.shown_range:
            self.shown_range = shown
            self.range_changed.emit()

    def show_between(self, one: float, other: float) -> None:
        """Show the recurrences between two places."""
        self.set_range(self.shown_range.between(one, other, self.n_recurrences))
        self._say_range()

    def show_whole(self) -> None:
        """Show every recurrence."""
        self.set_range(RecurrenceRange(log=self.shown_range.log))
        self._say_range()

    def set_log(self, log: bool) -> None:
        """Let the axes of recurrences be logarithmic, or even again."""
        self.set_range(replace(self.shown_range, log=log))
        self._say_range()

    def _say_range(self) -> None:
        said = self.shown_range.said(self.n_recurrences) or "every recurrence"
        way = ", on a log axis" if self.shown_range.log else ""
        self.message.emit(f"Heat maps and curves show {said}{way}")

    def zoom(self, about: float, factor: float) -> None:
        """Show more recurrences or, with a ``factor`` below 1, fewer, about one of them."""
        self.set_range(self.shown_range.zoomed(about, factor, self.n_recurrences))
        self._say_range()

    # ---- the second run ----
    @property
    def pairing(self) -> Pairing | None:
        """Which places of the two runs go together; None when one is shown alone."""
        if self.recording is None or self.second is None:
            return None
        there = self.second.stepper.recording
        return Pairing(self.recording.info.architecture, there.info.architecture, self.step_pairing)

    @property
    def second_run(self) -> SecondRun | None:
        """The second run and the cursor in it, as views are given them."""
        pairing = self.pairing
        if pairing is None or self.second is None:
            return None
        return self.cursor.second_run(self.second.stepper.recording, self.second.name, pairing)

    @property
    def second_hover(self) -> dict[str, int]:
        """The place that is pointed at, in the second run."""
        second = self.second_run
        return {} if second is None else self.cursor.second_hover(second)

    def select_in_second(self, changes: Changes) -> None:
        """A click in a view of the second run moves the one cursor, or its own at its own pace."""
        second = self.second_run
        if second is not None:
            self.cursor.select_in_second(changes, second, self.recording)
            self._tell(True)
            self.progressed.emit()

    def set_second_hover(self, hover: Changes) -> None:
        """Point at a place of the second run."""
        second = self.second_run
        if second is not None:
            self._tell(self.cursor.point_in_second(hover, second))
