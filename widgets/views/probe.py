"""Where does it live, on the screen."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtWidgets import QWidget

from loopscope.core.views.probe import NOT_YET, Options
from loopscope.widgets.plots.curves_view import CurvesView


class ProbeView(CurvesView):
    """What is lost by each cut, or how accuracy comes back."""

    DEPENDS_ON: ClassVar[frozenset[str]] = frozenset()
    QUICK: ClassVar[tuple[str, ...]] = ("picture", "cut")

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self.legend.names_all = True

    def clear(self) -> None:
        """Go back to empty."""
        super().clear()
        self.plot.show_empty(NOT_YET)
