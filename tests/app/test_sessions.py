"""Sessions in the window: saved and opened by keys, the same screen again, and nothing lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models import tiny_architecture, tiny_checkpoint
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from session_desk import OTHER, PROMPT, Make, choose, saved, windows
from window_desk import Ctrl, Key, Left, Mod, branch, press, said, wait

from loopscope.app.window.window import Window
from loopscope.core.recordings.reader import open_recording
from loopscope.core.run.stepper import Stepper
from loopscope.core.sessions.file import read_session
from loopscope.widgets.plots.click_plot import ClickPlot

pytestmark = pytest.mark.slow


@pytest.fixture
def make(qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    with windows(qtbot, tmp_path, monkeypatch) as make:
        yield make


def at_work(qtbot, window: Window) -> None:
    """A session with something of everything."""
    branch(qtbot, window, 4)
    QTest.keyClick(window, Key.Key_Space)
    wait(qtbot, window, 10)
    branch(qtbot, window, 6, size=0.1)
    window.bench.restart(prompt=OTHER)
    wait(qtbot, window, 9)
    runs = list(window.bench.runs.tree)
    window.bench.runs.rename(runs[1], "noisy")
    window.bench.runs.show(runs[1])
    window.bench.runs.put_second(runs[0])
    window.docks.apply("Measures")
    wait(qtbot, window)
    window.views.measure("stability")
    wait(qtbot, window)
    window.docks.apply("Step")
    bench = window.bench
    bench.analysis.set_options("state_space", replace(
        bench.displays["state_space"].options, states="layers", dimensions="3-D", azimuth=20.0
    ))  # fmt: skip
    bench.analysis.set_options("settling", replace(
        bench.displays["settling"].options, tolerance=0.02
    ))  # fmt: skip
    bench.session.set_following(False)
    bench.session.select({"recurrence": 5, "layer": 1, "head": 1, "token": 3, "tokens": (1, 3)})
    window.bars.transport.set_speed(8.0)
    bench.transport.set_rate(8.0)
    bench.displays["graph"].view.bar.setValue(40)
    wait(qtbot, window)
    zoom(bench.displays["settling"].view.plot, (1.5, 7.25), (-2.0, 0.5))
    space = bench.displays["state_space"].view
    (left, right), (low, high) = space.canvas.box.viewRange()
    middle = (left + right) / 2, (low + high) / 2
    space.canvas.box.setRange(xRange=(left, middle[0]), yRange=(low, middle[1]), padding=0)
    space.canvas.box.sigRangeChangedManually.emit([True, True])


def zoom(plot: ClickPlot, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Zoom as the mouse does."""
    plot.getViewBox().setRange(xRange=x, yRange=y, padding=0)
    plot.getViewBox().sigRangeChangedManually.emit([True, True])


def tables(window: Window) -> dict[str, list[tuple[object, ...]]]:
    """The numbers behind every view in sight, of both drawings."""
    found = {}
    for key, display in window.bench.displays.items():
        for i, drawing in enumerate(display.drawings):
            if drawing.view.isVisible() and drawing.data is not None:
                rows = display.spec.table(drawing.data).rows
                found[f"{key} {i}"] = [tuple(row) for row in rows]
    return found


def same_tables(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for key, rows in one.items():
        assert len(rows) == len(other[key]), key
        for a, b in zip(rows, other[key], strict=True):
            np.testing.assert_equal(a, b, err_msg=key)


def picture(window: Window) -> np.ndarray:
    """The window as it is seen, without a sentence in its status line and all windows' memory."""
    window.statusBar().clearMessage()
    window.setFocus()
    QApplication.processEvents()
    window.meter.hide()
    QApplication.processEvents()
    image = window.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    raw = np.frombuffer(image.constBits(), np.uint8)
    return raw.reshape(image.height(), image.bytesPerLine())[:, : image.width() * 4].copy()


def reopened(qtbot, window: Window, path: Path) -> None:
    window.sessions.open(path)
    qtbot.waitUntil(lambda: window.sessions.file == path and not window.sessions.showing.under_way)
    wait(qtbot, window)


def test_a_session_opened_again_shows_the_same_screen(
    make: Make, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, path = make(), tmp_path / "work" / "a.loopscope.json"
    path.parent.mkdir()
    at_work(qtbot, window)
    choose(monkeypatch, str(path).removesuffix(".loopscope.json"))
    QTest.keyClick(window, Key.Key_S, Ctrl)
    assert said(window) == f"Saved the session with 4 runs to {path}"
    assert window.windowTitle() == "a[*] – m – Loopscope"
    assert not window.isWindowModified()
    assert json.loads(path.read_text())["model"]["path"] == "../models/m"
    before = tables(window)
    seen, info = picture(window), window.bench.session.recording.info
    assert len(before) >= 6

    again = make(path="bundled:looped", n=2)
    choose(monkeypatch, path)
    QTest.keyClick(again, Key.Key_S, Ctrl | Mod.ShiftModifier)
    qtbot.waitUntil(lambda: again.sessions.file == path and not again.sessions.showing.under_way)
    wait(qtbot, again)
    runs = list(again.bench.runs.tree)
    assert [run.name for run in runs] == ["run 1", "noisy", "branch 2", "run 2"]
    assert [run.parent and run.parent.name for run in runs] == [None, "run 1", "noisy", None]
    assert again.bench.session.run is runs[1]
    assert again.bench.session.second.run is runs[0]
    assert again.bench.session.recording.info == info
    assert again.bench.session.selection == window.bench.session.selection
    assert not again.bench.transport.following
    assert again.bench.transport.rate == 8.0
    for run, old in zip(runs, window.bench.runs.tree, strict=True):
        np.testing.assert_array_equal(run.stepper.recording.states, old.stepper.recording.states)
    same_tables(tables(again), before)
    request = again.bench.analysis.displays["stability"].spec.request
    measured = [w.bench.session.recording.result(request.result) for w in (window, again)]
    np.testing.assert_array_equal(*(result.points.points for result in measured))
    assert again.windowTitle() == window.windowTitle()
    assert not again.isWindowModified()
    np.testing.assert_array_equal(picture(again), seen)
    # Stepping, branching and naming go on.
    QTest.keyClick(again, Key.Key_Space)
    qtbot.waitUntil(lambda: again.bench.runner.idle and again.isWindowModified())
    branch(qtbot, again, 3)
    assert again.bench.session.run.name == "branch 3"


def test_a_damaged_session_or_one_without_its_checkpoint_costs_nothing(
    make: Make, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, path = make(), tmp_path / "a.loopscope.json"
    saved(qtbot, window, path)
    runs, text = list(window.bench.runs.tree), path.read_text()
    for damaged in ("", "{}", text[:-200], text.replace('"noise"', '"smash"'), "[" * 100_000):
        path.write_text(damaged)
        window.files.open(str(path))
        qtbot.waitUntil(lambda: said(window).startswith(str(path)))
        assert "\n" not in said(window)
        assert list(window.bench.runs.tree) == runs
        window.say("")
    path.write_text(text)
    models = tmp_path / "models"
    models.rename(tmp_path / "elsewhere")
    choose(monkeypatch, "")  # where it is asked for, the answer is Cancel
    window.files.open(str(path))
    qtbot.waitUntil(lambda: "its checkpoint" in said(window))
    assert list(window.bench.runs.tree) == runs
    choose(monkeypatch, tmp_path / "elsewhere" / "m")
    reopened(qtbot, window, path)
    assert [run.name for run in window.bench.runs.tree] == ["run 1", "branch 1"]
    # Weights that are others are said, and the runs are made with them.
    shutil.rmtree(tmp_path / "elsewhere")
    tiny_checkpoint(tmp_path / "models" / "m", tiny_architecture(n_block=2), seed=5)
    reopened(qtbot, window, path)
    assert "the weights are not those that it was saved with" in said(window)


def test_cancelled_it_shows_what_was_made_and_leaves_the_file_alone(
    make: Make, qtbot, tmp_path: Path
) -> None:
    window, path = make(), tmp_path / "a.loopscope.json"
    saved(qtbot, window, path)
    values = json.loads(path.read_text())
    values["runs"][1]["layers"] = 100_000
    path.write_text(json.dumps(values))
    window.sessions.open(path)
    jobs = window.bench.jobs
    qtbot.waitUntil(lambda: jobs.current is not None and jobs.current.progress > 0.001)
    assert "session" in jobs.current.name
    qtbot.mouseClick(window.bars.header.cancel, Left)
    qtbot.waitUntil(lambda: window.bench.session.run is not None and jobs.current is None)
    wait(qtbot, window)
    assert "opening the session was cancelled" in said(window)
    assert [run.name for run in window.bench.runs.tree] == ["run 1", "branch 1"]
    assert window.sessions.file is None  # saved, it would take the place of the whole one
    assert window.sessions.unsaved


# ---- with a recording ----
def recorded(make: Make, qtbot, tmp_path: Path) -> tuple[Path, Path, dict[str, np.ndarray]]:
    """A closed window's session and recording, and the states of each of its runs by name."""
    window = make()
    session, file = tmp_path / "work" / "a.loopscope.json", tmp_path / "work" / "kept.h5"
    session.parent.mkdir()
    branch(qtbot, window, 4)
    window.recordings.save(file)
    window.bench.runs.rename(list(window.bench.runs.tree)[1], "noisy")
    window.bench.session.scrub(3)
    assert window.sessions.save_to(session)
    states = {r.name: r.stepper.recording.states.copy() for r in window.bench.runs.tree}
    window.close()
    qtbot.waitUntil(lambda: not window.isVisible())
    return session, file, states


def opened(qtbot, window: Window, session: Path, n: int = 2) -> dict[str, np.ndarray]:
    window.sessions.open(session)
    qtbot.waitUntil(lambda: "Opened the session" in said(window))
    wait(qtbot, window)
    runs = list(window.bench.runs.tree)
    assert len(runs) == n
    return {run.name: run.stepper.recording.states for run in runs}


def same_states(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], expected[name]) for name in found
    )


def test_a_session_names_its_recording_which_goes_on(
    make: Make, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, _, states = recorded(make, qtbot, tmp_path)
    values = json.loads(session.read_text())
    assert values["recording"]["path"] == "kept.h5"
    assert [run["recorded"] for run in values["runs"]] == [0, 1]
    moved = (tmp_path / "work").rename(tmp_path / "elsewhere")  # together
    window = make(n=1)
    with monkeypatch.context() as patched:
        ran: list[object] = []
        real = Stepper.step_layer
        patched.setattr(Stepper, "step_layer", lambda own, *how: ran.append(own) or real(own, *how))
        found = opened(qtbot, window, moved / session.name)
        assert same_states(found, states)
        assert not ran  # they are not made again
    assert window.windowTitle().startswith("a[*] – kept.h5 – m")
    assert window.bench.session.selection.recurrence == 3
    press(window, "step_recurrence")
    wait(qtbot, window, 10)
    window.close()
    qtbot.waitUntil(lambda: not window.isVisible())
    # The second run was stepped along.
    assert [run.n_recurrences for run in open_recording(moved / "kept.h5").runs] == [10, 10]


def test_a_recording_that_was_moved_is_asked_for(
    make: Make, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, file, states = recorded(make, qtbot, tmp_path)
    there = file.rename(tmp_path / "there.h5")
    window = make(n=1)
    choose(monkeypatch, "")
    assert same_states(opened(qtbot, window, session), states)  # made again
    assert "its recording kept.h5 is not there" in said(window)
    assert window.recordings.path is None
    choose(monkeypatch, there)
    window.say("")
    assert same_states(opened(qtbot, window, session), states)
    assert window.recordings.path == there


def test_a_session_of_a_recording_without_its_model(
    make: Make, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, file, states = recorded(make, qtbot, tmp_path)
    shutil.rmtree(tmp_path / "models" / "m")
    choose(monkeypatch, "")  # where its checkpoint is, nobody knows
    window = make(path="bundled:looped", n=1)
    assert same_states(opened(qtbot, window, session), states)
    assert window.bench.session.without_model
    assert window.bench.session.selection.recurrence == 3
    # Saved from there it names no checkpoint, and opens all the same.
    other = tmp_path / "other.loopscope.json"
    assert window.sessions.save_to(other)
    assert json.loads(other.read_text())["model"]["path"] == ""
    window.say("")
    assert same_states(opened(qtbot, window, other), states)
    file.unlink()
    window.sessions.open(other)
    qtbot.waitUntil(lambda: "was not opened" in said(window))
    assert len(window.bench.runs.tree) == 2


def test_recent_and_dropped_sessions_open_and_prompts_come_back(
    make: Make, qtbot, tmp_path: Path
) -> None:
    window, path = make(), tmp_path / "a.loopscope.json"
    prompts = tmp_path / "p.txt"
    prompts.write_text(f"{PROMPT}\n{OTHER}\n")
    window.files.open(str(prompts))
    qtbot.waitUntil(lambda: window.bench.session.prompt_set is not None)
    window.tree.open_second_model("bundled:shallow")
    qtbot.waitUntil(lambda: window.bench.session.second is not None)
    saved_runs = window.bench.session.n_recurrences
    assert window.sessions.save_to(path)
    again = make(path="bundled:looped", n=2)
    again.settings.remember_recent(str(path))
    recent = next(a.menu() for a in again.menuBar().actions()[0].menu().actions()
                  if a.text() == "Open recent")  # fmt: skip
    recent.aboutToShow.emit()
    recent.actions()[0].trigger()
    qtbot.waitUntil(lambda: again.sessions.file == path and not again.sessions.showing.under_way)
    wait(qtbot, again)
    assert again.bench.session.n_recurrences == saved_runs
    assert again.bench.session.prompt_set.path == str(prompts)
    assert again.bench.session.second.name == "bundled:shallow"
    assert not again.isWindowModified()
    first = read_session(path)
    press(again, "save_session")
    # The same but for what the second window's screen was not shown in.
    assert read_session(path).runs == tuple(
        replace(run, id=again.bench.session.run.id) for run in first.runs
    )
    assert read_session(path).second_model == first.second_model
