"""The correspondence matrix by mouse, against its baseline, and on paper."""

from __future__ import annotations

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from recordings import architecture, synthetic_recording

from loopscope.core.experiments.architectures import twin_architecture
from loopscope.core.interventions.states import Zero
from loopscope.core.measures.correspondence import (
    CORRESPONDENCE,
    Correspondence,
    ModelCorrespondence,
    monotone_alignment,
)
from loopscope.core.measures.places import Places
from loopscope.core.prompts.prompt_set import PromptSet
from loopscope.core.run.pairing import Pairing
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import SECOND_MODEL
from loopscope.core.views.correspondence import (
    LABEL,
    LACKS,
    NO_MODEL,
    NO_PROMPTS,
    NOT_YET,
    Data,
    Options,
    compute,
    compute_second,
    table,
)
from loopscope.core.views.second_run import SecondRun
from loopscope.widgets.figures.correspondence import draw
from loopscope.widgets.figures.style import Page
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.plots.matrix_layout import Marks
from loopscope.widgets.views.correspondence import UNPAIRED, CorrespondenceView

LEFT = Qt.MouseButton.LeftButton
R, L, H, M = 3, 2, 2, 4
DEEP = replace(twin_architecture("deep", R, d_model=16), n_block=M)
AT = Selection(recurrence=2, layer=1, head=1)


def found_of(other: str = "deep") -> ModelCorrespondence:
    """Six places against four layers: row i is most like column i // 2 and beats only there."""
    rng = np.random.default_rng(0)
    values = 0.3 + 0.05 * rng.random((R * L, M))
    values[np.arange(R * L), np.arange(R * L) // 2] = 0.8
    level = np.array([0.5, 0.5, 0.5, 0.9])
    path = monotone_alignment(values)
    states = Correspondence(values, path, float(values.max(1).mean()), np.array([0.4]), level)
    cosine = replace(states, values=values - 0.5)
    heads = 2.0 + rng.random((R * L, H, M, H))
    heads[3, 1, 2, 0] = 0.5  # head 1.1 at recurrence 2 does what head 0 of layer 2 does
    null = np.full(heads.shape, 1.5)
    marks, deep = tuple("01"), tuple(map(str, range(M)))
    kept = {"cka_debiased": states, "cosine": cosine}
    return ModelCorrespondence(
        "looped", other, Places((1, 2, 3), marks), Places((1,), deep), np.arange(1, 7),
        np.arange(1, 5), 8, 64, "prompts", kept,
        {"cka": "CKA was not taken."}, heads, null, kept,
    )  # fmt: skip


def recording(found: ModelCorrespondence | None) -> Recording:
    made = synthetic_recording(recurrences=R)
    made.shared.prompts = PromptSet("p.txt", "p.txt", ())
    if found is not None:
        made.keep(CORRESPONDENCE, found)
    return made


def second_run(step_pairing: str = "depth", checkpoint: str = "deep") -> SecondRun:
    there = synthetic_recording(recurrences=1, n_block=M)
    there.info = replace(there.info, checkpoint=checkpoint)
    pairing = Pairing(architecture(), replace(DEEP, n_prelude=1), step_pairing)  # type: ignore[arg-type]
    return SecondRun(there, checkpoint, pairing, Selection())


def data_of(options: Options | None = None, **kwargs: str) -> Data:
    return compute_second(recording(found_of()), second_run(**kwargs), AT, options or Options())


class Listening(CorrespondenceView):
    """A view that keeps what it asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[str, int]] = []
        self.hovers: list[dict[str, int]] = []
        self.said: list[str] = []
        self.commands: list[str] = []
        self.select_requested.connect(self.asked.append)
        self.hover_changed.connect(self.hovers.append)
        self.message.connect(self.said.append)
        self.command_requested.connect(self.commands.append)


def shown(qtbot: QtBot, data: Data, size: tuple[int, int] = (640, 420)) -> Listening:
    view = Listening()
    qtbot.addWidget(view)
    view.set_theme(LIGHT)
    view.resize(*size)
    view.show_data(data)
    view.show_selection(AT, {})
    view.show()
    QApplication.processEvents()
    return view


def label_of_column(view: Listening, column: int) -> QPoint:
    where = view.matrix.layout_
    return QPointF(where.column(column).center().x(), where.column_labels.center().y()).toPoint()


def point_at(view: Listening, qtbot: QtBot, point: QPoint) -> str:
    view.said.clear()
    qtbot.mouseMove(view.matrix, point)
    qtbot.waitUntil(lambda: bool(view.said), timeout=3000)
    return view.said[-1]


def test_a_click_on_a_cell_or_a_row_moves_the_cursor(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    qtbot.mouseClick(view.matrix, LEFT, pos=view.matrix.cell_centre(4, 1))
    qtbot.mouseClick(view.matrix, LEFT, pos=view.matrix.row_label_centre(1))
    assert view.asked == [{"recurrence": 3, "layer": 0}, {"recurrence": 1, "layer": 1}]
    assert "row's place" in view.matrix.toolTip()


def test_a_click_on_a_columns_label_goes_to_the_place_of_equal_depth(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    qtbot.mouseClick(view.matrix, LEFT, pos=label_of_column(view, 2))
    assert view.asked == [{"recurrence": 2, "layer": 0}]
    # The model of the columns stands there no more: it is said, and nothing moves.
    view.show_data(compute(recording(found_of()), AT, Options()))
    qtbot.mouseClick(view.matrix, LEFT, pos=label_of_column(view, 2))
    assert len(view.asked) == 1
    assert view.said[-1] == UNPAIRED


def test_the_cursor_is_marked_in_both_models(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    assert (view.matrix.cursor_row, view.matrix.marks.cursor_column) == (3, 3)
    view.show_selection(Selection(recurrence=1, layer=0), {"recurrence": 3, "layer": 1})
    assert (view.matrix.cursor_row, view.matrix.marks.cursor_column) == (0, 0)
    assert view.matrix.marks.hover_row == 5
    view.show_data(data_of(step_pairing="own"))  # its cursor is its own then
    assert view.matrix.marks.cursor_column is None


def test_what_does_not_beat_the_baseline_is_hatched(qtbot: QtBot) -> None:
    data = data_of()
    assert data.beats.sum() == R * L
    np.testing.assert_array_equal(data.weak, data.values < 0.5)
    view = shown(qtbot, data)
    view.show_selection(Selection(recurrence=1, layer=0), {})
    view.matrix.show_marks(replace(view.matrix.marks, path=()))
    picture = view.matrix.grab().toImage()

    def colours(row: int, column: int) -> set[int]:
        rect = view.matrix.layout_.cell(row, column).adjusted(4, 4, -4, -4).toRect()
        return {
            picture.pixel(x, y)
            for x in range(rect.left(), rect.right())
            for y in range(rect.top(), rect.bottom())
        }

    assert len(colours(2, 1)) == 1  # beats it: plain
    assert len(colours(4, 1)) > 1  # does not: lines over the colour
    view.show_data(data_of(Options(hatch=False)))
    assert view.matrix.marks.weak is None
    assert "hatched" not in view.matrix.content.title
    view.show_data(data_of(Options(above=True)))
    assert np.isnan(view.matrix.levels[4, 1])
    assert np.isfinite(view.matrix.levels[2, 1])


def test_thin_cells_fade_and_stay_sharp_the_other_way(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of(), (640, 420))
    content = replace(
        view.matrix.content, n_rows=1000, row_labels=("x",) * 1000, row_group=0, widest=40.0
    )
    levels = np.tile([0.0, 1.0, 0.0, 1.0], (1000, 1))
    weak = np.zeros((1000, 4), bool)
    weak[:, 3] = True
    view.matrix.show_content(content, levels)
    view.matrix.show_marks(Marks(weak=weak))
    where, picture = view.matrix.layout_, view.matrix.grab().toImage()
    y = int(where.cells.center().y())

    def colour(column: int, share: float) -> str:
        rect = where.column(column)
        return picture.pixelColor(int(rect.left() + share * rect.width()), y).name()

    assert colour(1, 0.1) == colour(1, 0.5) == colour(1, 0.9)
    assert colour(0, 0.9) != colour(1, 0.1)
    assert colour(3, 0.5) not in (colour(1, 0.5), colour(2, 0.5))


def test_the_bar_marks_what_permuted_prompts_reach(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    low, high, text = view.matrix.content.bar.mark
    assert (low, high, text) == (0.5, 0.9, "other prompts")
    said = point_at(view, qtbot, view.matrix.layout_.bar.center().toPoint())
    assert said.startswith("Other prompts reach 0.5 to 0.9")
    assert "permut" in said.partition("·")[2]


def test_hovering_says_the_value_and_whether_it_means_something(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    said = point_at(view, qtbot, view.matrix.cell_centre(2, 1))
    assert "debiased CKA 0.8" in said
    assert "looped 2:0 against deep 1, beats what other prompts give (0.5)" in said
    assert view.hovers[-1] == {"recurrence": 2, "layer": 0}
    assert "does not beat what other prompts give (0.5)" in point_at(
        view, qtbot, view.matrix.cell_centre(4, 1)
    )
    row = point_at(view, qtbot, view.matrix.row_label_centre(2))
    assert row.startswith("2:0 goes with 1 · best monotone alignment")


def test_heads_name_their_partner(qtbot: QtBot) -> None:
    data = data_of(Options(compared="heads"))
    assert data.rows == ("0.0", "0.1", "1.0", "1.1")
    assert data.columns[:3] == ("0.0", "0.1", "1.0")
    assert data.best == (-1, -1, -1, 4)
    assert data.near == data.values.min() == 0.5
    view = shown(qtbot, data)
    assert view.matrix.marks.dots == ((3, 4),)
    assert view.matrix.marks.path == ()
    assert view.matrix.levels[3, 4] == 1.0  # the closest is the brightest
    assert view.matrix.cursor_row == 3
    assert "Heads at recurrence 2" in view.matrix.content.title
    qtbot.mouseClick(view.matrix, LEFT, pos=view.matrix.cell_centre(2, 5))
    assert view.asked == [{"recurrence": 2, "layer": 1, "head": 0}]
    said = point_at(view, qtbot, view.matrix.row_label_centre(3))
    assert said.startswith("Head 1.1 at recurrence 2 is closest to head 2.0 of deep, distance 0.5")
    said = point_at(view, qtbot, view.matrix.row_label_centre(0))
    assert "no closer to any head of deep than other prompts are" in said
    assert (
        "1 of 4 have a head in the second run that is at least 5 % closer than any is on other prompts"
        in data.statement
    )


@pytest.mark.parametrize("measure", ["cka_debiased", "cosine"])
def test_each_measure_is_drawn_on_its_own_scale(measure: str) -> None:
    data = data_of(Options(measure=measure))  # type: ignore[arg-type]
    assert data.far == min(0.0, data.values.min())
    assert data.near == 1.0
    np.testing.assert_allclose(data.brightness, (data.values - data.far) / (1 - data.far))


def test_a_measure_that_was_not_taken_says_why(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of(Options(measure="cka")))
    assert view.matrix.empty_text == "CKA was not taken."
    assert not view.empty_actions.isVisible()


def test_without_a_second_model_it_offers_one(qtbot: QtBot) -> None:
    alone = compute(recording(None), AT, Options())
    assert alone.lacks == SECOND_MODEL
    assert NO_MODEL in alone.missing
    view = shown(qtbot, alone)
    assert not view.empty_actions.buttons["open_prompts"].isVisible()
    for command in ("open_deep_twin", "open_second_model"):
        button = view.empty_actions.buttons[command]
        qtbot.mouseClick(button, LEFT)
        assert view.commands[-1] == command
    assert view.commands == ["open_deep_twin", "open_second_model"]
    assert view.rect().contains(view.empty_actions.geometry())
    pair = compute_second(recording(None), second_run(), AT, Options())
    assert (pair.missing, pair.lacks) == (NOT_YET, LACKS)
    view.show_data(pair)
    assert not view.empty_actions.isVisible()
    assert LABEL in view.matrix.empty_text
    view.show_data(alone)
    view.clear()
    assert not view.empty_actions.isVisible()
    # Clicks on nothing do nothing.
    qtbot.mouseClick(view.matrix, LEFT, pos=QPoint(20, 20))
    assert view.asked == []


def test_a_model_of_another_task_needs_a_prompt_file(qtbot: QtBot) -> None:
    view = shown(qtbot, compute(synthetic_recording(recurrences=R), AT, Options()))
    assert view.matrix.empty_text.startswith(NO_PROMPTS)
    qtbot.mouseClick(view.empty_actions.buttons["open_prompts"], LEFT)
    assert view.commands == ["open_prompts"]
    assert not view.empty_actions.buttons["open_deep_twin"].isVisible()


def test_before_a_recurrence_it_asks_for_one() -> None:
    data = compute(synthetic_recording(recurrences=0), Selection(), Options())
    assert "Run a recurrence first" in data.missing
    assert data.lacks is None


def test_another_model_beside_than_the_one_compared_is_said() -> None:
    data = data_of(checkpoint="other")
    assert data.statement.startswith("Compared with deep, not with other: compare again")
    assert data.pairing is None


def test_both_themes_are_drawn(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    light = view.grab().toImage()
    view.set_theme(DARK)
    assert view.grab().toImage() != light


def drawn(data: Data) -> Figure:
    page = Page()
    with mpl.rc_context(page.rc):
        figure = Figure(figsize=(page.width, 4))
        FigureCanvasAgg(figure)
        draw(data, figure, page)
        figure.canvas.draw()
    return figure


@pytest.mark.parametrize("compared", ["states", "heads"])
def test_the_page_hatches_and_marks_as_the_screen_does(compared: str) -> None:
    data = data_of(Options(compared=compared))  # type: ignore[arg-type]
    ax = drawn(data).axes[0]
    assert len(ax.patches) > 0
    assert ax.get_xlabel() == ("deep: layer" if compared == "states" else "deep: layer.head")
    assert len(drawn(replace(data, hatched=False)).axes[0].patches) == 0


def test_the_table_has_the_baseline_of_each_column() -> None:
    rows = [dict(zip(table(data_of()).columns, row, strict=True)) for row in table(data_of()).rows]
    assert len(rows) == R * L * M
    assert {row["baseline (95th percentile)"] for row in rows} == {0.5, 0.9}
    heads = table(data_of(Options(compared="heads")))
    rows = [dict(zip(heads.columns, row, strict=True)) for row in heads.rows]
    assert {row["to beat (0.95 × on other prompts)"] for row in rows} == {0.95 * 1.5}
    assert sum(row["closest"] for row in rows) == 1


def test_that_cuts_play_no_part_is_said() -> None:
    there = second_run()
    assert "uncut" not in compute_second(recording(found_of()), there, AT, Options()).statement
    there.recording.info = replace(there.recording.info, interventions=(Zero(),))
    said = compute_second(recording(found_of()), there, AT, Options()).statement
    assert said.endswith("; of the models uncut")
