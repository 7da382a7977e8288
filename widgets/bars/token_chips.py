"""The prompt's tokens: chips in one row that scrolls sideways, or the cells of a grid."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QHelpEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget
from typing_extensions import override

from loopscope.core.labels import visible
from loopscope.core.model.token_layout import TokenLayout
from loopscope.core.selection import Selection
from loopscope.widgets.kit.plain_text import plain_tip
from loopscope.widgets.palette import LIGHT, OKABE_ITO, Theme, token_colour

HEIGHT, GAP, PAD, WIDEST = 24, 3, 6, 150
# Of a grid: its height at most, and the size of its cells; text is written from READABLE on.
GRID_HEIGHT, SMALLEST, LARGEST, READABLE = 170, 6, 24, 13
# Width of the arrows that show at an end with more tokens beyond it.
ARROW = 18


class TokenChips(QWidget):
    """One chip for each token; of a family whose prompts are grids, one cell.

    What stands before a grid (a puzzle's positions) has columns of its own at its right. Cells too
    small for text are tinted by their token.

    Signals
    -------
    select_requested(dict)
        Click: ``{"token": i}``. Ctrl+click adds or removes i, Shift+click takes the range from
        the chip last clicked: ``{"token": i, "tokens": (...)}``; no tokens means all.
    hover_changed(dict)
        ``{"token": i}``, or ``{}`` when the pointer left.
    """

    select_requested = Signal(dict)
    hover_changed = Signal(dict)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT
        self.labels: tuple[str, ...] = ()
        self.layout_of_tokens: TokenLayout | None = None
        self.selection = Selection()
        self.hovered: int | None = None
        self.dimmed = False
        self.offset = 0.0
        # Where each chip is, from the first one's left edge and the top.
        self._places: list[QRectF] = []
        self._anchor: int | None = None
        self._pointed: int | None = None
        # Different labels in order, by which small cells are tinted.
        self._kinds: list[str] = []
        self.setMouseTracking(True)
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    @override
    def sizeHint(self) -> QSize:  # Qt's name
        """Wide enough for all; the layout may give less."""
        return QSize(int(self._total), self._height)

    @override
    def minimumSizeHint(self) -> QSize:  # Qt's name
        """Never a reason to widen the window."""
        return QSize(60, self._height)

    # ---- what is shown ----
    def show_tokens(self, labels: tuple[str, ...], layout: TokenLayout | None = None) -> None:
        """Show new tokens, in a grid where they have a ``layout``."""
        self.labels, self.dimmed, self._anchor, self._pointed = labels, False, None, None
        # A shorter prompt does not fill the grid: its cells would stand in wrong rows.
        whole = layout is not None and len(labels) == layout.before + layout.rows * layout.columns
        self.layout_of_tokens = layout if whole else None
        self._kinds = sorted(set(labels))
        self._measure()
        self.scroll_to(self.offset)

    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Mark the cursor's token, the selected tokens and the one pointed at."""
        moved = selection.token != self.selection.token
        self.selection, self.hovered = selection, hover.get("token")
        if moved:
            self.reveal(selection.token)
        self.update()

    def set_dimmed(self, dimmed: bool) -> None:
        """Dim the chips of a run that is not the prompt's."""
        self.dimmed = dimmed
        self.update()

    def reveal(self, token: int) -> None:
        """Scroll so that a token can be seen, with its neighbours."""
        if not 0 <= token < len(self.labels):
            return
        margin = ARROW + 12
        left, right = self._places[token].left(), self._places[token].right()
        if left - self.offset < margin:
            self.scroll_to(left - margin)
        elif right - self.offset > self.width() - margin:
            self.scroll_to(right - self.width() + margin)

    def scroll_to(self, offset: float) -> None:
        """Scroll so that what is ``offset`` pixels from the first chip is at the left edge."""
        self.offset = max(0.0, min(offset, self._total - self.width()))
        self.update()

    # ---- where things are ----
    def chip(self, token: int) -> QRectF:
        """The rectangle of one chip."""
        return self._places[token].translated(-self.offset, 0)

    def chip_centre(self, token: int) -> QPoint:
        """Pixel in the middle of a chip."""
        return self.chip(token).center().toPoint()

    def token_at(self, point: QPointF) -> int | None:
        """The token under a pixel."""
        if self._arrow_at(point):
            return None
        if self.layout_of_tokens is None:
            margins = (GAP / 2, float(HEIGHT), GAP / 2, float(HEIGHT))
        else:
            margins = (0.5, 0.5, 0.5, 0.5)
        left, top, right, bottom = margins
        at = QPointF(point.x() + self.offset, point.y())
        for i, place in enumerate(self._places):
            if place.adjusted(-left, -top, right, bottom).contains(at):
                return i
        return None

    def _arrow_at(self, point: QPointF) -> int:
        """-1 or 1 on the arrow of an end with more tokens, else 0."""
        if self.offset > 0 and point.x() < ARROW:
            return -1
        more = self._total - self.width() - self.offset > 0.5
        return 1 if more and point.x() > self.width() - ARROW else 0

    @property
    def _total(self) -> float:
        return max((place.right() for place in self._places), default=-1.0) + 1

    @property
    def _height(self) -> int:
        """Of a row of chips, or of the whole grid."""
        if self.layout_of_tokens is None or not self._places:
            return HEIGHT
        return int(max(place.bottom() for place in self._places)) + 2

    def _measure(self) -> None:
        grid = self.layout_of_tokens
        self._places = self._in_a_row() if grid is None else self._in_grid(grid)
        self.setFixedHeight(self._height)
        self.updateGeometry()

    def _in_a_row(self) -> list[QRectF]:
        metrics = QFontMetricsF(self.font())
        places, left = [], 1.0
        for label in self.labels:
            width = min(metrics.horizontalAdvance(visible(label)), WIDEST) + 2 * PAD
            width = max(width, HEIGHT - 4)
            places.append(QRectF(left, 1, width, HEIGHT - 2))
            left += width + GAP
        return places

    def _in_grid(self, grid: TokenLayout) -> list[QRectF]:
        """Cells of one size, all rows in sight; beside them those that stand before the grid."""
        size = max(SMALLEST, min(LARGEST, GRID_HEIGHT // grid.rows))
        places = []
        for token in range(len(self.labels)):
            cell = grid.cell(token)
            column, row = divmod(token, grid.rows) if cell is None else (cell[1] - 1, cell[0] - 1)
            left = 1.0 + column * size + (0 if cell else (grid.columns + 1) * size)
            places.append(QRectF(left, 1.0 + row * size, size - 1, size - 1))
        return places

    # ---- events ----
    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Select, add, remove or take a range."""
        if event.button() != Qt.MouseButton.LeftButton:
            return
        if arrow := self._arrow_at(event.position()):
            self.scroll_to(self.offset + arrow * 0.7 * self.width())
            return
        token = self.token_at(event.position())
        if token is None:
            return
        keys = event.modifiers()
        ctrl = bool(keys & Qt.KeyboardModifier.ControlModifier)
        shift = bool(keys & Qt.KeyboardModifier.ShiftModifier)
        anchor = self.selection.token if self._anchor is None else self._anchor
        if not shift:
            self._anchor = token
        if not (ctrl or shift):
            self.select_requested.emit({"token": token})
            return
        chosen = set(self.selection.tokens)
        if shift:
            between = set(range(min(anchor, token), max(anchor, token) + 1))
            chosen = chosen | between if ctrl else between
        else:
            chosen ^= {token}
        if len(chosen) == len(self.labels):
            chosen = set()
        self.select_requested.emit({"token": token, "tokens": tuple(sorted(chosen))})

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell which token is pointed at."""
        self._point_at(self.token_at(event.position()))

    @override
    def leaveEvent(self, event: QEvent) -> None:
        self._point_at(None)

    @override
    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll sideways."""
        if self._total <= self.width():
            event.ignore()
            return
        delta = event.angleDelta()
        self.scroll_to(self.offset - (delta.x() or delta.y()) / 2)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the cursor's token in sight."""
        self.scroll_to(self.offset)
        self.reveal(self.selection.token)

    @override
    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.FontChange:
            self._measure()

    @override
    def event(self, event: QEvent) -> bool:
        """Answer tooltips with the token under the pointer."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            tip = plain_tip(self.tip_at(QPointF(event.pos())))
            QToolTip.showText(event.globalPos(), tip, self)
            return True
        return super().event(event)

    def tip_at(self, point: QPointF) -> str:
        """The tooltip of what is under a pixel."""
        if self._arrow_at(point):
            return "More tokens: click or turn the wheel"
        token = self.token_at(point)
        if token is None:
            return ""
        grid = self.layout_of_tokens
        cell = None if grid is None else grid.cell(token)
        where = "" if cell is None else f", row {cell[0]}, column {cell[1]}"
        return (
            f"Token {token}{where} '{visible(self.labels[token])}'. Click: cursor. Ctrl+click: add "
            "or remove; Shift+click: range. The chosen tokens drive every view."
        )

    def _point_at(self, token: int | None) -> None:
        if token != self._pointed:
            self._pointed = token
            self.hover_changed.emit({} if token is None else {"token": token})

    # ---- drawing ----
    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Chips in sight, then the arrows."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics = QFontMetricsF(self.font())
        tokens = self.selection.shown_tokens(len(self.labels))
        # Colours tell tokens apart only as far as there are colours.
        few = tokens if len(tokens) <= len(OKABE_ITO) else ()
        rank = {token: i for i, token in enumerate(few)}
        for i, label in enumerate(self.labels):
            rect = self.chip(i)
            if rect.right() >= 0 and rect.left() <= self.width():
                pad = PAD if self.layout_of_tokens is None else 0
                text = metrics.elidedText(
                    visible(label), Qt.TextElideMode.ElideMiddle, rect.width() - 2 * pad + 1
                )
                self._draw_chip(painter, rect, text, i, i in tokens, rank.get(i))
        for side in (-1, 1):
            x = 1.0 if side < 0 else self.width() - 1.0
            if self._arrow_at(QPointF(x, 5)) == side:
                self._draw_arrow(painter, side)

    def _draw_chip(
        self, painter: QPainter, rect: QRectF, text: str, i: int, selected: bool, rank: int | None
    ) -> None:
        theme = self.theme
        painter.setOpacity(0.4 if self.dimmed else 1.0)
        filled = theme.hover if i == self.hovered else theme.button if selected else theme.window
        painter.setPen(QPen(QColor(theme.line), 1))
        painter.setBrush(QColor(filled))
        grid = self.layout_of_tokens is not None
        readable = rect.width() >= READABLE
        rect, round_by = rect.adjusted(0.5, 0.5, -0.5, -0.5), 0 if grid else 4
        painter.drawRoundedRect(rect, round_by, round_by)
        painter.setPen(QColor(theme.text if selected else theme.muted))
        if readable:
            painter.drawText(rect.adjusted(0, -1, 0, -1), Qt.AlignmentFlag.AlignCenter, text)
        else:
            tint = QColor(token_colour(self._kinds.index(self.labels[i]) % len(OKABE_ITO)))
            tint.setAlphaF(0.7 if selected else 0.25)
            painter.fillRect(rect, tint)
        if rank is not None and readable:
            stripe = QRectF(rect.left() + 4, rect.bottom() - 4, rect.width() - 8, 2.5)
            painter.fillRect(stripe, QColor(token_colour(rank)))
        if i == self.selection.token:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(theme.accent), 2))
            painter.drawRoundedRect(rect.adjusted(0.5, 0.5, -0.5, -0.5), round_by, round_by)
        painter.setOpacity(1.0)

    def _draw_arrow(self, painter: QPainter, side: int) -> None:
        left = 0.0 if side < 0 else self.width() - ARROW
        painter.fillRect(QRectF(left, 0, ARROW, HEIGHT), QColor(self.theme.window))
        middle = left + ARROW / 2
        path = QPainterPath(QPointF(middle - 3 * side, HEIGHT / 2 - 5))
        path.lineTo(middle + 2 * side, HEIGHT / 2)
        path.lineTo(middle - 3 * side, HEIGHT / 2 + 5)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(self.theme.text), 1.6))
        painter.drawPath(path)
