"""The computation graph with a thousand copies: paint, scroll, zoom out, hover."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording
from timing import median_cpu_ms, median_ms

from loopscope.core.selection import Selection
from loopscope.core.views.graph.compute import Options, compute
from loopscope.widgets.views.graph.view import GraphView

SIZE = (1280, 700)
FRAME_MS = 16


def shown(qtbot: QtBot, recurrences: int, options: Options) -> GraphView:
    recording = synthetic_recording(recurrences=recurrences, n_block=8)
    selection = Selection(recurrences // 2, 3)
    view = GraphView(options)
    view.resize(*SIZE)
    view.show()
    qtbot.waitExposed(view)
    view.show_data(compute(recording, selection, options))
    view.show_selection(selection, {})
    QApplication.processEvents()  # before its first paint event a window paints nothing
    return view


def moves(view: GraphView) -> Callable[[], None]:
    """Scroll a little further at each call and paint."""
    step = max(7, view.bar.maximum() // 40)

    def move() -> None:
        view.bar.setValue((view.bar.value() + step) % max(view.bar.maximum(), 1))
        view.repaint()

    return move


def hovers(view: GraphView) -> Callable[[], None]:
    """Point at one box after another and paint."""
    left = round(view.pixels.strip.left())
    at = view.pixels.origin(0, False).y()
    places = [
        (
            left + 40 + 61 * i % (view.width() - left - 60),
            round(at + (i % 8 + 1.5) * view.pixels.row),
        )
        for i in range(200)
    ]
    turn = [0]

    def hover() -> None:
        turn[0] += 1
        x, y = places[turn[0] % len(places)]
        QTest.mouseMove(view, QPoint(x, y))
        view.repaint()

    return hover


@pytest.mark.benchmark
def test_a_thousand_copies_of_eight_layers(say, qtbot: QtBot) -> None:
    options = Options(fold="never")
    view = shown(qtbot, 1000, options)
    figures = {}

    def paint() -> None:
        view._still.forget()
        view._strips.forget()
        view.repaint()

    whole = view.pixels.least_zoom
    for name, zoom in (("labels", 1.0), ("plain", 0.5), ("stripes", 0.1), ("all 1,000", whole)):
        view.set_zoom(zoom)
        figures[name] = {
            "columns in sight": round(view.pixels.strip.width() / view.pixels.column),
            "paint_cpu_ms": round(median_cpu_ms(paint), 1),
            "scroll_cpu_ms": round(median_cpu_ms(moves(view), 31), 1),
            "hover_cpu_ms": round(median_cpu_ms(hovers(view), 31), 1),
            "scroll_ms": round(median_ms(moves(view), 31), 1),
            "hover_ms": round(median_ms(hovers(view), 31), 1),
        }
    zooms = [1.0, whole]

    def zoom_out() -> None:
        view.set_zoom(zooms[0])
        zooms.reverse()
        view.repaint()

    figures["zoom in and out, each"] = round(median_ms(zoom_out), 1)
    recording = synthetic_recording(recurrences=1000, n_block=8)
    datas = [compute(recording, Selection(500), options) for _ in "ab"]
    turn = [0]

    def new_data() -> None:
        turn[0] ^= 1
        view.show_data(datas[turn[0]])
        view.repaint()

    figures["new data and paint, all 1,000"] = round(median_ms(new_data), 1)
    view.close()
    say("computation graph, 1,000 copies x 8 layers, 1280 x 700", **figures)
    for level in ("labels", "plain", "stripes", "all 1,000"):
        # Of the processor, which other work on the machine does not add to as much.
        assert figures[level]["scroll_cpu_ms"] < FRAME_MS, level
        assert figures[level]["hover_cpu_ms"] < FRAME_MS, level


@pytest.mark.benchmark
def test_a_thousand_copies_folded(say, qtbot: QtBot) -> None:
    view = shown(qtbot, 1000, Options())
    turn = [0]

    def cursor() -> None:
        turn[0] += 37
        view.show_selection(Selection(1 + turn[0] % 1000, 3), {})
        view.repaint()

    cpu, wall = round(median_cpu_ms(cursor, 31), 1), round(median_ms(cursor, 31), 1)
    view.close()
    say("computation graph, 1,000 copies folded, cursor moved and painted", cpu_ms=cpu, ms=wall)
    assert cpu < FRAME_MS
