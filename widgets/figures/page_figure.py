"""A matplotlib figure that keeps the settings of its page: drawn, shown and saved alike."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from warnings import catch_warnings, filterwarnings

from matplotlib import rc_context, rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from typing_extensions import override

from loopscope.widgets.figures.fonts import families_for, make_printable, set_families
from loopscope.widgets.figures.style import Page

# Of the picture in a notebook: it is shown at half its size, sharp on a screen of 2 pixels a point.
NOTEBOOK_DPI = 192


class PageFigure(Figure):
    """An empty figure of the width of ``page``; no window and no pyplot belong to it.

    missing : characters in it that no font of the system has, after `settle_fonts`.
    """

    def __init__(self, page: Page) -> None:
        self._page_rc: dict[str, object] = dict(page.rc)
        self.missing: set[str] = set()
        with self.settings():
            super().__init__(figsize=(page.width, page.width * 0.7))
            FigureCanvasAgg(self)

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Draw or save under the page's settings of matplotlib."""
        with rc_context({**self._page_rc, "svg.hashsalt": "loopscope"}), catch_warnings():
            # What cannot be drawn is in `missing`, to be said once, in words.
            filterwarnings("ignore", r"(?s)Glyph \d+ .*missing from", UserWarning)
            yield

    def settle_fonts(self) -> None:
        """Find fonts for all characters, once everything is drawn; within `settings`."""
        families, self.missing = families_for(make_printable(self), str(rcParams["font.family"][0]))
        if len(families) > 1:
            self._page_rc["font.family"] = families  # of ticks that are made while saving
            set_families(self, families)

    @override
    def savefig(self, fname: Any, **kwargs: Any) -> None:
        """Save as `matplotlib.figure.Figure.savefig` does, under the page's settings."""
        with self.settings():
            super().savefig(fname, **kwargs)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The picture that a notebook shows, and its width there."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=NOTEBOOK_DPI)
        return file.getvalue(), {"width": round(self.get_figwidth() * NOTEBOOK_DPI / 2)}
