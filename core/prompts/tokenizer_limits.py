"""What a stranger's tokenizer may do: how much it may make of a text, and for how long.

A `tokenizer.json` is a program: each of its steps may write more than it reads, and a regular
expression may take for ever. The tokenizers library bounds neither.
"""

from __future__ import annotations

import base64
import binascii
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from loopscope.core.errors import CheckpointError, LoopscopeError

Result = TypeVar("Result")
# Characters (or tokens) that may be made of one character, and of a whole prompt.
MOST_OF_ONE, MOST_IN_ALL = 4096, 1 << 26
# Seconds that a prompt may take. Texts of a million characters take about one.
PATIENCE = 20.0
# The longest that Unicode's own forms make of one character (U+FDFA).
UNICODE = 18
_UNICODE_FORMS = ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "BertNormalizer")
_STDERR = threading.Lock()


def growth(parts: dict[str, Any]) -> int:
    """Return the most tokens that a tokenizer's steps can make of one character.

    ``parts`` holds the steps of a `tokenizer.json` by their keys. It is an upper bound: steps that
    follow each other multiply.
    Raises `CheckpointError` where it is above `MOST_OF_ONE`, or a step names a token it has not.
    """
    factor = _of_steps(parts.get("normalizer"), "normalizers")
    factor *= _of_steps(parts.get("pre_tokenizer"), "pretokenizers")
    factor *= _of_steps(parts.get("post_processor"), "processors")
    if factor > MOST_OF_ONE:
        raise CheckpointError(
            f"its steps can make {factor:.3g} characters of one; at most {MOST_OF_ONE} are allowed"
        )
    return factor


def _of_steps(step: Any, members: str) -> int:
    if not isinstance(step, dict):
        return 1
    if step.get("type") != "Sequence":
        return _of_step(step)
    factor = 1
    for member in step.get(members) or ():
        factor = min(factor * _of_steps(member, members), 1 << 62)
    return factor


def _of_step(step: dict[str, Any]) -> int:
    kind = step.get("type")
    if kind in _UNICODE_FORMS:
        # What Unicode has written out once stays as it is: further forms do not multiply.
        return 2
    if kind == "Replace":
        pattern, content = step.get("pattern"), len(str(step.get("content", "")))
        literal = len(str(pattern.get("String") or "")) if isinstance(pattern, dict) else 0
        # A regular expression may match the empty text before every character.
        return max(1, -(-content // literal)) if literal else 1 + content
    if kind == "Prepend":
        return 1 + len(str(step.get("prepend", "")))
    if kind == "Precompiled":
        return _longest(str(step.get("precompiled_charsmap") or ""))
    if kind in ("ByteLevel", "Metaspace"):
        return 2
    return _of_template(step) if kind == "TemplateProcessing" else 1


def _of_template(step: dict[str, Any]) -> int:
    """Tokens that a template makes of one."""
    made, special = 0, step.get("special_tokens") or {}
    for piece in step.get("single") or ():
        token = piece.get("SpecialToken", {}).get("id") if isinstance(piece, dict) else None
        if token is not None and token not in special:
            raise CheckpointError(f"its post-processor adds '{token}', which it does not define")
        made += 1 if token is None else len(special[token].get("ids") or ())
    return max(1, made)


def _longest(charsmap: str) -> int:
    """Characters of the longest replacement of a SentencePiece table, beyond Unicode's own."""
    try:
        raw = base64.b64decode(charsmap)
    except (binascii.Error, ValueError):
        return 1
    trie = int.from_bytes(raw[:4], "little")
    longest = max(map(len, raw[4 + trie :].split(b"\0")), default=0)
    return 2 if longest <= 3 * UNICODE else longest


def call_library(
    call: Callable[[], Result], kind: type[LoopscopeError], problem: str, patience: float
) -> Result:
    """Return what ``call``, which calls the tokenizers library, returns.

    Raises ``kind``, whose message begins with ``problem``, for whatever the library raises, its
    panics included, and when it takes longer than ``patience`` seconds.
    """
    results: list[Result] = []
    problems: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # a panic of the library is no `Exception`
            problems.append(error)

    # The library lets other threads run meanwhile, but cannot be stopped: it is left behind.
    thread = threading.Thread(target=work, name="loopscope-tokenizer", daemon=True)
    with _without_panic_messages():
        thread.start()
        thread.join(patience)
    if results:
        return results[0]
    if problems:
        text = " ".join(str(problems[0]).split())[:200] or type(problems[0]).__name__
    else:
        text = f"not done after {patience:g} s (a regular expression may take for ever)"
    raise kind(f"{problem}: {text}") from None


@contextmanager
def _without_panic_messages() -> Iterator[None]:
    """Keep what Rust prints of a panic from standard error; it is raised as well."""
    with _STDERR:
        try:
            kept = os.dup(2)
        except OSError:  # a program without a standard error
            yield
            return
        nothing = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nothing, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nothing)
