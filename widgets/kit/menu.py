"""A menu with a letter for each entry, which stays open while entries are ticked."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QMenu, QWidget
from typing_extensions import override


def with_letters(texts: Iterable[str]) -> list[str]:
    """Return menu texts with an ampersand before a letter or digit that no earlier one has.

    First letters of words come first; a text whose letters are all taken gets none.
    """
    taken: set[str] = set()
    out = []
    for text in texts:
        starts = [i for i, c in enumerate(text) if i == 0 or not text[i - 1].isalnum()]
        places = [*starts, *range(len(text))]
        at = next((i for i in places if text[i].isalnum() and text[i].lower() not in taken), None)
        whole = text.replace("&", "&&")
        if at is not None:
            taken.add(text[at].lower())
            before = text[:at].replace("&", "&&")
            whole = before + "&" + text[at:].replace("&", "&&")
        out.append(whole)
    return out


class Menu(QMenu):
    """Gives its entries their letters while it is open, for their words may change.

    A click on an entry with a tick leaves the menu open.
    """

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(title, parent)
        self._texts: list[str] = []
        self.aboutToShow.connect(self._give_letters)
        self.aboutToHide.connect(self._take_letters)

    def _give_letters(self) -> None:
        entries = [action for action in self.actions() if not action.isSeparator()]
        for action, text in zip(entries, with_letters(a.text() for a in entries), strict=True):
            action.setText(text)

    def _take_letters(self) -> None:
        for action in self.actions():
            action.setText(action.text().replace("&&", "\0").replace("&", "").replace("\0", "&"))

    @override
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        action = self.activeAction()
        if action is not None and action.isCheckable() and action.isEnabled():
            action.trigger()
        else:
            super().mouseReleaseEvent(event)
