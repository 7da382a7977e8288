"""Prompt files in the window: choose one, drop one, remember the last."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFileDialog

from loopscope.core.prompts.prompt_set import BUNDLED, SUFFIXES, PromptSet, read_prompts

if TYPE_CHECKING:
    from loopscope.app.bench.bench import Bench
    from loopscope.app.window.window import Window

BUNDLED_PROMPTS = BUNDLED + "hops"


def is_prompt_file(path: Path) -> bool:
    """Whether a dropped file is one of prompts, and not a text file of a checkpoint folder."""
    of_checkpoint = (path.parent / "config.json").is_file()
    return path.suffix.lower() in SUFFIXES and path.is_file() and not of_checkpoint


class PromptFiles:
    """Opens prompt files beside the screen's thread and hands them to the bench."""

    def __init__(self, bench: Bench, window: Window) -> None:
        self.bench, self.window = bench, window

    def ask(self) -> None:
        """Choose a prompt file."""
        last = self.window.settings.prompt_file
        start = "" if last.startswith(BUNDLED) else str(Path(last).parent)
        kinds = f"Prompt files ({' '.join('*' + s for s in SUFFIXES)});;All files (*)"
        path, _ = QFileDialog.getOpenFileName(self.window, "Open prompt file", start, kinds)
        if path:
            self.open(path)

    def restore(self) -> None:
        """Open the file of the last time."""
        if self.window.settings.prompt_file:
            self.open(self.window.settings.prompt_file)

    def open(self, path: str) -> None:
        """Read ``path`` (or ``bundled:NAME``) and use it; what is wrong with it is told."""
        self.bench.in_background(lambda: read_prompts(path), self._opened)

    def _opened(self, future: Future[PromptSet]) -> None:
        say = self.window.statusBar().showMessage
        error = future.exception()
        if error is not None:
            say(str(error), 15000)
            return
        prompts = future.result()
        self.window.settings.prompt_file = prompts.path
        self.bench.set_prompt_set(prompts)
        answers = ", with answers" if prompts.has_answers else ""
        noun = "prompt" if len(prompts) == 1 else "prompts"
        say(f"The prompt set is {prompts.name}: {len(prompts)} {noun}{answers}", 8000)
