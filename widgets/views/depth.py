"""Any live measure over depth, on the screen."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtWidgets import QWidget

from loopscope.core.views.depth import Options
from loopscope.widgets.plots.curves_view import CurvesView


class DepthView(CurvesView):
    """A line for each layer, for each recurrence, or one along effective depth."""

    DEPENDS_ON: ClassVar[frozenset[str]] = frozenset({"tokens"})

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
