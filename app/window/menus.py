"""The menus of the window: the table of commands, and what is not a command of its own."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMainWindow, QMenu

from loopscope.app.window.actions import COMMANDS, MENUS
from loopscope.app.window.layout import PRESETS
from loopscope.app.window.settings import Settings, is_there
from loopscope.app.window.tree_commands import TreeCommands
from loopscope.app.window.view_docks import ViewDocks


def make_menus(
    window: QMainWindow,
    actions: dict[str, QAction],
    views: ViewDocks,
    tree: TreeCommands,
    recent: QMenu,
) -> list[QAction]:
    """Fill the menu bar; returns the actions that are no commands: presets and views."""
    menus = {name: window.menuBar().addMenu(f"&{name}") for name in MENUS}
    for command in COMMANDS:
        menus[command.menu].addAction(actions[command.name])
    menus["File"].insertMenu(actions["open_bundled"], recent)
    views_menu = menus["View"].addMenu("Views")
    views_menu.addActions(views.actions())
    tree.make_step_pairing_menu(menus["Run"])
    presets = preset_actions(window, views.apply)
    menus["View"].addMenu("Presets").addActions(presets)
    return [*presets, *views.actions()]


def preset_actions(window: QMainWindow, apply: Callable[[str], None]) -> list[QAction]:
    """One action for each arrangement of the views, with Ctrl and its number."""
    group, actions = QActionGroup(window), []
    for i, name in enumerate(PRESETS):
        action = QAction(f"Preset: {name}", window)
        action.setShortcut(QKeySequence(f"Ctrl+{i + 1}"))
        action.triggered.connect(lambda _=False, name=name: apply(name))
        group.addAction(action)
        actions.append(action)
    return actions


class RecentMenu(QMenu):
    """The checkpoints and sessions opened last; those that are not there any more say so."""

    def __init__(
        self, settings: Settings, open: Callable[[str], None], window: QMainWindow
    ) -> None:
        super().__init__("Open recent", window)
        self._settings, self._open = settings, open
        self.aboutToShow.connect(self._fill)

    def _fill(self) -> None:
        self.clear()
        for path in self._settings.recent:
            there = is_there(path)
            family = self._settings.families.get(path)
            name = f"{path} (as {family})" if family else path
            action = self.addAction(name if there else f"{path} (missing)")
            action.setEnabled(there)
            action.triggered.connect(lambda _=False, path=path: self._open(path))
        if not self._settings.recent:
            self.addAction("nothing opened yet").setEnabled(False)
