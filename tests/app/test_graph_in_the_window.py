"""The computation graph in the window: a long run is folded, and exported for other programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import networkx as nx
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from loopscope.app.window.opening import FirstRun
from loopscope.app.window.window import Window
from loopscope.core.model.flops import flops_per_token
from tests.window_desk import desk, wait


@pytest.fixture
def window(qtbot: QtBot):
    with desk(1200, 800) as window:
        window.opening.open("bundled:looped", FirstRun("ab bc ca ? 2 : a b c", 40))
        wait(qtbot, window, 40)
        yield window


def test_folding_from_the_keyboard_and_colours_by_identity(window: Window, qtbot: QtBot) -> None:
    view = window.views.frames["graph"].view
    data = view.data
    assert data.digests["block.0"] == window.bench.runner.loaded.weight_identity["block.0"]
    assert len(data.digests["block.0"]) == 32
    assert view.pixels.bands[0].strip.cols.folded
    view.setFocus()
    QTest.keyClick(view, Qt.Key.Key_F)
    assert window.bench.displays["graph"].options.fold == "never"
    qtbot.waitUntil(lambda: not view.pixels.bands[0].strip.cols.folded, timeout=20_000)
    window.bench.analysis.set_options("graph", replace(view.options, fold="always"))
    qtbot.waitUntil(lambda: view.pixels.bands[0].strip.cols.folded, timeout=20_000)


def test_the_graph_is_exported_for_other_programs(
    window: Window, qtbot: QtBot, tmp_path: Path
) -> None:
    window.settings.export = {"formats": ["graphml"], "folder": str(tmp_path), "name": "{view}"}
    dialog = window.exporter.ask("graph")
    dialog.boxes["dot"].click()
    qtbot.mouseClick(dialog.export_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: (tmp_path / "graph.dot").exists(), timeout=30_000)
    qtbot.waitUntil(lambda: dialog.export_button.isEnabled(), timeout=30_000)
    assert "Wrote graph.graphml, graph.dot" in dialog.note.text()
    dialog.close()
    graph = nx.read_graphml(tmp_path / "graph.graphml")
    run = [n for n, of in graph.nodes(data="graph") if of == "unrolled"]
    arch = window.bench.session.recording.info.architecture
    flops = sum(graph.nodes[n]["flops"] for n in run)
    assert flops == flops_per_token(arch, 40, window.bench.session.recording.n_tokens)
    assert graph.graph["prompt"] == "ab bc ca ? 2 : a b c"
    dialog = window.exporter.ask("settling")
    assert "dot" not in dialog.boxes
    dialog.close()
