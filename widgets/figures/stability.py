"""The unit circle with the leading eigenvalues, on paper."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from loopscope.core.views.stability import Data
from loopscope.widgets.figures.matrix import empty
from loopscope.widgets.figures.style import Page
from loopscope.widgets.palette import LIGHT, OKABE_ITO


def draw(data: Data, figure: Figure, page: Page) -> None:
    """Draw the eigenvalues about the unit circle; hollow ones are estimates or hardly known."""
    figure.set_layout_engine("constrained")
    shown = data.eigenvalues
    if data.result is None or shown is None:
        empty(figure, data.missing)
        return
    side = min(page.width, 4.2)
    figure.set_figheight(side * 0.92)
    ax = figure.add_subplot()
    turn = np.linspace(0, 2 * np.pi, 181)
    ax.plot(np.cos(turn), np.sin(turn), color=LIGHT.muted, lw=0.7, label="modulus 1")
    values, tolerance = shown.values, data.result.spectrum.tolerance
    name, beyond = ("exact", "± by rounding") if shown.exact else ("estimate", "estimate, residual")
    size = 4 if len(values) <= 60 else 2
    for which, colour, label in (
        (shown.sure, OKABE_ITO[0], name),
        (~shown.sure, LIGHT.text, f"{beyond} above {tolerance:g}"),
    ):
        if which.any():
            face = colour if shown.exact and which is shown.sure else "none"
            ax.plot(values.real[which], values.imag[which], "o", ms=size, color=colour, mfc=face,
                    label=label)  # fmt: skip
    ax.axhline(0, color=LIGHT.line, lw=0.5, zorder=0)
    ax.axvline(0, color=LIGHT.line, lw=0.5, zorder=0)
    ax.set_aspect("equal")
    ax.set_xlabel("real part of λ")
    ax.set_ylabel("imaginary part of λ")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, borderaxespad=0.2)
