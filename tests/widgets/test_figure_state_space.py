"""The state-space figure, saved and read back."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from pypdf import PdfReader
from recordings import synthetic_recording, with_results

from loopscope.core.run.kept_rows import Capture
from loopscope.core.selection import Selection
from loopscope.core.views.state_space.compute import Data, Options, compute
from loopscope.core.views.state_space.data import placed
from loopscope.widgets.figures import state_space
from loopscope.widgets.figures.style import Page

pytestmark = pytest.mark.slow

BARE = Capture(patterns=False, writes=False, readout=False)


def drawn(options: Options, preset: str = "one column", **kwargs: object) -> tuple[Data, Figure]:
    recording = synthetic_recording(capture=BARE, **kwargs)
    page = Page(preset)
    data = compute(recording, Selection(), options)
    with mpl.rc_context(page.rc):
        figure = Figure(figsize=(page.width, 2))
        state_space.draw(data, figure, page)
        figure.draw_without_rendering()
    return data, figure


def save(figure: Figure, path: Path) -> Path:
    with mpl.rc_context(Page().rc):
        figure.savefig(path)
    return path


def test_pdf_and_svg_hold_the_axes_as_text(tmp_path: Path) -> None:
    data, figure = drawn(Options())
    text = PdfReader(save(figure, tmp_path / "f.pdf")).pages[0].extract_text()
    svg = save(figure, tmp_path / "f.svg").read_text()
    for axis in data.axes:
        assert axis.label in text
        assert axis.label in svg
    assert "recurrence" in text
    # The colour bar is the only picture; lines are vectors.
    assert svg.count("<image") <= 1


def test_the_page_draws_the_points_of_the_data() -> None:
    data, figure = drawn(Options())
    lines = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    vertices = np.concatenate([np.concatenate(c.get_segments()) for c in lines])
    for row in data.points.reshape(-1, 2):
        assert np.abs(vertices - row).sum(1).min() < 1e-12


def test_the_solid_is_seen_from_where_the_screen_sees_it(tmp_path: Path) -> None:
    data, figure = drawn(Options(dimensions="3-D", azimuth=-20, elevation=70))
    seen = placed(data, -20, 70)
    lines = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    vertices = np.concatenate([np.concatenate(c.get_segments()) for c in lines])
    assert np.abs(vertices - seen[2, 5]).sum(1).min() < 1e-12
    text = PdfReader(save(figure, tmp_path / "f.pdf")).pages[0].extract_text()
    assert "PC1" in text
    assert "PC3" in text
    assert data.axes[2].short in text


@pytest.mark.parametrize("preset", ["one column", "two columns", "slide"])
@pytest.mark.parametrize("dimensions", ["2-D", "3-D"])
@pytest.mark.parametrize("states", ["ends", "layers"])
def test_nothing_is_cut_off(preset: str, dimensions: str, states: str) -> None:
    _, figure = drawn(
        Options(states=states, colour="token", dimensions=dimensions),
        preset, tokens=30, n_block=3, labels=["Ġinternationalisation"] * 30,
    )  # fmt: skip
    page = figure.bbox
    inside = figure.get_tightbbox()
    assert inside.x0 * figure.dpi >= -1
    assert inside.y0 * figure.dpi >= -1
    assert inside.x1 * figure.dpi <= page.x1 + 1
    assert inside.y1 * figure.dpi <= page.y1 + 1


def test_an_empty_run_is_a_sentence(tmp_path: Path) -> None:
    _, figure = drawn(Options(), recurrences=0)
    text = PdfReader(save(figure, tmp_path / "f.pdf")).pages[0].extract_text()
    assert "No recurrence has been run yet" in " ".join(text.split())


@pytest.mark.parametrize("kwargs", [{"recurrences": 1, "tokens": 1}, {"recurrences": 200}])
@pytest.mark.parametrize("states", ["ends", "layers"])
def test_short_and_long_runs_are_drawn(kwargs: dict[str, int], states: str, tmp_path: Path) -> None:
    _, figure = drawn(Options(states=states), **kwargs)
    assert save(figure, tmp_path / "f.pdf").stat().st_size < 400_000


def test_a_dollar_in_a_token_is_not_mathematics(tmp_path: Path) -> None:
    with mpl.rc_context(Page().rc):
        _, figure = drawn(Options(colour="token"), labels=["$a_b$", "$", "c", "d", "e"])
    assert "0 $a_b$" in save(figure, tmp_path / "f.svg").read_text()


@pytest.mark.parametrize(
    "options",
    [
        Options(show_starts=True), Options(states="layers"),
        Options(dimensions="3-D", show_starts=True),
    ],
)  # fmt: skip
def test_overlays_are_drawn_and_named(options: Options, tmp_path: Path) -> None:
    page = Page("one column")
    data = compute(with_results(synthetic_recording()), Selection(), options)
    with mpl.rc_context(page.rc):
        figure = Figure(figsize=(page.width, 2))
        state_space.draw(data, figure, page)
        figure.draw_without_rendering()
    svg = save(figure, tmp_path / "f.svg").read_text()
    for text in ("stable point", "unstable point", "slow point"):
        assert text in svg
    for text in ("random, seed 1", "mode 1, |λ| 0.67"):
        assert (text in svg) == (options.states == "ends")
    low, high = figure.axes[0].get_xlim()
    for overlay in data.overlays if not data.is_3d else ():
        assert (overlay.points[..., 0] >= low).all()
        assert (overlay.points[..., 0] <= high).all()
