"""The state-space plotter: where the state goes, turn by turn."""

from __future__ import annotations

import html
from dataclasses import replace

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from loopscope.core.selection import Selection
from loopscope.core.views.state_space.compute import Data, Options
from loopscope.core.views.state_space.data import LOCK_AFTER, middle, placed
from loopscope.widgets.kit.plain_text import PlainLabel, plain_tip
from loopscope.widgets.kit.theme import style_plot
from loopscope.widgets.kit.view import View
from loopscope.widgets.palette import LIGHT, Theme
from loopscope.widgets.views.state_space.items import (
    Canvas,
    LinesItem,
    Marks,
    MarksItem,
    layer_marker,
)
from loopscope.widgets.views.state_space.legend import Legend
from loopscope.widgets.views.state_space.overlays import Hit, OverlayPicture
from loopscope.widgets.views.state_space.picture import Picture
from loopscope.widgets.views.state_space.writing import Writing

# Pixels within which the pointer means a point.
REACH = 14.0
DEGREES_PER_PIXEL = 0.5
EMPTY = "Press Space to run a recurrence"


class StateSpaceView(View):
    """Trajectories of the selected tokens on two axes, or on three that turn by dragging."""

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self.data: Data | None = None
        self.hover: dict[str, int] = {}
        self._picture: Picture | None = None
        self._second_run: OverlayPicture | None = None
        self.angle = (self.options.azimuth, self.options.elevation)
        self._auto = True
        self._pointed: dict[str, int] = {}
        self._status = self._said = ""
        self._build()
        self.set_theme(LIGHT)
        self.clear()

    def _build(self) -> None:
        self.status = PlainLabel()
        self.status.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.refit_button = QToolButton()
        self.refit_button.setText("Refit")
        self.refit_button.setToolTip("Fit the principal components again, on what is shown now")
        self.refit_button.setAutoRaise(True)
        self.refit_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.refit_button.clicked.connect(self.refit)
        self.canvas = Canvas()
        self.plot = self.canvas.getPlotItem()
        self.box = self.plot.getViewBox()
        self.box.disableAutoRange()
        for side in ("left", "bottom"):
            # Ticks are in state units as they are, not in a thousandth of them.
            self.plot.getAxis(side).enableAutoSIPrefix(False)
        self.lines, self.small, self.cursor_lines = LinesItem(), MarksItem(), LinesItem()
        self.ends, self.hover_mark, self.cursor_mark = MarksItem(), MarksItem(), MarksItem()
        self.beside_lines, self.beside_marks = LinesItem(), MarksItem()
        items = (
            self.beside_lines, self.lines, self.small, self.cursor_lines, self.beside_marks,
            self.ends,
        )  # fmt: skip
        for item in (*items, self.hover_mark, self.cursor_mark):
            self.box.addItem(item, ignoreBounds=True)
        self.legend = Legend()
        self.writing = Writing(self)
        self.plot.layout.setContentsMargins(4, 8, 10, 2)
        bar = QHBoxLayout()
        bar.setContentsMargins(6, 0, 2, 0)
        bar.addWidget(self.status, 1)
        bar.addWidget(self.refit_button)
        row = QHBoxLayout()
        row.setSpacing(2)
        row.addWidget(self.canvas, 1)
        row.addWidget(self.legend)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 2, 2)
        column.setSpacing(0)
        column.addLayout(bar)
        column.addLayout(row, 1)
        self.canvas.resized.connect(self._on_canvas_resized)
        self.canvas.pointed.connect(self._on_canvas_pointed)
        self.canvas.left.connect(self._on_canvas_left)
        self.canvas.clicked.connect(self._on_canvas_clicked)
        self.canvas.turned.connect(self._on_canvas_turned)
        self.canvas.turn_ended.connect(self._on_canvas_turn_ended)
        self.box.sigRangeChangedManually.connect(self._on_box_moved)
        self.box.sigRangeChanged.connect(self.writing.update)

    # ---- what the app calls ----
    def set_options(self, options: Options) -> None:
        """Take new options; a new angle shows at once, the rest with the next data."""
        super().set_options(options)
        angle = (options.azimuth, options.elevation)
        if angle != self.angle and not self.canvas.is_turning:
            self.angle = angle
            self._redraw()

    def show_data(self, data: Data) -> None:
        """Draw ``data``; locks the basis once it was fitted on enough recurrences."""
        before, self.data = self.data, data
        if before is None or not _same_picture(before, data):
            self._auto = self._auto or before is None or _is_elsewhere(before, data)
            self._on_new_picture(data)
        self._update_words()
        self._lock(data)

    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Move the marks; the cursor's token is drawn wider."""
        moved = selection.token != self.selection.token
        self.selection, self.hover = selection, dict(hover)
        if moved:
            self._draw_cursor_token()
        self._draw_marks()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours and redraw."""
        self.theme = self.legend.theme = theme
        style_plot(self.plot, theme)
        self.canvas.setBackground(theme.panel)
        palette = self.palette()
        palette.setColor(palette.ColorRole.Window, QColor(theme.panel))
        self.setPalette(palette)
        self.setAutoFillBackground(True)
        palette.setColor(palette.ColorRole.WindowText, QColor(theme.muted))
        self.status.setPalette(palette)
        self._redraw()
        self._update_words()

    def clear(self) -> None:
        """Show the way to the first recurrence."""
        self.data = None
        self._show_axes(False)
        self._redraw()
        self._update_words()

    def reset_view(self) -> None:
        """Show everything, from the first angle, on axes fitted to what there is now."""
        self._auto = True
        plain = Options()
        self.angle = (plain.azimuth, plain.elevation)
        self._redraw()
        self._show_all()
        self._ask(azimuth=plain.azimuth, elevation=plain.elevation, basis=None)

    def refit(self) -> None:
        """Let go of the locked basis: the next data are fitted anew."""
        self._ask(basis=None)

    def _ask(self, **changes: object) -> None:
        wanted = replace(self.options, **changes)
        if wanted != self.options:
            self.options = wanted
            self.options_changed.emit(wanted)

    def _lock(self, data: Data) -> None:
        """Store the basis just fitted, unless one that serves this run is stored already."""
        basis, held = data.basis, self.options.basis
        fitted = basis is not None and data.options.axes == "pca" and not data.locked
        if not fitted or basis is None or basis.n_recurrences < LOCK_AFTER:
            return
        if held is None or held.run != data.run or held.width != basis.width:
            self._ask(basis=basis)

    # ---- drawing ----
    def _on_new_picture(self, data: Data) -> None:
        self.canvas.turning = data.is_3d
        self._show_axes(not data.is_3d and not data.empty)
        self.box.setAspectLocked(data.is_3d or data.options.equal_scale)
        self._redraw()
        if self._auto:
            self._show_all()

    def _show_axes(self, shown: bool) -> None:
        for side in ("left", "bottom"):
            self.plot.showAxis(side, shown)

    def _redraw(self) -> None:
        """Project and draw everything."""
        data, self._picture = self.data, None
        if data is not None and not data.empty:
            self._picture = Picture(data, placed(data, *self.angle), self.theme)
        picture = self._picture
        self._redraw_beside(data if picture else None)
        self.lines.set_lines(picture.lines() if picture else [])
        self.small.set_marks(picture.small_marks() if picture else [])
        self.ends.set_marks(picture.end_marks() if picture else [])
        self._draw_cursor_token()
        self._draw_marks()

    def _redraw_beside(self, data: Data | None) -> None:
        """Draw the overlays, unless they are there already: they stay while the run goes on."""
        before = self._second_run
        if data is not None and before is not None and before.shows(data, self.angle, self.theme):
            return
        wanted = data is not None and bool(data.overlays)
        second_run = OverlayPicture(data, self.angle, self.theme) if wanted else None
        self._second_run = second_run
        if second_run is not None or before is not None:
            self.beside_lines.set_lines(second_run.lines() if second_run else [])
            self.beside_marks.set_marks(second_run.marks() if second_run else [])

    def _draw_cursor_token(self) -> None:
        picture, token = self._picture, self.selection.token
        shown = picture is not None and token in picture.data.tokens
        self.cursor_lines.set_lines(picture.cursor_lines(token) if picture and shown else [])

    def _draw_marks(self) -> None:
        here = self._here()
        there = {**here, **{k: v for k, v in self.hover.items() if k in here}}
        pointed = any(k in self.hover for k in here)
        self.cursor_mark.set_marks(self._ring(here, self.theme.accent))
        self.hover_mark.set_marks(self._ring(there, self.theme.hover) if pointed else [])
        self.writing.update()

    def _here(self) -> dict[str, int]:
        return {name: getattr(self.selection, name) for name in ("recurrence", "layer", "token")}

    def _ring(self, place: dict[str, int], colour: str) -> list[Marks]:
        at, picture = self._position(place), self._picture
        if at is None or picture is None:
            return []
        marker = layer_marker(place["layer"] if picture.data.by_layer else -1)
        return [Marks(at[None], marker, 15, None, pg.mkPen(colour, width=2.4))]

    def _position(self, place: dict[str, int]) -> np.ndarray | None:
        """Where ``place`` is in the plot, or None when it is not shown."""
        picture = self._picture
        if picture is None or place["token"] not in picture.data.tokens:
            return None
        station = picture.data.station(place["recurrence"], place["layer"])
        if station is None:
            return None
        at = picture.place[picture.data.tokens.index(place["token"]), station]
        return at if np.isfinite(at).all() else None

    def cursor_pixel(self) -> QPointF | None:
        """Where the cursor's mark is on the canvas, or None."""
        at = self._position(self._here())
        return None if at is None else QPointF(*self._pixels(at[None])[0])

    def _show_all(self) -> None:
        picture = self._picture
        if picture is None:
            return
        if picture.data.is_3d:
            # The ball around the points: turning then never changes the scale.
            points = [picture.data.points, *(o.points for o in picture.data.overlays)]
            away = [np.linalg.norm(p - middle(picture.data), axis=-1) for p in points]
            low = high = np.zeros(2)
            half = max(float(np.nanmax(a)) for a in away if np.isfinite(a).any())
        else:
            low, high = np.nanmin(picture.place, (0, 1)), np.nanmax(picture.place, (0, 1))
            if self._second_run is not None and len(corners := self._second_run.corners()):
                low, high = np.minimum(low, corners.min(0)), np.maximum(high, corners.max(0))
            half = float((high - low).max()) / 2
        # A side without extent is opened as far as the other; a single point by any amount.
        half = half or max(1e-3, 0.1 * float(np.abs(high).max()))
        flat = high - low <= 1e-9 * half
        low, high = np.where(flat, low - half, low), np.where(flat, high + half, high)
        padding = 0.02 if picture.data.is_3d else 0.08
        rect = QRectF(QPointF(*low), QPointF(*high))
        self.box.setRange(rect, padding=padding, disableAutoRange=True)

    # ---- words ----
    def _update_words(self) -> None:
        data = self.data
        pca = data is not None and data.options.axes == "pca" and data.basis is not None
        self.refit_button.setVisible(pca)
        self._status = _basis_words(data) if data is not None and pca else ""
        entries, *scale = self._picture.legend() if self._picture else ([], [], ("", ""))
        second_run = self._second_run.entries() if self._second_run else []
        self.legend.set_content([*second_run, *entries], *scale)
        self._fit_words()
        self.writing.update()

    def _fit_words(self) -> None:
        """Shorten what does not fit."""
        width = self.status.width()
        metrics = self.status.fontMetrics()
        self.status.setText(metrics.elidedText(self._status, Qt.TextElideMode.ElideRight, width))
        self.status.setToolTip(plain_tip(self._status))
        data = self.data
        has_legend = data is not None and not data.empty
        self.legend.setVisible(has_legend and self.width() >= 380)
        self.legend.setFixedWidth(self.legend.sizeHint().width())
        if data is None or data.is_3d or data.empty:
            return
        for side, axis in zip(("bottom", "left"), data.axes, strict=True):
            room = self.canvas.width() - 60 if side == "bottom" else self.canvas.height() - 40
            text = next((t for t in (axis.label, axis.short) if self.fits(t, room)), None)
            text = text or metrics.elidedText(axis.name, Qt.TextElideMode.ElideRight, room)
            # Setting a label lays the plot out again, changed or not.
            if self.plot.getAxis(side).labelText != html.escape(text):
                self.plot.getAxis(side).setLabel(html.escape(text))

    def empty_words(self) -> str:
        """What stands in the middle when there is nothing to draw."""
        data = self.data
        if data is None or (data.basis is None and not data.missing_directions):
            return EMPTY
        return data.statement

    def fits(self, text: str, room: int) -> bool:
        """Whether ``text`` is at most ``room`` pixels wide."""
        return self.fontMetrics().horizontalAdvance(text) <= room

    def resizeEvent(self, ev: QResizeEvent) -> None:
        """Fit the words to the new size."""
        super().resizeEvent(ev)
        self._fit_words()

    def _on_canvas_resized(self) -> None:
        self.writing.setGeometry(self.canvas.viewport().geometry())
        self._fit_words()

    # ---- mouse ----
    def _pixels(self, points: np.ndarray) -> np.ndarray:
        """Plot coordinates ``[..., 2]`` in pixels of the canvas."""
        (x0, x1), (y0, y1) = self.box.viewRange()
        area = self.box.sceneBoundingRect()
        x = area.left() + (points[..., 0] - x0) / (x1 - x0) * area.width()
        y = area.bottom() - (points[..., 1] - y0) / (y1 - y0) * area.height()
        return np.stack([x, y], -1)

    def place_at(self, pos: QPointF) -> dict[str, int]:
        """The shown point next to ``pos``, newest first where several coincide, or ``{}``."""
        near = self._nearest(pos)
        if near is None or self._picture is None:
            return {}
        data, (distance, nearest) = self._picture.data, near
        rows, stations = np.nonzero(distance <= nearest + 1.0)
        on_cursor = [data.tokens[row] == self.selection.token for row in rows]
        best = np.lexsort((on_cursor, stations))[-1]
        row, station = int(rows[best]), int(stations[best])
        place = {"recurrence": int(data.recurrences[station]), "token": data.tokens[row]}
        if data.by_layer:
            place["layer"] = int(data.layers[station])
        return place

    def _nearest(self, pos: QPointF) -> tuple[np.ndarray, float] | None:
        """Distance of each point of the run from a pixel, and the least; None when out of reach."""
        inside = self.box.sceneBoundingRect().adjusted(-4, -4, 4, 4).contains(pos)
        if self._picture is None or not inside:
            return None
        away = self._pixels(self._picture.place) - (pos.x(), pos.y())
        distance = np.hypot(away[..., 0], away[..., 1])
        distance[np.isnan(distance)] = np.inf
        nearest = float(distance.min())
        return (distance, nearest) if nearest <= REACH else None

    def overlay_at(self, pos: QPointF) -> Hit | None:
        """The overlay under ``pos``, where it is nearer than any point of the run."""
        if self._second_run is None or not self.box.sceneBoundingRect().contains(pos):
            return None
        hit = self._second_run.hit(self._pixels, (pos.x(), pos.y()), REACH)
        near = self._nearest(pos)
        return hit if hit is not None and (near is None or hit.away < near[1]) else None

    def _place_of(self, hit: Hit) -> dict[str, int]:
        """Fields of the cursor that an overlay stands for."""
        assert self.data is not None
        place = {"token": self.data.tokens[hit.row]}
        recurrence = int(hit.overlay.recurrences[hit.station])
        if 0 <= recurrence <= self.data.n_recurrences:
            place["recurrence"] = recurrence
        if (layer := int(hit.overlay.layers[hit.station])) >= 0:
            place["layer"] = layer
        return place

    def _on_canvas_pointed(self, pos: QPointF) -> None:
        hit = self.overlay_at(pos)
        place = self._place_of(hit) if hit else self.place_at(pos)
        words = hit.overlay.tooltips[hit.row] if hit else self._words(place) if place else ""
        if (place, words) == (self._pointed, self._said):
            return
        if place != self._pointed:
            self._pointed = place
            self.hover_changed.emit(place)
        self._said = words
        self.message.emit(words)

    def _on_canvas_left(self) -> None:
        if self._pointed or self._said:
            self._pointed, self._said = {}, ""
            self.hover_changed.emit({})
            self.message.emit("")

    def _on_canvas_clicked(self, pos: QPointF) -> None:
        hit = self.overlay_at(pos)
        place = self._place_of(hit) if hit else self.place_at(pos)
        if place:
            self.select_requested.emit(place)

    def _words(self, place: dict[str, int]) -> str:
        data = self.data
        station = data and data.station(place["recurrence"], place.get("layer", 0))
        if data is None or station is None:
            return ""
        row = data.tokens.index(place["token"])
        numbers = ", ".join(
            f"{axis.name} = {value:.3g}"
            for axis, value in zip(data.axes, data.points[row, station], strict=True)
        )
        layer = f", {data.layer_names[place['layer']]}" if "layer" in place else ""
        where = f"token {place['token']} '{data.labels[row]}', recurrence {place['recurrence']}"
        return f"{where}{layer}: {numbers} (state units)   {data.formulas[0].text()}"

    def _on_canvas_turned(self, right: float, down: float) -> None:
        azimuth, elevation = self.angle
        azimuth = (azimuth - DEGREES_PER_PIXEL * right + 180) % 360 - 180
        elevation = float(np.clip(elevation + DEGREES_PER_PIXEL * down, -90, 90))
        self.angle = (azimuth, elevation)
        self._redraw()

    def _on_canvas_turn_ended(self) -> None:
        self._ask(azimuth=self.angle[0], elevation=self.angle[1])

    def _on_box_moved(self) -> None:
        self._auto = False


def _is_elsewhere(before: Data, now: Data) -> bool:
    """Whether the part of space that was zoomed into means nothing any more."""
    old, new = before.options, now.options
    same_axes = [a.name for a in before.axes] == [a.name for a in now.axes]
    moved = before.basis is not now.basis and not before.provisional
    return before.run != now.run or old.states != new.states or not same_axes or moved


def _same_picture(a: Data, b: Data) -> bool:
    """Whether only words may differ, so that nothing need be drawn again."""
    plain = {"basis": None, "azimuth": 0.0, "elevation": 0.0}
    return (
        replace(a.options, **plain) == replace(b.options, **plain)
        and a.tokens == b.tokens
        and np.array_equal(a.points, b.points, equal_nan=True)
        and np.array_equal(a.closing, b.closing, equal_nan=True)
        and np.array_equal(a.layers, b.layers)
        and len(a.overlays) == len(b.overlays)
        and all(x is y for x, y in zip(a.overlays, b.overlays, strict=True))
    )


def _basis_words(data: Data) -> str:
    assert data.basis is not None
    if data.provisional:
        return f"axes provisional: they lock at {LOCK_AFTER} recurrences"
    kept = "" if data.basis.run == data.run else ", an earlier run"
    fitted = f"fitted on {data.basis.fitted_on}{kept}"
    return f"axes locked, {fitted}" if data.locked else f"axes {fitted}"
