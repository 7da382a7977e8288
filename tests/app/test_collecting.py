"""Garbage that holds widgets dies on the screen's thread."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication, QWidget

from loopscope.app.bench.bench import Bench
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.run.requests import RunRequest
from loopscope.widgets.palette import LIGHT


class Cycle:
    """Garbage that only the collector finds; it says in which thread it died."""

    def __init__(self, said: list[str]) -> None:
        self.itself = self
        self.widget = QWidget()
        weakref.finalize(self, lambda: said.append(threading.current_thread().name))


def allocate() -> list[list[int]]:
    """More than any threshold of the collector; freed again, they would not count."""
    return [[i] for i in range(50_000)]


def test_a_worker_never_collects_while_a_bench_is_open(qtbot) -> None:
    gc.collect()
    bench, said = Bench(), []
    try:
        assert not gc.isenabled()
        Cycle(said)
        worker = threading.Thread(target=allocate, name="worker")
        worker.start()
        worker.join()
        assert said == []
        kept = allocate()
        qtbot.waitUntil(lambda: said == [threading.main_thread().name], timeout=5000)
        assert len(kept) == 50_000
    finally:
        bench.close()
    assert gc.isenabled()


def test_it_is_left_to_python_when_the_last_bench_closes(qtbot) -> None:
    first, second = Bench(), Bench()
    first.close()
    first.close()
    assert not gc.isenabled()
    second.close()
    assert gc.isenabled()


def test_what_a_full_collection_freed_is_given_back_off_the_screens_thread(
    qtbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[threading.Thread] = []
    monkeypatch.setattr(
        "loopscope.app.bench.collecting.give_back_memory",
        lambda: given.append(threading.current_thread()),
    )
    thresholds = gc.get_threshold()
    bench = Bench()
    try:
        gc.collect()  # counts begin at nothing
        gc.set_threshold(700, 1000, 1000)
        kept = allocate()
        qtbot.waitUntil(lambda: gc.get_count()[0] <= 700, timeout=5000)
        assert not given  # only the young ones were collected
        gc.set_threshold(700, 0, 0)
        kept += allocate()
        qtbot.waitUntil(lambda: bool(given), timeout=5000)
        assert given[0] is not threading.main_thread()
        assert len(kept) == 100_000
    finally:
        gc.set_threshold(*thresholds)
        bench.close()


def test_the_libraries_are_spared_once_a_model_is_there(qtbot) -> None:
    """A full collection walks what the bench made, not torch."""
    gc.collect()
    bench = Bench()
    try:
        bench.open(LoadRequest("bundled:looped", "cpu"))
        assert not gc.get_freeze_count()
        bench.begin(RunRequest("ab ba ? 1 : a", recurrences=2))
        qtbot.waitUntil(lambda: bench.session.recording is not None, timeout=60_000)
        spared = gc.get_freeze_count()
        assert spared > 10 * len(gc.get_objects())
        bench.collector.spare_libraries()
        assert gc.get_freeze_count() <= spared  # once: what dies later is collected
    finally:
        bench.close()
    assert not gc.get_freeze_count()


def test_a_thread_that_outlives_its_bench_collects_nothing(qtbot) -> None:
    gc.collect()
    bench, said, go, began = Bench(), [], threading.Event(), threading.Event()

    def work(job: object) -> None:
        began.set()
        assert go.wait(60)
        allocate()

    bench.jobs.submit("work", work)
    assert began.wait(20)
    bench.close()  # waits for nothing
    Cycle(said)
    assert not gc.isenabled()
    go.set()
    qtbot.waitUntil(gc.isenabled, timeout=5000)
    gc.collect()
    assert said == [threading.main_thread().name]


@pytest.mark.slow
def test_a_window_that_is_closed_leaves_nothing(qtbot) -> None:
    """Neither a widget nor the bench with its recordings: connections hold whoever listens."""

    def widgets() -> int:
        gc.collect()
        return len(QApplication.topLevelWidgets())

    def open_and_close() -> weakref.ref[Bench]:
        window = Window(Bench(), Settings(), LIGHT, remember=False)
        bench = window.bench
        window.show()
        window.opening.open("bundled:looped", FirstRun("ab ba ? 1 : a", 2))
        qtbot.waitUntil(lambda: bench.session.n_recurrences == 2 and bench.settled_down)
        bench.runs.branch(())
        qtbot.waitUntil(lambda: bench.session.second is not None and bench.settled_down)
        window.exporter.ask(None)
        window.close()
        window.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        return weakref.ref(bench)

    before = widgets()
    bench = open_and_close()
    assert widgets() <= before  # fewer where an earlier window went only now
    assert bench() is None
