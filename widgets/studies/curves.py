"""Means of a study along one axis of its grid, on the screen."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.sweeps.axes import AXES
from loopscope.core.sweeps.picture import NO_ROWS, StudyCurves
from loopscope.widgets.plots.curves_view import CurvesView


class StudyCurvesView(CurvesView):
    """`StudyCurves` with a legend; it has no cursor.

    Signals
    -------
    cell_chosen(int)
        A row of the study that is in the point clicked.
    """

    cell_chosen = Signal(int)
    data: StudyCurves | None

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(None, parent, empty=NO_ROWS, names_all=True)

    @override
    def _on_clicked(self, curve: int, point: int) -> None:
        data = self.data
        if isinstance(data, StudyCurves) and data.cells[curve, point] >= 0:
            self.cell_chosen.emit(int(data.cells[curve, point]))

    @override
    def _on_pointed(self, curve: int, point: int) -> None:
        if (curve, point) != self._pointed:
            self._pointed = (curve, point)
            self.message.emit("" if self.data is None or curve < 0 else self.text(curve, point))

    @override
    def text(self, curve: int, point: int) -> str:
        """One line: the mean, its interval, where it is, of how many, and what a click does."""
        data = self.data
        assert isinstance(data, StudyCurves)
        c = data.curves[curve]
        line = f"{AXES[data.by]} {data.names[1][curve]}, " if data.by else ""
        where = f"{line}{AXES[data.along]} {data.names[0][point]}"
        interval = ""
        if c.low is not None and c.high is not None and c.low[point] == c.low[point]:
            interval = f" ({c.low[point]:.3g} to {c.high[point]:.3g})"
        return (
            f"{data.formula.name} {c.y[point]:.3g} [{data.formula.unit}]{interval} · {where} · "
            f"n = {data.n[curve, point]} · click: open its first run"
        )
