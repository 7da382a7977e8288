"""The settling view driven by the mouse."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording, writable
from work import calls

from loopscope.core.measures.base import NO_RUN
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.states import LayerState
from loopscope.core.selection import Selection
from loopscope.core.views.settling import Data, Options, compute
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.plots.axes import WholeAxis
from loopscope.widgets.plots.ticks import log_ticks
from loopscope.widgets.views.settling import SettlingView
from loopscope.widgets.views.settling_words import shortened

LEFT = Qt.MouseButton.LeftButton


def mixed(n: int = 30, orbits: int = 1) -> Recording:
    """Two contractions, then orbits of period 5, then an expansion."""
    like = synthetic_recording(
        recurrences=0, n_block=1, tokens=3 + orbits, d=4, heads=1,
        labels=["a", "b", *["Ġround"] * orbits, "Ġinternationalisation"],
    )  # fmt: skip
    r = np.arange(n + 1)[:, None]
    states = [3 + np.array([1, 2, 1, -1]) * 0.6**r, 3 + np.array([1, -2, 1, 0]) * 0.7**r]
    angle = 2 * np.pi * r / 5
    for i in range(orbits):
        wave = np.concatenate([np.cos(angle), np.sin(angle), 0 * angle, 0 * angle], 1)
        states.append(2 + (1 + 0.1 * i) * wave)
    states.append(1.15**r * np.ones(4))
    path = np.stack(states, 1).astype(np.float32)
    recording = Recording(like.info, path[0], Capture(False, False, False))
    for i in range(1, n + 1):
        recording.append_layer(LayerState(i, 0, path[i]))
        recording.append_end(path[i], None, None)
    return recording


class Desk:
    """A shown view, and what it said."""

    def __init__(
        self,
        qtbot: QtBot,
        recording: Recording,
        options: Options | None = None,
        size: tuple[int, int] = (520, 330),
        selection: Selection | None = None,
    ) -> None:
        self.qtbot, self.view = qtbot, SettlingView(options)
        self.picked: list[dict[str, int]] = []
        self.hovered: list[dict[str, int]] = []
        self.said: list[str] = []
        self.view.select_requested.connect(self.picked.append)
        self.view.hover_changed.connect(self.hovered.append)
        self.view.message.connect(self.said.append)
        qtbot.addWidget(self.view)
        self.view.resize(*size)
        self.view.show()
        selection = selection or Selection()
        self.data = compute(recording, selection, options or Options())
        self.view.show_data(self.data)
        self.view.show_selection(selection, {})
        # The axes take their width when the layout's events are handled.
        for _ in range(3):
            QApplication.processEvents()

    @property
    def viewport(self):
        return self.view.plot.viewport()

    def pixel(self, recurrence: int, curve: int) -> QPoint:
        row = recurrence - int(self.data.recurrences[0])
        y = float(np.log10(self.data.values[row, curve]))
        return self.view.plot.pixel_of(recurrence, y).toPoint()

    def words(self) -> list[str]:
        self.view.grab()
        return [label.text for label in self.view.plot.labels]


@pytest.fixture
def desk(qtbot: QtBot) -> Desk:
    return Desk(qtbot, mixed())


def points(item) -> tuple[np.ndarray, np.ndarray]:
    x, y = item.getData()
    return (np.zeros(0), np.zeros(0)) if x is None else (np.asarray(x), np.asarray(y))


def test_items_hold_log_steps(desk: Desk) -> None:
    data = desk.data
    x, y = points(desk.view.plot.groups[1])
    np.testing.assert_array_equal(x, data.recurrences)
    np.testing.assert_allclose(y[:5], np.log10(data.values[:5, 1]))
    x, y = points(desk.view.plot.median)
    np.testing.assert_allclose(y, np.log10(data.median))
    x, y = points(desk.view.plot.tolerance)
    np.testing.assert_allclose(y, -2)
    assert x[0] < 1
    assert x[-1] > 30


def test_curves_of_one_colour_are_not_joined(qtbot: QtBot) -> None:
    desk = Desk(qtbot, synthetic_recording(recurrences=4, tokens=10))
    item = desk.view.plot.groups[0]
    assert points(item)[0].tolist() == [1, 2, 3, 4, 1, 2, 3, 4]
    assert item.opts["connect"].tolist() == [1, 1, 1, 0, 1, 1, 1, 0]


def test_curves_break_where_there_is_no_number(qtbot: QtBot) -> None:
    recording = synthetic_recording(recurrences=8, tokens=1)
    writable(recording.state(4))[0, 0] = np.nan
    desk = Desk(qtbot, recording)
    assert desk.view.plot.groups[0].opts["connect"].tolist() == [1, 1, 0, 0, 0, 1, 1, 0]


def test_unsettled_tokens_are_drawn_and_named(desk: Desk) -> None:
    assert [desk.data.settling[c].describe() for c in (2, 3)] == ["orbit of period 5", "diverged"]
    x, _ = points(desk.view.plot.loud)
    assert len(x) == 60
    words = desk.words()
    assert "orbit of period 5: 2 Ġround" in words
    assert "diverged: 3 Ġinternationalisation" in words
    desk.view.resize(1200, 600)
    assert "2 Ġround: orbit of period 5" in desk.words()
    assert "3 Ġinternationalisation: diverged" in desk.words()


def test_names_that_do_not_fit_are_counted(qtbot: QtBot) -> None:
    desk = Desk(qtbot, mixed(orbits=40), size=(300, 200))
    orbits, diverged = (w for w in desk.words() if "period" in w or "diverged" in w)
    assert diverged == "diverged: 42 Ġinternationalisation"
    named, more = re.fullmatch(r"orbit of period 5: (.*) and (\d+) more", orbits).groups()
    assert len(named.split(", ")) + int(more) == 40
    # One line for two classes: it counts them.
    desk.view.resize(300, 130)
    assert "41 do not settle" in desk.words()


@pytest.mark.parametrize("size", [(279, 160), (300, 200), (520, 330)])
def test_names_lie_on_no_curve_in_a_narrow_plot(qtbot: QtBot, size: tuple[int, int]) -> None:
    desk = Desk(qtbot, mixed(12), size=size)
    desk.words()
    plot = desk.view.plot
    area = plot.getViewBox().sceneBoundingRect()
    names = [label for label in plot.labels if label.colour == plot.theme.warning]
    assert names
    for label in names:
        assert label.rect.bottom() <= area.top()
        assert label.rect.top() >= 0


@pytest.mark.parametrize("rate", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("recurrences", [13, 24, 60])
def test_names_of_lines_lie_on_no_curve(qtbot: QtBot, rate: float, recurrences: int) -> None:
    desk = Desk(
        qtbot, synthetic_recording(recurrences=recurrences, rate=rate, tokens=12), size=(330, 200)
    )
    desk.words()
    plot, data = desk.view.plot, desk.data
    names = [label for label in plot.labels if label.text.startswith(("trained", "tolerance"))]
    assert {label.text for label in names} == {"trained R = 12", "tolerance 1e-2"}
    # Every curve, drawn finely, by the plot's own transform.
    fine = np.linspace(1, recurrences, 2000)
    for curve in range(data.values.shape[1]):
        heights = np.interp(
            fine, data.recurrences, np.log10(np.maximum(data.values[:, curve], 1e-12))
        )
        for r, y in zip(fine, heights, strict=True):
            pixel = plot.pixel_of(r, y)
            assert not any(label.rect.contains(pixel) for label in names), (r, curve)


def test_words_state_rate_tolerance_and_trained_count(qtbot: QtBot) -> None:
    desk = Desk(qtbot, synthetic_recording(recurrences=14, rate=0.7))
    words = desk.words()
    rate = next(w for w in words if w.startswith("median"))
    assert re.fullmatch(r"median ×0\.(7|70\d|69\d) per recurrence", rate)
    assert "tolerance 1e-2" in words
    assert "trained R = 12" in words
    assert desk.view.plot.trained.value() == 12
    assert desk.view.plot.getPlotItem().getAxis("left").labelText == "relative step ∥Δs∥/∥s∥"


def test_the_trained_count_is_named_only_where_its_name_fits(qtbot: QtBot) -> None:
    desk = Desk(qtbot, synthetic_recording(recurrences=14, rate=0.7))
    seen = set()
    for width in range(90, 420, 10):
        desk.view.resize(width, 200)
        desk.words()
        area = desk.view.plot.getViewBox().sceneBoundingRect()
        names = [label.rect for label in desk.view.plot.labels if label.text.startswith("trained")]
        assert all(area.left() <= rect.left() and rect.right() <= area.right() for rect in names)
        seen.add(len(names))
    assert seen == {0, 1}


def test_rounding_floor_only_when_in_range(qtbot: QtBot) -> None:
    short = Desk(qtbot, synthetic_recording(recurrences=12))
    assert not len(points(short.view.plot.floor)[0])
    assert "float32 rounding" not in short.words()
    long = Desk(qtbot, synthetic_recording(recurrences=80))
    np.testing.assert_allclose(points(long.view.plot.floor)[1], np.log10(2.0**-23 / 12**0.5))
    assert "float32 rounding" in long.words()


@pytest.mark.parametrize("size", [(300, 200), (520, 330), (1600, 1000)])
@pytest.mark.parametrize("n", [1, 12, 200])
def test_words_stay_inside_and_apart(qtbot: QtBot, size: tuple[int, int], n: int) -> None:
    desk = Desk(qtbot, mixed(n), size=size)
    desk.words()
    plot = desk.view.plot
    area = QRectF(plot.getViewBox().sceneBoundingRect())
    names = [label for label in plot.labels if label.colour == plot.theme.warning]
    for label in plot.labels:
        inside = QRectF(plot.viewport().rect()) if label in names else area
        assert inside.adjusted(-1, -1, 1, 1).contains(label.rect), label
    # Where there is room, names stand beside the plot and lie on no curve.
    if size[0] > 1000:
        assert all(label.rect.left() > area.right() for label in names)
    right = [label.rect for label in desk.view.plot.labels if label.bold]
    assert not any(a.intersects(b) for a in right for b in right if a is not b)


def test_names_beside_the_plot_keep_their_room_in_another_theme(qtbot: QtBot) -> None:
    desk = Desk(qtbot, mixed(60), size=(1600, 600))
    plot = desk.view.plot
    for theme in (DARK, LIGHT):
        desk.view.set_theme(theme)
        for _ in range(3):
            QApplication.processEvents()
        names = [label for label in plot.labels if label.colour == theme.warning]
        assert names
        for label in names:
            assert QRectF(plot.viewport().rect()).adjusted(-1, -1, 1, 1).contains(label.rect)
            assert label.rect.left() > plot.getViewBox().sceneBoundingRect().right()


def test_click_selects_recurrence_and_token(desk: Desk) -> None:
    for recurrence, curve in ((7, 0), (12, 2), (30, 3)):
        desk.qtbot.mouseClick(desk.viewport, LEFT, pos=desk.pixel(recurrence, curve))
        assert desk.picked[-1] == {"recurrence": recurrence, "token": curve}


def test_click_away_from_curves_selects_the_recurrence(desk: Desk) -> None:
    area = desk.view.plot.getViewBox().sceneBoundingRect()
    x = desk.view.plot.pixel_of(4, 0).x()
    at = QPointF(x, area.bottom() - 4).toPoint()
    desk.qtbot.mouseClick(desk.viewport, LEFT, pos=at)
    assert desk.picked == [{"recurrence": 4}]


def test_click_names_the_token_and_not_the_curve(qtbot: QtBot) -> None:
    desk = Desk(qtbot, mixed(), selection=Selection(tokens=(1, 3)))
    desk.qtbot.mouseClick(desk.viewport, LEFT, pos=desk.pixel(9, 1))
    assert desk.picked == [{"recurrence": 9, "token": 3}]


def test_drag_pans_and_does_not_select(desk: Desk) -> None:
    before = desk.view.plot.getViewBox().viewRange()[0]
    start = desk.pixel(10, 0)
    desk.qtbot.mousePress(desk.viewport, LEFT, pos=start)
    for dx in (20, 40, 60):
        desk.qtbot.mouseMove(desk.viewport, start + QPoint(dx, 0))
    desk.qtbot.mouseRelease(desk.viewport, LEFT, pos=start + QPoint(60, 0))
    assert desk.picked == []
    assert desk.view.plot.getViewBox().viewRange()[0][0] < before[0] - 1
    assert desk.view.plot.zoomed


def test_hover_says_value_formula_and_class(desk: Desk) -> None:
    desk.qtbot.mouseMove(desk.viewport, desk.pixel(7, 2))
    assert desk.hovered[-1] == {"recurrence": 7, "token": 2}
    value = f"{desk.data.values[6, 2]:.3g}"
    text = desk.said[-1]
    parts = ("recurrence 7", "token 2 'Ġround'", "orbit of period 5", "tolerance 1e-2", "arXiv")
    for part in (f"relative step {value}", *parts, "‖s_r − s_{r−1}‖ / ‖s_r‖"):
        assert part in text


def test_hover_is_said_once_and_ends(desk: Desk) -> None:
    place = desk.pixel(7, 2)
    desk.qtbot.mouseMove(desk.viewport, place)
    desk.qtbot.mouseMove(desk.viewport, place + QPoint(1, 0))
    assert len(desk.hovered) == 1
    desk.qtbot.mouseMove(desk.viewport, QPoint(1, 1))
    assert desk.hovered[-1] == {}
    assert desk.said[-1] == ""


def test_cursor_marks(desk: Desk) -> None:
    plot = desk.view.plot
    desk.view.show_selection(Selection(recurrence=9, token=1), {"recurrence": 4, "token": 0})
    assert plot.marks.cursor_line.value() == 9
    assert plot.marks.cursor_line.pen.color() == QColor(LIGHT.accent)
    np.testing.assert_allclose(points(plot.chosen)[1][:9], np.log10(desk.data.values[:9, 1]))
    np.testing.assert_allclose(points(plot.marks.dot), [[9], [np.log10(desk.data.values[8, 1])]])
    assert plot.marks.hover_line.value() == 4
    np.testing.assert_allclose(points(plot.hovered)[1][:9], np.log10(desk.data.values[:9, 0]))
    desk.view.show_selection(Selection(recurrence=0, token=1), {})
    assert not plot.marks.cursor_line.isVisible()
    assert not plot.marks.hover_line.isVisible()
    assert not len(points(plot.hovered)[0])


def test_selection_sets_no_curve_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.view.show_selection(Selection(recurrence=3, token=1), {"recurrence": 2})
    for item in (*desk.view.plot.groups, desk.view.plot.median, desk.view.plot.chosen):
        monkeypatch.setattr(item, "setData", lambda *a, **k: pytest.fail("set again"))
    desk.view.show_selection(Selection(recurrence=8, token=1), {"recurrence": 5})


def test_per_layer(qtbot: QtBot) -> None:
    options = Options(per_layer=True)
    desk = Desk(qtbot, synthetic_recording(n_block=3), options, selection=Selection(layer=2))
    assert desk.view.plot.getPlotItem().getAxis("left").labelText == "relative step ∥Δx∥/∥x∥"
    words = desk.words()
    assert [w.split(" ×")[0] for w in words if w.startswith("layer")] == [
        "layer 0", "layer 1", "layer 2",
    ]  # fmt: skip
    desk.qtbot.mouseClick(desk.viewport, LEFT, pos=desk.pixel(8, 1))
    assert desk.picked == [{"recurrence": 8, "layer": 1}]
    desk.qtbot.mouseMove(desk.viewport, desk.pixel(9, 1))
    assert "recurrence 9, layer 1, ×0.7" in desk.said[-1]
    assert "x[r,l] − x[r−1,l]" in desk.said[-1]
    np.testing.assert_allclose(points(desk.view.plot.chosen)[1], np.log10(desk.data.values[:, 2]))


def test_axes_keep_their_zoom_until_reset(qtbot: QtBot) -> None:
    desk = Desk(qtbot, mixed())
    view, at = desk.view.plot.getViewBox(), QPointF(desk.pixel(10, 0))
    whole = view.viewRange()
    turn = QWheelEvent(
        at, desk.viewport.mapToGlobal(at), QPoint(), QPoint(0, 480), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.ControlModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(desk.viewport, turn)
    zoomed = view.viewRange()
    assert zoomed[0][1] - zoomed[0][0] < 0.8 * (whole[0][1] - whole[0][0])
    desk.view.show_data(compute(mixed(31), Selection(), Options()))
    assert view.viewRange() == zoomed
    desk.view.reset_view()
    assert view.viewRange()[0][1] > 31
    assert view.viewRange()[1] == pytest.approx(whole[1], abs=0.5)


def test_empty_and_cleared(qtbot: QtBot) -> None:
    desk = Desk(qtbot, synthetic_recording(recurrences=0))
    assert desk.view.plot.empty_text == f"{NO_RUN} Press Space to run one."
    assert desk.words() == []
    desk.qtbot.mouseClick(desk.viewport, LEFT, pos=QPoint(250, 150))
    desk.qtbot.mouseMove(desk.viewport, QPoint(240, 150))
    assert desk.picked == []
    desk.view.show_data(compute(mixed(), Selection(), Options()))
    assert desk.words()
    desk.view.clear()
    assert desk.words() == []
    desk.view.show_selection(Selection(3), {"recurrence": 2})


def test_themes_recolour(desk: Desk) -> None:
    desk.view.set_theme(DARK)
    assert desk.view.plot.backgroundBrush().color() == QColor(DARK.panel)
    assert desk.view.plot.median.opts["pen"].color() == QColor(DARK.text)
    assert desk.view.plot.marks.cursor_line.pen.color() == QColor(DARK.accent)


@pytest.mark.parametrize("n", [1, 2, 200])
@pytest.mark.parametrize("tokens", [1, 64])
@pytest.mark.parametrize("options", [Options(), Options("absolute"), Options(per_layer=True)])
def test_draws_any_run(qtbot: QtBot, n: int, tokens: int, options: Options) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        desk = Desk(qtbot, synthetic_recording(recurrences=n, tokens=tokens, d=4), options)
        desk.view.show_selection(Selection(n, token=tokens - 1), {"recurrence": 1, "token": 0})
        desk.view.grab()


def test_moving_a_mark_takes_no_more_work_in_a_long_run_of_many_tokens(qtbot: QtBot) -> None:
    def work(recurrences: int, tokens: int) -> int:
        desk = Desk(qtbot, synthetic_recording(recurrences=recurrences, tokens=tokens, d=4))
        desk.view.show_selection(Selection(1, token=0), {"recurrence": 2, "token": 1})
        return calls(
            lambda: desk.view.show_selection(Selection(2, token=1), {"recurrence": 3, "token": 2})
        )

    assert work(200, 64) < 1.1 * work(20, 8)


def test_data_is_not_drawn_twice(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.view.plot, "show_data", lambda data: pytest.fail("drawn again"))
    data: Data = desk.data
    desk.view.show_data(data)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (1e-4, 1.0, ["10⁻⁴", "10⁻³", "10⁻²", "0.1", "1"]),
        (1e-12, 1.0, ["10⁻¹²", "10⁻⁹", "10⁻⁶", "10⁻³", "1"]),
        (0.015, 0.3, ["0.02", "0.05", "0.1", "0.2"]),
        (0.20, 0.28, ["0.2", "0.22", "0.24", "0.26", "0.28"]),
        (3.0, 3.0, ["3"]),
    ],
)
def test_log_ticks(low: float, high: float, texts: list[str]) -> None:
    found = log_ticks(low, high, 5)
    assert [text for _, text in found] == texts
    assert all(low * 0.999 <= v <= high * 1.001 for v, _ in found)


def test_whole_axis_counts_from_1(qtbot: QtBot) -> None:
    axis = WholeAxis("bottom")
    ((_, few),) = axis.tickValues(0.7, 5.3, 400)
    assert few == [1, 2, 3, 4, 5]
    ((_, many),) = axis.tickValues(-3, 204, 400)
    assert many == [1, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200]
    axis.first = 0  # there is something at 0: an initial state, a first layer
    assert axis.tickValues(-0.1, 5.3, 400)[0][1] == [0, 1, 2, 3, 4, 5]
    assert axis.tickValues(-3, 204, 400)[0][1] == list(range(0, 201, 20))


def test_a_label_gives_up_words_before_its_number(qtbot: QtBot) -> None:
    metrics = QFontMetricsF(QApplication.font())
    whole, text = metrics.horizontalAdvance, "median ×0.379 per recurrence"
    assert shortened(text, metrics, whole(text)) == text
    assert shortened(text, metrics, whole(text) - 1) == "median ×0.379"
    assert shortened(text, metrics, whole("median ×0.379")) == "median ×0.379"
    assert shortened(text, metrics, whole("×0.379")) == "×0.379"
    token = "10 a: orbit of period 5"  # a clause goes whole, no number loses its end
    assert shortened(token, metrics, whole("10 a: orbit of period")) == "10 a"
    assert shortened(text, metrics, whole("…")) == ""
