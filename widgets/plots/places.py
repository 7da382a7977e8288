"""Where the plots, grids and tables of a view were zoomed, scrolled and sorted to, as numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QTableView, QWidget

from loopscope.widgets.plots.click_plot import ClickPlot
from loopscope.widgets.plots.painted_grid import PaintedGrid

SIDES = ("left", "right", "bottom", "top")


def places_in(view: QWidget) -> dict[str, float]:
    """Return where the parts of a view are, for `go_to_places`; {} where all is as it comes.

    Parts are numbered in the order in which the view made them.
    """
    found: dict[str, float] = {}
    for i, plot in enumerate(view.findChildren(ClickPlot)):
        if plot.zoomed and plot.data is not None:
            (left, right), (bottom, top) = plot.getViewBox().viewRange()
            ends = (left, right, bottom, top)
            found |= {f"{side} {i}": float(v) for side, v in zip(SIDES, ends, strict=True)}
    for i, grid in enumerate(view.findChildren(PaintedGrid)):
        if value := grid.scroll_bar.value():
            found[f"scrolled {i}"] = float(value)
    for i, table in enumerate(view.findChildren(QTableView)):
        header = table.horizontalHeader()
        if table.isSortingEnabled() and header.sortIndicatorSection() >= 0:
            down = header.sortIndicatorOrder() is Qt.SortOrder.DescendingOrder
            found |= {f"sorted {i}": float(header.sortIndicatorSection()), f"down {i}": float(down)}
        if value := table.verticalScrollBar().value():
            found[f"row {i}"] = float(value)
    return found


def go_to_places(view: QWidget, place: Mapping[str, float]) -> None:
    """Zoom, scroll and sort as `places_in` told; what is no place of this view is left out."""
    for i, plot in enumerate(view.findChildren(ClickPlot)):
        ends = [place.get(f"{side} {i}", math.nan) for side in SIDES]
        if plot.data is not None and is_range(*ends[:2]) and is_range(*ends[2:]):
            plot.zoomed = True
            plot.getViewBox().setRange(xRange=ends[:2], yRange=ends[2:], padding=0)
    for i, grid in enumerate(view.findChildren(PaintedGrid)):
        if (value := _whole(place, f"scrolled {i}")) is not None:
            grid.scroll_bar.setValue(value)
    for i, table in enumerate(view.findChildren(QTableView)):
        column, model = _whole(place, f"sorted {i}"), table.model()
        if table.isSortingEnabled() and column is not None and column < model.columnCount():
            down = bool(place.get(f"down {i}"))
            order = Qt.SortOrder.DescendingOrder if down else Qt.SortOrder.AscendingOrder
            table.sortByColumn(column, order)
        if (value := _whole(place, f"row {i}")) is not None:
            table.verticalScrollBar().setValue(value)


def is_range(low: float, high: float) -> bool:
    """Whether these are two ends that an axis can have."""
    return math.isfinite(low) and math.isfinite(high) and low < high


def _whole(place: Mapping[str, float], name: str) -> int | None:
    value = place.get(name, math.nan)
    return int(value) if 0 <= value < 1e9 else None
