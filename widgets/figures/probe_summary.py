"""The summary picture of `loopscope probe`: size, displacement and recovery in one figure."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from loopscope.core.views.curves_data import Curves
from loopscope.widgets.figures.curves import draw_on
from loopscope.widgets.figures.style import Page

PAGE = Page("two columns")


def summary_figure(sizes: Curves, displacement: Curves) -> Figure:
    """What is lost against the size of a cut, and against how far it moves the state."""
    with rc_context(PAGE.rc):
        figure = _figure(4.0)
        left, right = figure.subplots(1, 2, sharey=True)
        for ax, data, title in (
            (left, sizes, "by relative size"),
            (right, displacement, "by displacement"),
        ):
            draw_on(ax, data)
            ax.set_title(title, loc="left")
            _legend_below(ax, 1 if data is sizes else 3)
        right.set_ylabel("")
        return figure


def recovery_figure(recovery: Sequence[tuple[str, Curves]]) -> Figure:
    """Accuracy after each cut, a panel for each place of the run where it was made."""
    with rc_context(PAGE.rc):
        figure = _figure(4.2)
        axes = figure.subplots(1, len(recovery), sharey=True, squeeze=False)[0]
        for ax, (title, data) in zip(axes, recovery, strict=True):
            draw_on(ax, data)
            ax.set_title(title, loc="left")
            _legend_below(ax, 1)
        for ax in axes[1:]:
            ax.set_ylabel("")
        return figure


def _figure(height: float) -> Figure:
    figure = Figure(figsize=(PAGE.width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _legend_below(ax: Axes, columns: int) -> None:
    ax.legend(
        loc="upper left", bbox_to_anchor=(0, -0.2), ncols=columns, frameon=False, borderaxespad=0
    )
