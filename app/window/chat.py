"""The chat template of the model that is open: a message becomes the prompt, shown before use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QWidget

from loopscope.app.bench.bench import Bench
from loopscope.core.run.requests import RunRequest

if TYPE_CHECKING:
    from loopscope.widgets.bars.chat_dialog import ChatDialog


class ChatPrompt:
    """Renders messages beside the screen's thread and begins the run of the prompt."""

    def __init__(self, bench: Bench, say: Callable[[str], None], parent: QWidget) -> None:
        self._bench, self._say, self._parent = bench, say, parent
        self._asked = 0

    @cached_property
    def dialog(self) -> ChatDialog:
        """The dialog; made when it is first asked for."""
        from loopscope.widgets.bars.chat_dialog import ChatDialog

        dialog = ChatDialog(self._parent)
        dialog.edited.connect(self._render)
        dialog.used.connect(self._use)
        return dialog

    def ask(self) -> None:
        """Open the dialog."""
        self.dialog.ask()

    def _render(self, system: str, user: str) -> None:
        loaded = self._bench.session.status.loaded
        self._asked += 1
        asked = self._asked
        if loaded is None:
            self.dialog.show_prompt("", "There is no model open.")
            return
        folder = loaded.checkpoint.path

        def work() -> str:
            from loopscope.core.checkpoint.loading import Loaded
            from loopscope.core.generation.chat import Message, as_prompt

            said = [Message("system", system)] if system else []
            asked = [*said, Message("user", user)]
            if isinstance(loaded, Loaded):
                return as_prompt(folder, asked)
            return str(loaded.call(as_prompt, folder, asked))

        def finished(future: Future[str]) -> None:
            if asked != self._asked:
                return  # more was typed meanwhile
            error = future.exception()
            if error is None:
                self.dialog.show_prompt(future.result())
            else:
                self.dialog.show_prompt("", str(error))

        self._bench.in_background(work, finished)

    def _use(self, text: str) -> None:
        session = self._bench.session
        loaded = session.status.loaded
        if loaded is None:
            return
        tokenizer = loaded.tokenizer

        def finished(future: Future[str]) -> None:
            error = future.exception()
            if error is not None:
                self.dialog.show_prompt(text, str(error))
            elif session.request is not None:
                self._bench.restart(prompt=future.result())
            else:
                self._bench.begin(RunRequest(future.result()))

        def work() -> str:
            # A prompt that is typed gets the tokenizer's own beginning; the template has it in it.
            return tokenizer.spelled(tokenizer.encode_rendered(text).token_ids, "")

        self._bench.in_background(work, finished)
        self._say("The prompt is what the chat template made")
