"""The popups of a window, each made when it is first asked for."""

from __future__ import annotations

from functools import cached_property

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMainWindow

from loopscope.app.window.docks import Docks
from loopscope.app.window.gestures import GESTURES
from loopscope.app.window.setting_actions import setting_actions
from loopscope.app.window.view_docks import ViewDocks
from loopscope.widgets.kit.command_palette import CommandPalette
from loopscope.widgets.kit.error_panel import ErrorPanel
from loopscope.widgets.kit.shortcuts_page import ShortcutsPage
from loopscope.widgets.palette import Theme


class Popups:
    """The command palette, the page of shortcuts and the errors of one window.

    Parameters
    ----------
    groups
        The actions of the menus, by the titles of the menus.
    """

    def __init__(
        self,
        groups: dict[str, list[QAction]],
        docks: Docks,
        views: ViewDocks,
        theme: Theme,
        window: QMainWindow,
    ) -> None:
        self._groups, self._docks, self._views = groups, docks, views
        self._theme, self._window = theme, window

    @cached_property
    def palette(self) -> CommandPalette:
        """The command palette."""
        actions = [action for group in self._groups.values() for action in group]
        popup = CommandPalette(
            actions, self._window, lambda holder: setting_actions(self._docks, self._views, holder)
        )
        popup.set_theme(self._theme)
        return popup

    @cached_property
    def shortcuts(self) -> ShortcutsPage:
        """The page of all commands with their keys."""
        page = ShortcutsPage(self._groups, self._window, GESTURES)
        page.set_theme(self._theme)
        return page

    @cached_property
    def errors(self) -> ErrorPanel:
        """The window of errors that nothing caught."""
        return ErrorPanel(self._window)

    def show_shortcuts(self) -> None:
        """Show all commands with their keys."""
        self.shortcuts.show()
        self.shortcuts.raise_()
        self.shortcuts.activateWindow()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self._theme = theme
        for name in ("palette", "shortcuts"):
            if name in vars(self):  # made
                getattr(self, name).set_theme(theme)
