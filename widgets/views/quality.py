"""Quality against recurrences on the screen."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from loopscope.core.views.quality import Options
from loopscope.widgets.views.prompt_curves import PromptCurvesView


class QualityView(PromptCurvesView):
    """Accuracy or perplexity of the prompt set by recurrence."""

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
