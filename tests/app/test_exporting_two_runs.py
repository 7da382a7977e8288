"""What the window exports while a second run stands beside: what is drawn, with both named."""

from __future__ import annotations

import csv
import json
import threading
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from PIL import Image
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from loopscope.app.window.exporting import Exporter
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.window import Window
from loopscope.core.interventions.base import END
from loopscope.core.interventions.states import Noise
from tests.window_desk import desk, wait

pytestmark = pytest.mark.slow

PROMPT = "ab bc ca ? 2 : a b c"
CUT = Noise(recurrence=2, last=2, layer=END, size=0.5)


@pytest.fixture
def window(qtbot: QtBot):
    with desk(1200, 800) as window:
        window.opening.open("bundled:looped", FirstRun(PROMPT, 5), device="cpu")
        wait(qtbot, window, 5)
        yield window


def branched(qtbot: QtBot, window: Window) -> None:
    before = window.bench.session.recording
    window.bench.runs.branch((CUT,))
    qtbot.waitUntil(lambda: window.bench.session.recording is not before, timeout=20_000)
    wait(qtbot, window, 5)


def export(
    qtbot: QtBot, window: Window, key: str | None, folder: Path, *formats: str,
    together: bool = False,
) -> str:  # fmt: skip
    window.settings.export = {
        "formats": list(formats), "folder": str(folder), "dpi": 72, "name": "{view}",
        "together": together,
    }  # fmt: skip
    exporter: Exporter = window.exporter
    dialog = exporter.ask(key)
    assert dialog is not None
    said = dialog.second_run.text()
    assert dialog.second_run.isVisible() == bool(said)
    qtbot.mouseClick(dialog.export_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.export_button.isEnabled(), timeout=60_000)
    said += "|" + dialog.note.text()
    dialog.close()
    return said


def read(path: Path) -> tuple[dict[str, str], list[dict[str, str]]]:
    lines = path.read_text().splitlines()
    head = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
    return head, list(csv.DictReader(line for line in lines if not line.startswith("# ")))


def test_both_runs_on_one_pair_of_axes_are_exported(window, qtbot: QtBot, tmp_path: Path) -> None:
    branched(qtbot, window)
    said = export(qtbot, window, "depth", tmp_path, "csv", "png", "svg")
    assert "draws both runs" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["depth.csv", "depth.png", "depth.svg"]
    head, rows = read(tmp_path / "depth.csv")
    curves = {row["curve"] for row in rows}
    assert {"layer 0", "run 1: layer 0"} <= curves
    assert head["drawn"] == "both runs"
    assert json.loads(head["interventions"])[0]["kind"] == "noise"
    assert json.loads(head["second run interventions"]) == []
    for key in ("checkpoint", "prompt", "seed", "recurrence"):
        assert head[f"second run {key}"] == head[key]
    assert head["second run"] == "run 1, by effective depth"
    with Image.open(tmp_path / "depth.png") as picture:
        described = picture.info["Description"]
    assert "second run checkpoint: bundled:looped" in described
    assert "second run prompt" in (tmp_path / "depth.svg").read_text()


def test_a_view_that_is_drawn_twice_is_exported_twice(window, qtbot, tmp_path: Path) -> None:
    branched(qtbot, window)
    said = export(qtbot, window, "distance", tmp_path, "csv", "pdf")
    assert "distance-second.*" in said
    stems = ("distance-difference", "distance-second", "distance")
    names = [f"{stem}.{suffix}" for stem in stems for suffix in ("csv", "pdf")]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert "what is different to distance-difference.*" in said
    head, rows = read(tmp_path / "distance.csv")
    there, other = read(tmp_path / "distance-second.csv")
    assert rows != other
    assert (head["drawn"], there["drawn"]) == ("the run shown", "the second run")
    assert json.loads(head["interventions"])
    assert head["interventions"] == there["shown interventions"]
    assert json.loads(there["interventions"]) == json.loads(head["second run interventions"]) == []
    assert there["view"] == "Distance to the end, run 1"
    # Alone again, there is nothing beside to write.
    window.bench.second_runs.show(None)
    alone = tmp_path / "alone"
    assert export(qtbot, window, "distance", alone, "csv").startswith("|Wrote distance.csv")
    assert [p.name for p in alone.iterdir()] == ["distance.csv"]
    head, again = read(alone / "distance.csv")
    assert again == rows
    assert not any("second run " in key for key in head)


def test_two_drawings_share_a_figure_if_asked_to(window, qtbot, tmp_path: Path) -> None:
    branched(qtbot, window)
    formats = ("csv", "png", "svg", "txt")
    export(qtbot, window, "distance", tmp_path, *formats, together=True)
    names = [f"distance-difference.{s}" for s in sorted(formats)]
    names += ["distance-second.csv", *(f"distance.{s}" for s in sorted(formats))]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    alone = tmp_path / "alone"
    export(qtbot, window, "distance", alone, "png", "svg", "txt")
    with Image.open(tmp_path / "distance.png") as both, Image.open(alone / "distance.png") as one:
        assert both.width == one.width
        assert 1.9 * one.height < both.height < 2.6 * one.height
    picture, first = ((f / "distance.svg").read_text() for f in (tmp_path, alone))
    assert picture.count("distance to the end") == 2 * first.count("distance to the end")
    assert ">run 1<" in picture
    assert "both runs, the second one below" in picture
    caption = (tmp_path / "distance.txt").read_text()
    assert caption.startswith("Above: the run shown.\n\nDistance to the end. ")
    assert "Below: Distance to the end, run 1. " in caption


def test_all_views_of_two_models(window, qtbot: QtBot, tmp_path: Path) -> None:
    window.tree.open_second_model("bundled:deep")
    qtbot.waitUntil(lambda: window.bench.session.second is not None, timeout=60_000)
    wait(qtbot, window, 5)
    said = export(qtbot, window, None, tmp_path, "csv", "png", "graphml", "dot")
    assert "“Settling”, “Computation graph” and “Measures over depth” draw both runs" in said
    assert "NAME-second.*" in said
    assert "called NAME-second are of the second run" in said
    names = {p.name for p in tmp_path.iterdir()}
    for key in ("readout", "distance", "state_space", "heads", "pattern", "similarity"):
        assert {f"{key}.csv", f"{key}-second.csv", f"{key}-second.png"} <= names
        head, _ = read(tmp_path / f"{key}-second.csv")
        assert (head["checkpoint"], head["shown checkpoint"]) == ("bundled:deep", "bundled:looped")
    assert "heads-difference.png" in names
    assert read(tmp_path / "heads-difference.csv")[0]["drawn"] == "the run shown − second run"
    assert (
        not {"settling-second.csv", "graph-second.csv", "depth-second.csv", "quality-second.csv"}
        & names
    )
    head, rows = read(tmp_path / "graph.csv")
    assert {row["model"] for row in rows} == {"bundled:looped", "bundled:deep"}
    assert head["weights sha256"] != head["second run weights sha256"]
    graph = nx.read_graphml(tmp_path / "graph.graphml")
    assert graph.graph["second run checkpoint"] == "bundled:deep"
    assert graph.graph["second run prompt"] == PROMPT
    of = {v["model"]: v["checkpoint_sha256"] for _, v in graph.nodes(data=True)}
    shas = (head["weights sha256"], head["second run weights sha256"])
    assert of == dict(zip(("bundled:looped", "bundled:deep"), shas, strict=True))
    assert all(v["digest"] for _, v in graph.nodes(data=True) if v.get("weights"))
    assert "// second run checkpoint: bundled:deep" in (tmp_path / "graph.dot").read_text()


def test_with_the_window_closed_the_rest_is_not_written(
    window, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loopscope.widgets.figures import export as exporting

    begun, go, write = [], threading.Event(), exporting.export

    def wait(item: Any, *arguments: Any, **named: Any) -> Path:
        begun.append(item.key)
        assert go.wait(60)
        return write(item, *arguments, **named)

    monkeypatch.setattr(exporting, "export", wait)
    window.settings.export = {
        "formats": ["csv"], "folder": str(tmp_path), "dpi": 72, "name": "{view}",
    }  # fmt: skip
    dialog, analysis = window.exporter.ask(None), window.bench.analysis
    qtbot.mouseClick(dialog.export_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bool(begun), timeout=60_000)
    window.close()
    go.set()
    qtbot.waitUntil(lambda: analysis.worker.ended, timeout=60_000)
    assert [path.stem for path in tmp_path.iterdir()] == begun[:1] == begun


def test_a_dialog_left_open_says_when_its_run_has_gone(window, qtbot: QtBot, tmp_path) -> None:
    window.settings.export = {"formats": ["csv"], "folder": str(tmp_path), "dpi": 72}
    dialog = window.exporter.ask("settling")
    window.bench.leave_for_recordings(lambda: None)
    qtbot.waitUntil(lambda: window.bench.session.recording is None, timeout=60_000)
    qtbot.mouseClick(dialog.export_button, Qt.MouseButton.LeftButton)
    assert "nothing to export any more" in dialog.note.text()
    assert dialog.export_button.isEnabled()
    assert list(tmp_path.iterdir()) == []
