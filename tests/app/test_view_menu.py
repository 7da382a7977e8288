"""Right click, palette and copies: what acts on one view acts on the one that was meant."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QContextMenuEvent, QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot
from window_desk import said, wait

from loopscope.app.window.copying import MOST_ROWS, tab_separated
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.window import Window
from loopscope.core.errors import LoopscopeError
from loopscope.core.views.base import Table
from tests.window_desk import desk


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[Window]:
    with desk() as window:
        window.opening.open("bundled:looped", FirstRun("a b c", 3))
        wait(qtbot, window, 3)
        yield window


def right_click(widget: QWidget) -> None:
    """Ask for the menu as the right button does; the event climbs to whoever takes it."""
    at = widget.rect().center()
    reason = QContextMenuEvent.Reason.Mouse
    QApplication.sendEvent(widget, QContextMenuEvent(reason, at, widget.mapToGlobal(at)))


def entries(window: Window) -> list[str]:
    menu = window.view_menu.menu
    assert menu is not None
    assert menu.isVisible()
    return [a.text().replace("&", "") for a in menu.actions() if not a.isSeparator()]


def test_a_right_click_opens_the_menu_of_that_view(window: Window) -> None:
    before = window.bench.session.selection
    views = window.views.frames
    spots: dict[str, QWidget] = {
        "heads": views["heads"].view.matrix,
        "settling": views["settling"].view.plot.viewport(),
        "state_space": views["state_space"].view.canvas.viewport(),
        "graph": views["graph"].title_bar,
    }
    for key, spot in spots.items():
        QTest.mouseClick(spot, Qt.MouseButton.RightButton)
        right_click(spot)
        assert window.docks.current == key
        texts = entries(window)
        assert "Copy the numbers" in texts
        assert ("Settings of the view…" in texts) == (key != "pattern")
        assert window.view_menu.menu is not None
        window.view_menu.menu.close()
    assert window.bench.session.selection is before


def test_numbers_of_the_view_are_copied_as_a_table(qtbot: QtBot, window: Window) -> None:
    window.docks.take("settling")
    window.commands["copy_numbers"].trigger()
    qtbot.waitUntil(lambda: "on the clipboard" in said(window))
    rows = list(csv.reader(io.StringIO(QGuiApplication.clipboard().text()), "excel-tab"))
    spec = window.bench.displays["settling"].spec
    table = spec.table(window.bench.displays["settling"].data)
    assert rows[0] == list(table.columns)
    assert rows[1:] == [[str(v) for v in row] for row in table.rows]
    assert said(window).startswith(f"{len(rows) - 1} rows of “Settling”")


def test_a_table_too_long_for_a_clipboard_is_refused() -> None:
    table = Table(("i",), ((i,) for i in range(MOST_ROWS + 1)))
    with pytest.raises(LoopscopeError, match="export it as CSV"):
        tab_separated(table)
    assert tab_separated(Table(("x",), [(np.float32(0.1),)]))[0] == "x\n0.1\n"


def test_the_picture_of_the_view_is_copied(window: Window) -> None:
    window.docks.take("heads")
    window.commands["copy_picture"].trigger()
    frame = window.views.frames["heads"]
    picture = QGuiApplication.clipboard().image()
    assert picture.size() == frame.panes.size() * frame.devicePixelRatio()
    assert picture == frame.panes.grab().toImage()


def choose(window: Window, words: str) -> None:
    window.popups.palette.open()
    QTest.keyClicks(window.popups.palette.filter, words)
    QTest.keyClick(window.popups.palette.filter, Qt.Key.Key_Return)
    QApplication.processEvents()


def test_the_palette_never_closes_a_view_and_finds_settings(qtbot: QtBot, window: Window) -> None:
    choose(window, "head consistency")
    assert window.docks.by_key["heads"].isVisible()
    assert window.docks.current == "heads"
    choose(window, "measures over depth sink mass")
    assert window.docks.current == "depth"
    assert window.views.options("depth").measure == "sink"
    window.popups.palette.open()
    window.popups.palette.filter.setText("measures over depth sink mass")
    assert window.popups.palette.list.topLevelItem(0).text(0).startswith("✓")
    window.popups.palette.hide()
    wait(qtbot, window, 3)


def test_the_middle_of_a_menu_bar_has_no_menu_of_docks(window: Window) -> None:
    assert window.createPopupMenu() is None
    right_click(window.bars.prompt)
    assert QApplication.activePopupWidget() is None
    assert window.childAt(QPoint(1, 1)) is not None
