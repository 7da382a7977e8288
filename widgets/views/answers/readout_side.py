"""The bars of one cell: its kept answers with their probabilities."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QStaticText

from loopscope.core.views.answers_data import AnswerMap
from loopscope.widgets.palette import Theme

LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter

Fonts = tuple[QFont, QFont]
At = tuple[int | None, int | None]


class Elider:
    """Texts of one font: each is measured and laid out once, however often it is drawn."""

    def __init__(self, font: QFont) -> None:
        self.font, self._metrics = font, QFontMetricsF(font)
        self._laid_out: dict[str, QStaticText] = {}
        self._widths: dict[str, float] = {}
        self._elided: dict[tuple[str, int], str] = {}

    def width(self, text: str) -> float:
        """Width in pixels."""
        if text not in self._widths:
            self._widths[text] = self._metrics.horizontalAdvance(text)
        return self._widths[text]

    def fit(self, text: str, width: float) -> str:
        """As much of ``text`` as fits; nothing when that is not even one letter."""
        if self.width(text) <= width:
            return text
        key = (text, int(width))
        if key not in self._elided:
            short = self._metrics.elidedText(text, Qt.TextElideMode.ElideRight, width)
            self._elided[key] = short if len(short) > 1 and self.width(short) <= width else ""
        return self._elided[key]

    def draw(self, painter: QPainter, rect: QRectF, align: float, text: str) -> None:
        """Draw on one line, at 0 (left) to 1 (right) of ``rect``; the font must be set."""
        static = self._laid_out.get(text)
        if static is None:
            static = self._laid_out[text] = QStaticText(text)
            static.setTextFormat(Qt.TextFormat.PlainText)
            static.prepare(font=self.font)
        x = rect.left() + align * (rect.width() - self.width(text))
        y = rect.center().y() - self._metrics.height() / 2
        painter.drawStaticText(QPointF(x, y), static)


def draw_side(
    painter: QPainter, data: AnswerMap, side: QRectF, theme: Theme, fonts: Fonts, cursor: At,
    missing: str,
) -> None:  # fmt: skip
    """The kept answers of the cursor's cell as bars, and what else there is to say of it.

    ``missing`` is said where the cursor's column is not there.
    """
    text_font, number_font = fonts
    metrics = QFontMetricsF(text_font)
    line = metrics.height()
    row, column = cursor

    def write(y: float, text: str, colour: str) -> None:
        painter.setFont(text_font)
        painter.setPen(QColor(colour))
        short = metrics.elidedText(text, Qt.TextElideMode.ElideRight, side.width())
        painter.drawText(QRectF(side.left(), y, side.width(), line), LEFT, short)

    if row is None or column is None:
        missing = missing if column is None else "Token not shown"
        painter.setFont(text_font)
        painter.setPen(QColor(theme.muted))
        painter.drawText(side, Qt.TextFlag.TextWordWrap, missing)
        return
    y = side.top()
    write(y, data.place_text(row, column), theme.text)
    y += line + 3
    number_wide = QFontMetricsF(number_font).horizontalAdvance("0.000") + 2
    elider = Elider(text_font)
    answers = [data.text(int(a)) for a in data.ids[column - 1, row]]
    answer_wide = min(max(map(elider.width, answers)), 0.42 * side.width()) + 6
    track = QRectF(side.left() + answer_wide, 0, side.width() - answer_wide - number_wide, line)
    for text, p in zip(answers, data.probabilities[column - 1, row].tolist(), strict=True):
        if y + line > side.bottom():
            return
        write_rect = QRectF(side.left(), y, answer_wide - 4, line)
        painter.setFont(text_font)
        painter.setPen(QColor(theme.text))
        painter.drawText(write_rect, LEFT, elider.fit(text, answer_wide - 4))
        bar = QRectF(track.left(), y + 3, track.width(), line - 6)
        painter.fillRect(bar, QColor(theme.line))
        if p == p:
            bar.setWidth(max(1.0, track.width() * min(max(p, 0.0), 1.0)))
            painter.fillRect(bar, QColor(theme.muted))
        painter.setFont(number_font)
        painter.drawText(QRectF(side.right() - number_wide, y, number_wide, line), RIGHT,
                         "–" if p != p else f"{p:.3f}")  # fmt: skip
        y += line + 2
    for text in data.notes(row, column):
        if y + line + 3 <= side.bottom():
            write(y + 3, text, theme.muted)
            y += line
