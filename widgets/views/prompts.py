"""A measure over the prompt set on the screen."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from loopscope.core.views.prompts import Options
from loopscope.widgets.views.prompt_curves import PromptCurvesView


class PromptsView(PromptCurvesView):
    """The mean of a measure over the prompt set, by recurrence."""

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
