"""The docks of views: any arrangement is saved and restored, and views are made when seen."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator

import pytest
import shiboken6
from PySide6.QtCore import QEvent, QPoint, QRect, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QTabBar, QWidget
from pytestqt.qtbot import QtBot

from loopscope.app.bench.bench import Bench
from loopscope.app.views import VIEW_SPECS
from loopscope.app.window.layout import PRESETS
from loopscope.app.window.screen import fit_into_screen
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.widgets.palette import LIGHT

KEYS = [spec.key for spec in VIEW_SPECS]
AREAS = [
    Qt.DockWidgetArea.LeftDockWidgetArea,
    Qt.DockWidgetArea.RightDockWidgetArea,
    Qt.DockWidgetArea.TopDockWidgetArea,
    Qt.DockWidgetArea.BottomDockWidgetArea,
]

Make = Callable[..., Window]


@pytest.fixture
def make(qtbot: QtBot) -> Iterator[Make]:
    made: list[Window] = []

    def make(settings: Settings | None = None, held: bool = False) -> Window:
        window = Window(Bench(), settings or Settings(), LIGHT, remember=False)
        made.append(window)
        if held:
            window.release = window.docks.hold()
        window.show()
        turn()
        return window

    yield make
    for window in made:
        window.close()
        window.deleteLater()
    turn()


def turn() -> None:
    """Let the event loop do what there is to do."""
    for _ in range(5):
        QApplication.processEvents()


def arrangement(window: Window) -> dict[str, tuple[bool, bool]]:
    """Which docks are open, and which of them float."""
    docks = window.docks.by_key
    return {key: (not dock.isHidden(), dock.isFloating()) for key, dock in docks.items()}


def again(make: Make, window: Window) -> Window:
    """Close a window and open another one with what it left."""
    window.remember()
    window.close()
    turn()
    return make(window.settings)


def check(window: Window) -> None:
    """Every dock that is seen holds its view, under its own title bar."""
    for key in KEYS:
        dock, frame = window.docks.by_key[key], window.views.frames.get(key)
        if not dock.visibleRegion().isEmpty():
            assert frame is not None
            assert dock.widget() is frame
            assert dock.titleBarWidget() is frame.title_bar


def test_a_view_that_was_dragged_out_floats_again(make: Make) -> None:
    window = make()
    window.docks.show("depth")
    window.docks.by_key["depth"].setFloating(True)
    turn()
    other = again(make, window)
    assert other.docks.by_key["depth"].isFloating()
    assert other.docks.by_key["depth"].isVisible()
    check(other)
    # And once more: it was each later start that failed.
    check(again(make, other))


def test_nobody_chooses_a_view_while_docks_are_arranged(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make()
    window.docks.take("settling")
    arrange, told = window.docks.layout.apply, window.tabifiedDockWidgetActivated

    def raising(preset: str) -> None:
        arrange(preset)
        told.emit(window.docks.by_key["pattern"])  # as Qt says of tabs that are made

    monkeypatch.setattr(window.docks.layout, "apply", raising)
    window.docks.apply("Step")
    assert window.docks.current == "settling"
    told.emit(window.docks.by_key["pattern"])  # a click on the tab
    assert window.docks.current == "pattern"


def disarrange(window: Window, chance: random.Random) -> None:
    """Do something to the docks that a hand with a mouse could do."""
    docks = window.docks.by_key
    one, other = (docks[key] for key in chance.sample(sorted(docks), 2))
    act = chance.choice(["show", "hide", "float", "tab", "split", "area", "preset", "maximise"])
    if act == "show":
        one.show()
        one.raise_()
    elif act == "hide":
        one.hide()
    elif act == "float":
        one.show()
        one.setFloating(not one.isFloating())
    elif act == "tab":
        window.tabifyDockWidget(one, other)
    elif act == "split":
        window.splitDockWidget(one, other, chance.choice(list(Qt.Orientation)))
    elif act == "area":
        window.addDockWidget(chance.choice(AREAS), one)
    elif act == "preset":
        window.docks.apply(chance.choice(list(PRESETS)))
    else:
        window.docks.maximise(chance.choice(KEYS))
        turn()
        window.docks.unmaximise()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_any_arrangement_is_restored(make: Make, seed: int) -> None:
    chance = random.Random(seed)
    window = make()
    for _ in range(12):
        disarrange(window, chance)
        turn()
        check(window)
    before = arrangement(window)
    other = again(make, window)
    assert arrangement(other) == before
    check(other)


@pytest.mark.parametrize(
    "arrange",
    [
        lambda window: window.commands["clear_hover"].trigger(),
        lambda window: window.docks.apply("Heads"),
        lambda window: window.docks.maximise("settling"),
        lambda window: window.docks.restore(window.docks.state()),
    ],
    ids=["all views", "preset", "maximise", "restore"],
)
def test_a_dock_in_the_air_is_dropped_before_docks_are_arranged(make: Make, arrange) -> None:
    """Qt crashes otherwise: by Escape, the key of a preset or of maximising, during a drag."""
    window = make()
    dock = window.docks.by_key["heads"]
    bar, at = dock.titleBarWidget(), QPoint(20, 8)
    QTest.mousePress(bar, Qt.MouseButton.LeftButton, pos=at)
    for step in (QPoint(60, 40), QPoint(300, -200)):
        QTest.mouseMove(bar, at + step)
        turn()
    assert QWidget.mouseGrabber() is dock
    arrange(window)
    assert QWidget.mouseGrabber() is None
    QTest.mouseRelease(bar, Qt.MouseButton.LeftButton, pos=at)
    turn()
    check(window)


def test_a_maximised_view_floats_or_not_and_all_come_back(make: Make) -> None:
    window = make()
    window.docks.show("similarity")
    window.docks.by_key["similarity"].setFloating(True)
    turn()
    before = arrangement(window)
    for key in ("similarity", "heads", "probe"):
        window.docks.maximise(key)
        turn()
        assert [k for k, (there, _) in arrangement(window).items() if there] == [key]
        check(window)
        window.docks.unmaximise()
        turn()
        assert arrangement(window) == before


def test_closing_a_maximised_view_remembers_all_of_them(make: Make) -> None:
    window = make()
    before = arrangement(window)
    window.docks.maximise("heads")
    turn()
    assert arrangement(again(make, window)) == before


@pytest.mark.parametrize("text", ["00", "ff" * 500, "000000ff00000000fd0000000100000000"])
def test_a_damaged_layout_changes_nothing(make: Make, text: str) -> None:
    before = arrangement(make())
    assert arrangement(make(Settings(layout=text, geometry=text))) == before


@pytest.mark.slow
def test_every_preset_leaves_room_for_each_view_that_it_shows(make: Make) -> None:
    """After any other preset; Qt keeps the sizes of before where none are said."""
    window = make(Settings(size=[1366, 768]))
    for first in PRESETS:
        for preset in PRESETS:
            window.docks.apply(first)
            turn()
            window.docks.apply(preset)
            turn()
            docks = {key: window.docks.by_key[key] for key in PRESETS[preset]}
            heights = {k: d.height() for k, d in docks.items() if not d.visibleRegion().isEmpty()}
            assert min(heights.values()) > 130, (first, preset, heights)


def test_a_view_is_made_when_it_is_first_seen(make: Make) -> None:
    window = make()
    first = set(PRESETS["Step"]) - {"head_map"}  # which is behind another tab
    assert set(window.views.frames) == first
    window.docks.by_key["lens"].toggleViewAction().trigger()
    turn()
    assert set(window.views.frames) == {*first, "lens"}


def test_a_view_behind_other_tabs_comes_to_the_front_when_it_is_asked_for(make: Make) -> None:
    window = make()
    docks = window.docks.by_key
    front, back = docks["pattern"], docks["head_map"]
    front.raise_()
    turn()
    assert back.visibleRegion().isEmpty()
    back.toggleViewAction().trigger()
    turn()
    assert not back.isHidden()
    assert not back.visibleRegion().isEmpty()
    assert back.toggleViewAction().isChecked()
    back.toggleViewAction().trigger()  # in front: hidden
    turn()
    assert back.isHidden()
    assert not front.visibleRegion().isEmpty()


def test_the_view_that_has_the_focus_is_the_current_one(make: Make) -> None:
    window = make()
    window.docks.note_focus(window.views.frames["heads"].view)
    assert window.docks.current == "heads"
    window.docks.note_focus(window.bars.prompt.line)
    assert window.docks.current == "heads"
    window.docks.note_focus(window.tree.panel)  # no view
    assert window.docks.current == "heads"


def test_a_view_opened_raised_or_clicked_by_its_title_is_current_and_marked(make: Make) -> None:
    window = make()
    docks, views = window.docks, window.views

    def marked() -> list[str]:
        return [key for key, frame in views.frames.items() if frame.title_bar.current]

    assert [docks.current] == marked() == ["state_space"]
    before = window.bench.session.selection
    QTest.mouseClick(views.frames["graph"].title_bar, Qt.MouseButton.LeftButton)
    assert [docks.current] == marked() == ["graph"]
    assert window.bench.session.selection is before
    window.commands["maximise"].trigger()
    turn()
    assert docks.layout.maximised == "graph"
    QTest.keyClick(window, Qt.Key.Key_Escape)
    turn()
    docks.by_key["lens"].toggleViewAction().trigger()
    turn()
    assert [docks.current] == marked() == ["lens"]
    bars = window.findChildren(QTabBar)
    bar, at = next(
        (b, i) for b in bars for i in range(b.count()) if b.tabText(i) == "Lens over depth"
    )
    QTest.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.tabRect(1 if at == 0 else 0).center())
    turn()
    assert docks.current == marked()[0] != "lens"
    assert not docks.by_key[docks.current].visibleRegion().isEmpty()


def test_a_view_out_of_sight_is_never_current(make: Make) -> None:
    window = make()
    window.docks.take("pattern")
    window.docks.apply("Looped against deep")
    turn()
    assert window.docks.current in PRESETS["Looped against deep"]
    window.docks.apply("Step")
    turn()
    assert window.docks.current == "pattern"
    for dock in window.docks.by_key.values():
        dock.hide()
    turn()
    assert window.docks.current == ""
    window.commands["export_view"].trigger()
    assert window.exporter.dialog is None
    assert window.statusBar().currentMessage().startswith("No view is in sight")


def test_a_small_screen_holds_the_whole_window(make: Make) -> None:
    window = make(Settings(size=[2560, 1600]))
    room = window.screen().availableGeometry()
    assert not room.contains(window.frameGeometry())
    window.move(room.right() - 100, room.bottom() - 100)
    fit_into_screen(window, window.docks, window.say)
    turn()
    assert room.contains(window.frameGeometry())
    # 1366 x 768 at a scale of 1.5 are 911 x 512, less the title bar.
    least = window.minimumSizeHint()
    assert least.width() <= 911
    assert least.height() <= 512 - 20
    for bar in (window.bars.transport, window.statusBar()):
        assert room.contains(bar.mapToGlobal(bar.rect().bottomLeft()))


def test_on_a_very_small_screen_the_views_give_way(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1366 x 768 at a scale of 2 are 683 x 384."""
    window = make()

    class Screen:
        def availableGeometry(self) -> QRect:
            return QRect(0, 0, 683, 384)

    monkeypatch.setattr(window, "screen", Screen)
    assert window.minimumSizeHint().height() > 384
    fit_into_screen(window, window.docks, window.say)
    turn()
    assert Screen().availableGeometry().contains(window.frameGeometry())
    assert "larger than this screen" in window.statusBar().currentMessage()


def pointer(widget: QWidget) -> int:
    """What a widget is known by: Python makes another object for it each time it is asked."""
    return int(shiboken6.getCppPointer(widget)[0])


def test_a_window_that_is_deleted_leaves_no_widget(qtbot: QtBot) -> None:
    """No menu, label or popup is without a parent, whichever views were made."""
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    before = set(map(pointer, QApplication.topLevelWidgets()))
    window = Window(Bench(), Settings(), LIGHT, remember=False)
    window.show()
    for key in KEYS:
        window.docks.fill(key)
    turn()
    window.docks.maximise("heads")
    window.popups.palette.open()
    window.popups.show_shortcuts()
    window.popups.errors.add("an error", "its report", "")
    turn()
    window.close()
    window.deleteLater()
    del window
    for _ in range(3):
        turn()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        gc.collect()
    left = [w for w in QApplication.topLevelWidgets() if pointer(w) not in before]
    assert [type(widget).__name__ for widget in left] == []


def test_views_that_are_held_back_are_made_when_they_are_released(make: Make) -> None:
    plain, held = make(), make(held=True)
    seen = [key for key in KEYS if key in plain.views.frames]
    docks = held.docks.by_key
    stand_ins = {key: (docks[key].titleBarWidget(), docks[key].widget()) for key in seen}
    assert not held.views.frames
    assert all(widget.isVisible() for pair in stand_ins.values() for widget in pair)
    assert {key: docks[key].geometry() for key in seen} == {
        key: plain.docks.by_key[key].geometry() for key in seen
    }
    held.release()
    turn()
    assert held.views.frames.keys() == plain.views.frames.keys()
    check(held)
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert not any(shiboken6.isValid(widget) for pair in stand_ins.values() for widget in pair)
    assert held.grab().toImage() == plain.grab().toImage()


def test_a_view_that_is_asked_for_while_views_are_held_back_is_made(make: Make) -> None:
    window = make(held=True)
    window.docks.restore(window.docks.state())
    assert not window.views.frames
    window.docks.show("stability")
    assert list(window.views.frames) == ["stability"]
    window.release()
    turn()
    check(window)
