"""The menus of the window: the table of commands, and what is not a command of its own."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMainWindow, QMenu

from loopscope.app.window.actions import COMMANDS, MENUS
from loopscope.app.window.docks import Docks
from loopscope.app.window.layout import PRESETS
from loopscope.app.window.settings import Settings, is_there
from loopscope.app.window.tree_commands import TreeCommands
from loopscope.widgets.kit.menu import Menu

# Commands that begin a group of their menu.
FIRST = frozenset((
    "open_prompts", "run_on", "open_second_model", "save_cuts", "card", "export_view", "screenshot",
    "quit",
    "prompt", "clear_hover", "play", "reset", "previous_recurrence", "loop_span", "branch",
    "follow", "view_settings", "copy_picture", "reset_views", "theme", "restore_layout", "plugins",
))  # fmt: skip
BUNDLED_MENU = "Open bundled"


def _submenu(command: str) -> str:
    """The submenu that a command stands in, or ""."""
    return BUNDLED_MENU if command.startswith("open_bundled") else ""


def make_menus(
    window: QMainWindow,
    actions: dict[str, QAction],
    docks: Docks,
    tree: TreeCommands,
    recent: QMenu,
) -> dict[str, list[QAction]]:
    """Fill the menu bar; returns all actions that can be found by name, in their groups."""
    menus: dict[str, QMenu] = {name: Menu(f"&{name}", window) for name in MENUS}
    found: dict[str, list[QAction]] = {name: [] for name in MENUS}
    for menu in menus.values():
        window.menuBar().addMenu(menu)
    within: dict[str, QMenu] = {}
    for command in COMMANDS:
        menu = menus[command.menu]
        if command.name in FIRST:
            menu.addSeparator()
        if name := _submenu(command.name):
            if name not in within:
                within[name] = Menu(name, window)
                menu.addMenu(within[name])
            menu = within[name]
        menu.addAction(actions[command.name])
        found[command.menu].append(actions[command.name])
    menus["File"].insertMenu(within[BUNDLED_MENU].menuAction(), recent)
    presets, shows = preset_actions(window, docks.apply), docks.show_actions()
    tree.make_step_pairing_menu(menus["Run"])
    menus["View"].addSeparator()
    for title, entries in (("Views", docks.actions()), ("Presets", presets)):
        submenu = Menu(title, window)
        submenu.addActions(entries)
        menus["View"].addMenu(submenu)
    return found | {"Presets": presets, "Views": shows}


def preset_actions(window: QMainWindow, apply: Callable[[str], None]) -> list[QAction]:
    """One action for each arrangement of the views, with Ctrl and its number."""
    group, actions = QActionGroup(window), []
    for i, name in enumerate(PRESETS):
        action = QAction(f"Preset: {name}", window)
        action.setShortcut(QKeySequence(f"Ctrl+{i + 1}"))
        action.setStatusTip(f"Arrange the views: {name.lower()}")
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
