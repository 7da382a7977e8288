"""Text of others, such as tokens, on screen and paper: never HTML, never a broken file."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QAction, QTextDocument
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording, with_results

from loopscope.app.views import BY_KEY, VIEW_SPECS
from loopscope.core.labels import printable, visible
from loopscope.core.selection import Selection
from loopscope.widgets.bars.header import Header
from loopscope.widgets.bars.prompt_line import Notice
from loopscope.widgets.bars.token_chips import TokenChips
from loopscope.widgets.figures import fonts
from loopscope.widgets.figures.export import ExportItem, export, export_all
from loopscope.widgets.figures.style import Page
from loopscope.widgets.kit.command_palette import CommandPalette
from loopscope.widgets.kit.plain_text import LINE, plain_tip
from loopscope.widgets.runs.run_list import RunList, RunRow

ROOT = Path(__file__).parents[2]
# Form feed, escape, a noncharacter, a bidirectional override, newline, NUL, a lone surrogate.
HOSTILE = [
    "a\x0cb",
    "\x1b[31m",
    "\ufffe",
    "\u202eabc",
    "x\ny",
    "\x00",
    "\ud800",
    "<s>",
    "$x_{$",
    "&amp;",
]
SVG_TEXT = "{http://www.w3.org/2000/svg}text"


# ---- characters that cannot be printed ----
@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("a\x0cb", "a\\x0cb"), ("\x1b[31m", "\\x1b[31m"), ("\ufffe", "\\ufffe"),
        ("\u202eabc", "\\u202eabc"), ("x\ny\r\t", "x⏎y␍⇥"), ("\x00", "\\x00"),
        ("\ud800", "\\ud800"), ("two words", "two words"), ("中文 é", "中文 é"), ("", ""),
        ("a\u00a0b", "a b"), ("\u2028", "\\u2028"),
    ],
)  # fmt: skip
def test_one_function_makes_a_text_printable(text: str, label: str) -> None:
    assert printable(text) == label
    assert visible(text) == (label.replace(" ", "␣") or "∅")
    assert printable(text).isprintable()


def item(key: str, labels: list[str]) -> ExportItem:
    spec = BY_KEY[key]
    recording = with_results(synthetic_recording(tokens=len(labels), labels=labels))
    data = spec.compute(recording, Selection(recurrence=12), spec.options())
    return ExportItem(key, spec.title, spec.draw, spec.table, data)


@pytest.mark.slow
@pytest.mark.parametrize("key", [p.key for p in VIEW_SPECS])
def test_every_svg_parses_and_shows_only_what_can_be_printed(key: str, tmp_path: Path) -> None:
    provenance = {"loopscope": "1", "prompt": " ".join(HOSTILE[:6])}
    path = export(
        item(key, HOSTILE), tmp_path / "x.svg", page=Page(), dpi=72, provenance=provenance
    )
    root = ElementTree.fromstring(path.read_bytes())
    texts = ["".join(t.itertext()) for t in root.iter(SVG_TEXT)]
    assert texts
    for text in texts:
        # Mathematics, such as a power of ten, stands in lines of its own.
        assert printable(" ".join(text.split())) == " ".join(text.split())
    csv = export(
        item(key, HOSTILE[:6]), tmp_path / "x.csv", page=Page(), dpi=72, provenance=provenance
    )
    assert "\\x1b[31m \\ufffe" in csv.read_text("utf-8")


@pytest.mark.parametrize("key", ["pattern", "state_space"])
def test_labels_are_readable_and_tables_exact(key: str) -> None:
    data = item(key, HOSTILE[:6]).data
    assert data.labels == tuple(map(visible, HOSTILE[:6]))
    assert data.token_texts == tuple(HOSTILE[:6])
    rows = list(BY_KEY[key].table(data).rows)
    assert any("a\x0cb" in row for row in rows)


# ---- characters that the page's font lacks ----
def characters(path: Path) -> str:
    return "".join("".join(t.itertext()) for t in ElementTree.parse(path).getroot().iter(SVG_TEXT))


def test_a_font_of_the_system_is_found_for_what_the_page_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Among these fonts; the fewest that do."""
    entry = type("Entry", (), {})

    def font(name: str) -> object:
        made = entry()
        made.name, made.fname = name, name
        return made

    held = {"one": frozenset("中文"), "both": frozenset("中文가"), "arabic": frozenset("ع")}
    page = fonts.findfont(fonts.FontProperties(family=["DejaVu Sans"]))
    latin = frozenset("abc")
    monkeypatch.setattr(fonts, "_regular_fonts", lambda: tuple(map(font, held)))
    monkeypatch.setattr(fonts, "characters_of", lambda path: latin if path == page else held[path])
    assert fonts.families_for(set("abc"), "DejaVu Sans") == (["DejaVu Sans"], set())
    assert fonts.families_for(set("a中文가"), "DejaVu Sans") == (["DejaVu Sans", "both"], set())
    found = fonts.families_for(set("中عß"), "DejaVu Sans")
    assert found == (["DejaVu Sans", "one", "arabic"], {"ß"})


@pytest.mark.slow
def test_a_missing_glyph_is_said_once_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No font is on this system but the page's own: a line for all files, no warning for each."""
    monkeypatch.setattr(fonts, "_regular_fonts", lambda: ())
    items = [item(key, ["中", "文", "가", "d", "e"]) for key in ("distance", "pattern")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = export_all(items, tmp_path, ("svg", "pdf"), page=Page(), dpi=72, provenance={})
    assert len(report.written) == 4
    assert report.failures == ()
    assert report.note.startswith("no font of this system has U+4E2D U+6587 U+AC00: install")


@pytest.mark.slow
def test_scripts_of_the_system_are_drawn_in_its_fonts(tmp_path: Path) -> None:
    """Whatever fonts there are: what one of them has is not reported, and is in the file's list."""
    families, missing = fonts.families_for(set("中文"), "DejaVu Sans")
    report = export_all([item("pattern", ["中", "文", "c", "d", "e"])], tmp_path, ("svg",),
                        page=Page(), dpi=72, provenance={})  # fmt: skip
    assert bool(report.note) == bool(missing)
    text = (tmp_path / "pattern.svg").read_text("utf-8")
    assert all(name in text for name in families)
    assert "中" in characters(tmp_path / "pattern.svg")
    assert matplotlib.rcParams["font.family"] == matplotlib.rcParamsDefault["font.family"]


# ---- never HTML ----
def as_shown(tip: str) -> str:
    """What a tooltip shows: Qt takes it for HTML when it looks like it."""
    if not Qt_might_be_rich(tip):
        return tip
    document = QTextDocument()
    document.setHtml(tip)
    return document.toPlainText().replace("\u00a0", " ")


def Qt_might_be_rich(text: str) -> bool:
    from PySide6.QtGui import Qt as GuiQt

    return bool(GuiQt.mightBeRichText(text))


@pytest.mark.parametrize(
    "text", ["<s>", "Token 3 '<s>'. Click", "<b>x</b>\nsecond", "a < b", "&amp;", ""]
)
def test_a_tooltip_shows_its_characters(text: str) -> None:
    assert as_shown(plain_tip(text)) == text


def test_a_long_tooltip_has_lines() -> None:
    lines = plain_tip("word " * 60).split("\n")
    assert len(lines) > 2
    assert max(map(len, lines)) <= LINE


def test_a_token_that_is_a_tag_is_shown_as_it_is(qtbot: QtBot) -> None:
    chips = TokenChips()
    qtbot.addWidget(chips)
    chips.resize(400, 30)
    chips.show_tokens(("<s>", "b"))
    tip = chips.tip_at(QPointF(chips.chip(0).center()))
    assert as_shown(plain_tip(tip)).startswith("Token 0 '<s>'. Click: cursor.")

    notice = Notice()
    qtbot.addWidget(notice)
    notice.show_message("<s> is no token")
    assert notice.textFormat() == Qt.TextFormat.PlainText
    assert as_shown(notice.toolTip()) == "<s> is no token"

    header = Header()
    qtbot.addWidget(header)
    header.show_model("<b>model</b>", "<i>card</i>")
    assert header.model.textFormat() == Qt.TextFormat.PlainText
    assert as_shown(header.model.toolTip()) == "<b>model</b>"

    runs = RunList()
    qtbot.addWidget(runs)
    runs.show_runs([RunRow(1, None, "<s> run", "<u>cut</u>", 3)], 1, -1)
    assert as_shown(runs.items[1].toolTip(0)).startswith("<s> run (shown): <u>cut</u>")

    action = QAction("<s>")
    action.setToolTip("<s> tip")
    palette = CommandPalette([action], header)
    palette._fill("")
    assert as_shown(palette.list.topLevelItem(0).toolTip(0)) == "<s> tip"


def calls(name: str) -> list[tuple[Path, ast.Call]]:
    """Calls of a method or class by this name in app and widgets."""
    out = []
    for folder in ("widgets", "app"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    called = (
                        node.func.attr
                        if isinstance(node.func, ast.Attribute)
                        else getattr(node.func, "id", "")
                    )
                    if called == name:
                        out.append((path, node))
    return out


def is_own(node: ast.expr) -> bool:
    """Whether a text is ours alone: literals, and choices between them."""
    if isinstance(node, ast.IfExp):
        return is_own(node.body) and is_own(node.orelse)
    if isinstance(node, ast.BinOp):
        return is_own(node.left) and is_own(node.right)
    return isinstance(node, ast.Constant)


def test_labels_and_tooltips_are_plain_everywhere() -> None:
    assert [p.name for p, _ in calls("QLabel")] == []
    assert len(calls("PlainLabel")) > 10
    found = []
    for path, call in calls("setToolTip"):
        text = call.args[-1]
        plain = isinstance(text, ast.Call) and ast.unparse(text.func) == "plain_tip"
        own = is_own(text) or re.fullmatch(r"command\.tip.*", ast.unparse(text)) is not None
        if not (plain or own):
            found.append(f"{path.name}: {ast.unparse(call)}")
    assert found == []
    assert issubclass(Notice, QLabel)
