"""What is seen of the computation graph: data, scrolling, zoom and painting, without the mouse."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QPainter,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import QScrollBar, QWidget
from typing_extensions import override

from loopscope.core.selection import Selection
from loopscope.core.views.graph.data import Data, Options
from loopscope.core.views.graph.layout import Box
from loopscope.core.views.graph.search import Matches
from loopscope.widgets.kit.view import View
from loopscope.widgets.palette import Theme
from loopscope.widgets.views.graph.bands import BandPainter
from loopscope.widgets.views.graph.geometry import MAX_ZOOM, Geometry, Hit
from loopscope.widgets.views.graph.layer import Layer
from loopscope.widgets.views.graph.overlay import Overlay
from loopscope.widgets.views.graph.search_bar import SearchBar

EMPTY = "The loop and its unrolling appear here when a checkpoint is open"


class GraphCanvas(View[Data]):
    """Paints the pictures itself; of a long unrolling only the copies in sight."""

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self.data: Data | None = None
        self.pixels = Geometry()
        self.hovered: Hit | None = None
        self._hover: dict[str, int] = {}
        # What a search found, and which of them it stands at; -1 for none.
        self.matches, self.match = Matches([]), -1
        self.setMinimumSize(160, 100)
        self.bar = QScrollBar(Qt.Orientation.Horizontal, self)
        self.bar.valueChanged.connect(self._on_scrolled)
        self.side_bar = QScrollBar(Qt.Orientation.Vertical, self)
        self.side_bar.valueChanged.connect(self._on_scrolled)
        self.search = SearchBar(self)
        self._followed = (-1, -1, -1)
        self._measure_label()
        self._still, self._strips = Layer(), Layer()

    # ---- what the app says ----
    @override
    def show_data(self, data: Data) -> None:
        """Draw ``data``."""
        self.data, self.hovered = data, None
        self._measure_label()
        self.pixels.show(data)
        self._place_bars()
        self.update()

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Move the cursor's outline; the strips follow its recurrence."""
        copies = -1 if self.data is None else self.data.n_copies
        place = (selection.recurrence, selection.layer, copies)
        self.selection, self._hover = selection, hover
        if place != self._followed:
            self._followed = place
            self._follow()
        self.update()

    @override
    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self.update()

    @override
    def clear(self) -> None:
        """There is no run."""
        self.data = None
        self.pixels.show(None)
        for bar in (self.bar, self.side_bar, self.search):
            bar.hide()
        self.update()

    @override
    def reset_view(self) -> None:
        """Go back to the usual size and to the cursor's recurrence."""
        self.set_zoom(1.0)
        self._follow()

    @override
    def place(self) -> dict[str, float]:
        return {
            "zoom": self.pixels.zoom,
            "x": float(self.bar.value()),
            "y": float(self.side_bar.value()),
        }

    @override
    def go_to(self, place: Mapping[str, float]) -> None:
        if place.get("zoom", 0.0) > 0:
            self.set_zoom(place["zoom"])
        for bar, name in ((self.bar, "x"), (self.side_bar, "y")):
            bar.setValue(round(max(0.0, min(place.get(name, bar.value()), 1e9))))

    @property
    def found_column(self) -> int:
        """Column of what a search stands at, which is not folded; 0 for none."""
        if not 0 <= self.match < len(self.matches) or self.pixels.picture is None:
            return 0
        match = self.matches.nodes[self.match]
        layout = self.pixels.picture.layouts[match.model]
        return layout.column_number(match.recurrence or 0, match.node.layer or 0)

    # ---- scrolling and zooming ----
    def _place_bars(self) -> None:
        """Fit the scroll bars to what is drawn; they hold where the picture is scrolled to."""
        pixels = self.pixels
        if pixels.picture is None:
            return
        wide, high = self.side_bar.sizeHint().width(), self.bar.sizeHint().height()
        page = pixels.viewport
        below = max(0, round(pixels.whole_height - page))
        width = float(self.width() - (wide if below else 0))
        if width != pixels.width:
            pixels.width = width
            pixels.lay_out()
        strip = pixels.strip
        over = max(0, round(pixels.whole_width - strip.width()))
        for bar, most, visible, step in (
            (self.bar, over, strip.width(), pixels.column),
            (self.side_bar, below, page, pixels.row),
        ):
            bar.setVisible(most > 0)
            bar.setRange(0, most)
            bar.setPageStep(max(round(visible), 1))
            bar.setSingleStep(max(round(step), 1))
        self.bar.setGeometry(round(strip.left()), self.height() - high, round(strip.width()), high)
        self.side_bar.setGeometry(self.width() - wide, 0, wide, round(page))
        room = min(320, self.width() - 2 * wide)
        self.search.setGeometry(self.width() - room - wide - 4, 2, room, 32)
        self._on_scrolled()

    def _on_scrolled(self) -> None:
        self.pixels.x, self.pixels.y = float(self.bar.value()), float(self.side_bar.value())
        self.update()

    def _lay_out(self) -> None:
        self.pixels.lay_out()
        self._place_bars()

    def unfold(self) -> None:
        """Draw the columns of the cursor and of what a search stands at, whatever is folded."""
        self.pixels.keep(self.selection, self.found_column)
        self._place_bars()

    def _follow(self) -> None:
        """Unfold the cursor's recurrence and bring it into sight."""
        pixels = self.pixels
        if pixels.picture is None:
            return
        self.unfold()
        self._bring_into_sight(*pixels.picture.places(self.selection)[0])

    def _bring_into_sight(self, recurrence: int, layer: int) -> None:
        strip = self.pixels.bands[0].strip
        i = strip.index_of(recurrence, layer)
        if recurrence < 1:
            self.bar.setValue(0)
            return
        here = [b for b in strip.boxes(i) if b.node.part == "block" and b.node.layer == layer]
        self.scroll_to(0, i, here[0] if here else None)

    def scroll_to(self, band: int, i: int, box: Box | None) -> None:
        """Bring a column of a strip into sight, and one of its boxes."""
        pixels = self.pixels
        if (x := pixels.centred_on(i, pixels.bands[band].strip)) is not None:
            self.bar.setValue(round(x))
        if box is not None and (y := pixels.row_in_sight(band, box)) is not None:
            self.side_bar.setValue(round(y))

    def set_zoom(self, zoom: float, at: float | None = None) -> None:
        """Draw columns ``zoom`` times as wide; what is at ``at`` (pixels) stays there."""
        pixels = self.pixels
        if pixels.picture is None:
            return
        strip = pixels.strip
        at = strip.center().x() if at is None else max(at, strip.left())
        column = (pixels.x + at - strip.left()) / pixels.column
        pixels.zoom = min(max(zoom, pixels.least_zoom), MAX_ZOOM)
        self._lay_out()
        self.bar.setValue(round(column * pixels.column - (at - strip.left())))
        self.update()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the bars at the edges."""
        super().resizeEvent(event)
        self.pixels.width, self.pixels.height = float(self.width()), float(self.height())
        self._lay_out()
        self._follow()

    @override
    def changeEvent(self, event: QEvent) -> None:
        """Follow the size of the text."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._measure_label()
            self._lay_out()

    def _measure_label(self) -> None:
        last = 0 if self.data is None else self.data.n_layers - 1
        self.pixels.set_label(QFontMetricsF(self.font()).horizontalAdvance(f"layer {last}"))

    # ---- painting ----
    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the pictures, or what would fill them."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(self.theme.panel))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        picture = self.pixels.picture
        if picture is None:
            painter.setPen(QColor(self.theme.muted))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, EMPTY)
            return
        places = picture.places(self.selection)
        recurrences = [r for r, _ in places]
        still = self._picture_key()
        for layer, key, draw in (
            (self._still, still, BandPainter.paint_still),
            (self._strips, (*still, self.pixels.x), BandPainter.paint_strips),
        ):

            def paint(on: QPainter, draw: Callable[[BandPainter], None] = draw) -> None:
                draw(self._bands(on, recurrences))

            layer.show(painter, self, key, paint)
        overlay = Overlay(painter, self.pixels, self.theme, places)
        if self.matches.nodes:
            match = self.matches.nodes[self.match] if self.match >= 0 else None
            overlay.matches(self.matches, match)
        overlay.hover(self.hovered, self._pointed())
        overlay.cursor()
        self._bands(painter, recurrences).paint_marks()

    def _bands(self, painter: QPainter, recurrences: list[int]) -> BandPainter:
        font, theme = self.font(), self.theme
        return BandPainter(painter, self.pixels, theme, font, recurrences, self._faded)

    def _faded(self, band: int, box: Box) -> bool:
        """Whether a search is on that does not find a box."""
        matches = self.matches
        return bool(matches.nodes) and not matches.has(band, box.node, box.recurrence, box.times)

    def _picture_key(self) -> tuple[object, ...]:
        """Everything that the picture without cursor and pointer depends on, but for scrolling."""
        pixels, data = self.pixels, self.data
        expanded = data is not None and (data.options.expand or data.options.expanded)
        return (
            id(data),
            self.size().toTuple(),
            self.devicePixelRatioF(),
            self.theme.name,
            (pixels.y, pixels.zoom, frozenset(pixels.kept)),
            id(self.matches),
            # Opened layers show what they wrote at the cursor's recurrence.
            self.selection.recurrence if expanded else None,
        )

    def _pointed(self) -> list[tuple[int, int | None]]:
        """(layer, recurrence) that another view points at, in each band."""
        if "layer" not in self._hover or self.data is None:
            return []
        layer, recurrence = self._hover["layer"], self._hover.get("recurrence")
        pointed: list[tuple[int, int | None]] = [(layer, recurrence)]
        if self.data.contrast is not None and recurrence is not None:
            r, place = self.data.contrast.place(Selection(recurrence, layer))
            pointed.append((place, r))
        return pointed
