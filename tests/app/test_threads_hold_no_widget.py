"""No work that the window hands to a thread holds an object of Qt's.

With the window closed meanwhile, that thread would be the last to hold it and destroy it: a widget
that dies in another thread than the screen's takes the process with it, or stays for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from loopscope.app.bench.background import OneThread
from loopscope.app.bench.bench import Bench
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.core.run.jobs import Jobs
from loopscope.core.run.runner import Runner
from loopscope.widgets.palette import LIGHT
from tests.held import qt_held_by

pytestmark = pytest.mark.slow


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All that is given to the threads of any bench."""
    works: list[Any] = []

    def noting(method: Callable[..., Any], place: int) -> Callable[..., Any]:
        def noted(*arguments: Any, **named: Any) -> Any:
            works.append(arguments[place:])
            return method(*arguments, **named)

        return noted

    for owner, name, place in (
        (OneThread, "submit", 1),
        (Jobs, "submit", 2),
        (Runner, "call", 1),
    ):
        monkeypatch.setattr(owner, name, noting(getattr(owner, name), place))
    return works


@pytest.fixture
def window(
    qtbot: QtBot, given: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Window]:
    monkeypatch.setattr("loopscope.app.window.autosave.autosave_folder", lambda: tmp_path)
    settings = Settings(dtype="bfloat16", export={"formats": ["csv"], "folder": str(tmp_path)})
    window = Window(Bench(), settings, LIGHT, remember=False, attended=True)
    window.show()
    window.opening.open("bundled:looped", FirstRun("ab bc ca ? 2 : a b c", 4), device="cpu")
    qtbot.waitUntil(lambda: window.bench.session.n_recurrences == 4, timeout=60_000)
    yield window
    window.unsaved.attended = False
    window.end()
    window.deleteLater()


def test_no_work_for_a_thread_holds_anything_of_qt(
    window: Window, given: list[Any], qtbot: QtBot
) -> None:
    bench = window.bench
    dialog = window.exporter.ask("settling")
    assert dialog is not None
    dialog.export_button.click()
    bench.comparison.measure(recheck=True)
    bench.comparison.release_later()
    window.views.measure("quality")
    window.commands["copy_python"].trigger()
    assert window.autosave is not None
    window.autosave._keep_in_background()
    qtbot.waitUntil(lambda: bench.jobs.current is None, timeout=60_000)
    assert len(given) > 5
    assert [held for work in given for held in qt_held_by(work)] == []


def test_what_is_held_is_found(qtbot: QtBot) -> None:
    bench = Bench()
    try:
        assert qt_held_by(lambda: bench.session) == [
            "test_what_is_held_is_found.<locals>.<lambda>.bench: Bench"
        ]
        assert qt_held_by([bench.comparison.frame])
    finally:
        bench.close()
