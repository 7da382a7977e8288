"""What plots of curves share."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pyqtgraph as pg
import pytest
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot

from loopscope.widgets.kit.theme import on_ground
from loopscope.widgets.palette import DARK, LIGHT, OKABE_ITO
from loopscope.widgets.plots.plot_marks import PointMarks, log10, set_columns, set_lines


def test_lines_are_broken_between_them_and_where_there_is_no_number(qtbot: QtBot) -> None:
    item = pg.PlotCurveItem()
    set_lines(item, [(np.arange(3), np.array([1.0, np.nan, 3.0])), (np.arange(2), np.ones(2))])
    assert item.opts["connect"].tolist() == [0, 0, 0, 1, 0]
    assert item.xData.tolist() == [0, 0, 2, 0, 1]
    set_columns(item, np.arange(2.0), np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert item.yData.tolist() == [1, 3, 2, 4]
    assert item.opts["connect"].tolist() == [1, 0, 1, 0]
    set_columns(item, np.arange(2.0), None)
    assert not len(item.xData)


def test_marks_hide_where_there_is_nothing(qtbot: QtBot) -> None:
    widget = pg.PlotWidget()
    qtbot.addWidget(widget)
    marks = PointMarks(widget.getPlotItem())
    marks.put_cursor(3)
    marks.put_dot(3, 0.5)
    assert (marks.cursor_line.value(), marks.cursor_line.isVisible()) == (3, True)
    assert [v.tolist() for v in marks.dot.getData()] == [[3], [0.5]]
    marks.put_cursor(None)
    marks.put_dot(3, np.nan)
    assert not marks.cursor_line.isVisible()
    assert not len(marks.dot.getData()[0])


def test_logarithms_that_do_not_exist_are_nan() -> None:
    found = log10(np.array([100.0, 0.0, -1.0, np.nan, np.inf]))
    np.testing.assert_array_equal(found, [2, np.nan, np.nan, np.nan, np.nan])


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_eight_colours_stay_apart_and_are_seen(theme) -> None:
    shown = [on_ground(colour, theme) for colour in OKABE_ITO]
    for a, b in combinations(shown, 2):
        away = np.array(a.getRgb()[:3], float) - b.getRgb()[:3]
        assert np.linalg.norm(away) > 45, (a.name(), b.name())
    if theme.dark:
        ground = QColor(theme.panel).lightness()
        assert min(c.lightness() for c in shown) > ground + 60
