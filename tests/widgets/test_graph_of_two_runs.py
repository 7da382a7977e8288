"""Two models in one picture, folds, cuts, search and zoom, driven by mouse and keys."""

from __future__ import annotations

from dataclasses import replace

import pytest
from contrasts import BLOCK_ONLY, DEEP, LOOPED, contrast, run
from graph_desk import Desk
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QImage, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from loopscope.core.interventions.base import END, FOREVER
from loopscope.core.interventions.layers import DropInjection, SkipLayer
from loopscope.core.interventions.states import Noise, Zero
from loopscope.core.selection import Selection
from loopscope.core.views.graph.compute import Options, compute
from loopscope.widgets.kit.export_choice import ExportChoice
from loopscope.widgets.kit.export_dialog import ExportDialog
from loopscope.widgets.palette import DARK, LIGHT

LEFT = Qt.MouseButton.LeftButton
SIZE = (1100, 520)


def second_run(
    qtbot: QtBot, selection: Selection, options: Options | None = None, **kwargs
) -> Desk:
    data = contrast(run(LOOPED, 6), run(DEEP, 1), selection, options, **kwargs)
    return Desk(qtbot, data, selection, options, SIZE)


# ---- two models ----
def test_the_cursor_is_lit_in_loop_unrolling_and_deep_model(qtbot: QtBot) -> None:
    desk = second_run(qtbot, Selection(3, 1))
    for place in (desk.at("block.1"), desk.at("block.1", 3), desk.at("block.5", 1, band=1)):
        assert desk.accent_at(place)
    for place in (desk.at("block.1", 2), desk.at("block.4", 1, band=1)):
        assert not desk.accent_at(place)
    desk.view.show_selection(Selection(5, 0), {})
    assert desk.accent_at(desk.at("block.8", 1, band=1))
    desk.view.show_selection(Selection(0, 0), {})
    # A deep model has no s₀ of its own: its state begins as what the prelude puts out.
    assert desk.accent_at(desk.at("prelude.0", 0, band=1))


def test_a_click_in_the_deep_strip_selects_through_the_pairing(qtbot: QtBot) -> None:
    desk = second_run(qtbot, Selection(1, 0))
    qtbot.mouseClick(desk.view, LEFT, pos=desk.at("block.7", 1, band=1))
    assert desk.picked == [{"recurrence": 4, "layer": 1}]
    qtbot.mouseClick(desk.view, LEFT, pos=desk.at("coda.0", 0, band=1))
    assert "outside the loop" in desk.said[-1]
    assert len(desk.picked) == 1


def test_a_click_beyond_what_the_first_run_has_run_says_so(qtbot: QtBot) -> None:
    data = contrast(run(LOOPED, 2), run(DEEP, 1), Selection(1))
    desk = Desk(qtbot, data, Selection(1), None, SIZE)
    qtbot.mouseClick(desk.view, LEFT, pos=desk.at("block.7", 1, band=1))
    assert not desk.picked
    assert "recurrence 4 has not been run" in desk.said[-1]


def test_at_their_own_pace_a_click_beside_moves_nothing(qtbot: QtBot) -> None:
    desk = second_run(qtbot, Selection(2, 0), step_pairing="own")
    qtbot.mouseClick(desk.view, LEFT, pos=desk.at("block.7", 1, band=1))
    assert not desk.picked
    assert "own pace" in desk.said[-1]


def test_hovering_names_the_run_and_lights_the_place_in_the_others(qtbot: QtBot) -> None:
    desk = second_run(qtbot, Selection(1, 0))
    qtbot.mouseMove(desk.view, desk.at("block.7", 1, band=1))
    assert desk.hovered[-1] == {"recurrence": 4, "layer": 1}
    assert desk.said[-1].startswith("run 2: layer 7")
    assert "weights block.7," in desk.said[-1]  # no digest of values that were not at hand
    before = desk.view.grab().toImage()
    qtbot.mouseMove(desk.view, QPoint(2, 2))
    desk.view.show_selection(Selection(1, 0), {"recurrence": 4, "layer": 1})
    after = desk.view.grab().toImage()
    assert differs(before, after, desk.at("block.1", 4))  # another view's hover is shown in both
    desk.view.show_selection(Selection(1, 0), {})
    assert differs(after, desk.view.grab().toImage(), desk.at("block.7", 1, band=1))


def differs(a: QImage, b: QImage, point: QPoint) -> bool:
    column = [(point.x(), point.y() - dy) for dy in range(1, 26)]
    return any(a.pixel(*at) != b.pixel(*at) for at in column)


def test_opening_a_row_opens_it_in_both_models(qtbot: QtBot) -> None:
    desk = second_run(qtbot, Selection(1, 0))
    qtbot.mouseDClick(desk.view, LEFT, pos=desk.at("block.7", 1, band=1))
    assert desk.options[-1].expanded == ("block.1",)
    opened = second_run(qtbot, Selection(1, 0), desk.options[-1])
    qtbot.mouseMove(opened.view, opened.at("block.7", 1, branch=0, band=1))
    norm = opened.data.contrast.data.norm(1, 7, 0)
    assert f"{norm:.3g}" in opened.said[-1]
    all_open = second_run(qtbot, Selection(1, 0), Options(expand=True))
    qtbot.mouseDClick(all_open.view, LEFT, pos=all_open.at("block.1", 2))
    assert all_open.options[-1].expanded == ("block.0",)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda t: t.name)
@pytest.mark.parametrize("size", [(420, 260), (900, 620), (1280, 800)], ids=str)
def test_every_combination_is_painted(qtbot: QtBot, theme, size) -> None:
    four = replace(LOOPED, n_block=4)
    for one, other, r in (
        (LOOPED, DEEP, 6),
        (DEEP, LOOPED, 1),
        (LOOPED, four, 6),
        (DEEP, BLOCK_ONLY, 1),
    ):
        selection = Selection(1, 0)
        data = contrast(run(one, r), run(other, 1 if other.deep else 3), selection)
        desk = Desk(qtbot, data, selection, None, size)
        desk.view.set_theme(theme)
        for zoom in (1.0, 0.4, 0.1, 2.0):
            desk.view.set_zoom(zoom)
            image = desk.view.grab().toImage()
            colours = {
                image.pixel(x, y) for x in range(0, size[0], 7) for y in range(0, size[1], 7)
            }
            assert len(colours) > 4


# ---- folds ----
def test_a_long_run_is_folded_but_for_the_cursor_and_unfolds(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 200, Selection(120, 1), None, SIZE)
    assert not desk.view.bar.isVisible()
    assert desk.accent_at(desk.at("block.1", 120))
    strip = desk.view.pixels.bands[0].strip
    folds = [c for c in strip.cols.columns if c.times > 1]
    assert len(folds) == 2
    fold = desk.at("block.0", folds[0].first)
    qtbot.mouseMove(desk.view, fold)
    assert f"at recurrences {folds[0].first} to {folds[0].last}, all alike" in desk.said[-1]
    qtbot.mouseClick(desk.view, LEFT, pos=fold)
    picked = desk.picked[-1]
    assert picked["layer"] == 0
    assert abs(picked["recurrence"] - (folds[0].first + folds[0].last) / 2) < 3
    desk.view.show_selection(Selection(picked["recurrence"], 0), {})
    assert desk.accent_at(desk.at("block.0", picked["recurrence"]))
    qtbot.mouseDClick(desk.view, LEFT, pos=desk.at("block.0", strip.cols.at(strip.last).first))
    assert desk.options[-1].expanded == ("block.0",)  # a layer that is not folded opens
    fold = desk.at(
        "block.0",
        next(c.first for c in desk.view.pixels.bands[0].strip.cols.columns if c.times > 1),
    )
    qtbot.mouseDClick(desk.view, LEFT, pos=fold)
    assert desk.options[-1].fold == "never"


def test_fold_options_and_keys(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 12, Selection(6), Options(fold="always"), SIZE)
    assert [c.times for c in desk.view.pixels.bands[0].strip.cols.columns] == [1, 4, 1, 5, 1]
    desk = Desk(qtbot, 50, Selection(6), Options(fold="never"), SIZE)
    assert desk.view.bar.isVisible()
    QTest.keyClick(desk.view, Qt.Key.Key_F)
    assert desk.options[-1].fold == "auto"
    qtbot.mouseDClick(desk.view, LEFT, pos=QPoint(SIZE[0] - 60, SIZE[1] - 60))
    assert desk.options[-1].fold == "auto"
    desk.view.set_options(Options())
    QTest.keyClick(desk.view, Qt.Key.Key_F)
    assert desk.options[-1].fold == "never"


# ---- zoom ----
def wheel(desk: Desk, at: QPoint, steps: int, keys=Qt.KeyboardModifier.NoModifier) -> None:
    event = QWheelEvent(
        QPointF(at), QPointF(at), QPoint(0, 0), QPoint(0, 120 * steps), Qt.MouseButton.NoButton,
        keys, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(desk.view, event)


def test_the_wheel_with_ctrl_zooms_about_the_pointer(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 200, Selection(100), Options(fold="never"), SIZE)
    place = desk.at("block.0", 101)
    wheel(desk, place, -3, Qt.KeyboardModifier.ControlModifier)
    assert desk.view.pixels.zoom == pytest.approx(1.25**-3)
    assert abs(desk.at("block.0", 101).x() - place.x()) <= 0.4 * desk.view.pixels.column
    wheel(desk, place, 3, Qt.KeyboardModifier.ControlModifier)
    assert desk.view.pixels.zoom == pytest.approx(1)
    assert abs(desk.at("block.0", 101).x() - place.x()) <= 2
    before = desk.view.bar.value()
    wheel(desk, place, -1)
    assert desk.view.bar.value() > before


def test_plus_minus_and_0(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 1000, Selection(500), Options(fold="never"), SIZE)
    pixels = desk.view.pixels
    QTest.keyClicks(desk.view, "--")
    assert pixels.zoom == pytest.approx(1 / 1.25**2)
    QTest.keyClicks(desk.view, "+")
    assert pixels.zoom == pytest.approx(1 / 1.25)
    QTest.keyClicks(desk.view, "-" * 60)
    assert pixels.stripes
    assert pixels.whole_width <= pixels.strip.width() + 1  # all thousand in sight
    assert not desk.view.bar.isVisible()
    # A stripe can still be pointed at and clicked.
    strip = pixels.bands[0].strip
    box = next(b for b in strip.boxes(700) if b.node.key == "block.1")
    place = pixels.covered(box, 0, False).center().toPoint()
    qtbot.mouseClick(desk.view, LEFT, pos=place)
    assert desk.picked[-1]["layer"] == 1
    assert abs(desk.picked[-1]["recurrence"] - 700) <= 2
    QTest.keyClicks(desk.view, "0")
    assert pixels.zoom == 1
    assert desk.accent_at(desk.at("block.0", 500))
    QTest.keyClicks(desk.view, "+" * 30)
    assert pixels.zoom == 2.5


def test_zooming_out_unfolds_what_then_fits(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 60, Selection(30), None, SIZE)
    pixels = desk.view.pixels
    assert pixels.bands[0].strip.cols.folded
    QTest.keyClicks(desk.view, "-" * 40)
    assert not pixels.bands[0].strip.cols.folded
    assert not desk.view.bar.isVisible()


def test_both_strips_scroll_together(qtbot: QtBot) -> None:
    data = contrast(run(LOOPED, 6), run(DEEP, 1), Selection(1))
    desk = Desk(qtbot, data, Selection(1), None, (520, 420))
    assert desk.view.bar.maximum() > 0
    before = [desk.at("block.0", 1).x(), desk.at("block.0", 1, band=1).x()]
    assert before[0] == before[1]
    desk.view.bar.setValue(40)
    assert [desk.at("block.0", 1).x(), desk.at("block.0", 1, band=1).x()] == [before[0] - 40] * 2


# ---- cuts ----
CUTS = (
    Noise(recurrence=3, last=3, layer=1),
    Zero(recurrence=0, last=0, layer=END),
    DropInjection(recurrence=4, last=5),
    Noise(recurrence=2, last=2, layer=END, size=0.5),
    SkipLayer(recurrence=6, last=FOREVER, layer=0),
)


def cut_desk(qtbot: QtBot, recurrences: int = 6, options: Options | None = None) -> Desk:
    recording = run(LOOPED, recurrences)
    recording.info = replace(recording.info, interventions=CUTS)
    recording.effects[0, 3] = 0.25
    recording.effects[2, 4] = 0.0
    data = compute(recording, Selection(1), options or Options())
    return Desk(qtbot, data, Selection(1), options, SIZE)


def test_cuts_are_marked_and_their_tooltips_say_what_and_how_much(qtbot: QtBot) -> None:
    desk = cut_desk(qtbot)
    marks = {
        mark.cuts[0].cut: place for place, mark in desk.view.pixels.marks(0)
        if place.x() > desk.view.pixels.strip.left()
    }  # fmt: skip
    assert set(marks) == set(CUTS)
    image = desk.view.grab().toImage()
    said = {}
    for cut, place in marks.items():
        at = place.toPoint()
        seen = {
            image.pixelColor(at.x() + dx, at.y() + dy).name()
            for dx in range(-6, 7)
            for dy in range(-6, 7)
        }
        assert desk.view.theme.text.lower() in seen, cut
        assert desk.view.theme.accent.lower() not in seen
        qtbot.mouseMove(desk.view, at)
        said[cut] = desk.view.toolTip()
    assert said[CUTS[0]] == (
        "noise of 0.1 (seed 0) at recurrence 3, layer 1 (changed what it acts on by 0.25 (relative))"
    )
    assert "set to zero at the initial state" in said[CUTS[1]]
    assert "drop the input injection at recurrences 4 to 5 (did nothing" in said[CUTS[2]]
    assert "noise of 0.5 (seed 0) at recurrence 2, end" in said[CUTS[3]]
    assert "not reached yet" in said[CUTS[4]]
    qtbot.mouseMove(desk.view, desk.at("block.1", 3))
    assert said[CUTS[0]] in desk.said[-1]
    qtbot.mouseMove(desk.view, desk.at("block.1", 2))
    assert desk.view.toolTip() == ""


def test_cuts_are_seen_in_folds_and_stripes(qtbot: QtBot) -> None:
    desk = cut_desk(qtbot, 300)
    columns = desk.view.pixels.bands[0].strip.cols
    for r in (2, 3):
        assert columns.at(columns.place(r)).times == 1
    assert columns.at(columns.place(150)).first >= 6
    desk = cut_desk(qtbot, 300, Options(fold="never"))
    desk.view.set_zoom(0.0001)
    found = [c.cut for _, mark in desk.view.pixels.marks(0) for c in mark.cuts]
    assert found.count(CUTS[4]) == 2  # the loop's, and one for all of its recurrences
    assert not desk.view.grab().isNull()


def test_a_branch_beside_has_marks_of_its_own_form(qtbot: QtBot) -> None:
    branch = run(LOOPED, 6)
    branch.info = replace(branch.info, interventions=CUTS[:1])
    data = contrast(run(LOOPED, 6), branch, Selection(1))
    desk = Desk(qtbot, data, Selection(1), None, SIZE)
    assert len(desk.view.pixels.bands) == 1
    place = desk.view.pixels.marks(0)[-1][0].toPoint()
    qtbot.mouseMove(desk.view, place)
    assert desk.view.toolTip().startswith("in run 2: noise of 0.1")


# ---- search ----
def test_ctrl_f_finds_and_enter_goes_on(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 500, Selection(1), None, SIZE)
    bar = desk.view.search
    assert not bar.isVisible()
    desk.view.setFocus()
    QTest.keyClick(desk.view, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    assert bar.isVisible()
    plain = desk.view.grab().toImage()
    QTest.keyClicks(bar.text, "layer 1 r 250")
    assert bar.count.text() == "1 found"
    assert differs(plain, desk.view.grab().toImage(), desk.at("block.1"))
    QTest.keyClick(bar.text, Qt.Key.Key_Return)
    assert bar.count.text() == "1 of 1"
    assert desk.said[-1] == "1 of 1: layer 1 at recurrence 250"
    # What was folded is drawn and in sight.
    assert desk.view.pixels.strip.contains(desk.at("block.1", 250).toPointF())
    bar.text.setText("norm")
    assert bar.count.text() == "501 found"
    for key, modifier, wanted in (
        (Qt.Key.Key_Return, Qt.KeyboardModifier.NoModifier, "1 of 501"),
        (Qt.Key.Key_Return, Qt.KeyboardModifier.NoModifier, "2 of 501"),
        (Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier, "1 of 501"),
        (Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier, "501 of 501"),
    ):
        QTest.keyClick(bar.text, key, modifier)
        assert bar.count.text() == wanted
    bar.text.setText("nowhere")
    assert bar.count.text() == "not found"
    QTest.keyClick(bar.text, Qt.Key.Key_Return)
    QTest.keyClick(bar.text, Qt.Key.Key_Escape)
    assert not bar.isVisible()
    assert not desk.view.matches.nodes
    assert desk.view.hasFocus()


def test_slash_opens_the_search_and_new_data_is_searched_again(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 3, Selection(1), None, SIZE)
    desk.view.setFocus()
    QTest.keyClicks(desk.view, "/")
    assert desk.view.search.isVisible()
    assert desk.view.search.text.text() == ""
    QTest.keyClicks(desk.view.search.text, "layer 0")
    assert len(desk.view.matches) == 3
    longer = Desk(qtbot, 5, Selection(1)).data
    desk.view.show_data(longer)
    assert len(desk.view.matches) == 5
    desk.view.clear()
    assert not desk.view.search.isVisible()


def test_matches_among_stripes_are_outlined(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 1000, Selection(1), Options(fold="never"), SIZE)
    desk.view.set_zoom(0.0001)
    before = desk.view.grab().toImage()
    desk.view.search.open()
    desk.view.search.text.setText("layer 1 r 500")
    after = desk.view.grab().toImage()
    strip = desk.view.pixels.bands[0].strip
    box = next(b for b in strip.boxes(500) if b.node.key == "block.1")
    assert differs(before, after, desk.view.pixels.covered(box, 0, False).center().toPoint())


def test_the_search_finds_in_both_models(qtbot: QtBot) -> None:
    desk = second_run(qtbot, Selection(1))
    desk.view.search.open()
    desk.view.search.text.setText("layer 11")
    desk.view.search.stepped.emit(1)
    found = desk.view.matches.nodes
    assert [(f.model, f.node.key) for f in found] == [(1, "block.11")]
    assert desk.near(desk.at("block.11", 1, band=1), desk.view.theme.text)


# ---- export ----
def test_the_dialog_offers_formats_of_the_view(qtbot: QtBot) -> None:
    dialog = ExportDialog("Computation graph", ExportChoice(("graphml",)), None, ("graphml", "dot"))
    qtbot.addWidget(dialog)
    assert dialog.boxes["graphml"].text() == "GraphML"
    assert dialog.boxes["graphml"].isChecked()
    dialog.boxes["dot"].click()
    assert set(dialog.choice.formats) == {"graphml", "dot"}
    plain = ExportDialog("Settling", ExportChoice(("graphml", "csv")))
    qtbot.addWidget(plain)
    assert plain.choice.formats == ("csv",)
