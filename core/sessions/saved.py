"""What a session is as data: models, the tree of runs, the cursor, the settings of the views."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from loopscope.core.checkpoint.request import Loop
from loopscope.core.interventions.base import LARGEST_SEED, Intervention
from loopscope.core.run.pairing import StepPairing
from loopscope.core.selection import RecurrenceRange, Selection, TwoRuns

MOST_RUNS = 200
# Width and height of a window, in pixels.
SMALLEST, LARGEST = (400, 300), (10_000, 10_000)
# Recurrences a second from which play goes as fast as it can: JSON has no infinity.
FASTEST = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel:
    """A checkpoint and how it was loaded; the fields are those of `LoadRequest`.

    path : relative to the file of the session, with forward slashes, or ``bundled:NAME``; "" for
        runs that were shown from their recording alone.
    absolute : where it was when the session was saved.
    weights : SHA-256 of its weights then.
    """

    path: str
    absolute: str = ""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    loop: Loop | None = None
    family: str = ""
    weights: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRecording:
    """The file that holds runs. path, absolute : as in `SavedModel`."""

    path: str
    absolute: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """One run of the tree.

    id : of the run in this file.  parent : of the run that it branched from, None for a root.
    prompt, seed, start, start_scale, patterns : how it was begun, as in `RunRequest`.
    layers : layers of the block that it has run.
    interventions : all of them; a branch has those of its parent first.
    cursor : where it was left.
    recorded : which run of the session's recording it is, None for one that is in none.
    """

    id: int
    parent: int | None = None
    name: str
    named: bool = False
    prompt: str
    seed: int = 0
    start: Literal["default", "zeros", "random", "embedding", "learned"] = "default"
    start_scale: float = 1.0
    patterns: bool = True
    layers: int = 0
    interventions: tuple[Intervention, ...] = ()
    cursor: Selection = field(default_factory=Selection)
    recorded: int | None = None

    @property
    def begun_as(self) -> tuple[object, ...]:
        """What it was begun with, whatever intervenes."""
        return self.prompt, self.seed, self.start, self.start_scale, self.patterns

    def misused(self) -> str:
        """What of its fields no model could make right, or ""."""
        if not 0 <= self.seed <= LARGEST_SEED:
            return f"'seed': {self.seed} is not between 0 and {LARGEST_SEED}"
        if not 0 <= self.start_scale <= 1000:
            return f"'start_scale': {self.start_scale:g} is not between 0 and 1000"
        if self.recorded is not None and self.recorded < 0:
            return f"'recorded': {self.recorded} is less than 0"
        return "" if self.layers >= 0 else f"'layers': {self.layers} is less than 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCursor:
    """The cursor. in_second : in a second run at its own pace.  following : see `Cursor`."""

    place: Selection = field(default_factory=Selection)
    in_second: Selection = field(default_factory=Selection)
    following: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedWindow:
    """How the window was arranged.

    size : width and height, pixels.  layout : Qt's dock state, hexadecimal; empty for the first.
    maximised : key of the view that was shown alone, or "".  current : of the current view.
    """

    size: tuple[int, int] = (1280, 800)
    layout: str = ""
    maximised: str = ""
    current: str = ""

    def misused(self) -> str:
        """What of its fields no window can be, or ""."""
        sides = zip(self.size, SMALLEST, LARGEST, strict=True)
        if not all(low <= side <= high for side, low, high in sides):
            return f"'size': no window has {self.size[0]} × {self.size[1]} pixels"
        if len(self.layout) % 2 or not set(self.layout) <= set("0123456789abcdef"):
            return "'layout': is not hexadecimal"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedStudy:
    """A study that is open.

    path : its TOML file, ``bundled:NAME``, or the folder of its rows.  folder : of its rows, "" for
        none yet. Both are written as `SavedModel.path` is.
    measure, kind, along, by, kept : what is drawn of it.
    """

    path: str
    folder: str = ""
    measure: str = ""
    kind: Literal["curves", "map"] = "curves"
    along: str = ""
    by: str = ""
    kept: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSession:
    """Everything that a window shows, as data from which it is made again.

    model : the checkpoint.  second_model : of a second run on another model.
    recording : that the runs were written to or shown from, or None.
    prompt_file : of the views over a prompt set: its path as `SavedModel.path` is written, or "".
    study : that is open in the window, or None.
    runs : each after the run that it branched from.  shown, second : ids among them.
    speed : recurrences a second that play makes.
    shown_range : the recurrences that heat maps and curves show.
    two_runs : how views show two runs.
    views : each view's settings by its key, as plain values.
    places : where in its picture a view is that was scrolled or zoomed, as its widget says it.
    measured : keys of the views whose measurement was made for the run shown.
    saved_as : of an autosave, the file that the session was last saved to, or "".
    """

    model: SavedModel
    second_model: SavedModel | None = None
    recording: SavedRecording | None = None
    prompt_file: str = ""
    study: SavedStudy | None = None
    runs: tuple[SavedRun, ...] = ()
    shown: int | None = None
    second: int | None = None
    step_pairing: StepPairing = "depth"
    cursor: SavedCursor = field(default_factory=SavedCursor)
    speed: float = 4.0
    stop_at_settling: bool = False
    shown_range: RecurrenceRange = field(default_factory=RecurrenceRange)
    two_runs: TwoRuns = "both"
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    places: dict[str, dict[str, float]] = field(default_factory=dict)
    measured: tuple[str, ...] = ()
    window: SavedWindow = field(default_factory=SavedWindow)
    saved_as: str = ""

    def misused(self) -> str:
        """What its fields contradict each other in, or ""."""
        if len(self.runs) > MOST_RUNS:
            return f"'runs': there are {len(self.runs)}, more than {MOST_RUNS}"
        if not 0.01 <= self.speed <= FASTEST:
            return f"'speed': {self.speed:g} is not between 0.01 and {FASTEST:g}"
        if problem := self.shown_range.misused():
            return problem
        known: dict[int, SavedRun] = {}
        for run in self.runs:
            if problem := _out_of_place(run, known):
                return f"'runs', {problem}"
            known[run.id] = run
        for name, run_id in (("shown", self.shown), ("second", self.second)):
            if run_id is not None and run_id not in known:
                return f"'{name}': there is no run {run_id}"
        if self.recording is None and not self.model.path:
            return "'model': there is neither a checkpoint nor a recording"
        if self.runs and self.shown is None:
            return "'shown': none of the runs is shown"
        return "'second': is the run shown" if self.runs and self.shown == self.second else ""


def _out_of_place(run: SavedRun, known: dict[int, SavedRun]) -> str:
    """What is wrong with a run's place in the tree of those ``known``, or ""."""
    if run.id in known:
        return f"{run.id}: is there twice"
    if run.parent is None:
        return ""
    if run.parent not in known:
        return f"{run.id}: its parent {run.parent} is not before it"
    parent = known[run.parent]
    if run.interventions[: len(parent.interventions)] != parent.interventions:
        return f"{run.id}: does not have the interventions of its parent"
    return "" if run.begun_as == parent.begun_as else f"{run.id}: was not begun as its parent was"
