"""Prompt files: one prompt a line, or JSONL with answers. Nothing of a file is ever executed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import expanded, read_bytes, unique_keys

BUNDLED = "bundled:"
SUFFIXES = (".txt", ".jsonl", ".ndjson")
# More than a person opens by intent; a file beyond them is some other file.
MAX_BYTES = 16 << 20
MAX_PROMPTS = 10_000
MAX_CHARACTERS = 100_000
MAX_LABELS = 64


class PromptFileError(LoopscopeError):
    """A prompt file that cannot be read; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of a prompt's tokens: of all, or of so many of the last; "" for a token without."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt: text or ``#1,2,3``, its answer if the file gives one, its line (from 1).

    labels : what the file says of its tokens, for probes.
    """

    text: str
    answer: str | None
    line: int
    labels: tuple[Labels, ...] = ()


@dataclass(frozen=True, slots=True)
class PromptSet:
    """The prompts of one file, in its order.

    path : what was opened, so that it can be opened again.  name : shown.
    """

    path: str
    name: str
    items: tuple[Item, ...]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def has_answers(self) -> bool:
        """Whether any prompt has an answer."""
        return any(item.answer is not None for item in self.items)


def bundled_prompts() -> list[str]:
    """Names of the prompt files that ship with Loopscope."""
    root = files("loopscope.resources") / "prompts"
    paths = (Path(entry.name) for entry in root.iterdir()) if root.is_dir() else iter(())
    return sorted(path.stem for path in paths if path.suffix == ".jsonl")


def read_prompts(path: str) -> PromptSet:
    """Read a prompt file, or ``bundled:NAME``.

    A file that ends in .jsonl or .ndjson has one object a line, ``{"prompt": ..., "answer": ...}``
    (``"text"`` does for ``"prompt"``, the answer may be left out, other keys are not read but
    ``"labels": {"NAME": ["of a token", ...]}``); any other is text with one prompt a line. Blank
    lines are skipped. Raises `PromptFileError`.
    """
    file, name = _resolve(path)
    lines = _lines(file, name)
    as_json = file.suffix.lower() in (".jsonl", ".ndjson")
    items: list[Item] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        if len(line) > MAX_CHARACTERS:
            raise PromptFileError(f"{where}: is longer than {MAX_CHARACTERS:,} characters")
        if len(items) == MAX_PROMPTS:
            raise PromptFileError(f"{where}: a prompt file has at most {MAX_PROMPTS:,} prompts")
        items.append(_from_json(line, number, where) if as_json else Item(line, None, number))
    if not items:
        raise PromptFileError(f"{name}: has no prompt; write one a line")
    return PromptSet(path, name, tuple(items))


def _resolve(path: str) -> tuple[Path, str]:
    if not path.startswith(BUNDLED):
        file = expanded(path, PromptFileError)
        return file, str(file) if file.name == "" else file.name
    name = path.removeprefix(BUNDLED)
    if name not in bundled_prompts():
        known = ", ".join(BUNDLED + n for n in bundled_prompts())
        raise PromptFileError(f"there is no bundled prompt file '{name}'; there is {known}")
    return Path(str(files("loopscope.resources") / "prompts" / f"{name}.jsonl")), path


def _lines(file: Path, name: str) -> list[str]:
    raw = read_bytes(file, MAX_BYTES, PromptFileError)
    # Split before decoding: only line feeds end a line, and a bad byte is told with its line.
    lines = []
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            lines.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError:
            raise PromptFileError(f"{name}, line {number}: is not UTF-8 text") from None
    return lines


def _from_json(line: str, number: int, where: str) -> Item:
    try:
        values = json.loads(line, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        problem = " ".join(str(error).split())[:200]
        raise PromptFileError(f"{where}: cannot be read as JSON: {problem}") from None
    if not isinstance(values, dict):
        raise PromptFileError(f'{where}: expected an object such as {{"prompt": "…"}}')
    given = [key for key in ("prompt", "text") if key in values]
    if len(given) != 1:
        problem = 'has both "prompt" and "text"' if given else 'has neither "prompt" nor "text"'
        raise PromptFileError(f"{where}: {problem}")
    text = _text(values[given[0]], given[0], where)
    answer = values.get("answer")
    labels = _labels(values.get("labels"), where)
    return Item(text, None if answer is None else _text(answer, "answer", where), number, labels)


def _labels(given: Any, where: str) -> tuple[Labels, ...]:
    """Lists of texts, numbers and nulls by name."""
    if given is None:
        return ()
    if not isinstance(given, dict) or len(given) > MAX_LABELS:
        raise PromptFileError(
            f'{where}: "labels" is no object of at most {MAX_LABELS} lists, by their names'
        )
    made = []
    for name, values in given.items():
        if not isinstance(values, list) or not all(
            value is None or type(value) in (str, int, float) for value in values
        ):
            raise PromptFileError(
                f'{where}: label "{name[:40]}" is no list of texts, numbers and nulls'
            )
        said = ("" if value is None else str(value) for value in values)
        made.append(Labels(name, tuple(said)))
    return tuple(made)


def _text(value: Any, key: str, where: str) -> str:
    if not isinstance(value, str):
        raise PromptFileError(f'{where}: "{key}" is {type(value).__name__}, not a string')
    if not value.strip():
        raise PromptFileError(f'{where}: "{key}" is empty')
    return value
