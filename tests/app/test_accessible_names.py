"""Every control that can be reached says what it is and what it does, as assistive software asks."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QScrollBar,
    QTabBar,
    QWidget,
)
from pytestqt.qtbot import QtBot
from window_desk import wait

from loopscope.app.bench.bench import Bench
from loopscope.app.views import BY_KEY
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.widgets.bars.scrub_bar import ScrubBar
from loopscope.widgets.kit.view import View
from loopscope.widgets.palette import LIGHT

pytestmark = pytest.mark.slow

CONTROLS = (
    QAbstractButton, QComboBox, QLineEdit, QAbstractSpinBox, QAbstractItemView, QAbstractSlider,
    QProgressBar, QPlainTextEdit, View, ScrubBar,
)  # fmt: skip
# Parts of other controls, which say for them what they are.
WHOLES = (QComboBox, QAbstractSpinBox, QAbstractItemView, QPlainTextEdit, QTabBar, QLineEdit)


def is_part(widget: QWidget) -> bool:
    parent = widget.parentWidget()
    popup = parent is not None and parent.inherits("QComboBoxPrivateContainer")
    inner = isinstance(parent, WHOLES) or widget.objectName().startswith("qt_")
    return popup or inner or isinstance(widget, QScrollBar | QHeaderView)


def controls(root: QWidget) -> list[QWidget]:
    found = root.findChildren(QWidget)
    return [w for w in found if isinstance(w, CONTROLS) and not is_part(w)]


def where(widget: QWidget) -> str:
    names, at = [], widget
    while at is not None and len(names) < 5:
        names.append(type(at).__name__)
        at = at.parentWidget()
    return " in ".join(names)


def label_of(root: QWidget, widget: QWidget) -> str:
    return next((x.text() for x in root.findChildren(QLabel) if x.buddy() is widget), "")


def nameless(root: QWidget) -> list[str]:
    lacking = []
    for widget in controls(root):
        interface = QAccessible.queryAccessibleInterface(widget)
        name = interface.text(QAccessible.Text.Name)
        if isinstance(widget, QComboBox):  # on Linux Qt gives what is chosen for its name
            name = widget.accessibleName() or label_of(root, widget)
        text = interface.text(QAccessible.Text.Description) or widget.statusTip()
        plain = isinstance(widget, QAbstractButton) and name  # a button of words says what it does
        if not name.strip("… "):
            lacking.append(f"no name: {where(widget)}")
        elif not text and not plain:
            lacking.append(f"no description: {where(widget)}, {name}")
    return sorted(set(lacking))


@pytest.fixture
def window(qtbot: QtBot):
    window = Window(Bench(), Settings(), LIGHT, remember=False)
    window.show()
    window.opening.open("bundled:looped", FirstRun("ab bc ca ? 2 : a b c", 3), device="cpu")
    wait(qtbot, window, 3)
    yield window
    window.close()
    window.deleteLater()
    QApplication.processEvents()


def test_every_control_of_the_window_has_a_name_and_says_what_it_does(window, qtbot) -> None:
    for key in BY_KEY:
        window.docks.fill(key)
        frame = window.views.frames[key]
        if frame.title_bar.buttons["settings"].isEnabled():
            frame.show_settings()
            form = frame._form
            if form is not None:
                form.hide()
    window.docks.show("runs")
    window.popups.show_shortcuts()
    window.running.ask_for_span()
    window.running.ask_to_continue()
    export = window.exporter.ask("settling")
    assert export is not None
    qtbot.waitUntil(lambda: export.isVisible(), timeout=20_000)
    window.commands["about"].trigger()
    assert len(controls(window)) > 150
    assert "\n".join(nameless(window)) == ""


def test_a_view_says_its_title_and_its_statement(window, qtbot) -> None:
    view = window.bench.displays["settling"].view
    interface = QAccessible.queryAccessibleInterface(view)
    assert interface.text(QAccessible.Text.Name) == "Settling"
    statement = window.bench.displays["settling"].data.statement
    assert interface.text(QAccessible.Text.Description) == statement
