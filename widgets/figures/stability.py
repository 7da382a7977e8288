"""The unit circle with the leading eigenvalues, on paper."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from loopscope.core.views.stability import Data
from loopscope.widgets.figures.matrix import empty
from loopscope.widgets.figures.style import Page
from loopscope.widgets.palette import LIGHT, OKABE_ITO


def draw(data: Data, figure: Figure, page: Page) -> None:
    """Draw the eigenvalues about the unit circle; hollow ones have too large a residual."""
    figure.set_layout_engine("constrained")
    if data.result is None:
        empty(figure, data.missing)
        return
    side = min(page.width, 4.2)
    figure.set_figheight(side * 0.92)
    ax = figure.add_subplot()
    turn = np.linspace(0, 2 * np.pi, 181)
    ax.plot(np.cos(turn), np.sin(turn), color=LIGHT.muted, lw=0.7, label="modulus 1")
    values, sure = data.result.spectrum.values, data.result.spectrum.converged
    ax.plot(values.real[sure], values.imag[sure], "o", ms=4, color=OKABE_ITO[0], label="eigenvalue")
    if (~sure).any():
        ax.plot(
            values.real[~sure], values.imag[~sure], "o", ms=4, mfc="none", color=LIGHT.text,
            label=f"residual above {data.result.spectrum.tolerance:g}",
        )  # fmt: skip
    ax.axhline(0, color=LIGHT.line, lw=0.5, zorder=0)
    ax.axvline(0, color=LIGHT.line, lw=0.5, zorder=0)
    ax.set_aspect("equal")
    ax.set_xlabel("real part of λ")
    ax.set_ylabel("imaginary part of λ")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, borderaxespad=0.2)
