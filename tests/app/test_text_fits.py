"""In no view, size, theme, text size, model or length does text overlap or is it cut.

A pairwise selection: each pair of values of two factors occurs in at least one case. With
``LOOPSCOPE_TEXT_FITS=all`` in the environment every combination is shown, and with
``QT_SCALE_FACTOR=2`` on a screen of that scale. No number is elided either.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from itertools import combinations, product

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from text_boxes import cut, overlaps, texts_of
from window_desk import wait

from loopscope.app.bench.bench import Bench
from loopscope.app.views import VIEW_SPECS
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.widgets.palette import LIGHT, THEMES

pytestmark = pytest.mark.slow

# Those with something to show without a measurement, a prompt set or a second model.
VIEWS = (
    "state_space", "settling", "distance", "heads", "readout", "pattern", "head_map",
    "depth", "similarity", "lens", "graph", "exits",
)  # fmt: skip
SHORT, LONG = "ab bc ca ? 2 : a b c", " ".join(["ab bc cd de ef fg gh ha ? 3 : a b c d e"] * 3)
# A digit beside what stands for letters left out.
ELIDED_NUMBER = re.compile(r"\d…|…\d")
FACTORS: dict[str, tuple[object, ...]] = {
    "view": VIEWS,
    "size": ((360, 200), (390, 200), (600, 190), (500, 300), (640, 420), (700, 700), (800, 560), (1280, 640),
             (1900, 1000)),
    "theme": ("light", "dark"),
    "text": (100, 120),
    "run": (("bundled:looped", 1, SHORT), ("bundled:looped", 12, SHORT),
            ("bundled:looped", 200, SHORT), ("bundled:looped", 12, LONG),
            ("bundled:orbit", 40, SHORT), ("bundled:deep", 1, SHORT)),
}  # fmt: skip


def pairwise(factors: dict[str, tuple[object, ...]]) -> list[dict[str, object]]:
    """Cases that together have every pair of values of every two factors; greedy, repeatable."""
    names, choose = list(factors), random.Random(0)
    left = {
        ((a, x), (b, y))
        for a, b in combinations(names, 2)
        for x, y in product(factors[a], factors[b])
    }
    cases = []
    while left:
        first = min(left, key=str)
        best, gain = None, -1
        for _ in range(30):
            case = {name: choose.choice(factors[name]) for name in names} | dict(first)
            new = sum(pair in left for pair in combinations(case.items(), 2))
            if new > gain:
                best, gain = case, new
        assert best is not None
        cases.append(best)
        left -= set(combinations(best.items(), 2))
    return cases


def everything(factors: dict[str, tuple[object, ...]]) -> list[dict[str, object]]:
    """Every combination."""
    return [dict(zip(factors, values, strict=True)) for values in product(*factors.values())]


ALL = os.environ.get("LOOPSCOPE_TEXT_FITS") == "all"
CASES = sorted(everything(FACTORS) if ALL else pairwise(FACTORS), key=lambda case: str(case["run"]))


def test_the_selection_has_every_pair() -> None:
    seen = {pair for case in CASES for pair in combinations(case.items(), 2)}
    for a, b in combinations(FACTORS, 2):
        for x, y in product(FACTORS[a], FACTORS[b]):
            assert ((a, x), (b, y)) in seen
    assert ALL or 90 <= len(CASES) <= 140
    assert set(VIEWS) <= {spec.key for spec in VIEW_SPECS}


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[Window]:
    window = Window(Bench(), Settings(), LIGHT, remember=False)
    window.show()
    yield window
    window.settings.text_size = 100
    window.appearance.set_theme(LIGHT)
    window.close()
    window.deleteLater()


def troubles(qtbot: QtBot, window: Window, case: dict[str, object]) -> list[object]:
    """Show one case and say which texts overlap or are cut."""
    window.settings.text_size = case["text"]
    window.appearance.set_theme(THEMES[case["theme"]])
    key = case["view"]
    window.docks.show(key)
    dock = window.docks.by_key[key]
    dock.setFloating(True)
    dock.resize(*case["size"])
    wait(qtbot, window, 1)
    for _ in range(3):  # an axis takes the room of its ticks when it has been painted
        QApplication.processEvents()
    boxes = texts_of(window.views.frames[key].view)
    dock.hide()
    if not boxes:
        return ["no text"]
    numbers = [box.text for box in boxes if ELIDED_NUMBER.search(box.text)]
    return [
        *overlaps(boxes),
        *(f"cut: {text}" for text in cut(boxes)),
        *(f"a number elided: {text}" for text in numbers),
    ]


@pytest.mark.parametrize(
    "run", FACTORS["run"], ids=lambda run: f"{run[0][8:]}-{run[1]}-{len(run[2])}"
)
def test_no_text_overlaps_or_is_cut(
    qtbot: QtBot, window: Window, run: tuple[str, int, str]
) -> None:
    path, recurrences, prompt = run
    window.opening.open(path, FirstRun(prompt, recurrences))
    wait(qtbot, window, recurrences)
    cases = [case for case in CASES if case["run"] == run]
    found = {str(list(case.values())[:4]): troubles(qtbot, window, case) for case in cases}
    bad = {name: what for name, what in found.items() if what}
    assert not bad, "\n".join(f"{name}: {what}" for name, what in bad.items())
