"""The state-space plotter: where the state goes, turn by turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QToolButton, QVBoxLayout, QWidget
from typing_extensions import override

from loopscope.core.labels import name_tokens
from loopscope.core.measures.state_forms import NORM_RATIO
from loopscope.core.selection import Selection
from loopscope.core.views.state_space.compute import Data, Options
from loopscope.core.views.state_space.data import Refit
from loopscope.core.views.state_space.words import axes_words
from loopscope.widgets.kit.plain_text import PlainLabel, describe, plain_tip
from loopscope.widgets.kit.view import View
from loopscope.widgets.palette import LIGHT, Theme
from loopscope.widgets.plots.places import is_range
from loopscope.widgets.views.state_space.canvas import TrajectoryCanvas
from loopscope.widgets.views.state_space.legend import Legend
from loopscope.widgets.views.state_space.overlays import Hit
from loopscope.widgets.views.state_space.text_overlay import TextOverlay

DEGREES_PER_PIXEL = 0.5
# Tokens of massive norm that a tooltip names.
MOST_MASSIVE = 6
EMPTY = "Press Space to run a recurrence"


class StateSpaceView(View[Data]):
    """Trajectories of the selected tokens on two axes, or on three that turn by dragging."""

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self.data: Data | None = None
        self.hover: dict[str, int] = {}
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
        self.refit_button = _button("Refit", self.refit)
        self.refit_button.setToolTip("Fit the principal components again, on what is shown now")
        self.massive_button = _button("", self._toggle_massive)
        describe(
            self.massive_button, "Tokens of massive norm", "Leave them out, or take them in again"
        )
        self.starts_button = _button("", self._toggle_starts)
        self.starts_button.setToolTip("The same prompt from the other start states that were run")
        self.canvas = TrajectoryCanvas()
        self.legend = Legend()
        self.text_overlay = TextOverlay(self.canvas, self)
        bar = QHBoxLayout()
        bar.setContentsMargins(6, 0, 2, 0)
        bar.addWidget(self.status, 1)
        bar.addWidget(self.starts_button)
        bar.addWidget(self.massive_button)
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
        self.canvas.box.sigRangeChangedManually.connect(self._on_box_moved)
        self.canvas.box.sigRangeChanged.connect(self.text_overlay.update)

    # ---- what the app calls ----
    @override
    def set_options(self, options: Options) -> None:
        """Take new options; a new angle shows at once, the rest with the next data."""
        super().set_options(options)
        angle = (options.azimuth, options.elevation)
        if angle != self.angle and not self.canvas.is_turning:
            self.angle = angle
            self._redraw()

    @override
    def show_data(self, data: Data) -> None:
        """Draw ``data``; keeps the basis once it was fitted on all that it will be."""
        before, self.data = self.data, data
        if before is None or not _same_picture(before, data):
            self._auto = self._auto or before is None or _is_elsewhere(before, data)
            self._on_new_picture(data)
        self._update_words()
        self._lock(data)

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Move the marks; the cursor's token is drawn wider."""
        moved = selection.token != self.selection.token
        self.selection, self.hover = selection, dict(hover)
        if moved:
            self.canvas.draw_token(selection.token)
        self._draw_marks()

    @override
    def set_theme(self, theme: Theme) -> None:
        self.theme = self.legend.theme = theme
        self.canvas.set_theme(theme)
        palette = self.palette()
        palette.setColor(palette.ColorRole.Window, QColor(theme.panel))
        self.setPalette(palette)
        self.setAutoFillBackground(True)
        self._redraw()
        self._update_words()

    @override
    def clear(self) -> None:
        """Show nothing, and say how the first recurrence is run."""
        self.data = None
        self.canvas.show_axes(False)
        self._redraw()
        self._update_words()

    @override
    def reset_view(self) -> None:
        """Show everything, from the first angle, on the axes that the run has by itself."""
        self._auto = True
        plain = Options()
        self.angle = (plain.azimuth, plain.elevation)
        self._redraw()
        self.canvas.show_all()
        self._ask(azimuth=plain.azimuth, elevation=plain.elevation, basis=None, refit=None)

    @override
    def place(self) -> dict[str, float]:
        if self._auto or self.data is None:
            return {}
        (left, right), (bottom, top) = self.canvas.box.viewRange()
        return {"x0": left, "x1": right, "y0": bottom, "y1": top}

    @override
    def go_to(self, place: Mapping[str, float]) -> None:
        x, y = ([place.get(f"{axis}{end}", math.nan) for end in (0, 1)] for axis in "xy")
        if is_range(*x) and is_range(*y):
            self._auto = False
            self.canvas.box.setRange(xRange=x, yRange=y, padding=0)

    def refit(self) -> None:
        """Have the axes fitted on all recurrences that are there now, of what is shown."""
        data = self.data
        if data is None or not data.n_recurrences:
            return
        pinned = Refit(data.run, data.n_recurrences)
        follows = self.options.fit_over == "all"
        changes: dict[str, object] = {"basis": None, "refit": None if follows else pinned}
        if data.elsewhere:
            changes["fit_on"] = "selected"
        self._ask(**changes)

    def _toggle_massive(self) -> None:
        kept = self.options.massive == "kept"
        self._ask(massive="left out" if kept else "kept")

    def _toggle_starts(self) -> None:
        self._ask(show_starts=not self.options.show_starts)

    def _ask(self, **changes: object) -> None:
        wanted = replace(self.options, **changes)
        if wanted != self.options:
            self.options = wanted
            self.options_changed.emit(wanted)

    def _lock(self, data: Data) -> None:
        """Keep the basis just fitted, so that it is not fitted again with each recurrence."""
        basis = data.basis
        fitted = basis is not None and data.options.axes == "pca" and not data.locked
        if not fitted or data.provisional or data.follows_run:
            return
        if _plain(data.options) == _plain(self.options):
            self._ask(basis=basis)

    # ---- drawing ----
    def _on_new_picture(self, data: Data) -> None:
        self.canvas.prepare(data)
        self._redraw()
        if self._auto:
            self.canvas.show_all()

    def _redraw(self) -> None:
        """Project and draw everything."""
        self.canvas.draw(self.data, self.angle, self.selection.token)
        self._draw_marks()

    def _draw_marks(self) -> None:
        here = self._here()
        there = {**here, **{k: v for k, v in self.hover.items() if k in here}}
        pointed = any(k in self.hover for k in here)
        self.canvas.show_marks(here, there if pointed else None)
        self.text_overlay.update()

    def _here(self) -> dict[str, int]:
        return {name: getattr(self.selection, name) for name in ("recurrence", "layer", "token")}

    def cursor_pixel(self) -> QPointF | None:
        """Where the cursor's mark is on the canvas, or None."""
        return self.canvas.pixel_of(self._here())

    # ---- words ----
    def _update_words(self) -> None:
        data = self.data
        pca = data is not None and data.options.axes == "pca" and data.basis is not None
        self.refit_button.setVisible(pca)
        words = axes_words(data) if data is not None and pca else ""
        self._status = words[:1].upper() + words[1:]
        self._show_misfit(data is not None and bool(data.elsewhere))
        self._offer_massive(data)
        self._offer_starts(data)
        picture, overlays = self.canvas.picture, self.canvas.overlays
        entries, scale, ticks = picture.legend() if picture else ([], [], [])
        self.legend.set_content([*(overlays.entries() if overlays else []), *entries], scale, ticks)
        self._fit_words()
        self.text_overlay.update()

    def _show_misfit(self, misfit: bool) -> None:
        """Draw attention to axes that do not belong to what is shown, and to the way out."""
        palette = self.palette()
        colour = self.theme.warning if misfit else self.theme.muted
        palette.setColor(palette.ColorRole.WindowText, QColor(colour))
        self.status.setPalette(palette)
        self.refit_button.setAutoRaise(not misfit)

    def _offer_massive(self, data: Data | None) -> None:
        """Offer to leave out tokens of massive norm, or to put them back."""
        massive = data.massive if data is not None else ()
        out = data is not None and bool(data.without)
        others = data is not None and len(massive) < len(data.tokens)
        self.massive_button.setVisible(bool(massive) and (out or others))
        if not massive:
            return
        names = name_tokens([m.position for m in massive])
        self.massive_button.setText(f"Put {names} back" if out else f"Leave out {names}")
        self.massive_button.setAutoRaise(out)
        each = ", ".join(
            f"token {m.position} '{m.label}' {m.ratio:.3g} ×" for m in massive[:MOST_MASSIVE]
        )
        self.massive_button.setToolTip(
            plain_tip(f"Of massive norm: {each} the median norm. {NORM_RATIO.text()}")
        )

    def _offer_starts(self, data: Data | None) -> None:
        """Offer to draw the runs from other starts, or to leave them out again."""
        n = 0 if data is None else data.other_starts
        self.starts_button.setVisible(n > 0)
        shown = data is not None and data.options.show_starts
        starts = "other starts" if n > 1 else "other start"
        self.starts_button.setText(f"Hide {starts}" if shown else f"Show {n} {starts}")

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
        if data is not None and not data.is_3d and not data.empty:
            self.canvas.set_titles(data)

    def empty_words(self) -> str:
        """What stands in the middle when there is nothing to draw."""
        data = self.data
        if data is None or (data.basis is None and not data.missing_directions):
            return EMPTY
        return data.statement

    @override
    def resizeEvent(self, ev: QResizeEvent) -> None:
        """Fit the words to the new size."""
        super().resizeEvent(ev)
        self._fit_words()

    def _on_canvas_resized(self) -> None:
        self.text_overlay.setGeometry(self.canvas.viewport().geometry())
        self._fit_words()

    # ---- mouse ----
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
        hit = self.canvas.overlay_at(pos)
        place = self._place_of(hit) if hit else self.canvas.place_at(pos, self.selection.token)
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
        hit = self.canvas.overlay_at(pos)
        place = self._place_of(hit) if hit else self.canvas.place_at(pos, self.selection.token)
        if place:
            self.select_requested.emit(place)

    def _words(self, place: dict[str, int]) -> str:
        data = self.data
        if data is None:
            return ""
        station = data.station(place["recurrence"], place.get("layer", 0))
        if station is None:
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
    """Whether the part of space that was zoomed into is meaningless on the present axes."""
    old, new = before.options, now.options
    same_axes = [a.name for a in before.axes] == [a.name for a in now.axes]
    moved = before.basis is not now.basis and not before.provisional
    return before.run != now.run or old.states != new.states or not same_axes or moved


def _same_picture(a: Data, b: Data) -> bool:
    """Whether only words may differ, so that nothing need be drawn again."""
    return (
        _plain(a.options) == _plain(b.options)
        and a.tokens == b.tokens
        and np.array_equal(a.points, b.points, equal_nan=True)
        and np.array_equal(a.closing, b.closing, equal_nan=True)
        and np.array_equal(a.layers, b.layers)
        and len(a.overlays) == len(b.overlays)
        and all(x is y for x, y in zip(a.overlays, b.overlays, strict=True))
    )


def _plain(options: Options) -> Options:
    """The settings without the basis, and the angle."""
    return replace(options, basis=None, azimuth=0.0, elevation=0.0)


def _button(text: str, clicked: Callable[[], None]) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setAutoRaise(True)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    button.clicked.connect(clicked)
    return button
