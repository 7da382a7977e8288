"""One or two drawings of a view beside each other, each under its caption."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QSplitter, QVBoxLayout, QWidget

from loopscope.widgets.kit.plain_text import describe
from loopscope.widgets.kit.shortening import ShortLabel
from loopscope.widgets.kit.view import View
from loopscope.widgets.palette import LIGHT, Theme

# Pixels that one of two drawings needs, across and down, to be read.
LEAST_PANE = (330, 190)


def pane_room(width: int, height: int) -> tuple[Qt.Orientation, bool]:
    """How two drawings share a room, and whether each has enough of it."""
    beside = min(width / 2 / LEAST_PANE[0], height / LEAST_PANE[1])
    stacked = min(width / LEAST_PANE[0], height / 2 / LEAST_PANE[1])
    across = beside >= stacked
    way = Qt.Orientation.Horizontal if across else Qt.Orientation.Vertical
    return way, max(beside, stacked) >= 1


def link_scrolling(one: View, other: View) -> None:
    """Have two drawings of one view show the same rows."""
    for a, b in zip(one.scroll_bars(), other.scroll_bars(), strict=False):
        a.valueChanged.connect(b.setValue)
        b.valueChanged.connect(a.setValue)


class Panes(QSplitter):
    """A view, and with a second run the same view of that.

    captions : of both.  second_run : the view of the second run, None without one.
    shown_pane : which of two is shown alone, None for both.
    """

    def __init__(self, title: str, view: View) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self._title, self._view, self._theme = title, view, LIGHT
        self.captions = [ShortLabel(), ShortLabel()]
        self.second_run: View | None = None
        self.shown_pane: int | None = None
        self._wanted, self._captions = "both", ("", "")
        self._room = (0, 0)
        self.setChildrenCollapsible(False)
        self.addWidget(self._pane(self.captions[0], view))

    def _pane(self, caption: ShortLabel, view: View) -> QWidget:
        pane = QWidget()
        caption.setContentsMargins(8, 2, 4, 2)
        caption.setVisible(False)
        column = QVBoxLayout(pane)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(caption)
        column.addWidget(view, 1)
        return pane

    def show_second_run(self, view: View | None) -> None:
        """Show the view a second time, for the second run; None takes that away."""
        if view is self.second_run:
            return
        pane = self.widget(1)
        if pane is not None:
            pane.setParent(None)
            pane.deleteLater()
            self.captions[1] = ShortLabel()
            mute(self.captions[1], self._theme)
        self.second_run, self.shown_pane = view, None
        own = self.widget(0)
        if own is not None:
            own.setVisible(True)
        if view is not None:
            describe(view, f"{self._title}, second run")
            self.addWidget(self._pane(self.captions[1], view))
            self.setSizes([1 << 10, 1 << 10])
            link_scrolling(self._view, view)
        self.set_captions("", "")
        self._arrange()

    def show_panes(self, panes: Literal["both", "first", "second", "difference"]) -> None:
        """Say which of two drawings are in sight; both only where each has room enough."""
        self._wanted = panes
        self._arrange()

    def set_captions(self, own: str, second_run: str) -> None:
        """Say over each drawing which run it is of, and what it shows.

        Over the one drawing of both runs ``own`` says how they are told apart.
        """
        self._captions = (own, second_run)
        self._show_captions()

    def _show_captions(self) -> None:
        (own, second_run), twice = self._captions, self.second_run is not None
        alone = twice and self._wanted == "both" and self.shown_pane == 0
        more = f"   key O: {second_run.partition(': ')[0]}" if alone else ""
        for caption, text in zip(self.captions, (own + more, second_run), strict=True):
            caption.set_whole(text)
        if self.second_run is not None:
            self.second_run.setAccessibleDescription(second_run)
        self.captions[0].setVisible(bool(own) and (twice or not second_run))
        self.captions[1].setVisible(bool(second_run) and twice)

    def share_room(self, width: int, height: int) -> None:
        """Stand two drawings side by side or above each other, whichever leaves them more room.

        Where neither leaves them enough to be read, one of them is shown alone.
        """
        self._room = width, height
        self._arrange()

    def _arrange(self) -> None:
        way, fits = pane_room(*self._room)
        if self.orientation() != way:
            self.setOrientation(way)
            self.setSizes([1 << 10, 1 << 10])
        shown = {"both": None if fits else 0, "first": 0}.get(self._wanted, 1)
        shown = shown if self.second_run is not None else None
        if shown != self.shown_pane:
            self.shown_pane = shown
            for i in range(self.count()):
                pane = self.widget(i)
                if pane is not None:
                    pane.setVisible(shown is None or shown == i)
        self._show_captions()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours for the captions; the views are told by the bench."""
        self._theme = theme
        for caption in self.captions:
            mute(caption, theme)


def mute(label: QLabel, theme: Theme) -> None:
    """Write a label in the theme's muted colour."""
    palette = label.palette()
    palette.setColor(palette.ColorRole.WindowText, theme.muted)
    label.setPalette(palette)
