"""When a view is computed and when it rests: views and a clock that the tests own."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from recordings import synthetic_recording

from loopscope.app.bench.analysis import LEAST_REST, REST, Analysis
from loopscope.app.bench.session import Second, Session
from loopscope.core.errors import LoopscopeError
from loopscope.core.run.status import Status
from loopscope.core.selection import Selection
from loopscope.core.views.base import ViewData
from loopscope.widgets.kit.view import View


@dataclass(frozen=True)
class Options:
    tolerance: float = 0.1


class Noting(View):
    """Notes what it is shown."""

    def __init__(self) -> None:
        super().__init__(Options())
        self.shown: list[Any] = []
        self.marks: list[tuple[Selection, dict[str, int]]] = []

    def show_data(self, data: Any) -> None:
        self.shown.append(data)

    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        self.marks.append((selection, hover))

    def set_theme(self, theme: Any) -> None:
        self.theme = theme

    def clear(self) -> None:
        self.shown.append(None)


@dataclass(frozen=True, eq=False)
class Data(ViewData):
    layers_done: int
    selection: Selection
    options: Options


class Spec:
    """A view that is computed when the test lets it."""

    title, compute_second, compares_patterns = "Noting", None, False

    def __init__(self, key: str = "noting", reads: frozenset[str] = frozenset({"token"})) -> None:
        self.key, self.reads = key, reads
        self.options, self.view = Options, Noting
        self.go, self.error, self.meanwhile = threading.Event(), None, lambda: None
        self.go.set()

    def draws_both(self, one: object, other: object) -> bool:
        return False

    def alike(self, one: Data, other: Data) -> tuple[Data, Data]:
        return one, other

    def within(self, data: Data, shown: object) -> Data:
        return data

    def compute(self, recording: Any, selection: Selection, options: Options) -> Data:
        done = recording.layers_done
        assert self.go.wait(60)
        self.meanwhile()
        if self.error is not None:
            raise self.error
        return Data("", (), done, selection, options)


class Desk:
    """An analysis with a runner, a run and a time that the test sets."""

    def __init__(self, *specs: Spec) -> None:
        self.now = 100.0
        self.runner = SimpleNamespace(idle=True, call=lambda work: None)
        self.session = Session()
        self.analysis = Analysis(
            self.session, self.runner, lambda changes: None, clock=lambda: self.now
        )
        self.displays = [self.analysis.add(spec) for spec in specs]
        for display in self.displays:
            display.view.show()
        self.show()

    def show(self, **changes: Any) -> Any:
        """Show a run of four recurrences of two layers."""
        recording = synthetic_recording(**{"recurrences": 4} | changes)
        self.session.update(Status(stepper=SimpleNamespace(recording=recording)))
        self.session.run_changed.emit()
        return recording

    def compute(self) -> None:
        """Frames until nothing is being computed; what is finished is shown."""
        while True:
            self.analysis.frame()
            flying = [d.first.in_flight for d in self.displays if d.first.in_flight is not None]
            if not flying:
                return
            for computation in flying:
                computation.future.exception(timeout=60)

    def layers(self, display: int = 0) -> list[int | None]:
        """How far the run was in what a view was shown, None where it was cleared."""
        shown = self.displays[display].view.shown
        return [None if data is None else data.layers_done for data in shown]


@pytest.fixture
def make(qapp) -> Iterator[Any]:
    made: list[Desk] = []

    def make(*specs: Spec) -> Desk:
        made.append(Desk(*(specs or (Spec(),))))
        return made[-1]

    yield make
    for desk in made:
        for display in desk.displays:
            display.spec.go.set()
            display.view.close()  # at once: it would take the next test's pointer
            display.view.deleteLater()
        desk.analysis.worker.close()


def test_a_view_is_computed_once_for_each_version(make) -> None:
    desk = make()
    desk.compute()
    desk.compute()
    assert desk.layers() == [None, 8]
    desk.session.select({"recurrence": 2, "layer": 1})  # it reads neither
    desk.compute()
    assert desk.layers() == [None, 8]
    desk.session.select({"token": 3})
    desk.compute()
    assert [data.selection.token for data in desk.displays[0].view.shown[1:]] == [0, 3]
    desk.analysis.set_options("noting", Options(0.5))
    desk.compute()
    desk.analysis.set_options("noting", Options(0.5))  # the same settings
    desk.compute()
    desk.analysis.recompute()
    desk.compute()
    assert [data.options.tolerance for data in desk.displays[0].view.shown[1:]] == [
        0.1, 0.1, 0.5, 0.5,
    ]  # fmt: skip
    assert desk.analysis.settled


def test_one_is_in_flight_and_the_next_takes_the_newest_run(make) -> None:
    spec = Spec()
    spec.go.clear()
    desk = make(spec)
    recording = desk.session.recording
    recording._layers_done = 2
    desk.analysis.frame()
    first = desk.displays[0].first.in_flight
    for done in (4, 6, 8):
        recording._layers_done = done
        desk.analysis.frame()
        assert desk.displays[0].first.in_flight is first
    spec.go.set()
    desk.compute()
    assert desk.layers() == [None, 2, 8]


@pytest.mark.parametrize(("took", "rest"), [(0.5, REST * 0.5), (0.01, LEAST_REST)])
def test_while_the_model_steps_a_view_rests_in_proportion_to_its_time(
    make, took: float, rest: float
) -> None:
    assert rest == pytest.approx({0.5: 1.5, 0.01: 0.12}[took])
    spec = Spec()
    desk = make(spec)
    desk.runner.idle = False
    recording, display = desk.session.recording, desk.displays[0]
    recording._layers_done = 2
    spec.meanwhile = lambda: setattr(desk, "now", desk.now + took)
    desk.analysis.frame()
    desk.now += 50  # as long as others are computed, which is no time of its own
    display.first.in_flight.future.result(timeout=60)
    spec.meanwhile = lambda: None
    recording._layers_done = 4
    desk.analysis.frame()
    assert desk.layers() == [None, 2]
    assert display.first.in_flight is None
    desk.now += rest - 0.001
    desk.analysis.frame()
    assert display.first.in_flight is None
    desk.now += 0.002
    desk.analysis.frame()
    assert display.first.in_flight is not None
    desk.compute()
    assert desk.layers() == [None, 2, 4]


def test_a_model_at_rest_lets_no_view_rest(make) -> None:
    desk = make()
    desk.compute()
    desk.now += 100  # long computed
    desk.session.recording._layers_done = 6
    desk.analysis.frame()
    assert desk.displays[0].first.in_flight is not None


def test_hidden_views_are_computed_when_they_are_shown(make) -> None:
    desk = make()
    desk.displays[0].view.hide()
    desk.compute()
    assert desk.layers() == [None]
    assert desk.analysis.settled
    desk.displays[0].view.show()
    assert not desk.analysis.settled
    desk.compute()
    assert desk.layers() == [None, 8]


def test_what_was_computed_of_a_run_no_longer_shown_is_not_drawn(make) -> None:
    spec = Spec()
    spec.go.clear()
    desk = make(spec)
    desk.analysis.frame()
    desk.show(recurrences=3)
    spec.go.set()
    desk.compute()
    assert desk.layers() == [None, 6]
    desk.session.update(Status())
    desk.session.run_changed.emit()
    desk.compute()
    assert desk.layers() == [None, 6, None]


@pytest.mark.parametrize(
    ("error", "words"),
    [(ValueError("no"), "ValueError: no"), (LoopscopeError("run.h5: it ends"), "run.h5: it ends")],
)
def test_an_error_is_told_once_and_the_next_version_tried(
    make, error: Exception, words: str
) -> None:
    spec = Spec()
    spec.error = error
    desk, told = make(spec), []
    desk.analysis.failed.connect(lambda *words: told.append(words))
    desk.compute()
    desk.compute()
    assert told == [("noting", words)]
    assert desk.displays[0].first.error == words
    spec.error = None
    desk.session.select({"token": 1})
    desk.compute()
    assert desk.layers() == [None, 8]
    assert desk.displays[0].first.error is None


def test_views_are_shown_in_turn_one_a_frame(make) -> None:
    desk = make(Spec("a"), Spec("b"))
    shown: list[str] = []
    desk.analysis.data_shown.connect(shown.append)
    for done in (2, 4, 6):
        desk.session.recording._layers_done = done
        desk.analysis.frame()
        for display in desk.displays:
            if display.first.in_flight is not None:
                display.first.in_flight.future.result(timeout=60)
    desk.compute()
    assert shown[:4] == ["a", "b", "a", "b"]


def test_a_few_are_submitted_and_what_the_cursor_moved_comes_first(make) -> None:
    names = ("a", "b", "c", "d")
    specs = [Spec(name, frozenset({"token"} if name == "d" else ())) for name in names]
    desk, order = make(*specs), []
    desk.compute()
    for spec in specs:
        spec.meanwhile = lambda name=spec.key: order.append(name)
    specs[0].go.clear()
    desk.session.recording._layers_done = 2  # all are due
    desk.analysis.frame()
    desk.analysis.frame()
    flying = [display.first.in_flight is not None for display in desk.displays]
    assert flying == [True, True, False, False]
    desk.session.select({"token": 3})
    specs[0].go.set()
    desk.compute()
    assert order == ["a", "b", "d", "c"]
    assert desk.analysis.settled


@pytest.mark.parametrize(("idle", "expected"), [(True, "bca"), (False, "abc")])
def test_what_reads_most_of_a_run_comes_last_at_rest_and_in_turn_while_it_steps(
    make, idle: bool, expected: str
) -> None:
    specs, order = [Spec(name, frozenset()) for name in "abc"], []
    specs[0].compares_patterns = True
    for spec in specs:
        spec.meanwhile = lambda name=spec.key: order.append(name)
    desk = make(*specs)
    desk.runner.idle = idle
    desk.compute()
    assert "".join(order) == expected


def test_marks_move_at_once_at_rest_and_one_a_frame_while_stepping(make) -> None:
    desk = make(Spec("a"), Spec("b"))
    desk.compute()
    views = [display.view for display in desk.displays]
    for view in views:
        view.marks.clear()
    desk.session.set_hover({"token": 2})
    assert [len(view.marks) for view in views] == [1, 1]
    desk.runner.idle = False
    desk.session.select({"recurrence": 1})
    desk.session.select({"recurrence": 2})
    assert [len(view.marks) for view in views] == [1, 1]
    assert not desk.analysis.settled
    desk.analysis.frame()
    assert sorted(len(view.marks) for view in views) == [1, 2]
    desk.analysis.frame()
    assert [len(view.marks) for view in views] == [2, 2]
    assert views[0].marks[-1] == (Selection(recurrence=2), {"token": 2})
    assert desk.analysis.settled


def test_a_view_that_is_long_behind_says_of_which_recurrence_it_is(make) -> None:
    spec = Spec()
    desk, told = make(spec), []
    desk.analysis.lagged.connect(lambda *words: told.append(words))
    recording = desk.session.recording
    recording._layers_done = 5  # in the third recurrence of two layers
    desk.compute()
    desk.now += 20.0
    desk.analysis.frame()
    assert told == []  # old, but the run has not gone on
    spec.go.clear()
    desk.session.select({"token": 2})
    recording._layers_done = 8
    desk.analysis.frame()
    desk.analysis.frame()
    assert told == [("noting", 2)]
    spec.go.set()
    desk.compute()
    assert told == [("noting", 2), ("noting", None)]
    recording._layers_done = 10
    spec.go.clear()
    desk.now += 1.9
    desk.analysis.frame()
    assert len(told) == 2  # not yet
    desk.now += 0.2
    desk.analysis.frame()
    assert told[2:] == [("noting", 4)]


def test_closing_waits_for_no_computation(make) -> None:
    spec = Spec()
    spec.go.clear()
    desk = make(spec)
    desk.analysis.frame()
    desk.analysis.worker.close()
    assert not desk.analysis.worker.ended
    spec.go.set()
    desk.displays[0].first.in_flight.future.result(timeout=60)
    assert desk.analysis.worker.ended


def test_a_recording_is_not_kept_for_a_view_that_is_hidden(make) -> None:
    """What a version remembers of a run does not hold its memory."""
    desk = make()
    desk.compute()
    version = desk.displays[0].first.shown
    assert version.run.run() is desk.session.recording
    assert version == replace(version)
    desk.show()
    assert version.run.run() is None


def test_the_thread_holds_no_view(make) -> None:
    """The last to hold a widget destroys it, which no thread but the screen's may."""
    spec = Spec()
    spec.go.clear()
    desk = make(spec)
    desk.analysis.frame()
    future = desk.displays[0].first.in_flight.future
    view = weakref.ref(desk.displays[0].view)
    desk.displays.clear()
    desk.analysis.displays.clear()
    gc.collect()
    assert view() is None
    assert not future.done()
    spec.go.set()


def test_it_has_not_ended_while_what_nobody_wants_is_computed(make) -> None:
    """Until then Python must not collect garbage in that thread."""
    spec = Spec()
    desk = make(spec)
    desk.compute()
    display, there = desk.displays[0], synthetic_recording(recurrences=2)
    desk.session.second = Second(SimpleNamespace(recording=there), "other")
    desk.analysis.draw_second(display).view.show()
    spec.go.clear()
    desk.analysis.frame()
    future = display.second.in_flight.future
    desk.analysis.drop_second(display)
    assert not desk.analysis.worker.ended
    spec.go.set()
    future.result(timeout=60)
    assert desk.analysis.worker.ended
