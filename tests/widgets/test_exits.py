"""The exits view by mouse: tokens, curves, tabs; and on paper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication
from recordings import synthetic_recording

from loopscope.core.measures.exits import RULES, Signals, agrees
from loopscope.core.measures.exits_over_prompts import EXITS_OVER_PROMPTS, ExitsOverPrompts
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.selection import Selection
from loopscope.core.views.exits import Data, Options, compute
from loopscope.widgets.figures.curves import draw_curves
from loopscope.widgets.figures.style import Page
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.views.exits import ExitsView

Left, Display = Qt.MouseButton.LeftButton, Qt.ItemDataRole.DisplayRole


@pytest.fixture
def view(qtbot):
    view = ExitsView()
    qtbot.addWidget(view)
    view.resize(1000, 500)
    view.show()
    qtbot.waitExposed(view)
    return view


def data_of(recurrences: int = 12, prompts: bool = False, **options: object) -> Data:
    recording = synthetic_recording(recurrences=recurrences, rate=0.5)
    if prompts:
        n = 4
        recording.shared.prompts = PromptSet("p", "p", tuple(
            Item(f"prompt {i}", None, i + 1) for i in range(n)
        ))  # fmt: skip
        rng = np.random.default_rng(0)
        signals = []
        for _ in range(n):
            answers = rng.integers(0, 2, (recurrences, 3))
            values = {"step": np.sort(rng.random((recurrences, 3)), axis=0)[::-1]}
            missing = {rule.key: "Why not." for rule in RULES if rule.key != "step"}
            signals.append(Signals(values, missing, agrees(answers), answers))
        over_prompts = ExitsOverPrompts.of(
            signals, prompts=recording.shared.prompts, how=HowRun(recurrences),
            rows=tuple(range(n)), only_answers=False,
            opens=tuple(f"opens {i}" for i in range(n)), left_out=("",) * n,
        )  # fmt: skip
        recording.keep(EXITS_OVER_PROMPTS, over_prompts)
    return compute(recording, Selection(), Options(**options))


def spot(table, row: int, column: int) -> QPoint:
    return table.visualRect(table.model().index(row, column)).center()


def cell(view: ExitsView, row: int, column: int, role=Display):
    model = view.token_table.model_of_tokens
    return model.data(model.index(row, column), role)


def test_the_table_says_where_each_token_stops_and_what_it_says(view) -> None:
    data = data_of(step=0.2)
    view.show_data(data)
    outcome = data.outcomes[0]
    # The answers of this run change once, after recurrence 3, from tok0 to tok1.
    for row in range(5):
        differs = outcome.at[row] <= 3
        said = "tok0 ≠ tok1" if differs else "tok1"
        assert cell(view, row, 0) == f"{outcome.at[row]}  {said}"
    assert any(outcome.at <= 3)
    model = view.token_table.model_of_tokens
    heads = [model.headerData(i, Qt.Orientation.Horizontal) for i in range(model.columnCount())]
    assert heads == ["relative step", "acceleration", "KL", "full run"]
    assert cell(view, 0, 2) == "never  tok1"  # this run did not measure it
    assert cell(view, 0, 3) == "tok1"
    assert "exit gate: This model has no exit gate." in view.missing_rules.text()
    never = data_of(step=0.0)
    view.show_data(never)
    assert cell(view, 0, 0) == "never  tok1"
    assert "never stops token 0 'a' in 12 recurrences" in cell(
        view, 0, 0, Qt.ItemDataRole.ToolTipRole
    )


def test_a_click_on_a_cell_goes_to_where_the_token_stops(view, qtbot) -> None:
    data = data_of()
    view.show_data(data)
    with qtbot.waitSignal(view.select_requested) as got:
        qtbot.mouseClick(view.token_table.viewport(), Left, pos=spot(view.token_table, 2, 0))
    assert got.args[0] == {"token": 2, "recurrence": int(data.outcomes[0].at[2])}
    with qtbot.waitSignal(view.select_requested) as got:
        qtbot.mouseClick(view.token_table.viewport(), Left, pos=spot(view.token_table, 1, 3))
    assert got.args[0] == {"token": 1, "recurrence": 12}


def test_pointing_at_a_cell_says_it_in_words(view, qtbot) -> None:
    view.show_data(data_of(step=0.2))
    said, hovered = [], []
    view.message.connect(said.append)
    view.hover_changed.connect(hovered.append)
    qtbot.mouseMove(view.token_table.viewport(), spot(view.token_table, 0, 2))
    qtbot.mouseMove(view.token_table.viewport(), spot(view.token_table, 3, 0))
    qtbot.waitUntil(lambda: bool(said) and "stops token 3 'd'" in said[-1], timeout=2000)
    assert hovered[-1]["token"] == 3
    assert "arXiv" in said[-1]


def test_a_click_on_a_curve_takes_its_threshold(view, qtbot) -> None:
    data = data_of()
    view.show_data(data)
    curve = data.curves[0]
    at = view.plot.pixel_of(curve.x[4], curve.y[4]).toPoint()
    with qtbot.waitSignal(view.options_changed) as got:
        qtbot.mouseClick(view.plot.viewport(), Left, pos=at)
    options = got.args[0]
    i = int(np.argmin(np.hypot(curve.x - curve.x[4], curve.y - curve.y[4])))
    assert options.step == pytest.approx(data.thresholds[0][i])
    assert options.acceleration == 1e-2
    said = []
    view.message.connect(said.append)
    view.plot.pointed.emit(0, 4)
    assert f"relative step < {data.thresholds[0][4]:.3g}: agrees" in said[-1]
    assert "of 12 recurrences, saves" in said[-1]


def test_the_tabs_choose_what_the_curves_are_over(view, qtbot) -> None:
    view.show_data(data_of(prompts=True))
    assert view.tabs.currentIndex() == 1
    assert view.prompt_list.isVisible()
    assert not view.token_table.isVisible()
    with qtbot.waitSignal(view.options_changed) as got:
        qtbot.mouseClick(view.tabs, Left, pos=view.tabs.tabRect(0).center())
    assert got.args[0].over == "run"
    view.set_options(got.args[0])
    view.show_data(data_of(prompts=True, over="run"))
    assert view.token_table.isVisible()
    with qtbot.waitSignal(view.options_changed) as got:
        qtbot.mouseClick(view.tabs, Left, pos=view.tabs.tabRect(1).center())
    assert got.args[0].over == "prompts"


def test_a_click_on_a_prompt_runs_it(view, qtbot) -> None:
    data = data_of(prompts=True)
    view.show_data(data)
    with qtbot.waitSignal(view.run_requested) as got:
        qtbot.mouseClick(view.prompt_list.viewport(), Left, pos=spot(view.prompt_list, 2, 1))
    assert got.args[0]["prompt"] == "opens 2"
    model = view.prompt_list.model_of_rows
    heads = [model.headerData(i, Qt.Orientation.Horizontal) for i in range(model.columnCount())]
    assert heads == ["line", "prompt", "step r", "step ="]


def test_empty_states_keep_the_way_back(view) -> None:
    view.show_data(data_of(recurrences=1))
    assert "two recurrences" in view.plot.empty_text
    assert view.tabs.isVisible()
    QApplication.processEvents()
    row, plot = view.empty_actions, view.plot
    middle = row.mapTo(plot, row.rect().center()).x()
    assert abs(middle - plot.rect().center().x()) <= 2  # under the plot's words
    view.show_data(data_of(over="prompts"))
    assert view.empty_actions.buttons["open_prompts"].isVisible()
    assert view.tabs.isVisible()
    view.clear()
    assert view.token_table.model_of_tokens.rowCount() == 0


def test_the_whole_axis_is_there_behind_what_is_shown_at_first(view) -> None:
    view.show_data(replace(data_of(60), x_shown=(1.0, 9.0)))
    (left, right), _ = view.plot.getViewBox().viewRange()
    assert 0 < left < 1
    assert 9 < right < 10
    assert view.plot.data.curves[0].x.max() > 20


def test_themes(view) -> None:
    view.show_data(data_of())
    for theme in (DARK, LIGHT):
        view.set_theme(theme)
        colour = cell(view, 0, 0, Qt.ItemDataRole.ForegroundRole)
        assert colour.name() == theme.text.lower()


@pytest.mark.parametrize("preset", ["one column", "two columns", "slide"])
@pytest.mark.parametrize("prompts", [False, True])
def test_on_paper(preset: str, prompts: bool) -> None:
    data = data_of(prompts=prompts)
    page = Page(preset)
    figure = Figure(figsize=(page.width, 3))
    FigureCanvasAgg(figure)
    draw_curves(data, figure, page)
    figure.canvas.draw()
    ax = figure.axes[0]
    lines = ax.get_lines()
    assert len(lines) == len(data.curves) + len(data.marks)
    np.testing.assert_array_equal(lines[0].get_xdata(), data.curves[0].x)
    assert lines[1].get_markersize() > lines[0].get_markersize()
    # What stands upright beside a line would cross the curves: its name is in the legend.
    assert not ax.texts
    named = [t.get_text() for t in figure.legends[0].get_texts()]
    assert {name for _, name in data.marks} <= set(named)
    assert not data.bands or data.bands in named
    box = ax.get_tightbbox()
    assert box.x0 >= -1
    assert box.y0 >= -2


def test_no_column_of_the_table_is_narrower_than_its_name(view) -> None:
    view.show_data(data_of())
    view.resize(420, 300)
    QApplication.processEvents()
    header, model = view.token_table.horizontalHeader(), view.token_table.model_of_tokens
    for i in range(model.columnCount()):
        name = model.headerData(i, Qt.Orientation.Horizontal)
        assert header.sectionSize(i) >= header.fontMetrics().horizontalAdvance(name) + 8, name


def test_names_of_columns_share_the_room_that_they_need(view) -> None:
    view.show_data(data_of())
    table = view.token_table
    header = table.horizontalHeader()
    names = [table.model().headerData(i, Qt.Orientation.Horizontal) for i in range(header.count())]
    need = sum(max(60, header.fontMetrics().horizontalAdvance(name) + 14) for name in names)
    table.setMinimumWidth(0)
    QApplication.processEvents()
    beside = table.width() - table.viewport().width()
    table.resize(need + beside + 2, table.height())
    assert header.length() <= table.viewport().width()  # nothing to scroll
    table.resize(need + beside + 200, table.height())
    assert table.viewport().width() - header.length() < header.count()
