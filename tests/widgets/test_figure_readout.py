"""The readout's figure, saved and read back."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from pypdf import PdfReader
from recordings import synthetic_recording

from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.readout import Options, compute
from loopscope.widgets.figures import readout
from loopscope.widgets.figures.style import Page

pytestmark = pytest.mark.slow


def drawn(
    recording: Recording, options: Options | None = None, preset: str = "one column"
) -> Figure:
    page = Page(preset)
    with mpl.rc_context(page.rc):  # type: ignore[arg-type]
        figure = Figure(figsize=(page.width, 2))
        readout.draw(compute(recording, Selection(), options or Options()), figure, page)
        figure.draw_without_rendering()
    return figure


def save(figure: Figure, path: Path) -> Path:
    with mpl.rc_context(Page().rc):  # type: ignore[arg-type]
        figure.savefig(path)
    return path


def test_pdf_and_svg_hold_answers_and_axes_as_text(tmp_path: Path) -> None:
    recording = synthetic_recording(recurrences=6, tokens=3)
    recording.label = lambda i: "xyzuvwmnop"[i]
    figure = drawn(recording)
    text = PdfReader(save(figure, tmp_path / "f.pdf")).pages[0].extract_text()
    svg = save(figure, tmp_path / "f.svg").read_text()
    for word in ("top answer's probability (coda lens)", "0 a", "2 c"):
        assert word in text
        assert word in svg
    # Each of the 18 cells has its answer: x up to recurrence 3, y from 4 on.
    cells = [t.get_text() for t in figure.axes[0].texts]
    assert cells.count("x") == 9
    assert cells.count("y") == 9
    assert svg.count(">x</text>") == 9


def test_numbers_are_written_on_request() -> None:
    figure = drawn(synthetic_recording(recurrences=3, tokens=2), Options(numbers=True))
    assert {t.get_text() for t in figure.axes[0].texts} == {"tok0 0.50"}


def test_flips_are_bars_at_the_left_edge_of_their_cells() -> None:
    figure = drawn(synthetic_recording(recurrences=6, tokens=3))
    bars = figure.axes[0].collections[-1].get_segments()
    found = sorted(tuple(np.asarray(bar)[:, 0]) for bar in bars)
    assert found == [(3.5, 3.5)] * 3


@pytest.mark.parametrize("preset", ["one column", "two columns", "slide"])
@pytest.mark.parametrize(("r", "t", "label"), [(1, 1, "a"), (16, 30, "Ġinternationalisation"),
                                                (200, 64, "$x$")])  # fmt: skip
def test_nothing_is_cut_off(preset: str, r: int, t: int, label: str) -> None:
    recording = synthetic_recording(recurrences=r, tokens=t, labels=[label] * t)
    figure = drawn(recording, preset=preset)
    whole = figure.bbox
    for ax in figure.axes:
        box = ax.get_tightbbox()
        assert box is not None
        assert box.x0 >= whole.x0 - 1
        assert box.x1 <= whole.x1 + 1
        assert box.y0 >= whole.y0 - 1
        assert box.y1 <= whole.y1 + 1
    assert figure.get_figheight() <= 8.9


def test_no_run_says_so() -> None:
    figure = drawn(synthetic_recording(recurrences=0))
    assert figure.axes[0].texts[0].get_text().startswith("No recurrence has been run")


def test_bars_of_narrow_cells_stand_at_the_foot_of_their_row() -> None:
    for recurrences, height in ((6, 1.0), (400, 0.25)):
        figure = drawn(synthetic_recording(recurrences=recurrences, tokens=2))
        bars = [c for c in figure.axes[0].collections if len(c.get_segments())]
        assert bars
        for segment in (s for c in bars for s in c.get_segments()):
            (_, top), (_, foot) = segment
            assert foot - top == pytest.approx(height)
            assert (foot - 0.5) % 1 == 0
