"""Fixed points and stability on the screen: the unit circle beside the points found."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget
from typing_extensions import override

from loopscope.core.measures.fixed_points import CYCLE
from loopscope.core.measures.stability import EIGENVALUE, TOKEN_SPECTRUM
from loopscope.core.selection import Selection
from loopscope.core.views.stability import LACKS, NOT_YET, Data, Options
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.kit.plain_text import PlainLabel, plain_tip
from loopscope.widgets.kit.view import View
from loopscope.widgets.palette import OKABE_ITO, Theme
from loopscope.widgets.plots.click_plot import NOWHERE, ClickPlot
from loopscope.widgets.views.stability_tables import HEADS, NumberTable, cycle_rows, point_rows

REACH = 14.0
# Eigenvalues up to which each is drawn large.
FEW = 60


# Pixels that the unit circle with its axis is never narrower than for the tables' sake.
LEAST_CIRCLE = 220


def _caption(parent: QWidget) -> PlainLabel:
    """A line of words, or two where it is narrow."""
    label = PlainLabel(parent=parent)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    label.setWordWrap(True)
    return label


class UnitCircle(ClickPlot):
    """Eigenvalues in the complex plane; a place is the index of one, and 0."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        plot = self.getPlotItem()
        plot.setAspectLocked(True)
        turn = np.linspace(0, 2 * np.pi, 181)
        self.circle = pg.PlotCurveItem(np.cos(turn), np.sin(turn), antialias=True)
        self.axes_lines = [pg.InfiniteLine(angle=a) for a in (0, 90)]
        self.converged, self.loose = pg.ScatterPlotItem(size=10), pg.ScatterPlotItem(size=10)
        for item in (*self.axes_lines, self.circle, self.loose, self.converged):
            plot.addItem(item, ignoreBounds=True)
        self.marks.put_cursor(None)
        self.marks.put_hover(None)
        self.set_titles(("real part of λ", "Re λ"), ("imaginary part of λ", "Im λ"))
        self.show_empty(empty_text(NOT_YET, LACKS))

    @property
    def values(self) -> np.ndarray:
        """The eigenvalues, complex; none while there is nothing to show."""
        return np.zeros(0, complex) if self.data is None else self.data

    def show_values(self, values: np.ndarray, sure: np.ndarray) -> None:
        """Draw eigenvalues; those that are estimates, or that rounding may move far, are hollow."""
        self.data = values
        self.getPlotItem().setVisible(True)
        size = 10 if len(values) <= FEW else 5
        for item, which in ((self.converged, sure), (self.loose, ~sure)):
            item.setData(values.real[which], values.imag[which], size=size)
        self.show_all()
        self.viewport().update()

    def show_all(self) -> None:
        """Show the whole circle and every eigenvalue."""
        reach = 1.12 * max(1.0, float(np.abs(self.values).max()) if len(self.values) else 1.0)
        self.getViewBox().setRange(QRectF(-reach, -reach, 2 * reach, 2 * reach), padding=0)

    @override
    def set_theme(self, theme: Theme) -> None:
        super().set_theme(theme)
        self.circle.setPen(pg.mkPen(theme.muted, width=1))
        for line in self.axes_lines:
            line.setPen(pg.mkPen(theme.line))
        self.converged.setBrush(pg.mkBrush(OKABE_ITO[0] if not theme.dark else OKABE_ITO[1]))
        self.converged.setPen(pg.mkPen(theme.panel))
        self.loose.setBrush(pg.mkBrush(None))
        self.loose.setPen(pg.mkPen(theme.text))

    @override
    def place_at(self, point: QPointF) -> tuple[int, int]:
        """The eigenvalue nearest to a pixel; -1, -1 for none."""
        if not len(self.values):
            return NOWHERE
        at = self.getViewBox().mapSceneToView(point)
        # Both axes have one scale, so that the nearest in the plane is the nearest on the screen.
        nearest = int(np.abs(self.values - complex(at.x(), at.y())).argmin())
        value = self.values[nearest]
        away = (self.pixel_of(value.real, value.imag) - point).manhattanLength()
        return (nearest, 0) if away < REACH else NOWHERE

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the whole circle in sight."""
        super().resizeEvent(event)
        if self.data is not None:
            self.show_all()


class StabilityView(View[Data]):
    """The unit circle with the leading eigenvalues, and tables of the points found."""

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self.data: Data | None = None
        self.circle = UnitCircle(self)
        self.side = QWidget(self)
        self.points, self.cycle = NumberTable(self.side), NumberTable(self.side)
        self.about = _caption(self.side)
        self.about.setContentsMargins(6, 4, 4, 2)
        column = QVBoxLayout(self.side)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.points, 1)
        column.addWidget(self.about)
        column.addWidget(self.cycle, 1)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        self.said = _caption(self)
        self.said.setContentsMargins(8, 4, 4, 0)
        left = QVBoxLayout()
        left.setSpacing(0)
        left.addWidget(self.said)
        left.addWidget(self.circle, 1)
        row.addLayout(left, 1)
        row.addWidget(self.side, 1)
        self.points.itemSelectionChanged.connect(self._on_point_chosen)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.circle.setFocusProxy(self)
        self.circle.pointed.connect(self._on_pointed)
        self.set_theme(self.theme)
        self.clear()

    @override
    def show_data(self, data: Data) -> None:
        """Draw the spectrum and list the points."""
        self.data = data
        shown = data.eigenvalues
        self.said.setVisible(shown is not None)
        if data.result is None or shown is None:
            self.side.setVisible(False)
            self.circle.show_empty(empty_text(data.missing, data.lacks))
            return
        self.said.setText(shown.said[0].upper() + shown.said[1:])
        self.said.setToolTip(plain_tip((TOKEN_SPECTRUM if shown.exact else EIGENVALUE).text()))
        self.circle.show_values(shown.values, shown.sure & shown.exact)
        self.points.show_rows(HEADS, point_rows(data))
        self.points.selectRow(data.result.shown_point)
        self._on_point_chosen()
        self.side.setVisible(True)
        self._share_out()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give the tables what they ask for, as far as the circle can do without it."""
        super().resizeEvent(event)
        self._share_out()

    def _share_out(self) -> None:
        """The circle is as wide as it is high, so that the tables may have the rest of the width.

        They have half of it at least, and no more than leaves the circle `LEAST_CIRCLE`.
        """
        half, asked = self.width() // 2, max(self.points.whole_width(), self.cycle.whole_width())
        self.side.setFixedWidth(max(half, min(asked, self.width() - LEAST_CIRCLE)))

    def _on_point_chosen(self) -> None:
        """List the points of the chosen one's cycle."""
        data, rows = self.data, self.points.selectionModel().selectedRows()
        has_cycle = data is not None and len(data.layer_names) > 1 and bool(rows)
        self.about.setVisible(has_cycle)
        self.cycle.setVisible(has_cycle)
        if data is None or not has_cycle:
            return
        point = rows[0].row()
        n = len(data.layer_names)
        self.about.setText(
            f"The {n} points of the cycle at point {point + 1}, {data.kinds[point]}: how far apart"
        )
        self.about.setToolTip(plain_tip(CYCLE.text()))
        self.cycle.show_rows(*cycle_rows(data, point))

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """The spectrum belongs to a recurrence of its own: no mark moves."""
        self.selection = selection

    @override
    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self.circle.set_theme(theme)

    @override
    def clear(self) -> None:
        self.data = None
        self.said.setVisible(False)
        self.side.setVisible(False)
        self.circle.show_empty(empty_text(NOT_YET, LACKS))

    @override
    def reset_view(self) -> None:
        """Show the whole circle again."""
        self.circle.show_all()

    def _on_pointed(self, index: int, _: int) -> None:
        data = self.data
        shown = None if data is None else data.eigenvalues
        if data is None or data.result is None or shown is None or index < 0:
            self.message.emit("")
            return
        value, doubt = shown.values[index], shown.doubt[index]
        period = (
            f", one turn in {2 * np.pi / abs(np.angle(value)):.3g} recurrences"
            if value.imag
            else ""
        )
        if shown.exact:
            token = int(shown.tokens[index])
            known = (
                f"exact, of token {token} '{data.token_labels[token]}', ± {doubt:.1e} by rounding"
            )
        else:
            known = f"an estimate, residual {doubt:.1e}"
        f = TOKEN_SPECTRUM if shown.exact else EIGENVALUE
        self.message.emit(
            f"λ = {value.real:.4g} {'+' if value.imag >= 0 else '−'} {abs(value.imag):.4g} i, "
            f"modulus {abs(value):.4g}{period}, {known} · recurrence "
            f"{data.result.recurrence} · {f.formula} · {f.source}"
        )
