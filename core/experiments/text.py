"""Training on natural text: a corpus, its byte-pair encoding, batches and loss on held-out lines.

A corpus is a UTF-8 file with one document a line. Every twentieth line is held out, before the
encoding is trained. Lines are joined by a line break, which is a token as any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from loopscope.core.arrays import F64, U16
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.batches import Curriculum, TrainingBatch, generator
from loopscope.core.experiments.passes import pass_states
from loopscope.core.experiments.training_plan import TextData, TrainingPlan
from loopscope.core.files import read_bytes
from loopscope.core.model.looped_model import LoopedModel

HELD_OUT_EVERY, MOST_BYTES = 20, 4 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """An encoded corpus.

    sha256 : of the file.  tokenizer : its `tokenizer.json`.
    training, held_out : token ids, uint16.
    held_out_bytes : UTF-8 bytes of the held-out lines, for bits a byte.
    """

    sha256: str
    tokenizer: str
    training: U16
    held_out: U16
    held_out_bytes: int


def read_corpus(file: Path, vocabulary: int) -> Corpus:
    """Read a corpus and train its byte-pair encoding of ``vocabulary`` tokens.

    Raises `LoopscopeError` for a file that cannot be read or is no UTF-8.
    """
    raw = read_bytes(file, MOST_BYTES)
    try:
        lines = [line for line in raw.decode("utf-8").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise LoopscopeError(f"{file} is not UTF-8: {error.reason} at {error.start}") from None
    held = [line for i, line in enumerate(lines) if i % HELD_OUT_EVERY == HELD_OUT_EVERY - 1]
    rest = [line for i, line in enumerate(lines) if i % HELD_OUT_EVERY != HELD_OUT_EVERY - 1]
    if not held:
        raise LoopscopeError(f"{file} has {len(lines)} lines; at least {HELD_OUT_EVERY} are needed")
    tokenizer = byte_pair_encoding(rest, vocabulary)
    return Corpus(
        hashlib.sha256(raw).hexdigest(), tokenizer, encode(tokenizer, rest),
        encode(tokenizer, held), sum(len(line.encode()) + 1 for line in held),
    )  # fmt: skip


def byte_pair_encoding(lines: list[str], vocabulary: int) -> str:
    """Train a byte-level byte-pair encoding; returns its `tokenizer.json`.

    Raises `LoopscopeError` where the lines do not give so large a vocabulary.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator((line + "\n" for line in lines), trainer)
    if tokenizer.get_vocab_size() != vocabulary:
        raise LoopscopeError(
            f"the corpus gives {tokenizer.get_vocab_size()} tokens, not {vocabulary}: it is too "
            "short, or the vocabulary smaller than the 256 bytes"
        )
    text: str = tokenizer.to_str(pretty=False)
    return text


def encode(tokenizer: str, lines: list[str]) -> U16:
    """Token ids of the lines, each with its line break."""
    from tokenizers import Tokenizer

    batch = Tokenizer.from_str(tokenizer).encode_batch([line + "\n" for line in lines])
    return np.fromiter((i for encoding in batch for i in encoding.ids), np.uint16)


class TextTask:
    """Draws sequences from anywhere in the training text; every position predicts the next token.

    A plan's corpus is that of its `Corpus`.
    """

    def __init__(self, plan: TrainingPlan, corpus: Corpus) -> None:
        assert isinstance(plan.data, TextData)
        self.plan, self.data = plan, plan.data
        self.tokens = corpus.training
        n = plan.data.context
        for part, tokens in (("corpus", corpus.training), ("held-out part", corpus.held_out)):
            if len(tokens) <= n:
                raise LoopscopeError(
                    f"the {part} has {len(tokens)} tokens; one sequence takes {n} and the next"
                )

    def batch(self, curriculum: Curriculum) -> TrainingBatch:
        """Return the batch of the next step."""
        seed, step, n = self.plan.seed, curriculum.step, self.data.context
        rng = generator(seed, "examples", step)
        starts = rng.integers(0, len(self.tokens) - n, self.plan.batch_size)
        rows = self.tokens[starts[:, None] + np.arange(n + 1)].astype(np.int64)
        following = torch.from_numpy(rows[:, 1:])
        r = self.plan.recurrences.draw(
            generator(seed, "recurrences", step), step, curriculum.finishing, hops=0, max_hops=0
        )
        return TrainingBatch(torch.from_numpy(rows[:, :-1]), r, lambda _: following, False)


@torch.inference_mode()
def held_out_loss(
    model: LoopedModel,
    tokens: U16,
    *,
    n_passes: int,
    per_pass: int,
    context: int = 128,
    batch_size: int = 16,
    report: Callable[[float], None] = lambda share: None,
) -> F64:
    """Cross-entropy of the next token after each pass, nats, float64 ``[sequences, n_passes]``.

    Each row is the mean over one of the ``(len(tokens) - 1) // context`` sequences that do not
    overlap.
    """
    n = (len(tokens) - 1) // context
    inputs = torch.from_numpy(tokens[: n * context].astype(np.int64).reshape(n, context))
    following = torch.from_numpy(tokens[1 : n * context + 1].astype(np.int64).reshape(n, context))
    losses = np.empty((n, n_passes))
    for first in range(0, n, batch_size):
        rows = slice(first, min(first + batch_size, n))
        e = model.prelude(inputs[rows])
        for r, state in enumerate(pass_states(model, e, n_passes, per_pass)):
            losses[rows, r] = _loss(model.readout(state), following[rows])
        report(rows.stop / n)
    return losses


def _loss(logits: Tensor, following: Tensor) -> F64:
    loss = torch.nn.functional.cross_entropy(
        logits.cpu().double().flatten(0, 1), following.flatten(), reduction="none"
    )
    return np.asarray(loss.view(following.shape).mean(1).numpy())
