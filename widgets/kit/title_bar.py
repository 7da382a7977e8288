"""The title bar of a dock: its title, one sentence on what is shown, and flat buttons."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
)
from PySide6.QtWidgets import QHBoxLayout, QToolButton, QWidget
from typing_extensions import override

from loopscope.widgets.kit.icons import themed_icon
from loopscope.widgets.kit.plain_text import PlainLabel, plain_tip
from loopscope.widgets.kit.shortening import ShortLabel
from loopscope.widgets.palette import LIGHT, Theme

# Pixels of the bar at the title of the current view.
MARK = 3


class TitleBar(QWidget):
    """A dock's title bar. It leaves the mouse to the dock, which moves with it.

    Signals
    -------
    pressed(), double_clicked()
        The mouse, beside the buttons.
    menu_requested(QPoint)
        A right click, on the screen.
    """

    pressed = Signal()
    menu_requested = Signal(QPoint)
    double_clicked = Signal()

    def __init__(self, title: str) -> None:
        super().__init__()
        self.theme: Theme = LIGHT
        self.current = False
        self.title, self.statement = PlainLabel(title), ShortLabel()
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(8, 2, 4, 2)
        self.row.setSpacing(2)
        self.row.addWidget(self.title)
        self.row.addSpacing(8)
        self.row.addWidget(self.statement, 1)
        self.buttons: dict[str, QToolButton] = {}

    def add_settings(self, form: QWidget) -> None:
        """Put settings between the title and the sentence."""
        self.row.insertWidget(2, form)

    def add_button(self, name: str, tip: str) -> QToolButton:
        """Add a flat button at the right."""
        button = QToolButton()
        button.setAutoRaise(True)
        button.setIconSize(QSize(14, 14))
        button.setToolTip(plain_tip(tip))
        button.setAccessibleName(tip)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.buttons[name] = button
        self.row.addWidget(button)
        return button

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.theme = theme
        for name, button in self.buttons.items():
            button.setIcon(themed_icon(name, theme))
        palette = self.statement.palette()
        palette.setColor(palette.ColorRole.WindowText, theme.muted)
        self.statement.setPalette(palette)
        self.update()

    def set_current(self, current: bool) -> None:
        """Mark the title of the view that commands act on."""
        if current != self.current:
            self.current = current
            self.update()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the mark of the current view: a ground of its own, and a bar at the left."""
        if self.current:
            painter = QPainter(self)
            painter.fillRect(self.rect(), QColor(self.theme.button))
            painter.fillRect(0, 0, MARK, self.height(), QColor(self.theme.text))

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Tell of it, and leave dragging to the dock."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.pressed.emit()
        event.ignore()

    @override
    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Tell where a menu is asked for."""
        self.menu_requested.emit(event.globalPos())

    @override
    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Maximise or restore; the dock would float."""
        self.double_clicked.emit()
        event.accept()
