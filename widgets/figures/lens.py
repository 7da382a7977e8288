"""The lens over depth on paper."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from loopscope.core.views.lens.data import Data
from loopscope.widgets.figures.matrix import empty, every, font_size
from loopscope.widgets.figures.readout import draw_answer_map
from loopscope.widgets.figures.style import Page
from loopscope.widgets.plots.matrix_steps import head_steps, labelled
from loopscope.widgets.plots.ticks import log_ticks

# Inches of a group of columns that has a line after it.
_LEAST_GROUP = 0.08


def draw(data: Data, figure: Figure, page: Page) -> None:
    """Draw answers and shades; ``figure`` gets a height that fits the tokens."""
    if data.missing:
        figure.set_layout_engine("constrained")
        empty(figure, data.missing)
        return
    shade, line = data.shade, font_size(page) / 72
    norm = (LogNorm if shade.log else Normalize)(shade.low, max(shade.high, 1.001 * shade.low))
    norm.clip = True
    ax, bar = draw_answer_map(data, figure, page, norm)
    if shade.log:
        ticks = log_ticks(shade.low, shade.high, 5)
        bar.set_ticks([v for v, _ in ticks], labels=[text for _, text in ticks])
        bar.minorticks_off()
    labels = data.column_labels
    room = 0.78 * figure.get_figwidth()
    step = every(data.n_columns, room, 1.3 * line, head_steps(data.group))
    at = labelled(data.n_columns, step, True, data.first_number) or [0]
    upright = max(len(labels[i]) for i in at) > 3 or len(at) > 12
    ax.set_xticks([i + 1 for i in at], [labels[i] for i in at], rotation=90 if upright else 0)
    ax.set_xlabel(f"{data.column_title}  (bar: {data.mark_label})")
    _draw_groups(ax, data, room / data.n_columns)


def _draw_groups(ax: Axes, data: Data, cell: float) -> None:
    """Thin lines between groups of columns."""
    if data.group * cell >= _LEAST_GROUP:
        between = [i + 0.5 for i in range(data.group, data.n_columns, data.group)]
        ax.vlines(between, -0.5, len(data.tokens) - 0.5, colors="white", linewidths=0.5,
                  zorder=1.5)  # fmt: skip
