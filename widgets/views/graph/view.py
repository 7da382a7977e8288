"""The computation graph on the screen: the loop at the left, its unrolling at the right.

A run of another model that stands beside has a strip of its own below, aligned by effective depth.
This file is what mouse, keys and search do; what is seen is `GraphCanvas`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.views.graph.cuts import cuts_at
from loopscope.core.views.graph.data import Data, Options
from loopscope.core.views.graph.search import Matches, find
from loopscope.widgets.kit.plain_text import plain_tip
from loopscope.widgets.views.graph.canvas import GraphCanvas
from loopscope.widgets.views.graph.geometry import Hit
from loopscope.widgets.views.graph.words import words_of, words_of_cuts

ZOOM_STEP = 1.25
# How near the pointer must be to a cut's mark, pixels.
NEAR = 9.0


class GraphView(GraphCanvas):
    """Click, hover, double-click, wheel, keys and search over the pictures."""

    NEEDS_RUN: ClassVar[bool] = False  # the loop is drawn before it has run

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options, parent)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.search.text_changed.connect(self._on_search)
        self.search.stepped.connect(self._on_search_stepped)
        self.search.closed.connect(self._on_search_closed)

    @override
    def show_data(self, data: Data) -> None:
        """Draw ``data``; a search that is open is made again."""
        super().show_data(data)
        if self.search.isVisibleTo(self):
            self._search(self.search.text.text(), self.match)

    # ---- pointing ----
    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Mark every copy of the weights under the pointer, and say what they are."""
        hit = self.pixels.hit(event.position())
        cut = self._cut_under(event.position())
        words = cut or ("" if hit is None else self._words_at(hit))
        self.setToolTip(plain_tip(cut or ("" if hit is None else self._cuts_of(hit))))
        if words and (cut or hit != self.hovered):
            self.message.emit(words)
        if hit != self.hovered:
            self.hovered = hit
            self.update()
            self.hover_changed.emit({} if hit is None else self._place_of(hit))

    @override
    def leaveEvent(self, event: QEvent) -> None:
        """Mark nothing as pointed at."""
        self.hovered = None
        self.update()
        self.hover_changed.emit({})

    def _data_of(self, hit: Hit) -> Data:
        return self.pixels.bands[hit.band].strip.data

    def _words_at(self, hit: Hit) -> str:
        name = ""
        if self.data is not None and (contrast := self.data.contrast) is not None:
            name = contrast.name if hit.band else self.data.name
        picture = self.pixels.picture
        assert picture is not None
        recurrence = picture.places(self.selection)[hit.band][0]
        return words_of(self._data_of(hit), hit.box, recurrence, name)

    def _cuts_of(self, hit: Hit) -> str:
        """What the cuts at a node do, for its tooltip."""
        return words_of_cuts(cuts_at(self._data_of(hit).cuts, hit.box.node, hit.box.recurrence))

    def _cut_under(self, position: QPointF) -> str:
        """What the cut whose mark is under the pointer does."""
        for band in range(len(self.pixels.bands)):
            for place, mark in self.pixels.marks(band):
                if (place - position).manhattanLength() < NEAR:
                    return words_of_cuts(mark.cuts)
        return ""

    def _place_of(self, hit: Hit, recurrence: int | None = None) -> dict[str, object]:
        """Fields of the first run's cursor that stand for a box; of a fold a chosen recurrence."""
        box, changes = hit.box, dict[str, object]()
        if box.node.kind == "start":
            changes["recurrence"] = 0
        if box.node.part == "block":
            changes["layer"] = box.node.layer or 0
        if box.recurrence is not None:
            changes["recurrence"] = box.recurrence if recurrence is None else recurrence
        if changes and hit.band and self.data is not None and self.data.contrast is not None:
            return self.data.contrast.back(changes, self.selection)
        return changes

    # ---- clicking ----
    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A click moves the cursor there; in a fold, to one of its recurrences."""
        hit = self.pixels.hit(event.position())
        if hit is None or event.button() != Qt.MouseButton.LeftButton or self.data is None:
            return
        name = hit.box.node.label
        if (
            hit.box.node.kind != "start"
            and hit.box.recurrence is None
            and not (hit.in_loop and hit.box.node.part == "block")
        ):
            self.message.emit(f"{name} is outside the loop: the cursor stays")
            return
        changes = self._place_of(hit, self._chosen(hit, event.position()))
        recurrence = changes.get("recurrence")
        if isinstance(recurrence, int) and recurrence > self.data.n_complete:
            self.message.emit(f"recurrence {recurrence} has not been run; Space runs on")
        elif changes:
            self.select_requested.emit(changes)
        else:
            self.message.emit("each run goes at its own pace: the first one's cursor stays")

    def _chosen(self, hit: Hit, position: QPointF) -> int | None:
        """Return the recurrence that a place in a column stands for."""
        box = hit.box
        if box.recurrence is None or box.times == 1:
            return box.recurrence
        rect = self.pixels.covered(box, hit.band, hit.in_loop)
        share = (position.x() - rect.left()) / max(rect.width(), 1)
        return box.recurrence + min(max(int(share * box.times), 0), box.times - 1)

    @override
    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Unfold a fold, open or close a layer; beside the boxes, fold again."""
        hit, picture = self.pixels.hit(event.position()), self.pixels.picture
        if picture is None:
            return
        if hit is None:
            if self.options.fold == "never" and event.position().x() >= self.pixels.strip.left():
                self.options_changed.emit(replace(self.options, fold="auto"))
            return
        if hit.box.times > 1:
            self.options_changed.emit(replace(self.options, fold="never"))
            return
        key = picture.row_key(hit.band, hit.box.node)
        if key is None:
            return
        opened = set(self.options.expanded)
        if self.options.expand:  # "all" becomes all but this one
            opened |= picture.row_keys
        opened ^= {key}
        options = replace(self.options, expand=False, expanded=tuple(sorted(opened)))
        self.options_changed.emit(options)

    # ---- keys and wheel ----
    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Up and Down move the layer, + - 0 zoom, F folds, / searches; the rest is the window's."""
        key, text = Qt.Key(event.key()), event.text()
        control = event.modifiers() & Qt.KeyboardModifier.ControlModifier
        by = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(key)
        if self.data is None:
            super().keyPressEvent(event)
        elif (control and key == Qt.Key.Key_F) or text == "/":
            self.search.open()
            self._search(self.search.text.text(), -1)
        elif text in ("+", "=") or text == "-":
            self.set_zoom(self.pixels.zoom * ZOOM_STEP ** (-1 if text == "-" else 1))
        elif text == "0":
            self.reset_view()
        elif text.lower() == "f":
            fold = "auto" if self.options.fold == "never" else "never"
            self.options_changed.emit(replace(self.options, fold=fold))
        elif by is not None:
            layer = max(0, min(self.selection.layer + by, self.data.n_layers - 1))
            self.select_requested.emit({"layer": layer})
        else:
            super().keyPressEvent(event)

    @override
    def wheelEvent(self, event: QWheelEvent) -> None:
        """The wheel scrolls a tall picture, with Shift or where all fits sideways; Ctrl zooms."""
        delta = event.angleDelta()
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            steps = (delta.y() or delta.x()) / 120
            self.set_zoom(self.pixels.zoom * ZOOM_STEP**steps, event.position().x())
        elif self.side_bar.maximum() and not (
            delta.x() or event.modifiers() & Qt.KeyboardModifier.ShiftModifier
        ):
            self.side_bar.setValue(self.side_bar.value() - delta.y())
        else:
            self.bar.setValue(self.bar.value() - (delta.x() or delta.y()))
        event.accept()

    # ---- search ----
    def _on_search(self, text: str) -> None:
        self._search(text, -1)

    def _search(self, text: str, match: int) -> None:
        """Find ``text``; ``match`` is the one it stands at if there are so many, -1 for none."""
        self.matches = Matches([]) if self.data is None else find(self.data, text)
        self.match = match if match < len(self.matches) else -1
        self.search.say(self.match if self.match >= 0 else None, len(self.matches))
        self.update()

    def _on_search_stepped(self, by: int) -> None:
        n = len(self.matches)
        if not n:
            return
        self.match = (self.match + by) % n if self.match >= 0 else 0 if by > 0 else n - 1
        self.search.say(self.match, n)
        match = self.matches.nodes[self.match]
        self.unfold()
        strip = self.pixels.bands[match.model].strip
        i = strip.index_of_node(match.node, match.recurrence)
        boxes = [b for b in strip.boxes(i) if b.node.key == match.node.key]
        self.scroll_to(match.model, i, boxes[0] if boxes else None)
        self.message.emit(f"{self.match + 1:,} of {n:,}: {match.description}")
        self.update()

    def _on_search_closed(self) -> None:
        self._search("", -1)
        self.unfold()
        self.setFocus()
