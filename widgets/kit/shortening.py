"""Sentences in too little room: whole clauses are left out first, then words, never a number.

A label and a status line that shorten theirs so, and have them whole in their tooltips.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from PySide6.QtCore import QEvent, QRect, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QStatusBar, QStyle, QStyleOption, QWidget
from typing_extensions import override

from loopscope.widgets.kit.plain_text import PlainLabel, plain_tip

# Pixels beside the sentence of a status line.
AIR = 8
# Where a clause ends: what follows can be left out and what is left is a sentence.
# A bracket is one where the clause ends with it: not that of "27 tokens (100 %) have settled".
CLAUSE_END = re.compile(r"(?:[.;:,]|  ·)(?= )| (?=\([^)]*\)(?:[.;:,]|$))")
WORD_END = re.compile(r"(?=\s)")
# Words that say nothing at the end; a number there has lost its unit, or what it counts.
DANGLING = re.compile(
    r"(?:^|\s)(?:of|at|the|to|in|on|and|or|by|a|an|its|is|are|has|have|with|from|for|as|than|per|not|no|within|[kMG]"
    r"|[^\w\s]+|[^\w\s]*\d\S*)$"
)
MORE = " …"


def shorten(
    text: str, width: float, measure: Callable[[str], float], briefs: Sequence[str] = ()
) -> str:
    """Return as much of ``text`` as has room, with an ellipsis where something was left out.

    Nothing rather than an ellipsis alone.

    Parameters
    ----------
    text
        A sentence, its clauses told apart by commas, semicolons, colons, full stops, brackets or
        dots in the middle of the line.
    width
        The room, in the unit of ``measure``.
    measure
        How wide a text is.
    briefs
        What says the same in fewer words, the longest first; taken where not one clause has room.
    """
    if measure(text) <= width:
        return text
    for ends in (CLAUSE_END, WORD_END):
        if ends is WORD_END:
            for brief in briefs:
                if measure(brief) <= width:
                    return brief
        for end in reversed([match.start() for match in ends.finditer(text)]):
            kept = text[:end].rstrip(" .;:,·")
            while ends is WORD_END and (found := DANGLING.search(kept)):
                kept = kept[: found.start()].rstrip(" .;:,·")
            if kept and measure(kept + MORE) <= width:
                return kept + MORE
    return ""


class ShortLabel(PlainLabel):
    """A line that is shortened where there is no room, and whole in its tooltip.

    Nothing is shown in fewer than ``least`` pixels.
    """

    def __init__(self, least: int = 0) -> None:
        super().__init__()
        self._whole, self._least = "", least
        self._briefs: tuple[str, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def set_whole(self, text: str, briefs: Sequence[str] = ()) -> None:
        """Take the whole text, and what says the same in fewer words."""
        self._whole, self._briefs = text, tuple(briefs)
        self.setToolTip(plain_tip(text))
        self._shorten()

    def whole(self) -> str:
        """Return the text as it was given."""
        return self._whole

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Shorten again for the new width."""
        super().resizeEvent(event)
        self._shorten()

    @override
    def changeEvent(self, event: QEvent) -> None:
        """Shorten again for letters of another size."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._shorten()

    def _shorten(self) -> None:
        width, metrics = self.contentsRect().width() - 2, self.fontMetrics()
        short = shorten(self._whole, width, metrics.horizontalAdvance, self._briefs)
        short = "" if self.width() < self._least else short
        if short != self.text():
            self.setText(short)


class StatusLine(QStatusBar):
    """A status bar whose sentence gives up clauses before it runs under what stands at the right.

    Qt's own cuts it at a pixel.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizeGripEnabled(False)
        self.messageChanged.connect(lambda text: self.setToolTip(plain_tip(text)))

    def shown(self) -> str:
        """Return what of the sentence has room."""
        metrics = self.fontMetrics()
        return shorten(self.currentMessage(), self.room().width(), metrics.horizontalAdvance)

    def room(self) -> QRect:
        """Where the sentence stands: left of all that is shown always."""
        right = min(
            (
                child.x()
                for child in self.findChildren(
                    QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly
                )
                if child.isVisible()
            ),
            default=self.width(),
        )
        return QRect(AIR, 0, max(right - 2 * AIR, 0), self.height())

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter, option = QPainter(self), QStyleOption()
        option.initFrom(self)
        self.style().drawPrimitive(QStyle.PrimitiveElement.PE_PanelStatusBar, option, painter, self)
        line = Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine
        painter.drawText(self.room(), line, self.shown())
