"""The distance map on paper, saved and read back."""

from __future__ import annotations

from io import BytesIO, StringIO

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from pypdf import PdfReader
from recordings import synthetic_recording, writable

from loopscope.core.measures.base import NO_RUN
from loopscope.core.selection import Selection
from loopscope.core.views.distance import Data, Options, compute
from loopscope.widgets.figures.distance import draw
from loopscope.widgets.figures.style import Page


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


def test_text_stays_text() -> None:
    labels = ["a", " ", "Ġinternationalisation", "$x_1$"]
    recording = synthetic_recording(tokens=4, labels=labels)
    _, svg, pdf = drawn(compute(recording, Selection(), Options()))
    for text in ("0 a", "1 ␣", "3 $x_1$", "recurrence r", "(state units)", "distance to the end"):
        assert text in svg, text
    assert "2 Ġinter" in svg
    assert "recurrence r" in pdf


def test_image_holds_the_distances_on_a_log_scale() -> None:
    data = compute(synthetic_recording(), Selection(), Options("relative"))
    figure, svg, _ = drawn(data)
    (image,) = figure.axes[0].get_images()
    np.testing.assert_allclose(image.get_array(), data.distances)
    assert isinstance(image.norm, LogNorm)
    assert (image.norm.vmin, image.norm.vmax) == (data.low, data.high)
    assert image.get_cmap().name == "magma"
    assert "‖sᵣ − s₁₂‖ / ‖s₁₂‖" in svg


def test_columns_lie_at_their_recurrence() -> None:
    for options, first in ((Options(), 0), (Options(layer=1), 1)):
        data = compute(synthetic_recording(recurrences=12), Selection(), options)
        figure, _, _ = drawn(data)
        (image,) = figure.axes[0].get_images()
        assert image.get_extent()[:2] == [first - 0.5, 11.5]
        assert figure.axes[0].get_xticks().tolist() == list(range(first, 12))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "n", "tokens"),
    [("one column", 1, 1), ("one column", 1, 5), ("one column", 12, 30), ("two columns", 12, 1),
     ("slide", 200, 64)],
)  # fmt: skip
def test_nothing_is_clipped_or_overlaps(preset: str, n: int, tokens: int) -> None:
    labels = ["Ġinternationalisation"] * tokens
    recording = synthetic_recording(recurrences=n, tokens=tokens, d=4, labels=labels)
    figure = laid_out(compute(recording, Selection(), Options()), preset)
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0) >= -0.02
    assert box.x1 <= figure.get_figwidth() + 0.02
    assert box.y1 <= figure.get_figheight() + 0.02
    cells, bar = (ax.get_position() for ax in figure.axes)
    assert bar.y0 >= cells.y1


def test_zero_is_near_and_nan_is_blank() -> None:
    recording = synthetic_recording(recurrences=5, tokens=2)
    writable(recording.state(3))[0] = recording.state(5)[0]
    writable(recording.state(2))[1, 0] = np.nan
    data = compute(recording, Selection(), Options())
    assert data.distances[0, 3] == 0
    figure, _, _ = drawn(data)
    shown = figure.axes[0].get_images()[0].get_array()
    assert shown[0, 3] == data.low
    assert shown.mask.tolist() == [[False] * 5, [False, False, True, False, False]]


def test_empty_run_says_what_is_missing() -> None:
    _, svg, _ = drawn(compute(synthetic_recording(recurrences=0), Selection(), Options()))
    assert NO_RUN in svg
