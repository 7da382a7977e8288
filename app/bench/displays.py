"""The displays of views: how each is drawn, and what is being computed for it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, replace
from typing import Any

from loopscope.app.view_spec import ViewSpec
from loopscope.core.run.jobs import Job
from loopscope.core.run.recording import Recording, appended
from loopscope.core.selection import RecurrenceRange, Selection
from loopscope.core.views.base import ViewData
from loopscope.core.views.second_run import SecondRun
from loopscope.widgets.kit.view import View


@dataclass(frozen=True, slots=True)
class RunVersion:
    """A run as far as it has got, and how much was measured or read besides."""

    run: weakref.ref[Recording]
    layers_done: int
    recurrences: int
    directions: int
    compared: int
    rechecked: int

    @classmethod
    def of(cls, run: Recording) -> RunVersion:
        """The version that ``run`` has now."""
        errors = run.float32_error
        compared = 0 if errors is None else len(errors)
        twin = run.float32_run
        rechecked = 0 if twin is None else twin.n_recurrences
        directions = len(run.readout_directions)
        return cls(weakref.ref(run), *appended(run), directions, compared, rechecked)


@dataclass(frozen=True, slots=True)
class Version:
    """All that a drawing's data depends on; drawings of equal versions show the same.

    fields : of the cursor, as far as the view computes with them.
    measured : rises with every measurement.
    second : the second run's version, name, step pairing and fields, where both runs are drawn.
    """

    run: RunVersion
    options: Any
    measured: int
    fields: tuple[Any, ...]
    second: tuple[Any, ...] = ()


@dataclass(slots=True, eq=False)
class Computation:
    """One analysis under way.

    version : what is computed.  future : the data.  seconds : how long it took, without waiting.
    """

    version: Version
    future: Future[ViewData] = field(init=False)
    seconds: float = 0.0

    def timed(self, compute: Callable[[], ViewData], clock: Callable[[], float]) -> ViewData:
        """Compute and measure the time (the analysis thread)."""
        began = clock()
        try:
            return compute()
        finally:
            self.seconds = clock() - began


@dataclass(slots=True, eq=False)
class Drawing:
    """One drawing of a view with the state of its analysis.

    second_run : whether it is of the second run.  shown : the version of ``data``; None without.
    difference : whether it is of both, of what is different between them.
    drawn : what its view shows: ``data`` with what two drawings have in common, of `shown_range`.
    in_flight : what is being computed; None while nothing is.
    submitted : counts; of two drawings the one submitted earlier is due first.
    rest_until : when the next may be computed while the model steps (s, monotonic).
    shown_at : since when ``data`` is shown (s, monotonic).
    """

    view: View
    second_run: bool = False
    difference: bool = False
    data: ViewData | None = None
    drawn: ViewData | None = None
    shown_range: RecurrenceRange | None = None
    shown: Version | None = None
    in_flight: Computation | None = None
    submitted: int = 0
    rest_until: float = 0.0
    shown_at: float = 0.0
    error: str | None = None

    def moved(self, version: Version) -> bool:
        """Whether the cursor or the settings differ from what is shown, not only the run."""
        shown = self.shown
        return shown is not None and (shown.fields, shown.options) != (
            version.fields, version.options,
        )  # fmt: skip


@dataclass(slots=True, eq=False)
class Display:
    """One view: its drawing of the run shown, and one of the second run where it is drawn twice.

    job : the measurement under way that the view asked for.
    lag : the recurrence that the data is of, where the run has long gone on; else None.
    """

    spec: ViewSpec[Any, Any]
    options: Any
    first: Drawing
    second: Drawing | None = None
    job: Job[Any] | None = None
    lag: int | None = None

    @property
    def view(self) -> View:
        """The view of the run shown."""
        return self.first.view

    @property
    def data(self) -> ViewData | None:
        """What that view shows."""
        return self.first.data

    @property
    def drawings(self) -> tuple[Drawing, ...]:
        """Every drawing of the view."""
        return (self.first,) if self.second is None else (self.first, self.second)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a drawing is to show: a run at a cursor, and the second run where it draws both.

    difference : whether it draws what is different between them.
    """

    run: Recording
    selection: Selection
    both: SecondRun | None = None
    difference: bool = False

    def version(self, display: Display, measured: int) -> Version:
        """All that the data of a display depends on."""
        spec = display.spec
        names = sorted(spec.reads_difference if self.difference else spec.reads)

        def fields(selection: Selection) -> tuple[Any, ...]:
            return tuple(getattr(selection, name) for name in names)

        second: tuple[Any, ...] = ()
        if self.both is not None:
            both = self.both
            second = (RunVersion.of(both.recording), both.name, both.pairing.step_pairing)
            second += fields(both.selection)
        return Version(
            RunVersion.of(self.run), display.options, measured, fields(self.selection), second
        )

    def compute(self, spec: ViewSpec[Any, Any], options: Any) -> ViewData:
        """Compute the data of a view (the analysis thread).

        It is not given the display: the last to hold a widget would destroy it, in this thread.
        """
        if self.both is not None and self.difference:
            return spec.difference(self.run, self.both, self.selection, options)
        if self.both is not None and spec.compute_second is not None:
            both: ViewData = spec.compute_second(self.run, self.both, self.selection, options)
            return both
        data: ViewData = spec.compute(self.run, self.selection, options)
        twin = self.run.float32_run
        if not data.unresolved or twin is None or twin.n_recurrences != self.run.n_recurrences:
            return data
        exact: ViewData = spec.compute(twin, self.selection, options)
        text = f"In float32: {exact.statement}. In {self.run.info.dtype}: {data.statement}"
        return replace(data, statement=text, unresolved=False)


def shows_same(one: ViewData, other: ViewData) -> bool:
    """Whether two views' data have the same arrays, and equal numbers beside them."""
    if type(one) is not type(other):
        return False
    pairs = ((getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return all(a is b or (isinstance(a, float | int | str) and a == b) for a, b in pairs)
