"""The menu of a right click on a view."""

from __future__ import annotations

from PySide6.QtCore import QObject, QPoint
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QWidget

from loopscope.app.window.docks import Docks
from loopscope.app.window.view_docks import ViewDocks
from loopscope.core.options import settings_of
from loopscope.widgets.kit.menu import Menu

# Commands that act on the current view, which a right click makes the one clicked; "" is a line.
ENTRIES = (
    "export_view", "copy_picture", "copy_numbers", "copy_python", "",
    "view_settings", "reset_view", "maximise", "hide_view",
)  # fmt: skip


class ViewMenu(QObject):
    """Opens a menu of the commands of one view where it is asked for."""

    def __init__(
        self, docks: Docks, views: ViewDocks, commands: dict[str, QAction], window: QWidget
    ) -> None:
        super().__init__(window)
        self._docks, self._views = docks, views
        self._commands, self._window = commands, window
        self.menu: Menu | None = None
        views.menu_requested.connect(self._open)

    def _open(self, at: QPoint) -> None:
        menu = Menu("", self._window)
        has_settings = bool(settings_of(self._views.options(self._docks.current)))
        for name in ENTRIES:
            if not name:
                menu.addSeparator()
            elif name != "view_settings" or has_settings:
                menu.addAction(self._commands[name])
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(at)
        self.menu = menu
