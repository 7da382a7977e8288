"""A part of a picture that is painted once and then shown until what it depends on changes."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QPainter, QPixmap
from PySide6.QtWidgets import QWidget


class Layer:
    """A picture as large as a widget, transparent where nothing is painted."""

    def __init__(self) -> None:
        self._picture, self._key = QPixmap(), tuple[object, ...]()

    def forget(self) -> None:
        """Paint it anew next time."""
        self._key = ()

    def show(
        self, painter: QPainter, widget: QWidget, key: tuple[object, ...],
        paint: Callable[[QPainter], None],
    ) -> None:  # fmt: skip
        """Show it on ``painter``, painted anew when ``key`` has changed."""
        if key != self._key:
            self._key = key
            ratio = widget.devicePixelRatioF()
            self._picture = QPixmap(widget.size() * ratio)
            self._picture.setDevicePixelRatio(ratio)
            self._picture.fill(Qt.GlobalColor.transparent)
            on = QPainter(self._picture)
            on.setRenderHint(QPainter.RenderHint.Antialiasing)
            paint(on)
            on.end()
        painter.drawPixmap(0, 0, self._picture)
