"""The cyclic trajectory on the page of `loopscope reproduce`: the paper's joint PCA, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.state_space import compute as state_space
from loopscope.core.views.state_space.data import Data, Options, joint_pca

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"
# Relative distance of the last cycle from the one before below which it is said to repeat.
CLOSED = 1e-3


def final_token_cycle(loaded: Loaded, recurrences: int) -> Data:
    """Run `PROMPT` and project the final token after every layer of every recurrence."""
    stepper = Stepper(loaded, Capture(patterns=False, writes=False, readout=False))
    recording = stepper.begin(loaded.tokenizer.encode(PROMPT))
    for _ in range(recurrences):
        stepper.step()
    last = recording.n_tokens - 1
    return state_space.compute(recording, Selection(tokens=(last,)), joint_pca(Options()))


def cycle_figure(data: Data) -> Figure:
    """Draw it as the state-space view does on paper."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from loopscope.widgets.figures.state_space import draw
    from loopscope.widgets.figures.style import Page

    page = Page("one column")
    with rc_context(page.rc):
        figure = Figure(figsize=(page.width, page.width))
        FigureCanvasAgg(figure)
        draw(data, figure, page)
    return figure


def cycle_words(data: Data) -> list[str]:
    """The section: expected, found, and whether it holds."""
    closing = float(data.closing[0])
    share = sum(axis.share for axis in data.axes)
    # The points of the last cycle, and how far apart its neighbours are, on the two axes drawn.
    cycle = data.points[0, data.last_cycle]
    around = np.vstack([cycle, cycle[:1]])
    sides = np.linalg.norm(np.diff(around, axis=0), axis=1)
    spread = float(np.linalg.norm(data.points[0] - data.points[0].mean(0), axis=1).max())
    holds = closing < CLOSED and sides.min() > 0.01 * spread
    return [
        "## The trajectory is a cycle",
        "",
        "**Expected:** on the first two principal components of the final token's states after "
        "every layer of every recurrence (jointly, as in the paper), the state visits one point "
        "for each layer again and again.",
        "",
        f"**Found** (`bundled:anytime`, one prompt, {data.n_recurrences} recurrences, two "
        f"components holding {share:.0%} of the variance): the last cycle of {data.n_layers} "
        f"points differs from the one before by at most {closing:.1e} of the state norm, and its "
        f"neighbouring points are {sides.min():.3g} to {sides.max():.3g} state units apart on the "
        "axes drawn "
        f"(the farthest state is {spread:.3g} from the mean). "
        + ("It repeats" if holds else "It does not repeat")
        + "; that it has as many points as layers says only that each of them does something.",
        "",
        "![Joint PCA of the final token after every layer](images/reproduce-cycle.png)",
        "",
    ]
