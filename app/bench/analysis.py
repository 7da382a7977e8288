"""What views show: at most one analysis in flight for each, one finished one shown a frame.

A view is drawn for the run shown. With a second run, a view that can draws both on its axes
(``compute_second``); any other is drawn twice, the second time for the second run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, Signal

from loopscope.app.bench.background import OneThread
from loopscope.app.bench.cursor import Changes
from loopscope.app.bench.displays import (
    Computation,
    Display,
    Drawing,
    Subject,
    Version,
    shows_same,
)
from loopscope.app.bench.session import Session
from loopscope.app.view_spec import ViewSpec
from loopscope.core.errors import described
from loopscope.core.run.recorded import stepped
from loopscope.core.run.runner import Runner
from loopscope.core.selection import RecurrenceRange
from loopscope.core.views.base import ViewData
from loopscope.core.views.second_run import SecondRun

# While the model steps, a view's analysis rests this many times as long as it took, and at least
# this long (s): pure-Python parts of it hold the interpreter that the screen needs.
REST, LEAST_REST = 3.0, 0.12
# Views in the thread or waiting for it: the next is there when one is done.
MOST_AHEAD = 2
# A view says of which recurrence its data is when it is older than this (s) and the run went on.
LAG = 2.0


class Analysis(QObject):
    """The displays of one session and the thread that computes what they show.

    Parameters
    ----------
    restart
        Begins the run again with fields of `RunRequest` changed, as a view may ask.
    clock
        Seconds that only rise.

    Signals
    -------
    options_set(str, object)
        A view, by its key, has other options; those that it had.
    data_shown(str), second_shown(str)
        A view, by its key, shows other data: its drawing of the run shown, or of the second run.
    failed(str, str)
        A view's analysis raised this.
    lagged(str, object)
        A view lags behind the run: the recurrence that it shows; None when it has caught up.
    """

    options_set = Signal(str, object)
    data_shown = Signal(str)
    second_shown = Signal(str)
    failed = Signal(str, str)
    lagged = Signal(str, object)

    def __init__(
        self,
        session: Session,
        runner: Runner,
        restart: Callable[[Changes], None],
        parent: QObject | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(parent)
        self._session, self._runner, self._restart = session, runner, restart
        self._clock = clock
        self.displays: dict[str, Display] = {}
        self._measured = 0
        # What it does: views, those that are dropped too, and such as writing files.
        self.worker = OneThread("loopscope-analysis")
        self._submitted = 0
        # Drawings whose marks are to be moved, one a frame.
        self._unmarked: list[Drawing] = []
        session.selection_changed.connect(self.mark)
        session.run_changed.connect(self._on_run_changed)

    def _drawings(self) -> Iterator[tuple[Display, Drawing]]:
        for display in tuple(self.displays.values()):
            for drawing in tuple(display.drawings):
                yield display, drawing

    # ---- views ----
    def add(self, spec: ViewSpec[Any, Any], options: Any = None) -> Display:
        """Make a view and connect it; ``options`` None are its defaults."""
        display = Display(spec, options or spec.options(), Drawing(spec.view()))
        self._connect(display, display.first)
        self.displays[spec.key] = display
        return display

    def draw_second(self, display: Display, *, difference: bool = False) -> Drawing:
        """Draw a view a second time: for the second run, or what is different between the two."""
        if difference:
            from loopscope.widgets.views.difference import DifferenceView

            display.second = Drawing(DifferenceView(), difference=True)
        else:
            display.second = Drawing(display.spec.view(), second_run=True)
        display.second.view.set_theme(display.view.theme)
        self._connect(display, display.second)
        return display.second

    def drop_second(self, display: Display) -> None:
        """Draw a view once; whoever shows the second drawing deletes its widget."""
        if display.second is not None and display.second in self._unmarked:
            self._unmarked.remove(display.second)
        display.second = None
        if display.first.data is not None:
            self._draw_alike(display, display.first)
            self._mark(display.first)

    def _connect(self, display: Display, drawing: Drawing) -> None:
        session, view, second = self._session, drawing.view, drawing.second_run
        view.set_options(display.options)
        view.select_requested.connect(session.select_in_second if second else session.select)
        view.hover_changed.connect(session.set_second_hover if second else session.set_hover)
        view.message.connect(session.message)
        view.run_requested.connect(self._restart)
        view.zoom_requested.connect(session.zoom)
        view.range_requested.connect(session.show_between)
        if drawing is display.first:  # the second drawing takes the first one's settings
            view.options_changed.connect(partial(self.set_options, display.spec.key))
        view.clear()

    def set_options(self, key: str, options: Any) -> None:
        """Take new options for a view; it is computed again."""
        display = self.displays[key]
        if options is not display.options:
            before, display.options = display.options, options
            for drawing in display.drawings:
                drawing.view.set_options(options)
            self.options_set.emit(key, before)

    def options_of(self, spec: ViewSpec[Any, Any]) -> Any:
        """The options of a view, its defaults where it has not been made."""
        display = self.displays.get(spec.key)
        return spec.options() if display is None else display.options

    def recompute(self) -> None:
        """Compute every view again: something was measured that any of them may show."""
        self._measured += 1

    def _on_run_changed(self) -> None:
        if self._session.recording is None:
            for _, drawing in self._drawings():
                drawing.data, drawing.drawn, drawing.shown = None, None, None
                drawing.view.clear()

    # ---- the frame ----
    def frame(self) -> None:
        """Show one finished analysis or move one view's marks, then ask for what is wanted."""
        if not self._show_finished() and not self._show_range() and self._unmarked:
            self._mark(self._unmarked.pop(0))
        self._submit()
        self._tell_lags()

    def mark(self) -> None:
        """Move the marks: of all views at once, or one view a frame while the model steps."""
        visible = [drawing for _, drawing in self._drawings() if drawing.view.isVisible()]
        if self._runner.idle:
            self._unmarked.clear()
            for drawing in visible:
                self._mark(drawing)
        else:
            self._unmarked += [drawing for drawing in visible if drawing not in self._unmarked]

    def _mark(self, drawing: Drawing) -> None:
        session = self._session
        if not drawing.second_run:
            drawing.view.show_selection(session.selection, session.hover)
        elif (second := session.second_run) is not None:
            drawing.view.show_selection(second.selection, session.second_hover)

    def _subject(self, display: Display, drawing: Drawing) -> Subject | None:
        """The run and the cursor that a drawing is for; None without that run."""
        run, second = self._session.recording, self._session.second_run
        if drawing.second_run:
            return None if second is None else Subject(second.recording, second.selection)
        if run is None:
            return None
        if drawing.difference:
            return None if second is None else Subject(run, self._session.selection, second, True)
        both: SecondRun | None = second
        if second is not None and not display.spec.draws_both(run, second.recording):
            both = None
        return Subject(run, self._session.selection, both)

    def _version(self, subject: Subject, display: Display) -> Version:
        return subject.version(display, self._measured)

    def _show_finished(self) -> bool:
        """Show the analysis that was finished first; returns whether there was one."""
        finished = [
            (display, drawing, drawing.in_flight)
            for display, drawing in self._drawings()
            if drawing.in_flight is not None and drawing.in_flight.future.done()
        ]
        if finished:  # they are computed in the order in which they were submitted
            self._finish(*min(finished, key=lambda entry: entry[1].submitted))
        return bool(finished)

    def _finish(self, display: Display, drawing: Drawing, computation: Computation) -> None:
        drawing.in_flight, drawing.shown = None, computation.version
        drawing.rest_until = self._clock() + max(LEAST_REST, REST * computation.seconds)
        error = computation.future.exception()
        subject = self._subject(display, drawing)
        if error is not None:
            drawing.error = described(error, f"computing the view {display.spec.title}")
            self.failed.emit(display.spec.key, drawing.error)
        elif subject is None or computation.version.run.run() is not subject.run:
            drawing.shown = None  # of a run that is no longer shown
        else:
            self._show(display, drawing, computation.future.result())

    def _show(self, display: Display, drawing: Drawing, data: ViewData) -> None:
        drawing.data, drawing.error, drawing.shown_at = data, None, self._clock()
        self._read_directions(drawing, data.directions_to_read)
        self._draw_alike(display, drawing)
        self._mark(drawing)
        if drawing in self._unmarked:
            self._unmarked.remove(drawing)
        shown = self.data_shown if drawing is display.first else self.second_shown
        shown.emit(display.spec.key)

    def _draw_alike(self, display: Display, drawing: Drawing) -> None:
        """Give a drawing its data; two of one view get one colour scale and one order of rows."""
        first, second, shown = display.first, display.second, self._session.shown_range
        pair = second is not None and second.second_run
        if pair and second is not None and first.data is not None and second.data is not None:
            both = display.spec.alike(first.data, second.data)
            for one, data in zip((first, second), both, strict=True):
                self._draw(one, display.spec.within(data, shown), shown)
                if one is not drawing:
                    self._mark(one)
        elif drawing.data is not None:
            self._draw(drawing, display.spec.within(drawing.data, shown), shown)

    def _out_of_range(self) -> Iterator[tuple[Display, Drawing]]:
        """Visible drawings that show another range of recurrences than the session's."""
        for display, drawing in self._drawings():
            other = drawing.shown_range != self._session.shown_range
            if other and drawing.data is not None and drawing.view.isVisible():
                yield display, drawing

    def _show_range(self) -> bool:
        """Draw the next view for another range of recurrences; returns whether there was one."""
        entry = next(self._out_of_range(), None)
        if entry is not None:
            self._draw_alike(*entry)
            self._mark(entry[1])
        return entry is not None

    def _draw(self, drawing: Drawing, data: ViewData, shown: RecurrenceRange) -> None:
        drawing.shown_range = shown
        if drawing.drawn is None or not shows_same(drawing.drawn, data):
            drawing.drawn = data
            drawing.view.show_data(data)

    def _read_directions(self, drawing: Drawing, token_ids: tuple[int, ...]) -> None:
        """Have the worker read unembedding rows that the data lacks; then it is computed again."""
        second, status = self._session.second, self._session.status
        stepper = stepped(status.stepper)
        if drawing.second_run:
            stepper = None if second is None else stepped(second.stepper)
        if stepper is None or not token_ids:
            return

        def read(*_: object) -> None:
            rows = {i: stepper.readout_direction(i) for i in token_ids}
            stepper.recording.readout_directions.update(rows)

        self._runner.call(read)

    def _submit(self) -> None:
        """Compute what is due, a few views ahead: what waits longer is of an older moment."""
        ahead = sum(drawing.in_flight is not None for _, drawing in self._drawings())
        due = [] if ahead >= MOST_AHEAD else self._due()
        due.sort(key=self._rank)
        for drawing, display, version, subject in due[: MOST_AHEAD - ahead]:
            self._submitted += 1
            drawing.submitted = self._submitted
            drawing.in_flight = computation = Computation(version)
            compute = partial(subject.compute, display.spec, display.options)
            computation.future = self.worker.submit(computation.timed, compute, self._clock)

    def _rank(self, entry: tuple[Drawing, Display, Version, Subject]) -> tuple[bool, bool, int]:
        """First what the cursor moved in, then in turn.

        At rest what takes long of a long run is last: one that is opened is seen at once. While the
        model steps it would never have its turn.
        """
        drawing, display, version, _ = entry
        heavy = display.spec.compares_patterns and self._runner.idle
        return not drawing.moved(version), heavy, drawing.submitted

    def _due(self) -> list[tuple[Drawing, Display, Version, Subject]]:
        """Visible drawings that show an older version and do not rest."""
        now, stepping = self._clock(), not self._runner.idle
        due = []
        for display, drawing in self._drawings():
            if drawing.in_flight is not None or not drawing.view.isVisible():
                continue
            if stepping and now < drawing.rest_until:
                continue
            subject = self._subject(display, drawing)
            if subject is None:
                continue
            version = self._version(subject, display)
            if version != drawing.shown:
                due.append((drawing, display, version, subject))
        return due

    def _tell_lags(self) -> None:
        # Who is told may show a view for the first time, which makes its display.
        for key, display in tuple(self.displays.items()):
            lag = self._lag(display.first)
            if lag != display.lag:
                display.lag = lag
                self.lagged.emit(key, lag)

    def _lag(self, drawing: Drawing) -> int | None:
        run, shown = self._session.recording, drawing.shown
        if run is None or shown is None or not drawing.view.isVisible():
            return None
        current = shown.run.layers_done == run.layers_done
        if current or self._clock() - drawing.shown_at < LAG:
            return None
        return shown.run.layers_done // run.n_layers

    @property
    def settled(self) -> bool:
        """Whether every visible view shows what there is."""
        return (
            not self._unmarked
            and not any(self._out_of_range())
            and all(
                self._is_current(display, drawing)
                for display, drawing in self._drawings()
                if drawing.view.isVisible()
            )
        )

    def _is_current(self, display: Display, drawing: Drawing) -> bool:
        if drawing.in_flight is not None:
            return False
        subject = self._subject(display, drawing)
        return subject is None or drawing.shown == self._version(subject, display)
