"""The export dialog: names, what is there already, and the page as it will be."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording

from loopscope.app.figures import WRITTEN, describe_files, namer, page_png
from loopscope.app.views import BY_KEY
from loopscope.core.errors import LoopscopeError
from loopscope.core.selection import Selection
from loopscope.widgets.kit.export_choice import ExportChoice
from loopscope.widgets.kit.export_dialog import ExportDialog
from loopscope.widgets.kit.export_names import DEFAULT_PATTERN, free_stem, slug, stem


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{view}", "pattern"),
        (DEFAULT_PATTERN, "pattern-ab-bc-3-layer1-head2-one-column"),
        ("{seed}-{view}", "pattern"),  # an empty field leaves no dash
        ("Fig. 3 {view}", "Fig. 3 pattern"),
        ("con", "con-"),
    ],
)
def test_a_pattern_gives_a_name(pattern: str, name: str) -> None:
    fields = {"view": "pattern", "prompt": slug("ab bc? 3"), "head": "layer1-head2",
              "size": "one-column"}  # fmt: skip
    assert stem(pattern, fields) == name


@pytest.mark.parametrize(
    "pattern", ["{nothing}", "a/b", "..", "", "{view", 'x"y', "a\x00b", "{seed}"]
)
def test_what_is_no_name_is_refused_in_one_line(pattern: str) -> None:
    with pytest.raises(LoopscopeError) as error:
        stem(pattern, {"view": "pattern"})
    assert "\n" not in str(error.value)


def test_names_of_other_scripts_are_kept_within_what_file_systems_take(tmp_path: Path) -> None:
    name = stem("{view}-{prompt}-" + "長" * 300, {"view": "readout", "prompt": slug("日本 語")})
    assert name.startswith("readout-日本-語-長")
    assert len(f"{name}-1000.graphml".encode()) <= 255
    (tmp_path / f"{name}.csv").write_text("")
    assert free_stem(tmp_path, name, ("pdf", "csv"), set()) == f"{name}-2"
    assert free_stem(tmp_path, name, ("pdf",), {name}) == f"{name}-2"


def test_heads_and_recurrences_are_in_the_names_of_views_that_show_them() -> None:
    choice = ExportChoice(name="{view}-{head}-{recurrence}")
    names = namer(synthetic_recording(), Selection(recurrence=4, layer=1, head=2), choice)
    assert names(BY_KEY["pattern"], "pattern") == "pattern-layer1-head2-r4"
    assert names(BY_KEY["settling"], "settling-second") == "settling-second"


def made(qtbot: QtBot, folder: Path, **changes: object) -> ExportDialog:
    choice = ExportChoice(("csv",), folder=str(folder), **changes)
    dialog = ExportDialog(
        "Settling", choice, None, (),
        lambda wanted: describe_files([(stem(wanted.name, {"view": "settling"}), WRITTEN)], wanted),
        ("Settling",),
    )  # fmt: skip
    qtbot.addWidget(dialog)
    dialog.show()
    return dialog


def test_the_dialog_says_what_becomes_of_files_that_are_there(qtbot: QtBot, tmp_path: Path) -> None:
    dialog = made(qtbot, tmp_path)
    assert dialog.files.text() == "Writes settling.csv"
    (tmp_path / "settling.csv").write_text("")
    dialog.name.setText("{view} ")
    assert dialog.files.text() == (
        "Writes settling-2.csv. 1 file is there already: kept, and the new ones get a number"
    )
    dialog.there.setCurrentIndex(1)
    assert dialog.files.text().endswith("1 file is there already: written over")
    assert dialog.choice.replace
    dialog.name.setText("{nothing}")
    assert not dialog.export_button.isEnabled()
    assert "a name has no {nothing}" in dialog.note.text()


def test_the_page_is_asked_for_and_shown(qtbot: QtBot, tmp_path: Path) -> None:
    dialog = made(qtbot, tmp_path)
    with qtbot.waitSignal(dialog.preview_wanted, timeout=10_000) as first:
        pass
    with qtbot.waitSignal(dialog.preview_wanted, timeout=10_000) as wanted:
        dialog.preset.setCurrentIndex(1)
    assert (first.args[0].preset, wanted.args[0].preset) == ("one column", "two columns")
    spec = BY_KEY["settling"]
    page = page_png(synthetic_recording(), Selection(), spec, spec.options(), wanted.args[0])
    dialog.preview.show_page(page)
    assert dialog.preview.image is not None
    # The page has the size it is written in: 180 mm at 110 dots per inch.
    assert dialog.preview.image.width() == pytest.approx(180 / 25.4 * 110, abs=2)
    assert dialog.preview.rect().contains(dialog.preview.page_rect().toRect())
    dialog.preview.show_words("cannot be drawn")
    qtbot.mouseClick(dialog.close_button, Qt.MouseButton.LeftButton)
