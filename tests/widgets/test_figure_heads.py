"""The three head figures, saved and read back."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pypdf import PdfReader
from recordings import synthetic_recording

from loopscope.core.selection import Selection
from loopscope.widgets.figures.style import Page

pytestmark = pytest.mark.slow

KEYS = ("heads", "pattern", "head_map")
AT = Selection(recurrence=4, layer=1, head=1)


def drawn(key: str, preset: str = "one column", **kwargs: object) -> tuple[Any, Figure]:
    core = import_module(f"loopscope.core.views.{key}")
    data = core.compute(synthetic_recording(**{"recurrences": 6, **kwargs}), AT, core.Options())
    page = Page(preset, AT.recurrence)
    with mpl.rc_context(page.rc):
        figure = Figure(figsize=(page.width, 2))
        import_module(f"loopscope.widgets.figures.{key}").draw(data, figure, page)
        figure.draw_without_rendering()
    return data, figure


def saved_text(figure: Figure, path: Path) -> tuple[str, str]:
    with mpl.rc_context(Page().rc):
        figure.savefig(path / "f.pdf")
        figure.savefig(path / "f.svg")
    return PdfReader(path / "f.pdf").pages[0].extract_text(), (path / "f.svg").read_text()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("heads", ("recurrence r", "head (layer.head)", "Frobenius distance", "0 = same", "1.1")),
        ("pattern", ("query token", "key token", "attention", "head 1.1 at recurrence 4")),
        ("head_map", ("recurrence r", "Frobenius distance", "0 = same", "head 1.1")),
    ],
)
def test_text_stays_text(key: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    _, figure = drawn(key)
    pdf, svg = saved_text(figure, tmp_path)
    pdf = " ".join(pdf.split())
    for text in expected:
        assert text in pdf
        assert text in svg


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("preset", ["one column", "two columns", "slide"])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"recurrences": 0},
        {"recurrences": 1, "tokens": 1},
        {"recurrences": 120, "tokens": 24, "labels": ["Ġinternationalisation", "$x$", "_"] * 8},
        {"recurrences": 12, "n_block": 24, "heads": 16, "d": 32, "tokens": 4},
    ],
    ids=["empty", "one", "long", "many"],
)
def test_nothing_leaves_the_page(key: str, preset: str, kwargs: dict[str, Any]) -> None:
    _, figure = drawn(key, preset, **kwargs)
    renderer = FigureCanvasAgg(figure).get_renderer()
    width, height = figure.bbox.size
    for ax in figure.axes:
        box = ax.get_tightbbox(renderer)
        if ax.axison and box is not None:
            assert box.x0 >= -1
            assert box.y0 >= -1
            assert box.x1 <= width + 1
            assert box.y1 <= height + 1
    assert figure.get_figheight() < 11


def test_cells_hold_the_data_and_what_is_absent_is_masked() -> None:
    data, figure = drawn("heads")
    values = figure.axes[0].images[0].get_array()
    assert values.mask[:, 0].all()
    np.testing.assert_array_equal(values[:, 1:], data.rows(data.values)[:, 1:])
    pattern, figure = drawn("pattern")
    values = figure.axes[0].images[0].get_array()
    assert values.mask[0, 1:].all()
    np.testing.assert_array_equal(values[4], pattern.patterns[3][4])


def test_identical_is_bright_and_rows_have_room_for_their_labels() -> None:
    _, figure = drawn("heads", heads=4)
    ax = figure.axes[0]
    image = ax.images[0]
    assert sum(image.to_rgba(0.0)[:3]) > 1.8 > sum(image.to_rgba(image.norm.vmax)[:3])
    row = ax.bbox.height / figure.dpi * 72 / 8
    assert row > 1.2 * float(str(Page().rc["ytick.labelsize"]))


def test_dollars_in_a_token_are_dollars(tmp_path: Path) -> None:
    _, figure = drawn("pattern", labels=["$x$", "b", "c", "d", "e"])
    pdf, _ = saved_text(figure, tmp_path)
    assert pdf.count("$x$") == 2


def test_a_wide_page_has_the_statistics(tmp_path: Path) -> None:
    data, figure = drawn("heads", "two columns")
    pdf, _ = saved_text(figure, tmp_path)
    assert f"{data.statistics.sink[3, 1, 1]:.3f}" in pdf
    assert "statistics at recurrence 4" in " ".join(pdf.split())
