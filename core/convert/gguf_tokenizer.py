"""A `tokenizer.json` made of the keys of a GGUF file.

Two kinds: byte-level BPE ("gpt2"), whose file only names the way it splits text
(llama.cpp's `llama-vocab.cpp` has the patterns), and SentencePiece's BPE ("llama"), whose merges
follow from the scores of its pieces.
"""

from __future__ import annotations

from typing import Any

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# `tokenizer.ggml.pre` to the pattern that text is split by; "" is GPT-2's own.
PATTERNS = {
    "gpt-2": "",
    "smollm": "",
    "llama-bpe": _CONTRACTIONS + r"\p{N}{1,3}" + _REST,
    "qwen2": _CONTRACTIONS + r"\p{N}" + _REST,
}


def tokenizer_of(fields: dict[str, Any]) -> str | None:
    """Return the text of a `tokenizer.json`, or None for a kind that is not known."""
    kind, pre = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")
    if kind == "gpt2" and pre in PATTERNS:
        tokenizer = _byte_level(fields, str(pre))
    elif kind == "llama":
        tokenizer = _sentence_pieces(fields)
    else:
        return None
    _add_special(tokenizer, fields)
    text: str = tokenizer.to_str(pretty=False)
    return text


def _byte_level(fields: dict[str, Any], pre: str) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    vocabulary = {token: i for i, token in enumerate(fields["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    whole = pre == "llama-bpe"  # a word that is a token is not taken apart
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=whole))
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if pre == "smollm" else []
    if pattern := PATTERNS[pre]:
        steps.append(pre_tokenizers.Split(Regex(pattern), "isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not pattern))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentence_pieces(fields: dict[str, Any]) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers

    tokens, scores = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.scores"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    unknown = fields.get("tokenizer.ggml.unknown_token_id")
    tokenizer = Tokenizer(
        models.BPE(
            vocabulary, _merges(vocabulary, scores), byte_fallback=True, fuse_unk=True,
            unk_token=None if unknown is None else tokens[unknown],
        )
    )  # fmt: skip
    blanks: list[Any] = [normalizers.Replace(" ", "▁")]
    if fields.get("tokenizer.ggml.add_space_prefix", True):
        blanks.insert(0, normalizers.Prepend("▁"))
    tokenizer.normalizer = normalizers.Sequence(blanks)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


def _merges(vocabulary: dict[str, int], scores: list[float]) -> list[tuple[str, str]]:
    """Pairs of pieces that make a piece, the best piece first."""
    pairs = [
        (piece[:at], piece[at:], scores[i])
        for piece, i in vocabulary.items()
        for at in range(1, len(piece))
        if piece[:at] in vocabulary and piece[at:] in vocabulary
    ]
    pairs.sort(key=lambda pair: (-pair[2], vocabulary[pair[0]], vocabulary[pair[1]]))
    return [(left, right) for left, right, _ in pairs]


def _add_special(tokenizer: Any, fields: dict[str, Any]) -> None:
    """Control tokens, and the token that a prompt begins with where the file says so."""
    from tokenizers import AddedToken, processors

    tokens, kinds = fields["tokenizer.ggml.tokens"], fields.get("tokenizer.ggml.token_type", ())
    added = [
        AddedToken(token, special=kind != USER_DEFINED, normalized=False)
        for token, kind in zip(tokens, kinds, strict=False)
        if kind in (UNKNOWN, CONTROL, USER_DEFINED)
    ]
    tokenizer.add_tokens(added)
    first = fields.get("tokenizer.ggml.bos_token_id")
    # These begin with it unless they say otherwise.
    usual = "llama" in (fields["tokenizer.ggml.model"], fields.get("tokenizer.ggml.pre", "")[:5])
    if fields.get("tokenizer.ggml.add_bos_token", usual) and first is not None:
        name = tokens[first]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[name, "$A"], pair=[name, "$A", "$B"], special_tokens=[(name, first)]
        )
