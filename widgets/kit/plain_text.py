"""Text that is never taken for HTML: tokens such as ``<s>`` come from files of others.

Qt guesses from a text's first tag whether it is HTML. Labels are told that it is not; a tooltip
cannot be told, so that one that looks like HTML is written as HTML that shows its characters.
"""

from __future__ import annotations

import textwrap

from PySide6.QtCore import Qt
from PySide6.QtGui import Qt as GuiQt
from PySide6.QtWidgets import QLabel, QWidget

# Letters of a line of a tooltip; longer lines are broken.
LINE = 100


class PlainLabel(QLabel):
    """A label that shows its characters, whatever they are."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setTextFormat(Qt.TextFormat.PlainText)


def describe(widget: QWidget, name: str, what: str = "") -> None:
    """Say to assistive software what a control is called and, where its tooltip does not, does."""
    widget.setAccessibleName(name)
    if what:
        widget.setAccessibleDescription(what)


def plain_tip(text: str) -> str:
    """Return ``text`` as a tooltip that shows its characters, in lines of at most `LINE`."""
    broken = "\n".join(
        textwrap.fill(line, LINE, replace_whitespace=False, break_on_hyphens=False)
        for line in text.split("\n")
    )
    return GuiQt.convertFromPlainText(broken) if GuiQt.mightBeRichText(broken) else broken
