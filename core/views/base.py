"""What the data of every view has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from loopscope.core.formula import Formula
from loopscope.core.results import ResultKey, Scope

if TYPE_CHECKING:
    from loopscope.core.run.recording import Recording
    from loopscope.core.selection import RecurrenceRange, Selection
    from loopscope.core.views.second_run import SecondRun

OptionsT = TypeVar("OptionsT")
DataT = TypeVar("DataT", bound="ViewData")
OptionsIn = TypeVar("OptionsIn", contravariant=True)
DataOut = TypeVar("DataOut", covariant=True)
DataIn = TypeVar("DataIn", contravariant=True)


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers behind a picture: column names (with units) and rows."""

    columns: tuple[str, ...]
    rows: Iterable[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Lack:
    """What has to come first where a view has nothing to show; the window says how to get it.

    kind : one more recurrence, a measurement, a prompt file, or a second model.
    measurement : the label of the measurement.  view : the title of the view that makes it, ""
        for the view that lacks it.
    """

    kind: Literal["recurrence", "measurement", "prompts", "model"]
    measurement: str = ""
    view: str = ""


RECURRENCE, PROMPTS, SECOND_MODEL = Lack("recurrence"), Lack("prompts"), Lack("model")


@dataclass(frozen=True, slots=True, eq=False)
class ViewData:
    """Base of every view's data.

    statement : one plain sentence on what the view shows now.
    formulas : the measures shown, each with formula, unit and source.
    lacks : what would fill the view, where that is known; None when there is something to show.
    unresolved : whether a verdict is below what the run's half precision resolves, so that the same
        run in float32 may say another.
    """

    statement: str
    formulas: tuple[Formula, ...]
    lacks: Lack | None = field(default=None, kw_only=True)
    unresolved: bool = field(default=False, kw_only=True)

    @property
    def drawn_words(self) -> str:
        """What the marks, bands and colours of the drawing are, in sentences for its caption."""
        return ""

    @property
    def briefs(self) -> tuple[str, ...]:
        """What says in fewer words what the statement begins with, the longest first."""
        return ()

    @property
    def directions_to_read(self) -> tuple[int, ...]:
        """Token ids whose readout directions the view shows and the recording does not hold yet."""
        return ()


@dataclass(frozen=True, slots=True)
class Request:
    """A measurement that takes long: a view offers it, a thread of its own makes it.

    label, help : what it is called, and what it does.
    result : under what its result is kept; `Recording.result` finds it for the view's ``compute``.
    missing : why it cannot be made for a recording, or "".
    live : whether the view shows something before it is made.
    second_run : for what compares two runs, what to say without a second one; "" for all others.

    ``core/analyses/KEY.py`` holds ``run(stepper, selection, options, job)``, which returns the
    result; it calls ``job.report(share)`` often, which also cancels it.
    """

    label: str
    help: str
    result: ResultKey[Any]
    missing: Callable[[Recording], str] = lambda recording: ""
    live: bool = False
    second_run: str = ""

    @property
    def scope(self) -> Scope:
        """Whether the result is of the one run or of the model (over a prompt set)."""
        return self.result.scope


class Compute(Protocol[OptionsIn, DataOut]):
    """Makes a view's data from one run."""

    def __call__(
        self, recording: Recording, selection: Selection, options: OptionsIn, /
    ) -> DataOut:
        """Return what the view shows of ``recording`` for the cursor ``selection``."""


class ComputeSecond(Protocol[OptionsIn, DataOut]):
    """Makes one view's data from two runs that are drawn on the same axes."""

    def __call__(
        self, recording: Recording, second_run: SecondRun, selection: Selection,
        options: OptionsIn, /,
    ) -> DataOut:  # fmt: skip
        """Return what the view shows of both; ``selection`` is the cursor in ``recording``."""


class MakeTable(Protocol[DataIn]):
    """Turns a view's data into the numbers behind the picture."""

    def __call__(self, data: DataIn, /) -> Table:
        """Return the table; its rows may be made one at a time."""


class WriteText(Protocol[DataIn]):
    """Writes a view's data in a text format of its own."""

    def __call__(self, data: DataIn, provenance: dict[str, str], /) -> str:
        """Return the whole file; ``provenance`` says where the numbers come from."""


@dataclass(frozen=True, slots=True, eq=False)
class ViewDefinition(Generic[OptionsT, DataT]):
    """What a module of `core.views` offers to the screen, the page and the command line.

    Each module ends with one, named ``VIEW``.

    options : the view's ``Options``, a dataclass of settings; made without arguments it is the
        defaults.
    compute : makes the data of one run.  table : the numbers behind the picture.
    reads : the fields of `Selection` that ``compute`` reads. Only a change of these makes the view
        be computed anew; all others move a mark.
    request : the measurement that fills the view when it takes long; None for a live view.
    compute_second : makes the data of two runs on the same axes; None where each run is drawn
        by itself.
    on_one_axis : for which two runs ``compute_second`` may be called.
    exports : text formats besides CSV, by suffix.
    alike : gives the data of two runs that are drawn one beside the other, by the same options, one
        colour scale and one order of rows; None where they are drawn as they are.
    difference : makes the map of what is different between two runs, of the data of each, a
        `Difference`; None for what is no map of numbers.
    within : the part of the data that is of a range of recurrences, on a log axis where asked;
        None for what has no axis of recurrences.
    difference_reads : the fields of the cursor that it reads besides `reads`.
    compares_patterns : whether ``compute`` compares attention patterns of all recurrences, which
        takes seconds of a long run; views that do not come first when one is opened.
    stop_reason : says of a run why playing may end now, or None while it goes on; of the view that
        judges whether a run has settled, None for all others.
    """

    options: type[OptionsT]
    compute: Compute[OptionsT, DataT]
    table: MakeTable[DataT]
    reads: frozenset[str] = frozenset()
    request: Request | None = None
    compute_second: ComputeSecond[OptionsT, DataT] | None = None
    on_one_axis: Callable[[Recording, Recording], bool] = lambda recording, other: True
    exports: Mapping[str, WriteText[DataT]] = field(default_factory=dict)
    stop_reason: Callable[[Recording, OptionsT], str | None] | None = None
    alike: Callable[[DataT, DataT], tuple[DataT, DataT]] | None = None
    difference: Callable[[DataT, DataT, Selection, SecondRun], ViewData] | None = None
    within: Callable[[DataT, RecurrenceRange], DataT] | None = None
    difference_reads: frozenset[str] = frozenset()
    compares_patterns: bool = False
