"""What views show: at most one analysis in flight for each, one finished one shown a frame.

A view is drawn for the run shown. While another run stands beside, a view that can draws both on
its axes (``compute_beside``); any other is drawn twice, the second time for the run beside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopscope.app.panels import Panel
from loopscope.core.run.jobs import Job
from loopscope.core.run.recording import Recording
from loopscope.core.run.runner import yield_to_the_screen
from loopscope.core.selection import Selection
from loopscope.core.views.base import ViewData
from loopscope.core.views.beside import Beside
from loopscope.widgets.kit.view import View

if TYPE_CHECKING:
    from loopscope.app.bench.bench import Bench

# While the model steps, a view's analysis rests this many times as long as it took, and at least
# this long: pure-Python parts of it hold the interpreter that the screen needs.
REST, LEAST_REST = 3.0, 0.12


@dataclass(slots=True, eq=False)
class Side:
    """One drawing of a view with the state of its analysis.

    ``wanted`` and ``shown`` are identity keys; ``beside`` says for which run it is.
    """

    view: View
    beside: bool = False
    data: ViewData | None = None
    shown: tuple[Any, ...] | None = None
    in_flight: Future[ViewData] | None = None
    in_flight_key: tuple[Any, ...] = ()
    submitted: float = 0.0
    rest_until: float = 0.0
    error: str | None = None


@dataclass(slots=True, eq=False)
class Slot:
    """One view: how it is drawn for the run shown, and for the one beside where it is twice."""

    panel: Panel
    options: Any
    own: Side
    other: Side | None = None
    job: Job[Any] | None = None

    @property
    def view(self) -> View:
        """The view of the run shown."""
        return self.own.view

    @property
    def data(self) -> ViewData | None:
        """What that view shows."""
        return self.own.data

    @property
    def sides(self) -> tuple[Side, ...]:
        """Every drawing of the view."""
        return (self.own,) if self.other is None else (self.own, self.other)


class Analysis:
    """The views of one bench and the thread that computes what they show."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.slots: dict[str, Slot] = {}
        # Rises when something was measured that views may show.
        self.findings = 0
        self._pool = ThreadPoolExecutor(
            1, thread_name_prefix="loopscope-analysis", initializer=yield_to_the_screen
        )
        self._turn = 0
        self._stale: list[Side] = []

    def _sides(self) -> Iterator[tuple[Slot, Side]]:
        for slot in self.slots.values():
            for side in slot.sides:
                yield slot, side

    # ---- views ----
    def add(self, panel: Panel, options: Any) -> Slot:
        """Make a panel's view and connect it."""
        slot = Slot(panel, options, Side(panel.view()))
        self._connect(slot, slot.own)
        self.slots[panel.key] = slot
        return slot

    def _connect(self, slot: Slot, side: Side) -> None:
        bench, view, key = self.bench, side.view, slot.panel.key
        view.set_options(slot.options)
        view.select_requested.connect(bench.select_beside if side.beside else bench.select)
        view.hover_changed.connect(bench.set_hover_beside if side.beside else bench.set_hover)
        view.message.connect(bench.message)
        view.run_requested.connect(lambda changes: bench.restart(**changes))
        if not side.beside:  # the second drawing takes the first one's settings
            view.options_changed.connect(lambda options: bench.set_options(key, options))
        view.clear()

    def set_options(self, slot: Slot, options: Any) -> None:
        """Take new options for a view; it is computed again."""
        slot.options = options
        for side in slot.sides:
            side.view.set_options(options)

    def clear(self) -> None:
        """There is no run."""
        for _, side in self._sides():
            side.data, side.shown = None, None
            side.view.clear()

    def second(self, slot: Slot) -> Side:
        """Draw a view a second time, for the run beside."""
        slot.other = Side(slot.panel.view(), beside=True)
        slot.other.view.set_theme(slot.view.theme)
        self._connect(slot, slot.other)
        return slot.other

    def drop_second(self, slot: Slot) -> None:
        """The second drawing is not wanted any more."""
        if slot.other is not None and slot.other in self._stale:
            self._stale.remove(slot.other)
        slot.other = None

    # ---- the frame ----
    def frame(self) -> None:
        """Show one finished analysis or move one view's marks, then ask for what is wanted."""
        if not self._deliver() and self._stale:
            self._mark(self._stale.pop(0))
        self._submit()

    def mark(self) -> None:
        """Move the marks: of all views at once, or one view a frame while the model steps."""
        visible = [side for _, side in self._sides() if side.view.isVisible()]
        if self.bench.runner.idle:
            self._stale.clear()
            for side in visible:
                self._mark(side)
        else:
            self._stale += [side for side in visible if side not in self._stale]

    def _mark(self, side: Side) -> None:
        beside = self.bench.beside
        if not side.beside:
            side.view.show_selection(self.bench.selection, self.bench.hover)
        elif beside is not None:
            side.view.show_selection(beside.selection, self.bench.hover_beside)

    def _subject(self, side: Side) -> tuple[Recording | None, Selection]:
        """The run and the cursor that a drawing is for."""
        beside = self.bench.beside
        if side.beside:
            return (None, Selection()) if beside is None else (beside.recording, beside.selection)
        return self.bench.recording, self.bench.selection

    def _both(self, slot: Slot) -> Beside | None:
        """The run beside, where this view draws both."""
        beside, run = self.bench.beside, self.bench.recording
        if beside is None or run is None or not slot.panel.draws_both(run, beside.recording):
            return None
        return beside

    def _key(self, slot: Slot, side: Side) -> tuple[Any, ...]:
        run, selection = self._subject(side)
        names = sorted(side.view.DEPENDS_ON)
        key = (*_state(run), id(slot.options), self.findings)
        key += tuple(getattr(selection, name) for name in names)
        both = self._both(slot)
        if both is not None:
            fields = tuple(getattr(both.selection, name) for name in names)
            key += (*_state(both.recording), both.name, both.pairing.pace, *fields)
        return key

    def _deliver(self) -> bool:
        """Show one finished analysis, in turn; says whether there was one."""
        sides = list(self._sides())
        for i in range(len(sides)):
            slot, side = sides[(self._turn + i) % len(sides)]
            if side.in_flight is None or not side.in_flight.done():
                continue
            future, side.in_flight = side.in_flight, None
            self._turn += i + 1
            side.shown = side.in_flight_key
            now = time.monotonic()
            side.rest_until = now + max(LEAST_REST, REST * (now - side.submitted))
            if (error := future.exception()) is not None:
                side.error = f"{type(error).__name__}: {error}"
                self.bench.data_failed.emit(slot.panel.key, side.error)
                return True
            run, _ = self._subject(side)
            if side.shown[0] != id(run):
                side.shown = None  # of a run that is no longer shown
                return True
            side.data, side.error = future.result(), None
            self.bench.fetch_directions(side.beside, getattr(side.data, "missing_directions", ()))
            side.view.show_data(side.data)
            self._mark(side)
            if side in self._stale:
                self._stale.remove(side)
            shown = self.bench.beside_shown if side.beside else self.bench.data_shown
            shown.emit(slot.panel.key)
            return True
        return False

    def _submit(self) -> None:
        now, stepping = time.monotonic(), not self.bench.runner.idle
        for slot, side in self._sides():
            run, selection = self._subject(side)
            if run is None or side.in_flight is not None or not side.view.isVisible():
                continue
            if stepping and now < side.rest_until:
                continue
            key = self._key(slot, side)
            if key != side.shown:
                side.in_flight_key, side.submitted = key, now
                work = _work(slot, run, selection, self._both(slot))
                side.in_flight = self._pool.submit(work)

    @property
    def settled(self) -> bool:
        """Whether every visible view shows what there is."""
        return not self._stale and all(
            side.in_flight is None
            and (self._subject(side)[0] is None or side.shown == self._key(slot, side))
            for slot, side in self._sides()
            if side.view.isVisible()
        )

    def in_background(self, work: Callable[[], Any]) -> Future[Any]:
        """Run ``work`` on the analysis thread."""
        return self._pool.submit(work)

    def close(self) -> None:
        """Stop everything and join the thread."""
        for _, side in self._sides():
            if side.in_flight is not None:
                side.in_flight.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _state(run: Recording | None) -> tuple[Any, ...]:
    """Identity and progress of a run, and what was measured or read beside the run itself."""
    if run is None:
        return (id(None),)
    errors = run.float32_error
    read = len(run.readout_directions), 0 if errors is None else len(errors)
    return (id(run), run.layers_done, *read)


def _work(
    slot: Slot, run: Recording, selection: Selection, both: Beside | None
) -> Callable[[], ViewData]:
    panel, options = slot.panel, slot.options
    if both is not None and panel.compute_beside is not None:
        compute_beside = panel.compute_beside
        return lambda: compute_beside(run, both, selection, options)
    return lambda: panel.compute(run, selection, options)
