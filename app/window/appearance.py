"""The colours and the text size of the application."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QApplication

from loopscope.app.window.settings import TEXT_SIZES, Settings
from loopscope.widgets.kit.theme import apply_text_size, apply_theme
from loopscope.widgets.palette import THEMES, Theme


class Appearance(QObject):
    """The theme and the text size, as one window chooses them for the application.

    Signals
    -------
    changed(Theme)
        Colours or text size are others; what has measured its text measures it again.
    """

    changed = Signal(object)

    def __init__(
        self, settings: Settings, theme: Theme, say: Callable[[str], None], parent: QObject
    ) -> None:
        super().__init__(parent)
        self._settings, self._say = settings, say
        self.theme = theme

    def set_theme(self, theme: Theme) -> None:
        """Take a theme, and the text size of the settings."""
        self.theme = theme
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        apply_text_size(app, self._settings.text_size)
        apply_theme(app, theme)
        self.changed.emit(theme)

    def switch_theme(self) -> None:
        """Change between the dark and the light colours."""
        self.set_theme(THEMES["light" if self.theme.dark else "dark"])
        self._settings.theme = self.theme.name

    def change_text_size(self, by: int) -> None:
        """Make all text larger or smaller by so many percent of the system's size; 0 is its own."""
        low, high = TEXT_SIZES
        size = min(max(self._settings.text_size + by, low), high) if by else 100
        self._settings.text_size = size
        self.set_theme(self.theme)
        self._say(f"Text at {size} % of the system's size")
