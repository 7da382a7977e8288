"""What views show: at most one analysis in flight for each, one finished one shown a frame.

A view is drawn for the run shown. While another run stands beside, a view that can draws both on
its axes (``compute_second``); any other is drawn twice, the second time for the run beside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopscope.app.views import ViewSpec
from loopscope.core.run.jobs import Job
from loopscope.core.run.recording import Recording
from loopscope.core.run.worker import yield_to_the_screen
from loopscope.core.selection import Selection
from loopscope.core.views.base import ViewData
from loopscope.core.views.second_run import SecondRun
from loopscope.widgets.kit.view import View

if TYPE_CHECKING:
    from loopscope.app.bench.bench import Bench

# While the model steps, a view's analysis rests this many times as long as it took, and at least
# this long: pure-Python parts of it hold the interpreter that the screen needs.
REST, LEAST_REST = 3.0, 0.12


@dataclass(slots=True, eq=False)
class Drawing:
    """One drawing of a view with the state of its analysis.

    ``wanted`` and ``shown`` are identity keys; ``second_run`` says for which run it is.
    """

    view: View
    second_run: bool = False
    data: ViewData | None = None
    shown: tuple[Any, ...] | None = None
    in_flight: Future[ViewData] | None = None
    in_flight_key: tuple[Any, ...] = ()
    submitted: float = 0.0
    rest_until: float = 0.0
    error: str | None = None


@dataclass(slots=True, eq=False)
class Display:
    """One view: how it is drawn for the run shown, and for the one beside where it is twice."""

    spec: ViewSpec
    options: Any
    own: Drawing
    other: Drawing | None = None
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
    def drawings(self) -> tuple[Drawing, ...]:
        """Every drawing of the view."""
        return (self.own,) if self.other is None else (self.own, self.other)


class Analysis:
    """The views of one bench and the thread that computes what they show."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.displays: dict[str, Display] = {}
        # Rises when something was measured that views may show.
        self.findings = 0
        self._pool = ThreadPoolExecutor(
            1, thread_name_prefix="loopscope-analysis", initializer=yield_to_the_screen
        )
        self._turn = 0
        self._stale: list[Drawing] = []

    def _drawings(self) -> Iterator[tuple[Display, Drawing]]:
        for display in self.displays.values():
            for drawing in display.drawings:
                yield display, drawing

    # ---- views ----
    def add(self, spec: ViewSpec, options: Any) -> Display:
        """Make a panel's view and connect it."""
        display = Display(spec, options, Drawing(spec.view()))
        self._connect(display, display.own)
        self.displays[spec.key] = display
        return display

    def _connect(self, display: Display, drawing: Drawing) -> None:
        bench, view, key = self.bench, drawing.view, display.spec.key
        view.set_options(display.options)
        view.select_requested.connect(
            bench.select_in_second if drawing.second_run else bench.select
        )
        view.hover_changed.connect(
            bench.set_second_hover if drawing.second_run else bench.set_hover
        )
        view.message.connect(bench.message)
        view.run_requested.connect(lambda changes: bench.restart(**changes))
        if not drawing.second_run:  # the second drawing takes the first one's settings
            view.options_changed.connect(lambda options: bench.set_options(key, options))
        view.clear()

    def set_options(self, display: Display, options: Any) -> None:
        """Take new options for a view; it is computed again."""
        display.options = options
        for drawing in display.drawings:
            drawing.view.set_options(options)

    def clear(self) -> None:
        """There is no run."""
        for _, drawing in self._drawings():
            drawing.data, drawing.shown = None, None
            drawing.view.clear()

    def second(self, display: Display) -> Drawing:
        """Draw a view a second time, for the run beside."""
        display.other = Drawing(display.spec.view(), second_run=True)
        display.other.view.set_theme(display.view.theme)
        self._connect(display, display.other)
        return display.other

    def drop_second(self, display: Display) -> None:
        """The second drawing is not wanted any more."""
        if display.other is not None and display.other in self._stale:
            self._stale.remove(display.other)
        display.other = None

    # ---- the frame ----
    def frame(self) -> None:
        """Show one finished analysis or move one view's marks, then ask for what is wanted."""
        if not self._deliver() and self._stale:
            self._mark(self._stale.pop(0))
        self._submit()

    def mark(self) -> None:
        """Move the marks: of all views at once, or one view a frame while the model steps."""
        visible = [drawing for _, drawing in self._drawings() if drawing.view.isVisible()]
        if self.bench.runner.idle:
            self._stale.clear()
            for drawing in visible:
                self._mark(drawing)
        else:
            self._stale += [drawing for drawing in visible if drawing not in self._stale]

    def _mark(self, drawing: Drawing) -> None:
        second_run = self.bench.second_run
        if not drawing.second_run:
            drawing.view.show_selection(self.bench.selection, self.bench.hover)
        elif second_run is not None:
            drawing.view.show_selection(second_run.selection, self.bench.second_hover)

    def _subject(self, drawing: Drawing) -> tuple[Recording | None, Selection]:
        """The run and the cursor that a drawing is for."""
        second_run = self.bench.second_run
        if drawing.second_run:
            return (
                (None, Selection())
                if second_run is None
                else (second_run.recording, second_run.selection)
            )
        return self.bench.recording, self.bench.selection

    def _both(self, display: Display) -> SecondRun | None:
        """The run beside, where this view draws both."""
        second_run, run = self.bench.second_run, self.bench.recording
        if (
            second_run is None
            or run is None
            or not display.spec.draws_both(run, second_run.recording)
        ):
            return None
        return second_run

    def _key(self, display: Display, drawing: Drawing) -> tuple[Any, ...]:
        run, selection = self._subject(drawing)
        names = sorted(display.spec.reads)
        key = (*_state(run), id(display.options), self.findings)
        key += tuple(getattr(selection, name) for name in names)
        both = self._both(display)
        if both is not None:
            fields = tuple(getattr(both.selection, name) for name in names)
            key += (*_state(both.recording), both.name, both.pairing.pace, *fields)
        return key

    def _deliver(self) -> bool:
        """Show one finished analysis, in turn; says whether there was one."""
        drawings = list(self._drawings())
        for i in range(len(drawings)):
            display, drawing = drawings[(self._turn + i) % len(drawings)]
            if drawing.in_flight is None or not drawing.in_flight.done():
                continue
            future, drawing.in_flight = drawing.in_flight, None
            self._turn += i + 1
            drawing.shown = drawing.in_flight_key
            now = time.monotonic()
            drawing.rest_until = now + max(LEAST_REST, REST * (now - drawing.submitted))
            if (error := future.exception()) is not None:
                drawing.error = f"{type(error).__name__}: {error}"
                self.bench.data_failed.emit(display.spec.key, drawing.error)
                return True
            run, _ = self._subject(drawing)
            if drawing.shown[0] != id(run):
                drawing.shown = None  # of a run that is no longer shown
                return True
            drawing.data, drawing.error = future.result(), None
            self.bench.fetch_directions(
                drawing.second_run, getattr(drawing.data, "missing_directions", ())
            )
            drawing.view.show_data(drawing.data)
            self._mark(drawing)
            if drawing in self._stale:
                self._stale.remove(drawing)
            shown = self.bench.second_shown if drawing.second_run else self.bench.data_shown
            shown.emit(display.spec.key)
            return True
        return False

    def _submit(self) -> None:
        now, stepping = time.monotonic(), not self.bench.runner.idle
        for display, drawing in self._drawings():
            run, selection = self._subject(drawing)
            if run is None or drawing.in_flight is not None or not drawing.view.isVisible():
                continue
            if stepping and now < drawing.rest_until:
                continue
            key = self._key(display, drawing)
            if key != drawing.shown:
                drawing.in_flight_key, drawing.submitted = key, now
                work = _work(display, run, selection, self._both(display))
                drawing.in_flight = self._pool.submit(work)

    @property
    def settled(self) -> bool:
        """Whether every visible view shows what there is."""
        return not self._stale and all(
            drawing.in_flight is None
            and (self._subject(drawing)[0] is None or drawing.shown == self._key(display, drawing))
            for display, drawing in self._drawings()
            if drawing.view.isVisible()
        )

    def in_background(self, work: Callable[[], Any]) -> Future[Any]:
        """Run ``work`` on the analysis thread."""
        return self._pool.submit(work)

    def close(self) -> None:
        """Stop everything and join the thread."""
        for _, drawing in self._drawings():
            if drawing.in_flight is not None:
                drawing.in_flight.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _state(run: Recording | None) -> tuple[Any, ...]:
    """Identity and progress of a run, and what was measured or read beside the run itself."""
    if run is None:
        return (id(None),)
    errors = run.float32_error
    read = len(run.readout_directions), 0 if errors is None else len(errors)
    return (id(run), run.layers_done, *read)


def _work(
    display: Display, run: Recording, selection: Selection, both: SecondRun | None
) -> Callable[[], ViewData]:
    spec, options = display.spec, display.options
    if both is not None and spec.compute_second is not None:
        compute_second = spec.compute_second
        return lambda: compute_second(run, both, selection, options)
    return lambda: spec.compute(run, selection, options)
