"""Prompt files in the window: choose one, drop one, remember the last."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QWidget

from loopscope.app.bench.bench import Bench
from loopscope.app.window.settings import Settings, absolute
from loopscope.core.prompts.prompt_set import BUNDLED, SUFFIXES, PromptSet, read_prompts

BUNDLED_PROMPTS, BUNDLED_TEXT = BUNDLED + "hops", BUNDLED + "glosses"


def is_prompt_file(path: Path) -> bool:
    """Whether a dropped file is one of prompts, and not a text file of a checkpoint folder."""
    of_checkpoint = (path.parent / "config.json").is_file()
    return path.suffix.lower() in SUFFIXES and path.is_file() and not of_checkpoint


class PromptFiles:
    """Opens prompt files beside the screen's thread and hands them to the bench."""

    def __init__(
        self, bench: Bench, settings: Settings, say: Callable[[str], None], parent: QWidget
    ) -> None:
        self._bench, self._settings, self._say, self._parent = bench, settings, say, parent

    def ask(self) -> None:
        """Choose a prompt file."""
        last = self._settings.prompt_file
        start = "" if last.startswith(BUNDLED) else str(Path(last).parent)
        filters = f"Prompt files ({' '.join('*' + s for s in SUFFIXES)});;All files (*)"
        path, _ = QFileDialog.getOpenFileName(self._parent, "Open prompt file", start, filters)
        if path:
            self.open(path)

    def restore(self) -> None:
        """Open the file of the last time."""
        if self._settings.prompt_file:
            self.open(self._settings.prompt_file)

    def open(self, path: str) -> None:
        """Read ``path`` (or ``bundled:NAME``) and use it; what is wrong with it is told."""
        self._bench.in_background(lambda: read_prompts(path), self._on_read)

    def _on_read(self, future: Future[PromptSet]) -> None:
        error = future.exception()
        if error is not None:
            self._say(str(error))
            return
        prompts = future.result()
        self._settings.prompt_file = absolute(prompts.path)
        self._bench.set_prompt_set(prompts)
        answers = ", with answers" if prompts.has_answers else ""
        noun = "prompt" if len(prompts) == 1 else "prompts"
        self._say(f"The prompt set is {prompts.name}: {len(prompts)} {noun}{answers}")
