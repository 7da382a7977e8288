"""Panels keep their size while a measurement starts, runs and ends, and say how it goes."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from window_desk import desk, wait

from loopscope.app.bench.bench import Bench
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.core.errors import LoopscopeError
from loopscope.widgets.palette import LIGHT

pytestmark = pytest.mark.slow


@pytest.fixture
def window(qtbot: QtBot):
    settings = Settings()
    settings.size = [1280, 800]
    window = Window(Bench(), settings, LIGHT, remember=False)
    window.show()
    window.opening.open("bundled:looped", FirstRun("ab bc ca ? 2 : a b c", 4), device="cpu")
    wait(qtbot, window, 4)
    window.docks.apply("Measures")
    wait(qtbot, window)
    yield window
    window.close()
    window.deleteLater()
    QApplication.processEvents()


def sizes(window: Window) -> dict[str, tuple[int, int]]:
    docks = window.docks.by_key.items()
    return {key: dock.size().toTuple() for key, dock in docks if dock.isVisible()}


def test_panels_stand_still_while_a_checkpoint_is_loaded(qtbot: QtBot) -> None:
    with desk() as window:
        QApplication.processEvents()
        frame, tops, loading = window.docks.by_key["state_space"], set(), []

        def looked() -> bool:
            tops.add(frame.mapTo(window, QPoint(0, 0)).y())
            loading.append(window.bench.session.recording is None)
            run = window.bench.session.recording
            return run is not None and run.n_recurrences >= 2 and window.bench.settled_down

        looked()
        window.opening.open("bundled:looped", FirstRun("ab bc ca ? 2 : a b c", 2))
        qtbot.waitUntil(looked, timeout=60_000)
        assert loading.count(True) > 2
        assert len(tops) == 1


def test_docks_keep_their_size_while_a_job_starts_runs_and_ends(window, qtbot) -> None:
    frame, display = window.views.frames["paths"], window.bench.displays["paths"]
    seen, said = [sizes(window)], set()

    def look(*_: object) -> None:
        seen.append(sizes(window))
        said.add(frame.under_way.text().partition(":")[0])

    window.bench.measuring.progressed.connect(look)
    frame.measuring.button.click()
    assert frame.under_way.isVisible()
    qtbot.waitUntil(lambda: display.job is None and window.bench.settled_down, timeout=60_000)
    QApplication.processEvents()
    seen.append(sizes(window))
    moved = {key for entry in seen for key in entry if entry[key] != seen[0][key]}
    assert {key: sorted({entry[key] for entry in seen}) for key in moved} == {}
    assert "“Run from other starts” is under way" in said
    assert frame.under_way.isHidden()
    assert display.data.lacks is None


def test_a_measurement_that_fails_says_why_in_its_view(window, qtbot, monkeypatch) -> None:
    spec = window.bench.displays["paths"].spec

    def fail(*_: object) -> object:
        raise LoopscopeError("the weights are not finite")

    monkeypatch.setattr(type(spec), "measure", fail)
    frame = window.views.frames["paths"]
    frame.measuring.button.click()
    qtbot.waitUntil(lambda: "not finite" in frame.under_way.text(), timeout=20_000)
    assert frame.under_way.isVisible()
    assert "the weights are not finite" in frame.title_bar.statement.whole()
    assert frame.measuring.button.isEnabled()  # it can be tried again
