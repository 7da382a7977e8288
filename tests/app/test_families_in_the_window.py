"""Every family's tiny checkpoint in the window: each view draws it, and words say where it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints import CONFIGS, write_checkpoint
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from loopscope.app.views import VIEW_SPECS
from loopscope.app.window.menus import RecentMenu
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.window import Window
from loopscope.widgets.palette import DARK
from tests.window_desk import desk

pytestmark = pytest.mark.slow


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with desk(theme=DARK) as window:
        yield window


def opened(qtbot: QtBot, window: Window, path: Path, recurrences: int) -> None:
    window.opening.open(str(path), FirstRun(recurrences=recurrences), device="cpu")

    def done() -> bool:
        assert window.bench.runner.status.error is None
        recording = window.bench.session.recording
        return (
            recording is not None
            and recording.info.checkpoint == path.name
            and recording.n_recurrences >= recurrences
            and window.bench.settled_down
        )

    qtbot.waitUntil(done, timeout=60_000)


def test_a_folder_of_other_code_is_offered_to_be_read_and_says_so_from_then_on(
    window: Window, qtbot: QtBot, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "own", "llama", {"loop_times": 4})
    window.opening.open(str(path), device="cpu")
    header, settings = window.bars.header, window.settings
    qtbot.waitUntil(lambda: header.offer.isVisible(), timeout=60_000)
    assert header.offer.text() == "Read as llama"
    assert "own" not in window.windowTitle()
    QTest.mouseClick(header.offer, Qt.MouseButton.LeftButton)
    title = "own (read as Llama) – Loopscope"
    qtbot.waitUntil(lambda: window.windowTitle().replace("[*]", "") == title, timeout=60_000)
    assert not header.offer.isVisible()
    assert header.model.whole().startswith("own (read as Llama)")
    assert settings.families == {str(path): "llama"}
    recent = RecentMenu(settings, window.opening.open, window)
    recent.aboutToShow.emit()
    assert [action.text() for action in recent.actions()] == [f"{path} (as llama)"]
    # From the menu it is opened as it was, without a question.
    opened(qtbot, window, write_checkpoint(tmp_path / "other", "llama"), 1)
    assert window.windowTitle() == "other[*] – Loopscope"
    assert settings.families == {str(path): "llama"}
    recent.aboutToShow.emit()
    recent.actions()[1].trigger()
    qtbot.waitUntil(lambda: window.windowTitle().replace("[*]", "") == title, timeout=60_000)
    # What is no name of a family is no reason to refuse the folder differently.
    settings.families[str(path)] = "nothing"
    window.opening.open(str(path))
    qtbot.waitUntil(lambda: header.offer.isVisible(), timeout=60_000)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_view_shows_every_family(
    name: str, window: Window, qtbot: QtBot, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / name.replace(" ", "-"), name)
    opened(qtbot, window, path, 3)
    for spec in VIEW_SPECS:
        window.docks.maximise(spec.key)
        qtbot.waitUntil(lambda: window.bench.settled_down, timeout=20_000)
        data = window.bench.displays[spec.key].data
        assert data is not None, spec.key
        assert data.statement, spec.key
        view = window.views.frames[spec.key].view
        colours = view.grab().toImage().convertToFormat(view.grab().toImage().format())
        seen = {colours.pixel(x, y) for x in range(0, view.width(), 7)
                for y in range(0, view.height(), 7)}  # fmt: skip
        assert len(seen) > 3, f"{spec.key} is blank"


def test_layers_of_hrm_text_are_addressed_by_their_cycle(
    window: Window, qtbot: QtBot, tmp_path: Path
) -> None:
    opened(qtbot, window, write_checkpoint(tmp_path / "hrm", "hrm_text"), 2)
    window.bench.session.select({"recurrence": 2, "layer": 3})
    assert "recurrence 2, L cycle 2, layer 1, head 0" in window.bars.place.text()
    window.bench.session.select({"layer": 7})
    assert "H, layer 1" in window.bars.place.text()
    window.bench.transport.advance(5)  # into L cycle 3 of the third recurrence
    qtbot.waitUntil(
        lambda: window.bars.transport.counter.below == "+ L3.0 (5 of 8)", timeout=20_000
    )
    labels = window.bench.displays["heads"].data.row_labels
    assert labels[0] == "L1.0.0"
    assert labels[-1] == "H.1.3"


def test_a_masked_model_opens_at_its_mask(window: Window, qtbot: QtBot, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["The", "square", "root", "of", "16", "is", ".", "[MASK]"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, "."))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[MASK]"])
    folder = write_checkpoint(tmp_path / "albert", "albert")
    tokenizer.save(str(folder / "tokenizer.json"))
    opened(qtbot, window, folder, 3)
    assert window.bench.session.request.prompt == "The square root of 16 is [MASK]."
    assert (
        window.bench.session.recording.info.token_labels[window.bench.session.selection.token]
        == "[MASK]"
    )
    assert window.bench.displays["readout"].data.lens_label == "coda lens: the token at its place"


def test_the_graph_of_a_deep_block_scrolls_and_follows_the_cursor(
    window: Window, qtbot: QtBot, tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path / "deep", "llama", {"num_hidden_layers": 40})
    opened(qtbot, window, folder, 1)
    view = window.views.frames["graph"].view
    assert view.side_bar.isVisibleTo(view)
    assert view.pixels.row >= 16
    window.bench.session.select({"layer": 39})
    qtbot.waitUntil(lambda: view.side_bar.value() > view.side_bar.maximum() * 0.8)
    view.setFocus()
    for _ in range(39):
        QTest.keyClick(view, Qt.Key.Key_Up)
    qtbot.waitUntil(lambda: window.bench.session.selection.layer == 0)
    qtbot.waitUntil(
        lambda: view.side_bar.value() == 0 or view.side_bar.value() < view.pixels.viewport
    )
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 40


def test_a_span_of_a_deep_model_is_looped_from_the_menu(
    window: Window, qtbot: QtBot, tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path / "deep", "llama", {"num_hidden_layers": 6})
    opened(qtbot, window, folder, 1)
    window.commands["loop_span"].trigger()
    dialog = window.running.span_dialog
    assert dialog.isVisible()
    assert (dialog.first.value(), dialog.last.value(), dialog.damping.value()) == (2, 4, 0.5)
    dialog.last.setValue(1)
    assert not dialog.loop.isEnabled()
    assert "before the first" in dialog.words.text()
    dialog.first.setValue(1)
    dialog.last.setValue(2)
    dialog.count.setValue(5)
    assert "1 before, 2 layers looped, 3 after" in dialog.words.text()
    dialog.loop.click()

    def looped() -> bool:
        recording = window.bench.session.recording
        return recording is not None and recording.n_recurrences == 5

    qtbot.waitUntil(looped, timeout=20_000)
    arch = window.bench.session.recording.info.architecture
    assert (arch.n_prelude, arch.n_block, arch.n_coda, arch.damping) == (1, 2, 3, 0.5)
    assert "looped 1:3 β = 0.5" in window.bars.header.model.whole()
    dialog.whole.click()
    qtbot.waitUntil(
        lambda: (
            window.bench.session.recording is not None
            and window.bench.session.recording.info.architecture.n_block == 6
            and window.bench.session.recording.n_recurrences == 1
        ),
        timeout=20_000,
    )
    dialog.close()
    opened(qtbot, window, write_checkpoint(tmp_path / "ouro", "ouro"), 1)
    window.commands["loop_span"].trigger()
    assert not dialog.isVisible()
    assert "looped already" in window.statusBar().currentMessage()


def test_a_half_precision_run_says_how_far_it_is_from_float32(
    window: Window, qtbot: QtBot, tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path / "huginn", "huginn")
    window.settings.dtype = "bfloat16"
    opened(qtbot, window, folder, 4)
    qtbot.waitUntil(
        lambda: (
            window.bench.session.recording.float32_error is not None
            and "error" in window.bars.header.device.text()
            and "at r = 4" in window.bars.header.device.text()
        ),
        timeout=30_000,
    )
    assert "from the same run in float32 from the same s_0 at recurrence 4" in " ".join(
        window.bars.header.device.toolTip().split()
    )
    qtbot.waitUntil(
        lambda: (window.bench.displays["settling"].data.error_line > 0).all(), timeout=20_000
    )
    window.commands["float32_error"].trigger()
    qtbot.waitUntil(lambda: window.bench.jobs.current is None, timeout=30_000)


def test_another_checkpoint_starts_from_its_own_initial_state(
    window: Window, qtbot: QtBot, tmp_path: Path
) -> None:
    native = "bundled:looped"
    window.opening.open(native, FirstRun(recurrences=1), device="cpu")
    qtbot.waitUntil(
        lambda: (
            window.bench.session.recording is not None
            and window.bench.session.recording.n_recurrences == 1
        ),
        timeout=60_000,
    )
    assert window.bench.session.recording.info.start == "zeros"
    folder = write_checkpoint(tmp_path / "huginn", "huginn")
    opened(qtbot, window, folder, 1)
    assert (
        window.bench.session.recording.info.start == "random"
    )  # truncated normal, as it was trained
    assert window.bench.session.recording.states[0].std() > 0
    # Chosen by hand it is kept, also when the dtype changes.
    window.bench.restart(start="zeros")
    qtbot.waitUntil(lambda: window.bench.session.recording.info.start == "zeros", timeout=20_000)
    window.bars.header.device_chosen.emit("cpu", "float16")
    qtbot.waitUntil(
        lambda: (
            window.bench.session.recording is not None
            and window.bench.session.recording.info.dtype == "float16"
            and window.bench.session.recording.info.start == "zeros"
        ),
        timeout=20_000,
    )
