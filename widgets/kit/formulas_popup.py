"""The formulas, units and sources of the measures that a view shows."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QWidget

from loopscope.core.formula import Formula
from loopscope.widgets.kit.plain_text import PlainLabel
from loopscope.widgets.kit.popup import EdgedFrame
from loopscope.widgets.palette import Theme

COLUMNS = ("measure", "formula", "unit", "source")
# Characters from which a cell is wrapped, and the width it then has in pixels.
LONG, WIDTH = 60, 260


class FormulasPopup(EdgedFrame):
    """A table with a row for each measure; its text can be selected and copied."""

    def __init__(self, formulas: tuple[Formula, ...], theme: Theme, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        grid = QGridLayout(self)
        grid.setHorizontalSpacing(16)
        for column, head in enumerate(COLUMNS):
            label = PlainLabel(head)
            palette = label.palette()
            palette.setColor(palette.ColorRole.WindowText, theme.muted)
            label.setPalette(palette)
            grid.addWidget(label, 0, column)
        for row, f in enumerate(formulas, start=1):
            for column, text in enumerate((f.name, f.formula, f.unit, f.source)):
                label = PlainLabel(text)
                label.setWordWrap(len(text) > LONG)
                label.setMinimumWidth(WIDTH if len(text) > LONG else 0)
                label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
                grid.addWidget(label, row, column, Qt.AlignmentFlag.AlignTop)
