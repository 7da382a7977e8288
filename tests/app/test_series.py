"""A series of checkpoints in the window: one prompt, one cursor, a slider over training steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from models import random_model, tiny_architecture
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QStyle, QStyleOptionSlider
from pytestqt.qtbot import QtBot
from window_desk import Key, desk, said, wait

from loopscope.app.cli.main import main
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.window import Window
from loopscope.core.checkpoint.loading import load
from loopscope.core.checkpoint.series import series_in, series_of
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.native_folder import save_native
from loopscope.core.interventions.layers import SkipLayer
from loopscope.core.run.stepper import Stepper

PROMPT = "ab bc ca ? 2 : a b c"


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series") / "training"
    for step in (0, 20, 1000):
        model = random_model(tiny_architecture(), seed=step)
        save_native(folder / "steps" / f"step-{step:07d}", model, record={"steps": step})
    save_native(folder, random_model(tiny_architecture(), seed=1500), record={"steps": 1500})
    return folder


def steps(window: Window) -> list[int]:
    return [own.step for own in window.series.members]


def settled_at(qtbot: QtBot, window: Window, at: int, recurrences: int) -> None:
    """Wait until the checkpoint at a place is loaded and its run is shown."""
    path = Path(window.series.members[at].path)

    def there() -> bool:
        loaded = window.bench.session.status.loaded
        return loaded is not None and Path(loaded.request.path) == path

    qtbot.waitUntil(there, timeout=60_000)
    wait(qtbot, window, recurrences)


def states_of(path: str, recurrences: int, cuts: tuple[SkipLayer, ...] = ()) -> np.ndarray:
    loaded = load(path, "cpu")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode(PROMPT), interventions=cuts)
    for _ in range(recurrences):
        stepper.step()
    return recording.states


def test_a_series_opens_as_one_thing_and_mouse_and_keys_go_along_it(
    qtbot: QtBot, training: Path
) -> None:
    with desk() as window:
        window.opening.open(str(training), FirstRun(PROMPT, 5), device="cpu")
        wait(qtbot, window, 5)
        assert steps(window) == [0, 20, 1000, 1500]
        assert window.series.at == 3
        bar = window.series.bar
        assert bar.isVisible()
        assert bar.label.text() == "1,500 of 1,500"
        session = window.bench.session
        session.select({"recurrence": 2, "layer": 1, "token": 3, "tokens": (3, 4)})
        cursor = session.selection
        # By key, one checkpoint back: same prompt, as far, the cursor where it was.
        QTest.keyClick(window, Key.Key_BracketLeft)
        settled_at(qtbot, window, 2, 5)
        assert bar.label.text() == "1,000 of 1,500"
        assert session.selection == cursor
        recording = session.recording
        assert recording is not None
        assert recording.info.prompt == PROMPT
        np.testing.assert_array_equal(recording.states, states_of(window.series.members[2].path, 5))
        # By mouse: the slider's handle to the left end.
        option = QStyleOptionSlider()
        bar.slider.initStyleOption(option)
        handle = bar.slider.style().subControlRect(
            QStyle.ComplexControl.CC_Slider, option, QStyle.SubControl.SC_SliderHandle, bar.slider
        )
        left, start = Qt.MouseButton.LeftButton, handle.center()
        QTest.mousePress(bar.slider, left, pos=start)
        QTest.mouseMove(bar.slider, QPoint(2, start.y()))
        QTest.mouseRelease(bar.slider, left, pos=QPoint(2, start.y()))
        qtbot.waitUntil(lambda: window.series.at == 0, timeout=20_000)
        settled_at(qtbot, window, 0, 5)
        assert session.selection == cursor
        assert not bar.back.isEnabled()
        QTest.mouseClick(bar.on, left)
        qtbot.waitUntil(lambda: window.series.at == 1, timeout=20_000)
        settled_at(qtbot, window, 1, 5)
        assert bar.label.text() == "20 of 1,500"
        recording = session.recording
        assert recording is not None
        np.testing.assert_array_equal(recording.states, states_of(window.series.members[1].path, 5))


def test_cuts_and_seed_go_along_and_ends_are_said(qtbot: QtBot, training: Path) -> None:
    cut = SkipLayer(recurrence=2, last=3, layer=0)
    with desk() as window:
        window.opening.open(str(training / "steps/step-0000020"), FirstRun(PROMPT, 4, (cut,)))
        wait(qtbot, window, 4)
        assert window.series.at == 1  # one checkpoint of a training opens the series
        QTest.keyClick(window, Key.Key_BracketRight)
        settled_at(qtbot, window, 2, 4)
        recording = window.bench.session.recording
        assert recording is not None
        assert recording.info.interventions == (cut,)
        np.testing.assert_array_equal(
            recording.states, states_of(window.series.members[2].path, 4, (cut,))
        )
        QTest.keyClick(window, Key.Key_BracketRight)
        settled_at(qtbot, window, 3, 4)
        QTest.keyClick(window, Key.Key_BracketRight)
        assert said(window) == "This is the last checkpoint of the series"


def test_without_a_series_there_is_no_bar(qtbot: QtBot) -> None:
    with desk() as window:
        window.opening.open("bundled:looped", FirstRun(PROMPT, 1))
        wait(qtbot, window, 1)
        assert not window.series.bar.isVisible()
        QTest.keyClick(window, Key.Key_BracketRight)
        assert said(window).startswith("No series is open")


def test_folders_that_are_named_are_a_series_in_order_of_their_steps(
    qtbot: QtBot, training: Path, tmp_path: Path
) -> None:
    folders = [str(training / "steps/step-0001000"), str(training / "steps/step-0000000")]
    with desk() as window:
        window.series.take(folders)
        window.opening.open(folders[0], FirstRun(PROMPT, 1))
        wait(qtbot, window, 1)
        assert steps(window) == [0, 1000]
        assert window.series.at == 1


def test_what_is_a_series(training: Path, tmp_path: Path) -> None:
    assert [own.step for own in series_in(str(training))] == [0, 20, 1000, 1500]
    assert series_in(str(training))[-1].path == str(training)
    assert series_in(str(tmp_path)) == ()
    assert series_in("bundled:looped") == ()
    for name in ("checkpoint-500", "global_step30", "7"):  # as other trainers call them
        save_native(tmp_path / "theirs" / name, random_model(tiny_architecture()))
    (tmp_path / "theirs/checkpoint-9").mkdir()  # without a model
    assert [own.step for own in series_in(str(tmp_path / "theirs"))] == [7, 30, 500]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a", "nothing"), "nothing: is no checkpoint folder: it has no config.json"),
        (("a", "b"), "b: says no training step; end its name in it, as checkpoint-500"),
        (("a", "a"), "are both of step 5"),
    ],
)
def test_what_is_no_series_is_told_in_a_line(
    names: tuple[str, str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_native(tmp_path / "a", random_model(tiny_architecture()), record={"steps": 5})
    save_native(tmp_path / "b", random_model(tiny_architecture()))
    (tmp_path / "b/training.json").write_text(json.dumps({"steps": "many"}))
    paths = [str(tmp_path / name) for name in names]
    with pytest.raises(LoopscopeError, match=told):
        series_of(paths)
    assert main(["open", *paths]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_no_series_on_another_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["open", "a", "b", "--on", "tcp://127.0.0.1:1"]) == 2
    assert "--on opens one checkpoint; give one path with it" in capsys.readouterr().err
