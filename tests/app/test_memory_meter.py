"""The memory meter: what it says is what runs hold, and what is let go is freed."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
from models import tiny_checkpoint
from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QApplication
from window_desk import branch, said, wait

from loopscope.app.window.opening import FirstRun
from loopscope.core.labels import size
from loopscope.core.run.budget import shared_budget
from tests.window_desk import desk

pytestmark = pytest.mark.slow
PROMPT = "ab bc cd de ea ? 3 : a b c d e"


@pytest.fixture
def window(qtbot, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with desk() as window:
        window.opening.open(str(tiny_checkpoint(tmp_path / "m")), FirstRun(PROMPT, 6), device="cpu")
        wait(qtbot, window, 6)
        yield window


def test_a_run_is_named_with_what_it_holds_and_let_go_for_good(window, qtbot) -> None:
    branch(qtbot, window, 3)
    branch(qtbot, window, 4)
    runs = window.bench.runs
    root, first, second = runs.tree
    menu = window.meter.let_go
    menu.aboutToShow.emit()
    budget = shared_budget()
    assert window.meter.text() == f"runs {size(budget.held)} of {size(budget.limit)}"
    held = [run.stepper.recording.held for run in (root, first, second)]
    texts = [(a.text(), a.isEnabled()) for a in menu.actions() if a.text()]
    assert texts[1:] == [
        (f"Let go of run 1 and its 2 branches: {size(sum(held))}", False),
        (f"Let go of branch 1 and its 1 branch: {size(sum(held[1:]))}", True),
        (f"Let go of branch 2: {size(held[2])}", True),
    ]
    gone = weakref.ref(second.stepper.recording)
    before = shared_budget().held
    freed = second.stepper.recording.held
    del second, root
    [a for a in menu.actions() if "branch 2" in a.text()][-1].trigger()
    wait(qtbot, window)
    assert said(window) == "Let go of branch 2; this cannot be undone"
    assert [run.name for run in runs.tree] == ["run 1", "branch 1"]
    assert window.bench.session.run is first
    menu.clear()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    assert gone() is None
    assert shared_budget().held <= before - freed
    assert not any(change.of_runs for change in runs.history.done)
