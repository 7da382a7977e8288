"""The computation graph's figure, saved and read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pytest
from contrasts import BLOCK_ONLY, DEEP, LOOPED, contrast, run
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch
from pypdf import PdfReader
from recordings import synthetic_recording

from loopscope.core.experiments.architectures import twin_architecture
from loopscope.core.interventions.base import END
from loopscope.core.interventions.layers import DropInjection
from loopscope.core.interventions.states import Noise, Zero
from loopscope.core.selection import Selection
from loopscope.core.views.graph.compute import Data, Options, compute
from loopscope.core.views.graph.picture import Picture
from loopscope.widgets.figures import graph
from loopscope.widgets.figures.style import Page
from loopscope.widgets.views.graph.colours import weights_colour

pytestmark = pytest.mark.slow


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
    return [text.get_text() for axes in figure.axes for text in axes.texts]


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


@pytest.mark.parametrize(("r", "shown"), [(1, [1]), (8, [*range(1, 9)]), (9, [1, 2, 0, 8, 9])])
def test_a_long_run_shows_its_first_and_last_two(r: int, shown: list[int]) -> None:
    slots, n = graph.slots_of(Picture(data_of(r)), 0)
    assert [s.first if s.drawn else 0 for s in slots] == shown
    assert n == len(shown)


def test_what_is_left_out_is_counted() -> None:
    figure = drawn(data_of(200))
    assert "× 196" in words(figure)
    # Numbers in the row of recurrences: those drawn, and no other.
    row = next(t for t in figure.axes[0].texts if t.get_text() == "199").get_position()[1]
    assert [t.get_text() for t in figure.axes[0].texts if t.get_position()[1] == row] == [
        "1", "2", "199", "200",
    ]  # fmt: skip


@pytest.mark.parametrize("preset", ["one column", "two columns", "slide"])
@pytest.mark.parametrize("r", [0, 1, 8, 200])
def test_all_text_is_on_the_page_and_legible(preset: str, r: int) -> None:
    figure = drawn(data_of(r, Options(expand=r == 200)), preset)
    page = figure.bbox
    for text in (text for axes in figure.axes for text in axes.texts):
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


# ---- two models ----
MODELS = {
    "deep": (LOOPED, 6, DEEP, 1),
    "deep, all in the block": (LOOPED, 6, BLOCK_ONLY, 1),
    "deep first": (DEEP, 1, LOOPED, 6),
    "longer run": (LOOPED, 200, DEEP, 1),
    "shorter run": (LOOPED, 2, DEEP, 1),
    "longer deep": (LOOPED, 20, twin_architecture("deep", 40, d_model=16), 1),
    "two loops": (LOOPED, 6, replace(LOOPED, n_block=4), 3),
    "two deep": (DEEP, 1, BLOCK_ONLY, 1),
    "hardly a model": (LOOPED, 3, replace(DEEP, n_block=1, n_prelude=0, n_coda=0), 1),
}


def pair(name: str, options: Options | None = None) -> Data:
    one, r, other, s = MODELS[name]
    return contrast(run(one, r), run(other, s), options=options)


@pytest.mark.parametrize("preset", ["one column", "two columns", "slide"])
@pytest.mark.parametrize("name", MODELS)
def test_two_models_are_on_the_page_and_legible(name: str, preset: str) -> None:
    figure = drawn(pair(name), preset)
    page = figure.bbox
    for text in (text for axes in figure.axes for text in axes.texts):
        if text.get_text():
            box = text.get_window_extent()
            assert box.x0 >= -0.5, text.get_text()
            assert box.x1 <= page.width + 0.5, text.get_text()
            assert box.y0 >= -0.5, text.get_text()
            assert box.y1 <= page.height + 0.5, text.get_text()
            assert text.get_fontsize() >= 3.4, text.get_text()
    assert figure.get_figheight() < 9.5


def centres(figure: Figure, which: int, label: str) -> list[float]:
    return [t.get_position()[0] for t in figure.axes[which].texts if t.get_text() == label]


@pytest.mark.parametrize("name", ["deep", "deep, all in the block", "longer run"])
def test_layers_stand_under_the_recurrence_that_they_go_with(name: str) -> None:
    data = pair(name)
    figure = drawn(data, "two columns")
    deep = data.contrast.data
    copies = centres(figure, 0, "layer 0")[1:]  # the first is the loop's
    first = deep.architecture.n_prelude == 0
    for r in range(1, 5):
        label = f"layer {2 * (r - 1) + first}"
        assert centres(figure, 1, label) == [copies[r - 1]]
    assert "14 layers run once · run 2" in words(figure)


def test_sizes_of_both_are_exact_and_what_is_left_out_is_counted() -> None:
    data = pair("longer deep")
    found = words(drawn(data, "two columns"))
    for number in (data.totals.parameters, data.contrast.data.totals.parameters):
        assert f"{number:,}" in found
    assert any(word.endswith(" layers") and word.split()[0].isdigit() for word in found)
    # Recurrences 7 to 199: the deep layers beside them end with 6.
    assert "× 193" in words(drawn(pair("longer run")))


def test_cuts_are_marked_on_the_page() -> None:
    recording = run(LOOPED, 6)
    plain = drawn(compute(recording, Selection(1), Options()))
    cuts = (
        Noise(recurrence=3, last=3, layer=1),
        Zero(recurrence=0, last=0, layer=END),
        DropInjection(recurrence=4, last=5),
        Noise(recurrence=2, last=2, layer=END),
    )
    recording.info = replace(recording.info, interventions=cuts)
    marked = drawn(compute(recording, Selection(1), Options()))

    def discs(figure: Figure) -> int:
        return sum(isinstance(p, Circle) for p in figure.axes[0].patches)

    assert discs(marked) - discs(plain) == 5
    # A run of 200 with a cut at 100 draws recurrence 100.
    recording = run(LOOPED, 200)
    recording.info = replace(recording.info, interventions=(Noise(recurrence=100, last=100),))
    assert "100" in words(drawn(compute(recording, Selection(1), Options()), "two columns"))
