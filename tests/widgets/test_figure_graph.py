"""The computation graph's figure, saved and read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from pypdf import PdfReader
from recordings import synthetic_recording

from loopscope.core.selection import Selection
from loopscope.core.views.graph import Data, Options, compute
from loopscope.widgets.figures import graph
from loopscope.widgets.figures.style import Page
from loopscope.widgets.graph_colours import weights_colour


def data_of(
    recurrences: int, options: Options | None = None, n_block: int = 2, **arch: object
) -> Data:
    recording = synthetic_recording(recurrences=recurrences, n_block=n_block)
    changed = replace(recording.info.architecture, **arch)  # type: ignore[arg-type]
    recording.info = replace(recording.info, architecture=changed)
    return compute(recording, Selection(), options or Options())


def drawn(data: Data, preset: str = "one column") -> Figure:
    page = Page(preset)
    with mpl.rc_context(page.rc):  # type: ignore[arg-type]
        figure = Figure(figsize=(page.width, 2))
        graph.draw(data, figure, page)
        figure.draw_without_rendering()
    return figure


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_pdf_and_svg_hold_nodes_and_sizes_as_text(tmp_path: Path) -> None:
    data = data_of(3)
    figure = drawn(data, "two columns")
    with mpl.rc_context(Page().rc):  # type: ignore[arg-type]
        figure.savefig(tmp_path / "f.pdf")
        figure.savefig(tmp_path / "f.svg")
    text = PdfReader(tmp_path / "f.pdf").pages[0].extract_text()
    svg = (tmp_path / "f.svg").read_text()
    exact = f"{data.architecture.n_parameters:,}"
    for word in ("cat[s, e] → adapter", "layer 1", "unrolled × 3", "eff. depth", exact):
        assert word in text
        assert word in svg
    # The loop and three copies.
    assert svg.count(">layer 0</text>") == 4


@pytest.mark.parametrize(("r", "shown"), [(1, [1]), (8, [*range(1, 9)]), (9, [1, 2, 3, 0, 8, 9])])
def test_a_long_run_shows_its_first_three_and_last_two(r: int, shown: list[int]) -> None:
    assert graph.columns(r) == shown


def test_what_is_left_out_is_counted() -> None:
    figure = drawn(data_of(200))
    assert "× 195" in words(figure)
    # Numbers in the row of recurrences: those drawn, and no other.
    row = next(t for t in figure.axes[0].texts if t.get_text() == "199").get_position()[1]
    assert [t.get_text() for t in figure.axes[0].texts if t.get_position()[1] == row] == [
        "1", "2", "3", "199", "200",
    ]  # fmt: skip


@pytest.mark.parametrize("preset", ["one column", "two columns", "slide"])
@pytest.mark.parametrize("r", [0, 1, 8, 200])
def test_all_text_is_on_the_page_and_legible(preset: str, r: int) -> None:
    figure = drawn(data_of(r, Options(expand=r == 200)), preset)
    page = figure.bbox
    for text in figure.axes[0].texts:
        if not text.get_text():
            continue
        box = text.get_window_extent()
        assert box.x0 >= -0.5, text.get_text()
        assert box.x1 <= page.width + 0.5, text.get_text()
        assert box.y0 >= -0.5, text.get_text()
        assert box.y1 <= page.height + 0.5, text.get_text()
        assert text.get_fontsize() >= 4, text.get_text()


def test_copies_have_the_colour_of_their_weights_and_injection_its_own_form() -> None:
    data = data_of(3)
    figure = drawn(data)
    edges = [to_hex(p.get_edgecolor()).upper() for p in figure.axes[0].patches
             if isinstance(p, FancyBboxPatch)]  # fmt: skip
    assert edges.count(weights_colour(data, data.node_by_key["block.0"])) == 4
    assert edges.count(weights_colour(data, data.node_by_key["injection"])) == 4
    boxes = [len([p for p in drawn(data_of(3, injection=how)).axes[0].patches
                  if isinstance(p, FancyBboxPatch)]) for how in ("concat", "add", "none")]  # fmt: skip
    # The sum is a circle, and without injection there is no node: loop and 3 copies less.
    assert boxes == [boxes[0], boxes[0] - 4, boxes[0] - 4]


def test_expanded_layers_show_norms() -> None:
    data = data_of(2, Options(expand=True))
    found = words(drawn(data, "two columns"))
    assert found.count(f"{data.norm(2, 1, 0):.3g}") >= 2
    assert "attention" in found


def test_distinct_weights_have_distinct_colours_in_a_deep_block() -> None:
    data = data_of(1, n_block=24)
    colours = [weights_colour(data, data.node_by_key[f"block.{i}"]) for i in range(24)]
    assert len(set(colours)) == 24
    # 24 layers still fit a page.
    assert drawn(data).get_figheight() < 9
