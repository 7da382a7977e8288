"""Prompts: text or token ids in, ids and readable labels out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from loopscope.core.errors import CheckpointError, LoopscopeError, PromptError
from loopscope.core.files import mistaken_for, read_text
from loopscope.core.prompts import tokenizer_limits
from loopscope.core.prompts.tokenizer_limits import MOST_IN_ALL, call_library, growth

UNKNOWN = "<unk>"
# The largest published files have some 35 MiB; reading one takes a few seconds.
MOST_BYTES, LOADING_PATIENCE = 256 << 20, 120.0
STEPS = ("normalizer", "pre_tokenizer", "post_processor")


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
    prefix, prefix_rows
        Positions put before every prompt that does not begin with such, and how many puzzles have
        them; their ids follow on the vocabulary's (see `Architecture`).

    A file that is no tokenizer leaves token ids; ``problem`` says why.
    """

    def __init__(
        self,
        file: Path | None,
        vocab_size: int,
        max_positions: int,
        prefix: int = 0,
        prefix_rows: int = 0,
    ) -> None:
        self.vocab_size, self.max_positions = vocab_size, max_positions
        self._prefix, self._n_ids = prefix, vocab_size + prefix * prefix_rows
        self._tokenizer: Any = None
        self._spelling, self._added = "", frozenset[int]()
        self._unknown: int | None = None
        self._growth = 1
        self.label = lru_cache(maxsize=1 << 16)(self._label)
        self.problem = "this checkpoint has no tokenizer"
        if file is not None:
            try:
                self._read(file)
                self.problem = ""
            except LoopscopeError as error:
                self.problem = str(error)

    def _read(self, file: Path) -> None:
        """Read the file; raises `CheckpointError` for one that is no tokenizer or a hostile one."""
        from tokenizers import Tokenizer

        problem = f"{file}: cannot be read"
        text = read_text(file, MOST_BYTES)
        if instead := mistaken_for(text[:64].encode(errors="replace")):
            raise CheckpointError(f"{file}: {instead}")
        tokenizer = call_library(
            lambda: Tokenizer.from_str(text), CheckpointError, problem, LOADING_PATIENCE
        )
        # They are kept in the file as they were when it was saved, whatever for.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        try:
            self._growth = growth({key: _state(getattr(tokenizer, key)) for key in STEPS})
        except CheckpointError as error:
            raise CheckpointError(f"{file}: {error}") from None
        self._spelling = _spelling(_state(tokenizer.decoder))
        self._added = frozenset(tokenizer.get_added_tokens_decoder())
        self._unknown = _unknown_id(tokenizer)
        self._tokenizer = tokenizer

    def _label(self, token_id: int) -> str:
        """Readable text of one token; its number when there is no tokenizer."""
        if token_id >= self.vocab_size and self._prefix:
            return "puzzle {}·{}".format(*divmod(token_id - self.vocab_size, self._prefix))
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
            raise PromptError(f"{self.problem}; give token ids as #1,2,3")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise PromptError(
                f"the prompt is not UTF-8 text (character {error.start + 1}); give token ids as "
                "#1,2,3"
            ) from None
        if (made := self._growth * len(text)) > MOST_IN_ALL:
            raise PromptError(f"the prompt is too long: up to {made:,} tokens could be made of it")
        (encoding,) = call_library(
            lambda: self._tokenizer.encode_batch([text], add_special_tokens=special),
            PromptError, "the tokenizer cannot read this prompt", tokenizer_limits.PATIENCE,
        )  # fmt: skip
        for token_id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            piece = text[start:end] if end - start <= 40 else text[start : start + 39] + "…"
            if token_id == self._unknown and not self._is_written(token_id, piece):
                raise PromptError(
                    f"the tokenizer has no token for '{piece}' (character {start + 1})"
                )
            if token_id >= self.vocab_size:
                raise PromptError(
                    f"the tokenizer reads '{piece}' as token {token_id}, which the model "
                    f"does not have; its ids run from 0 to {self.vocab_size - 1}"
                )
        if not encoding.ids:
            raise PromptError("the tokenizer makes no token of this prompt")
        return tuple(encoding.ids)

    def _is_written(self, token_id: int, text: str) -> bool:
        """Whether ``text`` is the token's own name, which an added token may be written as."""
        return bool(text.strip() == self._tokenizer.id_to_token(token_id))

    def encode_rendered(self, text: str) -> Prompt:
        """Tokenise a text that has its special tokens written out, as a chat template makes it.

        Raises what `encode` raises.
        """
        return self._checked(text, self._tokens(text, special=False))

    def decode(self, token_ids: tuple[int, ...]) -> str:
        """Return the text of tokens, special ones by their names; numbers without a tokenizer."""
        if self._tokenizer is None:
            return " ".join(map(str, token_ids))
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=False))

    def spelled(self, token_ids: tuple[int, ...], beginning: str) -> str:
        """Write tokens as a prompt that is read as just these: as text where that is so.

        ``beginning`` is the text of the first of them, where they continue one; else ``#1,2,3``.
        """
        written = "#" + ",".join(map(str, token_ids))
        if self._tokenizer is None or self.is_ids(beginning):
            return written
        try:
            known = len(self.encode(beginning).token_ids) if beginning else 0
            text = beginning + self.decode(token_ids[known:])
            return text if self.encode(text).token_ids == token_ids else written
        except PromptError:
            return written

    def from_ids(self, token_ids: tuple[int, ...]) -> Prompt:
        """Make a prompt of token ids; raises `PromptError` for ids out of range."""
        ids = self._in_range(token_ids)
        return self._checked("#" + ",".join(map(str, ids)), ids)

    def _in_range(self, token_ids: tuple[int, ...]) -> tuple[int, ...]:
        for token_id in token_ids:
            if not 0 <= token_id < self._n_ids:
                raise PromptError(
                    f"token id {token_id} is out of range; ids run from 0 to {self._n_ids - 1}"
                )
        if not token_ids:
            raise PromptError("there are no token ids")
        return token_ids

    def _checked(self, text: str, token_ids: tuple[int, ...]) -> Prompt:
        if token_ids[0] < self.vocab_size:
            token_ids = (*range(self.vocab_size, self.vocab_size + self._prefix), *token_ids)
        if len(token_ids) > self.max_positions:
            raise PromptError(
                f"the prompt has {len(token_ids)} tokens; "
                f"this model has positions for {self.max_positions}"
            )
        return Prompt(text, token_ids, tuple(self.label(i) for i in token_ids))


def _state(step: Any) -> dict[str, Any]:
    """A step of the tokenizer as its file has it; {} for none."""
    return {} if step is None else dict(json.loads(step.__getstate__()))


def _unknown_id(tokenizer: Any) -> int | None:
    """The id that stands for what the tokenizer has no token for, or None."""
    token_id: int | None = None
    if type(tokenizer.model).__name__ == "Unigram":  # the only one that does not say its name
        token_id = _state(tokenizer.model).get("unk_id")
    else:
        token_id = tokenizer.token_to_id(getattr(tokenizer.model, "unk_token", None) or UNKNOWN)
    return token_id


def _spelling(decoder: dict[str, Any]) -> str:
    """How a tokenizer writes its pieces: "bytes", "metaspace" or plainly ("")."""
    kinds = {part.get("type") for part in decoder.get("decoders", [decoder])}
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
    """Read token ids: whole numbers with commas or spaces between them.

    Raises `PromptError` for anything else; what a vocabulary has is checked elsewhere.
    """
    parts = [part.strip() for part in text.replace(" ", ",").split(",") if part.strip()]
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        raise PromptError(f"token ids are whole numbers with commas, not '{text[:40]}'") from None
