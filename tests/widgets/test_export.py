"""Exported files, read back; and failures that leave nothing behind."""

from __future__ import annotations

import csv
import errno
import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader
from recordings import synthetic_recording

from loopscope.app.figures import write_figures
from loopscope.app.views import BY_KEY, VIEW_SPECS
from loopscope.core.options import settings_of
from loopscope.core.run.pairing import Pairing
from loopscope.core.selection import Selection
from loopscope.core.views.second_run import SecondRun
from loopscope.widgets.figures.export import ExportError, ExportItem, export, export_all
from loopscope.widgets.figures.style import WIDTHS, Page
from loopscope.widgets.kit.export_choice import ExportChoice

pytestmark = pytest.mark.slow

PROVENANCE = {
    "loopscope": "9.9", "checkpoint": "synthetic", "weights sha256": "ab" * 32,
    "prompt": "a, b\nc", "token ids": "0 1 2", "seed": "4", "device": "cpu",
    "dtype": "float32", "recurrence": "12",
}  # fmt: skip


def item(key: str) -> ExportItem:
    panel = BY_KEY[key]
    data = panel.compute(synthetic_recording(), Selection(recurrence=12), panel.options())
    return ExportItem(key, panel.title, panel.draw, panel.table, data)


def save(key: str, path: Path, preset: str = "one column", dpi: int = 150) -> Path:
    return export(item(key), path, page=Page(preset), dpi=dpi, provenance=PROVENANCE)


@pytest.mark.parametrize("key", [p.key for p in VIEW_SPECS])
def test_a_pdf_has_text_true_fonts_and_provenance(key: str, tmp_path: Path) -> None:
    reader = PdfReader(save(key, tmp_path / "x.pdf"))
    assert len(reader.pages) == 1
    assert reader.pages[0].extract_text().strip()
    fonts = reader.pages[0]["/Resources"]["/Font"]
    kinds = {fonts[name].get_object()["/Subtype"] for name in fonts}
    assert kinds <= {"/Type0", "/TrueType", "/Type1"}  # never Type 3 outlines
    assert reader.metadata.title == BY_KEY[key].title
    for value in ("synthetic", "ab" * 32, "0 1 2", "float32", "seed: 4", "recurrence: 12"):
        assert value in reader.metadata.subject
    width = float(reader.pages[0].mediabox.width) / 72
    assert width == pytest.approx(WIDTHS["one column"], abs=0.02)


@pytest.mark.parametrize("key", [p.key for p in VIEW_SPECS])
def test_an_svg_keeps_text_as_text_and_says_where_it_is_from(key: str, tmp_path: Path) -> None:
    path = save(key, tmp_path / "x.svg")
    root = ElementTree.parse(path).getroot()
    texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
    assert texts
    assert "weights sha256: " + "ab" * 32 in path.read_text()


@pytest.mark.parametrize("preset", list(WIDTHS))
def test_a_png_has_the_size_its_preset_and_dpi_say(preset: str, tmp_path: Path) -> None:
    with Image.open(save("settling", tmp_path / "x.png", preset, dpi=120)) as image:
        assert image.width == pytest.approx(WIDTHS[preset] * 120, abs=1)
        assert "synthetic" in image.text["Description"]
        colours = image.convert("RGB").getcolors(1 << 24)
    assert max(colours)[1] == (255, 255, 255)  # paper is white


def test_a_csv_holds_the_recording_exactly(tmp_path: Path) -> None:
    recording = synthetic_recording()
    lines = save("settling", tmp_path / "x.csv").read_text().splitlines()
    head = [line for line in lines if line.startswith("#")]
    assert "# prompt: a, b c" in head
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    column = next(name for name in rows[0] if "relative" in name)
    truth = np.linalg.norm(np.diff(recording.states.astype(np.float64), axis=0), axis=-1)
    truth /= np.linalg.norm(recording.states[1:].astype(np.float64), axis=-1)
    shown = {}
    for row in rows:
        token = row.get("token index") or row.get("token_index") or row["token"]
        if token != "median" and row.get("layer") in (None, "", "end", "ends"):
            shown[int(row["recurrence"]), int(token)] = float(row[column])
    assert len(shown) == truth.size
    for (r, t), value in shown.items():
        assert value == pytest.approx(truth[r - 1, t], rel=1e-6)


def test_equal_data_gives_equal_files(tmp_path: Path) -> None:
    for suffix in ("pdf", "svg", "png", "csv"):
        a = save("heads", tmp_path / f"a.{suffix}").read_bytes()
        assert a == save("heads", tmp_path / f"b.{suffix}").read_bytes()


def test_what_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ExportError, match=r"'x.bmp'; use .pdf, .svg, .png, .csv"):
        save("heads", tmp_path / "x.bmp")
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot write .*Not a directory"):
        save("heads", tmp_path / "file" / "x.pdf")
    with pytest.raises(ExportError, match="cannot write .*No such file"):
        save("heads", tmp_path / "no" / "x.pdf")
    (tmp_path / "x.csv").write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("loopscope.widgets.figures.export._write_csv", full)
    with pytest.raises(ExportError, match=r"x\.csv: the disk is full"):
        save("heads", tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "x.csv"]


def test_a_real_full_disk(tmp_path: Path) -> None:
    """/dev/full takes no byte: what a full disk does to a file being written."""
    from loopscope.widgets.figures import export as module

    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError, match="No space left"):
        module._write_csv(item("heads"), Path("/dev/full"), PROVENANCE)


def test_export_all_goes_on_after_a_failure_and_can_be_stopped(tmp_path: Path) -> None:
    items = [item("heads"), item("settling")]
    (tmp_path / "heads.csv").mkdir()  # cannot be replaced by a file
    seen: list[tuple[int, int, str]] = []
    report = export_all(
        items, tmp_path, ("csv", "svg"), page=Page(), dpi=100, provenance=PROVENANCE,
        progress=lambda *step: seen.append(step), replace_files=True,
    )  # fmt: skip
    assert [p.name for p in report.written] == ["heads.svg", "settling.csv", "settling.svg"]
    assert len(report.failures) == 1
    assert "heads.csv" in report.failures[0]
    assert seen[0] == (0, 4, "heads.csv")
    assert seen[-1][:2] == (4, 4)
    stopped = export_all(
        items, tmp_path / "new", ("csv",), page=Page(), dpi=100, provenance=PROVENANCE,
        cancelled=lambda: True,
    )  # fmt: skip
    assert stopped.cancelled
    assert not stopped.written


def test_a_view_is_written_in_formats_of_its_own_and_only_that_view(tmp_path: Path) -> None:
    panel = BY_KEY["graph"]
    recording = synthetic_recording()
    data = panel.compute(recording, Selection(recurrence=12), panel.options())
    items = [
        ExportItem(panel.key, panel.title, panel.draw, panel.table, data, panel.exports),
        item("settling"),
    ]
    formats = ("csv", "graphml", "dot")
    report = export_all(items, tmp_path, formats, page=Page(), dpi=72, provenance=PROVENANCE)
    assert sorted(p.name for p in report.written) == [
        "graph.csv", "graph.dot", "graph.graphml", "settling.csv",
    ]  # fmt: skip
    assert not report.failures
    assert "ab" * 32 in (tmp_path / "graph.dot").read_text()
    root = ElementTree.parse(tmp_path / "graph.graphml").getroot()
    assert root.tag == "{http://graphml.graphdrawing.org/xmlns}graphml"
    report = export_all(items[1:], tmp_path, ("dot",), page=Page(), dpi=72, provenance=PROVENANCE)
    assert report.failures == ("nothing that is exported can be written as '.dot'",)
    with pytest.raises(ExportError, match="use .pdf, .svg, .png, .csv, .txt$"):
        export(items[1], tmp_path / "x.dot", page=Page(), dpi=72, provenance=PROVENANCE)


def test_each_run_is_drawn_at_its_own_cursor(tmp_path: Path) -> None:
    recording = synthetic_recording(recurrences=6)
    architecture = recording.info.architecture
    pairing = Pairing(architecture, architecture, "own")
    second_run = SecondRun(recording, "run 2", pairing, Selection(recurrence=2))
    choice = ExportChoice(("svg",), folder=str(tmp_path), together=False)
    write_figures(
        recording, Selection(recurrence=4), (BY_KEY["pattern"],), {}, choice, second_run=second_run
    )
    assert "head 0.0 at recurrence 4" in (tmp_path / "pattern.svg").read_text()
    assert "head 0.0 at recurrence 2" in (tmp_path / "pattern-second.svg").read_text()


def test_an_export_never_destroys_an_earlier_one(tmp_path: Path) -> None:
    recording, spec = synthetic_recording(recurrences=3), BY_KEY["settling"]
    choice = ExportChoice(("csv", "txt"), folder=str(tmp_path), name="{view}-{prompt}-{size}")

    def write(choice: ExportChoice, recurrence: int = 3) -> list[str]:
        at = Selection(recurrence=recurrence)
        return [p.name for p in write_figures(recording, at, (spec,), {}, choice).written]

    first = write(choice)
    assert first == ["settling-a-b-c-d-e-one-column.csv", "settling-a-b-c-d-e-one-column.txt"]
    before = (tmp_path / first[0]).read_bytes()
    assert write(choice, 2) == [name.replace("column.", "column-2.") for name in first]
    assert (tmp_path / first[0]).read_bytes() == before
    # One of its files is enough for the next number, so that the files of a drawing go together.
    (tmp_path / "settling-a-b-c-d-e-one-column-3.txt").write_text("mine")
    assert write(choice)[0] == "settling-a-b-c-d-e-one-column-4.csv"
    assert write(replace(choice, replace=True), 2) == first
    assert (tmp_path / first[0]).read_bytes() != before


@pytest.mark.parametrize("key", [p.key for p in VIEW_SPECS])
def test_a_caption_says_what_is_shown_and_what_it_rests_on(key: str, tmp_path: Path) -> None:
    spec, recording = BY_KEY[key], synthetic_recording()
    choice = ExportChoice(("txt",), folder=str(tmp_path))
    write_figures(recording, Selection(recurrence=12), (spec,), {}, choice)
    text = (tmp_path / f"{key}.txt").read_text()
    data = spec.compute(recording, Selection(recurrence=12), spec.options())
    assert text.startswith(f"{spec.title}. {data.statement}")
    for formula in data.formulas:
        assert formula.formula in text
    for setting in settings_of(spec.options):
        assert f"{setting.label}: " in text
    assert "prompt: " in text
    assert "weights sha256: " in text
    if spec.request is None:
        assert data.drawn_words
        assert data.drawn_words in text
