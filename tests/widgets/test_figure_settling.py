"""The settling plot on paper, saved and read back."""

from __future__ import annotations

import re
from io import BytesIO, StringIO

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from pypdf import PdfReader
from recordings import synthetic_recording

from loopscope.core.measures.base import NO_RUN
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.states import LayerState
from loopscope.core.selection import Selection
from loopscope.core.views.settling import Data, Options, compute
from loopscope.widgets.figures.settling import draw
from loopscope.widgets.figures.style import Page

pytestmark = pytest.mark.slow


def orbiting() -> Recording:
    """A contraction and an orbit of period 5, whose token is written with a dollar."""
    like = synthetic_recording(
        recurrences=0, n_block=1, tokens=2, d=2, heads=1, labels=["a", "$x_1$"]
    )
    r = np.arange(21)
    angle = 2 * np.pi * r / 5
    states = np.stack([
        3 + np.outer(0.5**r, [1, 2]), 2 + np.stack([np.cos(angle), np.sin(angle)], 1),
    ], 1).astype(np.float32)  # fmt: skip
    recording = Recording(like.info, states[0], Capture(False, False, False))
    for i in range(1, len(states)):
        recording.append_layer(LayerState(i, 0, states[i]))
        recording.append_end(states[i], None, None)
    return recording


def drawn(data: Data, preset: str = "one column") -> tuple[Figure, str, str]:
    """The figure, its SVG and the text of its PDF."""
    page = Page(preset)
    with mpl.rc_context(page.rc):
        figure = Figure(figsize=(page.width, 2))
        draw(data, figure, page)
        svg, pdf = StringIO(), BytesIO()
        figure.savefig(svg, format="svg")
        figure.savefig(pdf, format="pdf")
    (paper,) = PdfReader(pdf).pages
    return figure, svg.getvalue(), paper.extract_text()


def laid_out(data: Data, preset: str) -> Figure:
    """The figure with its layout made."""
    page = Page(preset)
    with mpl.rc_context(page.rc):
        figure = Figure(figsize=(page.width, 2))
        draw(data, figure, page)
        figure.draw_without_rendering()
    return figure


def test_says_measure_rate_tolerance_and_classes() -> None:
    data = compute(orbiting(), Selection(), Options())
    _, svg, pdf = drawn(data)
    for text in ("relative step ‖Δs‖/‖s‖", "tolerance 1e-2", "trained R = 12",
                 "1 $x_1$: orbit of period 5",
                 "recurrence r (s after the closing norm)"):  # fmt: skip
        assert text in svg, text
    assert "recurrence r" in pdf
    assert "orbit of period 5" in pdf


def test_curves_are_vectors() -> None:
    _, svg, _ = drawn(compute(synthetic_recording(tokens=30), Selection(), Options()))
    assert "<image" not in svg
    assert svg.count('id="line2d_') > 31


def test_curves_hold_the_data() -> None:
    data = compute(synthetic_recording(rate=0.6), Selection(), Options())
    figure, svg, _ = drawn(data)
    lines = figure.axes[0].get_lines()
    np.testing.assert_allclose(lines[3].get_ydata(), data.values[:, 3])
    np.testing.assert_allclose(lines[5].get_ydata(), data.median)
    assert figure.axes[0].get_yscale() == "log"
    assert re.search(r"median, ×0\.6\d* per recurrence|median, ×0\.59\d* per recurrence", svg)


def test_per_layer() -> None:
    data = compute(synthetic_recording(n_block=3), Selection(), Options(per_layer=True))
    _, svg, _ = drawn(data)
    assert "relative step ‖Δx‖/‖x‖" in svg
    assert all(f"layer {i}, ×0." in svg for i in range(3))


@pytest.mark.parametrize("options", [Options(), Options("absolute"), Options(per_layer=True)])
@pytest.mark.parametrize(
    ("preset", "n"), [("one column", 1), ("one column", 2), ("one column", 200), ("slide", 12)]
)
def test_nothing_is_clipped(preset: str, n: int, options: Options) -> None:
    recording = synthetic_recording(recurrences=n, tokens=12, n_block=4, d=4)
    figure = laid_out(compute(recording, Selection(), options), preset)
    box = figure.get_tightbbox()
    assert box.x0 >= -0.02
    assert box.y0 >= -0.02
    assert box.x1 <= figure.get_figwidth() + 0.02
    assert box.y1 <= figure.get_figheight() + 0.02


def test_empty_run_says_what_is_missing() -> None:
    _, svg, _ = drawn(compute(synthetic_recording(recurrences=0), Selection(), Options()))
    assert NO_RUN in svg
