"""The window as a researcher uses it: real keys and mouse on the bundled model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from models import tiny_architecture, tiny_checkpoint
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QMenu
from pytestqt.qtbot import QtBot
from recordings import relative_steps

from loopscope.app.bench.bench import Bench
from loopscope.app.views import VIEW_SPECS
from loopscope.app.window.actions import MENUS
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.core.model.layers import DecoderLayer
from loopscope.core.selection import Selection
from loopscope.core.views import pattern
from loopscope.widgets.palette import DARK, LIGHT

PROMPT = "ab bc cd de ea ? 3 : a b c d e"
Key, Mod = Qt.Key, Qt.KeyboardModifier


@pytest.fixture
def make(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made: list[Window] = []

    def make(settings: Settings | None = None, recurrences: int = 0, **kwargs: object) -> Window:
        window = Window(Bench(), settings or Settings(), LIGHT, remember=True)
        window.resize(1280, 800)
        window.show()
        window.activateWindow()
        path = str(kwargs.pop("path", "bundled:looped"))
        window.opening.open(path, FirstRun(PROMPT, recurrences), device="cpu")
        made.append(window)
        calm(qtbot, window, recurrences)
        window.setFocus()
        return window

    yield make
    for window in made:
        window.close()
        window.deleteLater()
    QApplication.processEvents()


def calm(qtbot: QtBot, window: Window, recurrences: int = 0) -> None:
    """Wait until the run is there and every visible view shows it."""

    def done() -> bool:
        recording = window.bench.session.recording
        return (
            recording is not None
            and recording.n_recurrences >= recurrences
            and window.bench.settled_down
        )

    qtbot.waitUntil(done, timeout=30_000)


def key(qtbot: QtBot, window: Window, which: Qt.Key, mod: Qt.KeyboardModifier = Mod.NoModifier):
    target = QApplication.focusWidget() or window
    QTest.keyClick(target, which, mod)
    QApplication.processEvents()
    qtbot.waitUntil(lambda: window.bench.runner.idle, timeout=20_000)
    calm(qtbot, window)


def test_space_steps_a_recurrence_and_shift_space_a_layer(make, qtbot: QtBot) -> None:
    window = make()
    bench = window.bench
    key(qtbot, window, Key.Key_Space)
    assert bench.session.recording.n_recurrences == 1
    assert bench.session.selection.recurrence == 1
    key(qtbot, window, Key.Key_Space, Mod.ShiftModifier)
    assert (bench.session.recording.n_recurrences, bench.session.recording.layers_done) == (1, 3)
    key(qtbot, window, Key.Key_Space)  # finishes the recurrence under way
    assert (bench.session.recording.n_recurrences, bench.session.recording.layers_done) == (2, 4)
    assert "recurrence 2" in window.bars.place.text()


def test_scrubbing_back_computes_nothing_and_following_is_a_state(make, qtbot: QtBot) -> None:
    window = make(recurrences=6)
    bench = window.bench
    ran: list[int] = []
    bench.runner.loaded.model.run_layer = lambda *a: ran.append(1)  # would break a run
    for expected in (5, 4, 3):
        key(qtbot, window, Key.Key_Left)
        assert bench.session.selection.recurrence == expected
    assert not bench.transport.following
    assert not window.commands["follow"].isChecked()
    key(qtbot, window, Key.Key_Right)
    assert bench.session.selection.recurrence == 4
    key(qtbot, window, Key.Key_Left, Mod.ShiftModifier)
    assert (bench.session.selection.recurrence, bench.session.selection.layer) in {(3, 1), (4, 0)}
    key(qtbot, window, Key.Key_Home)
    assert bench.session.selection.recurrence == 0
    key(qtbot, window, Key.Key_End)
    assert bench.session.selection.recurrence == 6
    assert bench.transport.following
    assert ran == []


def test_play_pause_and_resume_where_it_was(make, qtbot: QtBot) -> None:
    window = make()
    bench = window.bench
    bench.transport.set_rate(float("inf"))
    QTest.keyClick(window, Key.Key_P)
    qtbot.waitUntil(lambda: bench.session.recording.n_recurrences > 10, timeout=20_000)
    QTest.keyClick(window, Key.Key_P)
    calm(qtbot, window)
    done = bench.session.recording.n_recurrences
    before = bench.session.recording.states[:5].copy()
    QTest.keyClick(window, Key.Key_P)
    qtbot.waitUntil(lambda: bench.session.recording.n_recurrences > done + 3, timeout=20_000)
    QTest.keyClick(window, Key.Key_S)
    calm(qtbot, window)
    np.testing.assert_array_equal(bench.session.recording.states[:5], before)
    assert not bench.transport.playing


def test_stop_at_settling_ends_by_itself(make, qtbot: QtBot) -> None:
    window = make(path="bundled:anytime")
    bench = window.bench
    bench.transport.set_rate(float("inf"))
    QTest.keyClick(window, Key.Key_T)
    QTest.keyClick(window, Key.Key_P)
    qtbot.waitUntil(lambda: bench.session.status.notice is not None, timeout=30_000)
    assert "settled at recurrence" in bench.session.status.notice
    assert (relative_steps(bench.session.recording)[-3:] < 1e-2).all()
    assert not (relative_steps(bench.session.recording)[-4] < 1e-2).all()


def test_the_pointer_is_seen_to_walk(make, qtbot: QtBot) -> None:
    window = make(path="bundled:anytime", recurrences=8)
    data = window.bench.displays["readout"].data
    answers = window.bench.session.recording.answers("coda").ids[:, -5:, 0]
    label = window.bench.session.recording.label
    rows = ["".join(label(int(i)) for i in row) for row in answers]
    assert rows[0] == "bcdea"  # one hop
    assert rows[1] == "cdeab"
    assert rows[2] == rows[7] == "deabc"  # three hops, and it stays
    assert "unchanged" in data.statement or "not changed" in data.statement


def test_editing_the_prompt_restarts_and_undo_brings_the_run_back(make, qtbot: QtBot) -> None:
    window = make(recurrences=4)
    bench = window.bench
    first = bench.session.recording
    QTest.keyClick(window, Key.Key_L, Mod.ControlModifier)
    line = QApplication.focusWidget()
    line.selectAll()
    QTest.keyClicks(line, "xy yz zx ? 1 : x")
    qtbot.waitUntil(
        lambda: bench.session.recording is not first and bench.session.recording.n_recurrences == 4,
        timeout=20_000,
    )
    assert bench.session.recording.info.prompt == "xy yz zx ? 1 : x"
    QTest.keyClick(line, Key.Key_Escape)
    calm(qtbot, window, 4)
    window.setFocus()
    key(qtbot, window, Key.Key_Left, Mod.AltModifier)
    assert bench.session.recording is first
    key(qtbot, window, Key.Key_Space)
    assert first.n_recurrences == 5
    key(qtbot, window, Key.Key_Right, Mod.AltModifier)
    assert bench.session.recording.info.prompt == "xy yz zx ? 1 : x"


def test_without_patterns_layers_run_the_fused_attention_and_with_them_again_as_before(
    make, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    for name in ("_fused", "_pattern"):
        real = getattr(DecoderLayer, name)
        monkeypatch.setattr(
            DecoderLayer,
            name,
            lambda *given, real=real, name=name: made.append(name) or real(*given),
        )
    window = make(recurrences=3)
    bench, command = window.bench, window.commands["keep_patterns"]
    first = bench.session.recording
    assert command.isChecked()
    made.clear()
    command.trigger()
    qtbot.waitUntil(lambda: bench.session.recording is not first, timeout=20_000)
    calm(qtbot, window, 3)
    without = bench.session.recording
    assert not command.isChecked()
    assert (without.capture.patterns, without.patterns) == (False, None)
    assert set(made) == {"_fused"}
    np.testing.assert_allclose(without.states, first.states, rtol=1e-4, atol=1e-5)
    data = pattern.compute(without, Selection(), pattern.Options())
    assert "Run, Keep attention patterns" in data.missing
    bench.restart(prompt="xy yz zx ? 1 : x")
    qtbot.waitUntil(lambda: bench.session.recording is not without, timeout=20_000)
    calm(qtbot, window, 3)
    assert not bench.session.recording.capture.patterns
    again = bench.session.recording
    command.trigger()
    bench.restart(prompt=PROMPT)
    qtbot.waitUntil(
        lambda: (
            bench.session.recording is not again and bench.session.recording.info.prompt == PROMPT
        ),
        timeout=20_000,
    )
    calm(qtbot, window, 3)
    assert command.isChecked()
    np.testing.assert_array_equal(bench.session.recording.states, first.states)
    np.testing.assert_array_equal(bench.session.recording.patterns, first.patterns)


def test_letters_are_text_while_the_prompt_has_the_keyboard(make, qtbot: QtBot) -> None:
    window = make(recurrences=2)
    QTest.keyClick(window, Key.Key_L, Mod.ControlModifier)
    line = QApplication.focusWidget()
    line.setText("")
    QTest.keyClicks(line, "pr st ? 1 : p")
    assert line.text() == "pr st ? 1 : p"
    assert not window.bench.transport.playing


def test_a_bad_prompt_is_told_in_place_and_the_run_stays(make, qtbot: QtBot) -> None:
    window = make(recurrences=3)
    first = window.bench.session.recording
    window.bars.prompt.prompt_edited.emit("ab é")
    qtbot.waitUntil(lambda: window.bench.session.status.error is not None, timeout=10_000)
    qtbot.waitUntil(lambda: "no token for" in visible_text(window.bars.prompt), timeout=5_000)
    assert window.bench.session.recording is first
    window.setFocus()
    key(qtbot, window, Key.Key_Space)
    assert first.n_recurrences == 4


def visible_text(widget) -> str:
    from PySide6.QtWidgets import QLabel

    return " ".join(w.text() for w in widget.findChildren(QLabel) if w.isVisible())


def test_one_cursor_marks_every_view(make, qtbot: QtBot) -> None:
    window = make(recurrences=5)
    bench = window.bench
    bench.displays["readout"].view.select_requested.emit({"recurrence": 3, "token": 7})
    calm(qtbot, window)
    for display in bench.displays.values():
        if display.view.isVisible():
            assert (
                display.view.selection.recurrence == 3
                or display.view.selection == bench.session.selection
            )
    assert "recurrence 3" in window.bars.place.text()
    assert "token 7" in window.bars.place.text()
    bench.displays["heads"].view.select_requested.emit({"layer": 1, "head": 2})
    calm(qtbot, window)
    assert "1.2" in bench.displays["pattern"].data.statement


def test_every_view_shows_the_run_and_hidden_ones_catch_up(make, qtbot: QtBot) -> None:
    window = make(recurrences=3)
    window.docks.by_key["settling"].hide()
    key(qtbot, window, Key.Key_Space)
    old = window.bench.displays["settling"].first.shown
    window.docks.by_key["settling"].show()
    calm(qtbot, window)
    assert window.bench.displays["settling"].first.shown != old
    for spec in VIEW_SPECS:
        window.docks.by_key[spec.key].show()
        window.docks.by_key[spec.key].raise_()
        calm(qtbot, window)
        display = window.bench.displays[spec.key]
        assert display.first.error is None
        assert display.data is not None
        assert display.data.statement
        assert display.data.formulas


@pytest.mark.slow
@pytest.mark.parametrize("recurrences", [1, 200])
@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_every_view_draws_short_and_long_runs_in_both_themes(
    make, qtbot: QtBot, recurrences: int, theme
) -> None:
    window = make(recurrences=recurrences)
    window.appearance.set_theme(theme)
    calm(qtbot, window)
    assert not window.grab().isNull()
    assert all(display.first.error is None for display in window.bench.displays.values())


def test_maximise_and_restore(make, qtbot: QtBot) -> None:
    window = make(recurrences=2)
    shown = {k for k, d in window.docks.by_key.items() if not d.isHidden()}
    window.views.frames["heads"].maximise_toggled.emit(True)
    QApplication.processEvents()
    assert [k for k, d in window.docks.by_key.items() if d.isVisible()] == ["heads"]
    key(qtbot, window, Key.Key_Escape)
    assert {k for k, d in window.docks.by_key.items() if not d.isHidden()} == shown


def test_everything_is_remembered(make, qtbot: QtBot, tmp_path: Path) -> None:
    window = make(recurrences=3)
    window.resize(1111, 777)
    window.docks.by_key["distance"].hide()
    window.appearance.switch_theme()
    window.close()
    saved = Settings.load()
    assert saved.size == [1111, 777]
    assert saved.recurrences == 3
    assert saved.prompts["bundled:looped"] == PROMPT
    assert saved.theme == "dark"
    again = Window(Bench(), saved, DARK, remember=False)
    again.show()
    again.opening.open(saved.checkpoint)
    calm(qtbot, again, 3)
    assert again.docks.by_key["distance"].isHidden()
    assert again.bench.session.recording.info.prompt == PROMPT
    again.close()


def test_damaged_settings_fall_back(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    for text in ("{", "[]", json.dumps({"size": "big", "recent": 7, "speed": 8, "seed": 4})):
        (folder / "settings.json").write_text(text)
        settings = Settings.load(folder)
        assert settings.size == [1280, 800]
        assert settings.recent == []
    assert (settings.speed, settings.seed) == (8, 4)


def test_damaged_settings_are_told_in_the_window(qtbot: QtBot) -> None:
    settings = Settings()
    settings.problem = "settings.json is damaged"
    window = Window(Bench(), settings, LIGHT, remember=False)
    assert window.statusBar().currentMessage() == "settings.json is damaged"
    window.close()
    window.deleteLater()


def test_opening_another_checkpoint_and_a_broken_one(make, qtbot: QtBot, tmp_path: Path) -> None:
    window = make(recurrences=2)
    bench = window.bench
    folder = tiny_checkpoint(tmp_path / "other", tiny_architecture(n_block=3))
    window.opening.open(str(folder), FirstRun(PROMPT, 2))
    qtbot.waitUntil(
        lambda: bench.session.recording is not None and bench.session.recording.n_layers == 3,
        timeout=20_000,
    )
    calm(qtbot, window, 2)
    assert "other" in window.bars.header.model.whole()
    (folder / "model.safetensors").write_bytes(b"broken")
    kept = bench.session.recording
    window.opening.open(str(folder))
    qtbot.waitUntil(lambda: bench.session.status.error is not None, timeout=20_000)
    qtbot.waitUntil(lambda: window.bars.header.notice.isVisible(), timeout=5_000)
    assert "cut short" in window.bars.header.notice.toolTip()
    assert bench.session.recording is kept
    assert str(folder) in window.settings.recent


def test_closing_in_mid_run(make, qtbot: QtBot) -> None:
    window = make()
    window.bench.transport.set_rate(float("inf"))
    window.bench.transport.set_playing(True)
    qtbot.waitUntil(lambda: window.bench.session.recording.n_recurrences > 5, timeout=20_000)
    window.close()
    assert window.bench.runner.status.state.name == "CLOSED"


def test_export_of_one_view_and_of_all(make, qtbot: QtBot, tmp_path: Path) -> None:
    window = make(recurrences=3)
    window.settings.export = {
        "formats": ["svg", "csv"],
        "folder": str(tmp_path / "out"),
        "name": "{view}",
    }
    dialog = window.exporter.ask("settling")
    qtbot.mouseClick(dialog.export_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: (tmp_path / "out" / "settling.csv").exists(), timeout=30_000)
    qtbot.waitUntil(lambda: dialog.export_button.isEnabled(), timeout=30_000)
    assert "Wrote" in dialog.note.text()
    dialog.close()
    (tmp_path / "file").write_text("")
    window.settings.export = {"formats": ["csv"], "folder": str(tmp_path / "file")}
    dialog = window.exporter.ask(None)
    qtbot.mouseClick(dialog.export_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.export_button.isEnabled(), timeout=30_000)
    assert "cannot make the folder" in dialog.note.text()
    dialog.close()


def test_an_empty_panel_offers_the_button_that_fills_it(make, qtbot: QtBot) -> None:
    window = make()
    button = window.views.frames["readout"].step_button
    assert button.isVisible()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.bench.session.recording.n_recurrences == 1, timeout=20_000)
    calm(qtbot, window, 1)
    assert not button.isVisible()


def test_readout_directions_are_read_from_the_model(make, qtbot: QtBot) -> None:
    from dataclasses import replace

    window = make(recurrences=4)
    display = window.bench.displays["state_space"]
    options = replace(display.options, axes="readout", readout_x=13, readout_y=14)
    window.bench.analysis.set_options("state_space", options)
    qtbot.waitUntil(
        lambda: len(window.bench.session.recording.readout_directions) == 2, timeout=20_000
    )
    calm(qtbot, window, 4)
    assert not display.data.missing_directions
    truth = window.bench.runner.loaded.model.unembed.weight[13].numpy()
    np.testing.assert_array_equal(window.bench.session.recording.readout_directions[13], truth)


def test_every_menu_opens_by_alt_and_its_letter(make, qtbot: QtBot) -> None:
    window = make()
    for key, title in zip("FERVH", MENUS, strict=True):
        qtbot.keyClick(window, getattr(Key, f"Key_{key}"), Mod.AltModifier)
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        assert menu.title().replace("&", "") == title
        menu.close()


def test_exporting_nothing_says_so(make) -> None:
    window = make()
    assert window.exporter.ask(None) is None
    assert "nothing to export yet" in window.statusBar().currentMessage()


def test_the_joint_pca_of_the_paper_is_one_command(make, qtbot: QtBot) -> None:
    window = make(recurrences=9)
    action = window.commands["joint_pca"]
    assert "2604.11791" in action.text()
    action.trigger()
    calm(qtbot, window)
    data = window.bench.displays["state_space"].data
    last = window.bench.session.recording.n_tokens - 1
    assert (data.tokens, data.by_layer) == ((last,), True)
    assert data.basis.fitted_on.endswith("the final token")
    # The settings form shows what was set.
    assert window.views.frames["state_space"].title_bar is not None
    assert window.bench.displays["state_space"].options.fit_on == "final"
