"""Prompts: text or token ids in, ids and readable labels out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from loopscope.core.errors import CheckpointError, LoopscopeError, PromptError

UNKNOWN = "<unk>"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the model gets it: text, token ids and one readable label for each token."""

    text: str
    token_ids: tuple[int, ...]
    labels: tuple[str, ...]


class PromptTokenizer:
    """A checkpoint's `tokenizer.json`, or none: then only token ids are accepted.

    Parameters
    ----------
    file
        The `tokenizer.json`, or None.
    vocab_size
        Ids run from 0 to ``vocab_size - 1``.
    max_positions
        The longest prompt the model has positions for.

    Raises `CheckpointError` for a file that is no tokenizer.
    """

    def __init__(self, file: Path | None, vocab_size: int, max_positions: int) -> None:
        self.vocab_size, self.max_positions = vocab_size, max_positions
        self._tokenizer = None
        self._spelling, self._added = "", frozenset[int]()
        if file is not None:
            from tokenizers import Tokenizer

            with _told_as(CheckpointError, f"{file}: cannot be read"):
                self._tokenizer = Tokenizer.from_file(str(file))
            self._spelling = _spelling(self._tokenizer.decoder)
            self._added = frozenset(self._tokenizer.get_added_tokens_decoder())
        self.label = lru_cache(maxsize=1 << 16)(self._label)

    def _label(self, token_id: int) -> str:
        """Readable text of one token; its number when there is no tokenizer."""
        if self._tokenizer is None:
            return str(token_id)
        text = self._tokenizer.id_to_token(token_id)
        if text is None:
            return str(token_id)
        return str(text) if token_id in self._added else readable(str(text), self._spelling)

    @property
    def mask_token(self) -> str | None:
        """The tokenizer's mask ("[MASK]" or "<mask>"), or None when it has none."""
        if self._tokenizer is None:
            return None
        known = (str(self._tokenizer.id_to_token(i)) for i in self._added)
        return next((text for text in known if text.strip("[]<>").lower() == "mask"), None)

    def encode(self, text: str) -> Prompt:
        """Tokenise ``text``, or read token ids written as ``#1,2,3``.

        Raises `PromptError` for an empty prompt, characters the tokenizer lacks, ids out of range
        and prompts longer than the model's positions.
        """
        if not text.strip():
            raise PromptError("the prompt is empty; type some text, or token ids as #1,2,3")
        if self.is_ids(text):
            return self.from_ids(_written(text))
        return self._checked(text, self._tokens(text, special=True))

    def is_ids(self, text: str) -> bool:
        """Whether ``text`` is token ids written as ``#1,2,3``."""
        return text.lstrip().startswith("#") and (self._tokenizer is None or _looks_like_ids(text))

    def ids_of(self, text: str) -> tuple[int, ...]:
        """Token ids of a piece of text, without what the tokenizer puts around a prompt.

        Raises what `encode` raises, but knows no limit of length.
        """
        if self.is_ids(text):
            return self._in_range(_written(text))
        return self._tokens(text, special=False)

    def _tokens(self, text: str, special: bool) -> tuple[int, ...]:
        if self._tokenizer is None:
            raise PromptError("this checkpoint has no tokenizer; give token ids as #1,2,3")
        with _told_as(PromptError, "the tokenizer cannot read this prompt"):
            encoding = self._tokenizer.encode(text, add_special_tokens=special)
        unknown = self._tokenizer.token_to_id(UNKNOWN)
        for token_id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if token_id == unknown:
                raise PromptError(
                    f"the tokenizer has no token for '{text[start:end]}' (character {start + 1})"
                )
        if not encoding.ids:
            raise PromptError("the tokenizer makes no token of this prompt")
        return tuple(encoding.ids)

    def from_ids(self, token_ids: tuple[int, ...]) -> Prompt:
        """Make a prompt of token ids; raises `PromptError` for ids out of range."""
        ids = self._in_range(token_ids)
        return self._checked("#" + ",".join(map(str, ids)), ids)

    def _in_range(self, token_ids: tuple[int, ...]) -> tuple[int, ...]:
        for token_id in token_ids:
            if not 0 <= token_id < self.vocab_size:
                raise PromptError(
                    f"token id {token_id} is out of range; ids run from 0 to {self.vocab_size - 1}"
                )
        if not token_ids:
            raise PromptError("there are no token ids")
        return token_ids

    def _checked(self, text: str, token_ids: tuple[int, ...]) -> Prompt:
        if len(token_ids) > self.max_positions:
            raise PromptError(
                f"the prompt has {len(token_ids)} tokens; "
                f"this model has positions for {self.max_positions}"
            )
        return Prompt(text, token_ids, tuple(self.label(i) for i in token_ids))


@contextmanager
def _told_as(kind: type[LoopscopeError], problem: str) -> Iterator[None]:
    """Turn what the tokenizers library raises into one line of ours.

    It raises bare `Exception`, and where it panics (a regular expression that gives up, a
    post-processor that names a token it has not) something that is not even that.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise kind(f"{problem}: {' '.join(str(error).split())[:200]}") from None


def _spelling(decoder: Any) -> str:
    """How a tokenizer writes its pieces: "bytes", "metaspace" or plainly ("")."""
    if decoder is None:
        return ""
    state = json.loads(decoder.__getstate__())
    parts = state.get("decoders", [state])
    kinds = {part.get("type") for part in parts}
    if "ByteLevel" in kinds:
        return "bytes"
    return "metaspace" if kinds & {"Metaspace", "ByteFallback"} else ""


@lru_cache(maxsize=1)
def _byte_of() -> dict[str, int]:
    """Characters that byte-level tokenizers write bytes with (GPT-2's ``bytes_to_unicode``)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    table = {chr(b): b for b in printable}
    return table | {chr(256 + i): b for i, b in enumerate(others)}


def readable(piece: str, spelling: str) -> str:
    r"""Return the text of one piece; bytes that are no whole character are written ``\xe4``."""
    if spelling == "metaspace":
        if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            byte = int(piece[3:5], 16)
            return chr(byte) if byte < 128 else f"\\x{byte:02x}"
        return piece.replace("▁", " ")
    table = _byte_of()
    if spelling != "bytes" or any(c not in table for c in piece):
        return piece
    return bytes(table[c] for c in piece).decode("utf-8", errors="backslashreplace")


def _written(text: str) -> tuple[int, ...]:
    return parse_ids(text.strip().removeprefix("#"))


def _looks_like_ids(text: str) -> bool:
    return all(c.isdigit() or c in "#,- " for c in text.strip())


def parse_ids(text: str) -> tuple[int, ...]:
    """Read token ids: whole numbers with commas or spaces between them."""
    parts = [part.strip() for part in text.replace(" ", ",").split(",") if part.strip()]
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        raise PromptError(f"token ids are whole numbers with commas, not '{text[:40]}'") from None
