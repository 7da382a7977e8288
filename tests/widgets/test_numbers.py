"""Numbers are written and read with a point, whatever the language of the desktop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from PySide6.QtCore import QLocale, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractSpinBox, QLineEdit
from pytestqt.qtbot import QtBot
from recordings import architecture

from loopscope.core.interventions.registry import KINDS
from loopscope.core.options import setting
from loopscope.core.selection import Selection
from loopscope.widgets.bars.prompt_bar import PromptBar
from loopscope.widgets.kit.export_choice import ExportChoice
from loopscope.widgets.kit.export_dialog import ExportDialog
from loopscope.widgets.kit.numbers import number_text
from loopscope.widgets.kit.settings_form import SettingsForm
from loopscope.widgets.runs.cut_form import CutForm
from loopscope.widgets.runs.span_dialog import SpanDialog


@pytest.fixture(params=["C", "de_DE", "fr_FR", "ar_EG", "hi_IN"])
def _locale(request: pytest.FixtureRequest) -> Iterator[None]:
    """Qt's locale, as a desktop of that language sets it."""
    before = QLocale()
    QLocale.setDefault(QLocale(request.param))
    yield
    QLocale.setDefault(before)


@dataclass(frozen=True, slots=True)
class Options:
    """Three numbers."""

    tolerance: float = setting(1e-05, "Tolerance", "smallest", low=1e-12, high=1.0)
    share: float = setting(0.5, "Share", "a part", low=-1.0, high=1e6)
    many: int = setting(2500, "Many", "a whole number", low=0, high=100_000)


@pytest.mark.usefixtures("_locale")
@pytest.mark.parametrize(
    ("typed", "value"), [("0.25", 0.25), ("-0.125", -0.125), ("2.5e3", 2500.0)]
)
def test_a_decimal_setting_is_typed_with_a_point(qtbot: QtBot, typed: str, value: float) -> None:
    form = SettingsForm(Options())
    qtbot.addWidget(form)
    line = form.controls["share"]
    assert isinstance(line, QLineEdit)
    assert (line.text(), form.controls["tolerance"].text()) == ("0.5", "1e-05")
    assert form.problem == ""
    line.selectAll()
    QTest.keyClicks(line, typed)
    QTest.keyClick(line, Qt.Key.Key_Return)
    assert form.options == Options(share=value)
    assert form.controls["many"].text() == "2500"


@pytest.mark.usefixtures("_locale")
def test_a_comma_is_refused_in_words(qtbot: QtBot) -> None:
    form = SettingsForm(Options())
    qtbot.addWidget(form)
    line = form.controls["share"]
    line.selectAll()
    QTest.keyClicks(line, "0,25")
    form.commit()
    assert form.options.share != 0.25 or "," not in line.text()
    assert form.problem.startswith("Share has to be a number") or line.text() in ("025", "0")


def test_what_is_written_reads_back_exactly() -> None:
    for value in (0.1 + 0.2, 1 / 3, 1e-05, 0.3, 1.0, -2500.0, 6.02e23):
        assert float(number_text(value)) == value
    assert [number_text(v) for v in (1.0, 0.1, 1e-05)] == ["1", "0.1", "1e-05"]


def test_a_line_that_is_left_as_it_was_changes_nothing(qtbot: QtBot) -> None:
    """Six digits would read back to another number."""
    form = SettingsForm(Options(share=0.123456789))
    qtbot.addWidget(form)
    form.commit()
    assert form.options.share == 0.123456789


@pytest.mark.usefixtures("_locale")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_branch_can_be_made_at_its_defaults(qtbot: QtBot, kind: str) -> None:
    form = CutForm()
    qtbot.addWidget(form)
    form.show_place(architecture(), 6, Selection(recurrence=4, layer=1, token=3))
    form.show_sources([(7, "run 1")])
    index = form.kind.findData(kind)
    form.kind.setCurrentIndex(index)
    form.kind.activated.emit(index)
    lines = [x for x in form.findChildren(QLineEdit) if isinstance(x.parent(), SettingsForm)]
    assert all(line.hasAcceptableInput() for line in lines)
    assert "has to be a number" not in form.words.text()
    assert form.button.isEnabled() or kind in ("replace", "borrow")


@pytest.mark.usefixtures("_locale")
def test_every_box_of_numbers_writes_and_reads_a_point(qtbot: QtBot) -> None:
    export = ExportDialog("x", ExportChoice())
    for form in (PromptBar(), SpanDialog(), CutForm(), export, SettingsForm(Options())):
        qtbot.addWidget(form)
        boxes = form.findChildren(QAbstractSpinBox)
        assert boxes
        for box in boxes:
            assert box.locale().language() == QLocale.Language.C
    bar = PromptBar()
    qtbot.addWidget(bar)
    assert bar.scale.valueFromText("0.25") == 0.25
    assert bar.scale.textFromValue(1234.5) == "1234.50"
