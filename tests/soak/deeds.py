"""What a random user can do to a window, one deed a method."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QDialog,
    QDockWidget,
    QFileDialog,
    QWidget,
)

from loopscope.app.views import VIEW_SPECS
from loopscope.app.window.layout import PRESETS
from loopscope.core.options import settings_of

MODELS = ("bundled:looped", "bundled:looped", "bundled:deep", "bundled:shallow")
PROMPTS = (
    "ab bc cd de ea ? 3 : a b c d e",
    "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h",
    "ab bc ca ? 2 : a b c",
    "ab",
    "",
    "this is no walk",
    "#1,2,3,4",
    "#9999999",
    "#1," * 40 + "1",
    "a\u200b\u202e\x0c<b>",
)
SIZES = (300, 700, 1280, 1366, 1920, 3000), (200, 500, 768, 800, 1200, 2000)
# Commands that wait for a person at a dialog of the system, or end the window: they have deeds
# of their own.
NOT_AT_RANDOM = {"quit", "open", "open_prompts", "open_second_model", "save_cuts", "replay_cuts"}
KEYS = (
    Qt.Key.Key_Space, Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Home, Qt.Key.Key_End,
    Qt.Key.Key_P, Qt.Key.Key_S, Qt.Key.Key_L, Qt.Key.Key_Escape, Qt.Key.Key_Tab, Qt.Key.Key_X,
    Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Return, Qt.Key.Key_Delete, Qt.Key.Key_F11,
)  # fmt: skip
MODIFIERS = (
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.ShiftModifier,
)


class Deeds:
    """Deeds in the window that ``window`` gives, all of them chosen by ``random``.

    Parameters
    ----------
    folder
        Where files are written.
    say
        Told more of the deed that is being done.
    turn
        Lets the event loop turn for so many seconds.
    """

    def __init__(
        self,
        random: random.Random,
        folder: Path,
        window: Callable[[], Any],
        say: Callable[[str], None],
        turn: Callable[[float], None],
    ) -> None:
        self.random, self.folder, self._window = random, folder, window
        self.say, self.turn = say, turn
        # (deed, how often out of the sum)
        self.all: tuple[tuple[Callable[[], None], int], ...] = (
            (self.press_a_key, 30),
            (self.trigger_a_command, 14),
            (self.click_somewhere, 20),
            (self.change_a_setting, 24),
            (self.show_or_hide_a_view, 12),
            (self.float_a_view, 5),
            (self.drag_a_title, 4),
            (self.apply_a_preset, 3),
            (self.resize_the_window, 5),
            (self.edit_the_prompt, 5),
            (self.branch, 8),
            (self.choose_a_run, 6),
            (self.measure, 7),
            (self.cancel_measuring, 5),
            (self.scrub, 8),
            (self.export, 3),
            (self.open_a_model, 2),
            (self.put_a_model_beside, 2),
            (self.press_a_button, 8),
            (self.just_wait, 6),
        )
        # What a person would choose in the system's dialogs.
        QFileDialog.getExistingDirectory = lambda *a, **k: self._some_path()
        QFileDialog.getOpenFileName = lambda *a, **k: (self._some_path(), "")
        QFileDialog.getSaveFileName = lambda *a, **k: (self._some_path(), "")

    @property
    def window(self) -> Any:
        """The window that is open."""
        return self._window()

    def press_a_key(self) -> None:
        """Press a key wherever the focus is."""
        target = QApplication.focusWidget() or self.window
        key, modifier = self.random.choice(KEYS), self.random.choice(MODIFIERS)
        self.say(f"{key.name} {modifier.name}")
        QTest.keyClick(target, key, modifier)

    def trigger_a_command(self) -> None:
        """Choose a command from the menus."""
        actions = self.window.commands
        name = self.random.choice(sorted(set(actions) - NOT_AT_RANDOM))
        self.say(f"{name}")
        if actions[name].isEnabled():
            actions[name].trigger()

    def click_somewhere(self) -> None:
        """Click, drag or turn the wheel in a view."""
        views = [f.view for f in self.window.views.frames.values() if f.view.isVisible()]
        if not views:
            return
        target: QWidget = self.random.choice(views)
        children = [c for c in target.findChildren(QWidget) if c.isVisible()]
        target = self.random.choice([target, *children])
        if target.width() < 2 or target.height() < 2:
            return
        where = QPoint(
            self.random.randrange(target.width()), self.random.randrange(target.height())
        )
        button = self.random.choice(
            (Qt.MouseButton.LeftButton,) * 4 + (Qt.MouseButton.RightButton,)
        )
        modifier = self.random.choice(MODIFIERS)
        QTest.mouseMove(target, where)
        QTest.mousePress(target, button, modifier, where)
        if self.random.random() < 0.3:
            QTest.mouseMove(target, where + QPoint(self.random.randint(-80, 80), 20))
        QTest.mouseRelease(target, button, modifier, where)

    def change_a_setting(self) -> None:
        """Set one setting of one view to any of its values."""
        frames, displays = self.window.views.frames, self.window.bench.displays
        if not displays:
            return  # views are made when they are first seen
        key = self.random.choice(sorted(displays))
        display = displays[key]
        entries = settings_of(display.options)
        if not entries:
            return
        entry = self.random.choice(entries)
        self.say(f"{key}.{entry.name}")
        value: Any
        if entry.kind == "choice":
            value = self.random.choice([c for c, _ in entry.choices])
        elif entry.kind == "flag":
            value = self.random.random() < 0.5
        elif entry.kind == "number":
            kind = type(getattr(display.options, entry.name))
            low, high = entry.low, min(entry.high, entry.low + 50)
            value = kind(self.random.choice((low, high, self.random.uniform(low, high))))
        else:
            value = self.random.choice(("", "a", "0", "x,y", "attention", "-1"))
        frame = frames[key]
        options = dataclasses.replace(display.options, **{entry.name: value})
        frame.set_options(options)
        frame.options_changed.emit(options)

    def show_or_hide_a_view(self) -> None:
        """Show or hide a view from the menu."""
        dock = self.window.docks.by_key[self.random.choice(sorted(self.window.docks.by_key))]
        dock.toggleViewAction().trigger()

    def float_a_view(self) -> None:
        """Drag a view out of the window, or back."""
        docks = [d for d in self.window.docks.by_key.values() if d.isVisible()]
        if docks:
            dock: QDockWidget = self.random.choice(docks)
            dock.setFloating(not dock.isFloating())
            if dock.isFloating():
                dock.resize(self.random.choice(SIZES[0][:3]), self.random.choice(SIZES[1][:3]))

    def drag_a_title(self) -> None:
        """Drag a view by its title, sometimes pressing a key or choosing a command meanwhile."""
        docks = [d for d in self.window.docks.by_key.values() if d.isVisible()]
        bars = [bar for d in docks if (bar := d.titleBarWidget()) is not None]
        if not bars:
            return
        bar: QWidget = self.random.choice(bars)
        at = QPoint(max(bar.width() // 3, 1), max(bar.height() // 2, 1))
        QTest.mousePress(bar, Qt.MouseButton.LeftButton, pos=at)
        for _ in range(self.random.randint(1, 4)):
            at += QPoint(self.random.randint(-300, 300), self.random.randint(-200, 200))
            QTest.mouseMove(bar, at)
            self.turn(0.0)
        meanwhile = self.random.choice(
            (self.press_a_key, self.apply_a_preset, self.trigger_a_command, lambda: None)
        )
        meanwhile()
        QTest.mouseRelease(bar, Qt.MouseButton.LeftButton, pos=at)

    def apply_a_preset(self) -> None:
        """Arrange the views."""
        self.window.docks.apply(self.random.choice(sorted(PRESETS)))

    def resize_the_window(self) -> None:
        """Make the window small or large."""
        self.window.resize(self.random.choice(SIZES[0]), self.random.choice(SIZES[1]))

    def edit_the_prompt(self) -> None:
        """Type another prompt."""
        self.window.bars.prompt.prompt_edited.emit(self.random.choice(PROMPTS))

    def branch(self) -> None:
        """Cut a branch of any kind at the cursor."""
        form = self.window.tree.panel.form
        form.kind.setCurrentIndex(self.random.randrange(form.kind.count()))
        form.kind.activated.emit(form.kind.currentIndex())
        self.turn(0.0)
        form.branch()

    def choose_a_run(self) -> None:
        """Show, put beside, rename or delete one of the runs."""
        runs = list(self.window.bench.runs.tree)
        if not runs:
            return
        run, rows = self.random.choice(runs), self.window.tree.panel.list
        deed = self.random.choice(("show", "show", "second run", "delete", "rename"))
        if deed == "show":
            rows.show_requested.emit(run.id)
        elif deed == "second run":
            rows.second_run_requested.emit(self.random.choice((run.id, -1)))
        elif deed == "rename":
            rows.renamed.emit(run.id, self.random.choice(("a name", "", "<b>")))
        elif len(runs) > 1:
            rows.delete_requested.emit(run.id)

    def measure(self) -> None:
        """Start a measurement that takes long."""
        specs = [s for s in VIEW_SPECS if s.request is not None]
        spec = self.random.choice(specs)
        frame = self.window.views.frames.get(spec.key)
        self.say(f"{spec.key}")
        if frame is not None and frame.measuring.button.isEnabled():
            frame.measure_requested.emit()

    def cancel_measuring(self) -> None:
        """Cancel what is being measured."""
        for frame in self.window.views.frames.values():
            if frame.measuring.cancel.isVisible():
                frame.measuring.cancel.click()

    def scrub(self) -> None:
        """Drag the cursor along the recurrences."""
        recording = self.window.bench.session.recording
        if recording is not None:
            self.window.bars.transport.scrub_requested.emit(
                self.random.randint(0, recording.n_recurrences)
            )

    def export(self) -> None:
        """Export to a good or a bad place."""
        action = self.random.choice(("export_view", "export_all"))
        self.window.commands[action].trigger()
        self.turn(0.0)
        for dialog in QApplication.topLevelWidgets():
            if isinstance(dialog, QDialog) and hasattr(dialog, "export_button"):
                dialog.folder.setText(self._some_path())
                if dialog.export_button.isEnabled():
                    dialog.export_button.click()
                self.turn(0.3)
                if self.random.random() < 0.5:
                    dialog.close()

    def open_a_model(self) -> None:
        """Open a checkpoint, sometimes one that is none."""
        path = self.random.choice((*MODELS, str(self.folder / "nothing")))
        self.window.opening.open(path)
        self.turn(self.random.choice((0.0, 0.5)))

    def put_a_model_beside(self) -> None:
        """Open a second model."""
        self.window.commands["open_deep_twin"].trigger()

    def press_a_button(self) -> None:
        """Press any button in sight that belongs to a view's frame or the transport."""
        buttons = [
            b for b in self.window.findChildren(QAbstractButton) if b.isVisible() and b.isEnabled()
        ]
        if buttons:
            button = self.random.choice(buttons)
            self.say(f"{button.accessibleName() or button.text()}")
            button.click()

    def just_wait(self) -> None:
        """Watch for a moment."""
        self.turn(self.random.uniform(0, 0.5))

    def _some_path(self) -> str:
        good, none, file = self.folder / "out", self.folder / "no" / "such", self.folder / "file"
        good.mkdir(exist_ok=True)
        file.touch()
        return str(self.random.choice((good, good, none, file, "/proc", "")))
