"""Write a conversation as the prompt that a model was trained on: its folder's chat template."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopscope.core.checkpoint.folder import read_json
from loopscope.core.errors import LoopscopeError
from loopscope.core.files import read_text, shortened

MOST_BYTES, PATIENCE = 1 << 20, 10.0
# Tokens that a template may name.
NAMED = ("bos_token", "eos_token", "pad_token", "unk_token")


@dataclass(frozen=True, slots=True)
class Message:
    """What one side says. role : "system", "user" or "assistant"."""

    role: str
    content: str


def as_prompt(folder: Path, messages: Sequence[Message]) -> str:
    """Return ``messages`` as the folder's template writes them, ready for the model's answer.

    The template runs in jinja2's sandbox, in a process that is stopped after `PATIENCE` seconds.
    Raises `LoopscopeError` where there is no template or it refuses.
    """
    config = _tokenizer_config(folder)
    template = _template(folder, config)
    if not template:
        raise LoopscopeError(
            f"{shortened(folder)} has no chat template (chat_template.jinja, or one in "
            "tokenizer_config.json)"
        )
    values: dict[str, Any] = {name: _text_of(config.get(name)) for name in NAMED}
    values |= {
        "messages": [{"role": m.role, "content": m.content} for m in messages],
        "add_generation_prompt": True, "tools": None, "documents": None,
    }  # fmt: skip
    return _rendered(json.dumps({"template": template, "values": values}))


def _rendered(asked: str) -> str:
    command = [sys.executable, "-P", "-m", "loopscope.core.generation.chat_process"]
    try:
        done = subprocess.run(
            command, input=asked.encode(), capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise LoopscopeError(f"the chat template takes more than {PATIENCE:g} s") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise LoopscopeError(f"the chat template refuses: {(said or ['it failed'])[-1]}")
    return done.stdout.decode("utf-8")


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return read_json(path) if path.is_file() else {}


def _template(folder: Path, config: dict[str, Any]) -> str:
    """The file's own template; of several in a config the one called default."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return read_text(path, MOST_BYTES)
    given = config.get("chat_template")
    if isinstance(given, list):
        named = {
            str(one.get("name")): one.get("template") for one in given if isinstance(one, dict)
        }
        given = named.get("default", next(iter(named.values()), None))
    return given if isinstance(given, str) else ""


def _text_of(token: object) -> str:
    """A special token as a config spells it: as text, or as an object with its text."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""
