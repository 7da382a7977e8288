"""The unit circle and the tables of points, driven by the mouse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording, with_results

from loopscope.core.measures.stability import STABILITY, TokenSpectrum
from loopscope.core.selection import Selection
from loopscope.core.views.stability import NOT_YET, Data, Options, compute
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.views.stability import StabilityView


def data_of(n_block: int = 3) -> Data:
    """A stable point at the run's end, an unstable one and a slow one."""
    recording = with_results(synthetic_recording(n_block=n_block, tokens=2, d=4))
    return compute(recording, Selection(), Options())


@pytest.fixture
def view(qtbot: QtBot) -> StabilityView:
    view = StabilityView()
    qtbot.addWidget(view)
    view.resize(900, 500)
    view.show()
    view.show_data(data_of())
    QApplication.processEvents()
    return view


def texts(table) -> list[list[str]]:
    return [
        [table.item(i, j).text() for j in range(table.columnCount())]
        for i in range(table.rowCount())
    ]


def test_the_points_are_listed_and_the_runs_end_is_chosen(view: StabilityView) -> None:
    assert texts(view.points) == [
        ["stable (run's end)", "1.00e-07", "1.00e-12", "0.670", "3 of 6"],
        ["unstable", "2.00e-06", "1.00e-11", "1.40", "1 of 6"],
        ["slow point", "1.00e-01", "3.00e-01", "–", "2 of 6"],
    ]
    assert view.about.text() == "The 3 points of the cycle at point 1, stable: how far apart"


def test_choosing_a_point_lists_its_cycle(view: StabilityView, qtbot: QtBot) -> None:
    at = view.points.visualItemRect(view.points.item(1, 0)).center()
    qtbot.mouseClick(view.points.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert "at point 2, unstable" in view.about.text()
    apart = view.data.distances[1]
    rows = texts(view.cycle)
    assert rows[0] == ["layer 0", "·", f"{apart[0, 1]:.2f}", f"{apart[0, 2]:.2f}"]
    assert rows[2][1] == f"{apart[2, 0]:.2f}"


def test_pointing_at_an_eigenvalue_tells_it(view: StabilityView, qtbot: QtBot) -> None:
    said: list[str] = []
    view.message.connect(said.append)
    at = view.circle.getViewBox().mapViewToScene(QPointF(0.6, 0.3)).toPoint()
    qtbot.mouseMove(view.circle.viewport(), at)
    assert said[-1].startswith("λ = 0.6 + 0.3 i, modulus 0.6708, one turn in 13.6 recurrences")
    assert "an estimate" in said[-1]
    assert "Arnoldi" in said[-1]
    assert view.said.text().startswith("3 leading eigenvalues, estimates")
    assert len(view.circle.loose.data) == 3  # hollow


def test_exact_eigenvalues_are_filled_and_told_by_token(view: StabilityView, qtbot: QtBot) -> None:
    recording = with_results(synthetic_recording(tokens=2, d=4))
    found = recording.result(STABILITY)
    values = np.array([[0.9, 0.2, 0.1, 0.0], [-0.5, 0.3j, -0.3j, 0.0]])
    errors = np.full((2, 4), 1e-5)
    errors[1, 0] = 0.1
    recording.keep(STABILITY, replace(found, tokens=TokenSpectrum(values + 0j, errors)))
    view.show_data(compute(recording, Selection(), Options()))
    QApplication.processEvents()
    assert view.said.text() == "All 8 eigenvalues, exact: 4 of each of 2 tokens"
    assert (len(view.circle.converged.data), len(view.circle.loose.data)) == (7, 1)
    said: list[str] = []
    view.message.connect(said.append)
    at = view.circle.getViewBox().mapViewToScene(QPointF(-0.5, 0)).toPoint()
    qtbot.mouseMove(view.circle.viewport(), at)
    assert "exact, of token 1 'b', ± 1.0e-01 by rounding" in said[-1]


def test_one_layer_has_no_cycle(qtbot: QtBot) -> None:
    view = StabilityView()
    qtbot.addWidget(view)
    view.show()
    view.show_data(data_of(n_block=1))
    assert view.points.isVisible()
    assert not view.cycle.isVisible()
    assert "points of its cycle" not in view.data.statement


@pytest.mark.parametrize("width", [560, 640, 900, 1200])
def test_no_column_and_no_words_of_the_tables_are_cut(view: StabilityView, width: int) -> None:
    view.resize(width, 400)
    for _ in range(3):
        QApplication.processEvents()
    for table in (view.points, view.cycle):
        assert table.horizontalScrollBar().maximum() == 0
    for label in (view.about, view.said):
        assert label.height() >= label.heightForWidth(label.width())
    assert view.circle.width() >= 200


def test_empty_and_cleared(view: StabilityView) -> None:
    view.clear()
    assert not view.points.isVisible()
    assert view.circle.empty_text == f"{NOT_YET} Press “Search and measure stability”."
    view.show_data(compute(synthetic_recording(), Selection(), Options()))
    assert not view.points.isVisible()
    view.show_data(data_of())
    assert view.points.isVisible()
    for theme in (DARK, LIGHT):
        view.set_theme(theme)
        view.grab()
