"""Copies of a view on the clipboard: its picture, and its numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from concurrent.futures import Future
from itertools import islice
from typing import Any

import numpy as np
from PySide6.QtGui import QGuiApplication

from loopscope.app.bench.bench import Bench
from loopscope.app.views import BY_KEY
from loopscope.app.window.view_docks import ViewDocks
from loopscope.core.errors import LoopscopeError
from loopscope.core.views.base import Table

# Rows that a clipboard takes without trouble; a file takes them all.
MOST_ROWS = 100_000


class Copying:
    """Copies what one view shows now, beside its dock; numbers are written off the screen."""

    def __init__(self, bench: Bench, views: ViewDocks, say: Callable[[str], None]) -> None:
        self._bench, self._views, self._say = bench, views, say

    def window(self) -> None:
        """Put a picture of the window on the clipboard."""
        QGuiApplication.clipboard().setPixmap(self._views.window.grab())
        self._say("A picture of the window is on the clipboard")

    def picture(self, key: str) -> None:
        """Put a picture of the view's panel, without its title, on the clipboard."""
        QGuiApplication.clipboard().setPixmap(self._views.frames[key].panes.grab())
        self._say(f"A picture of “{BY_KEY[key].title}” is on the clipboard")

    def numbers(self, key: str) -> None:
        """Put the numbers of the drawing in sight, the first of two, on the clipboard."""
        # Not for the window: what a difference needs is imported when one is copied.
        from loopscope.core.views.difference import Difference
        from loopscope.core.views.difference import table as difference_table

        spec, display = BY_KEY[key], self._bench.displays[key]
        other = self._views.frames[key].panes.shown_pane == 1
        drawing = display.second if display.second is not None and other else display.first
        data, make = drawing.data, spec.table
        if isinstance(data, Difference):
            make = difference_table
        if data is None or data.lacks is not None:
            self._say(f"“{spec.title}” has no numbers yet")
            return

        def done(future: Future[Any]) -> None:
            if (error := future.exception()) is not None:
                self._say(f"“{spec.title}”: {error}")
                return
            text, n = future.result()
            QGuiApplication.clipboard().setText(text)
            rows = "row" if n == 1 else "rows"
            self._say(f"{n} {rows} of “{spec.title}” are on the clipboard, tab-separated")

        self._bench.in_background(lambda: tab_separated(make(data)), done)


def tab_separated(table: Table) -> tuple[str, int]:
    """Return a table with a header as spreadsheets paste it, and how many rows it has.

    Raises `LoopscopeError` for more than `MOST_ROWS`.
    """
    rows = list(islice(iter(table.rows), MOST_ROWS + 1))
    if len(rows) > MOST_ROWS:
        raise LoopscopeError(f"it has above {MOST_ROWS} rows: export it as CSV instead")
    out = io.StringIO()
    writer = csv.writer(out, dialect="excel-tab", lineterminator="\n")
    writer.writerow(table.columns)
    for row in rows:
        # str of a numpy float32 is its shortest form that reads back to the same number.
        writer.writerow([str(v) if isinstance(v, np.generic) else v for v in row])
    return out.getvalue(), len(rows)
