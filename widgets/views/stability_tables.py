"""The tables beside the unit circle: the points found, and the points of one's cycle."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from loopscope.core.measures.fixed_points import CYCLE
from loopscope.core.views.stability import Data
from loopscope.widgets.kit.plain_text import describe, plain_tip
from loopscope.widgets.kit.theme import number_font

HEADS = {
    "point": "A fixed point at the tolerance, stable or not; a slow point is not fixed; below "
    "resolution: its residual is within float32's rounding and still above the tolerance",
    "residual": "Relative residual ‖s − F(s)‖ / ‖s‖, all tokens together",
    "q": "½ ‖s − F(s)‖², squared state units",
    "radius": "Spectral radius of the Jacobian there; not taken at slow points",
    "starts": "How many starts of the search ended there",
}
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class NumberTable(QTableWidget):
    """A quiet table: words left in the first column, numbers right in the others."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 0, parent)
        describe(self, "Numbers", "The numbers behind the picture")
        self.verticalHeader().setVisible(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.setFrameShape(QTableWidget.Shape.NoFrame)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)

    def whole_width(self) -> int:
        """Pixels in which all columns and a scroll bar have room; 0 where it is not shown."""
        if self.isHidden():
            return 0
        return self.horizontalHeader().length() + self.verticalScrollBar().sizeHint().width() + 2

    def show_rows(self, heads: dict[str, str], rows: list[tuple[str, ...]]) -> None:
        """Show ``rows`` under ``heads`` (name to tooltip)."""
        self.setColumnCount(len(heads))
        self.setRowCount(len(rows))
        for column, (name, tip) in enumerate(heads.items()):
            head = QTableWidgetItem(name)
            head.setToolTip(plain_tip(tip))
            self.setHorizontalHeaderItem(column, head)
        for i, cells in enumerate(rows):
            for column, text in enumerate(cells):
                item = QTableWidgetItem(text)
                if column:
                    item.setFont(number_font())
                    item.setTextAlignment(RIGHT)
                self.setItem(i, column, item)


def point_rows(data: Data) -> list[tuple[str, ...]]:
    """One row for each place where the search ended."""
    result = data.result
    assert result is not None
    p = result.points
    return [
        (
            kind + (" (run's end)" if i == p.from_end else ""),
            f"{p.residual[i]:.2e}",
            f"{p.q[i]:.2e}",
            _number(result.radii[i]),
            f"{p.found_by[i]} of {p.n_starts}",
        )
        for i, kind in enumerate(data.kinds)
    ]


def cycle_rows(data: Data, point: int) -> tuple[dict[str, str], list[tuple[str, ...]]]:
    """Heads and rows of the distances between the points of one cycle."""
    assert data.distances is not None
    names, apart = data.layer_names, data.distances[point]
    tip = f"Relative distance to the point after it: {CYCLE.formula}"
    heads = {"x* after": CYCLE.text()} | dict.fromkeys(names, tip)
    rows = [
        (name, *(_number(apart[i, j]) if i != j else "·" for j in range(len(names))))
        for i, name in enumerate(names)
    ]
    return heads, rows


def _number(value: float) -> str:
    """Three digits that count, whatever the size."""
    return f"{value:#.3g}".rstrip(".") if np.isfinite(value) else "–"
