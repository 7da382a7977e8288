"""The prompt set view by mouse and keyboard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from recordings import synthetic_recording
from work import calls

from loopscope.core.measures.over_prompts import (
    PROMPT_MEASURES,
    HowRun,
    OverPrompts,
    PromptMeasures,
)
from loopscope.core.measures.registry import MEASURES
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.selection import Selection
from loopscope.core.views.prompts import Data, Options, compute
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.views.prompt_curves import PromptCurvesView
from loopscope.widgets.views.prompt_list import FIRST, LINE, PROMPT

N, R = 6, 8
Left, Display = Qt.MouseButton.LeftButton, Qt.ItemDataRole.DisplayRole


@pytest.fixture
def view(qtbot):
    view = PromptCurvesView(Options())
    qtbot.addWidget(view)
    view.resize(900, 500)
    view.show()
    qtbot.waitExposed(view)
    return view


def data_of(key: str = "relative_step", n: int = N, current: int = 2) -> Data:
    texts = [f"prompt number {i}\nline two" for i in range(n)]
    prompts = PromptSet("p.txt", "p.txt", tuple(
        Item(text, None, 10 + i) for i, text in enumerate(texts)
    ))  # fmt: skip
    what = MEASURES[key]
    layers = 2 if "layer" in what.axes else 1
    values = np.random.default_rng(0).lognormal(size=(n, R, layers))
    values[1, :, :] = np.nan
    missing = ["" if i != 1 else "Why it is not there." for i in range(n)]
    recording = synthetic_recording(recurrences=3)
    recording.info = replace(recording.info, prompt=texts[current])
    recording.shared.prompts = prompts
    measured = {key: OverPrompts.of(what, prompts, HowRun(R, seed=3), values, missing)}
    recording.keep(PROMPT_MEASURES, PromptMeasures(measured))
    return compute(recording, Selection(), Options(measure=key))


def cell(view: PromptCurvesView, row: int, column: int, role=Display):
    model = view.prompt_list.model_of_rows
    return model.data(model.index(row, column), role)


def test_a_click_on_a_prompt_runs_it_as_it_was_measured(view, qtbot) -> None:
    view.show_data(data_of())
    spot = view.prompt_list.visualRect(view.prompt_list.model_of_rows.index(4, PROMPT)).center()
    with qtbot.waitSignal(view.run_requested) as got:
        qtbot.mouseClick(view.prompt_list.viewport(), Left, pos=spot)
    assert got.args[0] == {
        "prompt": "prompt number 4\nline two", "seed": 3, "start": "default", "start_scale": 1.0,
        "recurrences": R, "interventions": (),
    }  # fmt: skip


def test_enter_on_a_prompt_runs_it_too(view, qtbot) -> None:
    view.show_data(data_of())
    view.prompt_list.selectRow(3)
    with qtbot.waitSignal(view.run_requested) as got:
        QTest.keyClick(view.prompt_list, Qt.Key.Key_Return)
    assert got.args[0]["prompt"].startswith("prompt number 3")


def test_the_list_shows_the_numbers_at_the_cursor(view) -> None:
    data = data_of("layer_relative_step")
    view.show_data(data)
    view.show_selection(Selection(recurrence=5, layer=1), {})
    header = view.prompt_list.model_of_rows.headerData(FIRST, Qt.Orientation.Horizontal)
    assert header == "relative step of layer l, r = 5"
    assert cell(view, 0, FIRST) == f"{data.result.values[0, 4, 1]:.3g}"
    assert cell(view, 1, FIRST) == "–"
    assert cell(view, 1, FIRST, Qt.ItemDataRole.ToolTipRole) == "Why it is not there."
    assert cell(view, 0, PROMPT) == "prompt number 0⏎line two"
    assert cell(view, 0, LINE) == "10"
    bold = [cell(view, i, PROMPT, Qt.ItemDataRole.FontRole).bold() for i in range(N)]
    assert bold == [i == 2 for i in range(N)]


def test_sorting_puts_what_has_no_number_last_and_clicks_follow_it(view, qtbot) -> None:
    data = data_of()
    view.show_data(data)
    view.show_selection(Selection(recurrence=4), {})
    values = data.result.values[:, 3, 0]
    for way in (Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder):
        view.prompt_list.sortByColumn(FIRST, way)
        order = view.prompt_list.model_of_rows.order
        assert order[-1] == 1
        shown = values[order[:-1]]
        up = way == Qt.SortOrder.AscendingOrder
        assert (np.diff(shown) > 0).all() == up
    spot = view.prompt_list.visualRect(view.prompt_list.model_of_rows.index(0, LINE)).center()
    with qtbot.waitSignal(view.run_requested) as got:
        qtbot.mouseClick(view.prompt_list.viewport(), Left, pos=spot)
    assert got.args[0]["prompt"].startswith(f"prompt number {np.nanargmax(values)}")
    view.show_selection(Selection(recurrence=8), {})  # sorted anew at the new place
    assert view.prompt_list.model_of_rows.order[0] == np.nanargmax(data.result.values[:, 7, 0])
    view.prompt_list.sortByColumn(PROMPT, Qt.SortOrder.DescendingOrder)
    assert view.prompt_list.model_of_rows.order.tolist() == [5, 4, 3, 2, 1, 0]


def test_pointing_at_a_prompt_tells_its_number(view, qtbot) -> None:
    data = data_of()
    view.show_data(data)
    view.show_selection(Selection(recurrence=2), {})
    said = []
    view.message.connect(said.append)
    table = view.prompt_list
    spot = table.visualRect(table.model_of_rows.index(3, PROMPT)).center()
    qtbot.mouseMove(table.viewport(), QPoint(2, 2))
    qtbot.mouseMove(table.viewport(), spot)
    qtbot.waitUntil(lambda: bool(said) and "line 13 of p.txt" in said[-1], timeout=2000)
    assert f"relative step, r = 2: {data.result.values[3, 1, 0]:.3g}" in said[-1]


def test_a_click_on_the_curve_moves_the_cursor(view, qtbot) -> None:
    view.show_data(data_of())
    curve = view.data.curves[0]
    at = view.plot.pixel_of(curve.x[5], curve.y[5]).toPoint()
    with qtbot.waitSignal(view.select_requested) as got:
        qtbot.mouseClick(view.plot.viewport(), Left, pos=at)
    assert got.args[0] == {"recurrence": 6}


def test_an_empty_view_offers_what_would_fill_it(view, qtbot) -> None:
    recording = synthetic_recording(recurrences=0)
    view.show_data(compute(recording, Selection(), Options()))
    shown = [name for name, b in view.empty_actions.buttons.items() if b.isVisible()]
    assert shown == ["open_prompts"]  # this model does not know the bundled task
    assert not view.prompt_list.isVisible()
    with qtbot.waitSignal(view.command_requested) as got:
        qtbot.mouseClick(view.empty_actions.buttons["open_prompts"], Left)
    assert got.args == ["open_prompts"]
    data = compute(recording, Selection(), Options())
    view.show_data(replace(data, bundled=True))
    with qtbot.waitSignal(view.command_requested) as got:
        qtbot.mouseClick(view.empty_actions.buttons["bundled_prompts"], Left)
    assert got.args == ["bundled_prompts"]
    recording.shared.prompts = PromptSet("p", "p", (Item("a", None, 1),))
    view.show_data(compute(recording, Selection(), Options()))
    with qtbot.waitSignal(view.command_requested) as got:
        qtbot.mouseClick(view.empty_actions.buttons["step_recurrence"], Left)
    assert got.args == ["step_recurrence"]
    view.show_data(data_of())
    assert not view.empty_actions.isVisible()
    assert view.prompt_list.isVisible()
    view.clear()
    assert not view.prompt_list.isVisible()
    assert "No prompt file" in view.plot.empty_text


def test_ten_thousand_prompts_are_listed_with_the_work_of_one_thousand(view) -> None:
    def work(n: int) -> tuple[int, int]:
        data = data_of(n=n)

        def show() -> None:
            view.show_data(data)
            view.show_selection(Selection(recurrence=3), {})
            view.prompt_list.grab()

        return calls(show), calls(lambda: view.show_selection(Selection(recurrence=4), {}))

    work(100)  # its first time makes what is kept
    thousand, ten_thousand = work(1_000), work(10_000)
    assert ten_thousand[0] < 1.1 * thousand[0]
    assert ten_thousand[1] < 1.1 * thousand[1]


def test_themes_change_the_ground(view) -> None:
    view.show_data(data_of())
    for theme in (DARK, LIGHT):
        view.set_theme(theme)
        image = view.plot.grab().toImage()
        assert (
            image.pixelColor(image.width() - 3, image.height() // 2).name() == theme.panel.lower()
        )
