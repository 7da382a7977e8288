"""What is measured of a trained model of text: loss by recurrence, and which tokens need them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loopscope.core.arrays import F64, I64, U16
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.native_folder import RECORD_FILE
from loopscope.core.experiments.passes import pass_states
from loopscope.core.experiments.text import Corpus, held_out_loss
from loopscope.core.files import read_text
from loopscope.core.measures.intervals import bootstrap_mean
from loopscope.core.measures.readout import NO_ANSWER
from loopscope.core.model.looped_model import LoopedModel

MOST_BYTES = 16 << 20
# Passes that a looped model is run, far beyond those it was trained with.
LAST = 32
# Passes after which an answer is called final, and times a token is read to be listed.
FINAL, OFTEN, LISTED = 16, 25, 8


@dataclass(frozen=True, slots=True)
class TextResult:
    """A trained model of text on held-out lines.

    model, seed : which.  steps, cpu_minutes, parameters : of its training and size.
    trained : the largest R of its training; the passes of a model of separate layers.
    sequences, context : how many were read, and their tokens.
    loss, low, high : nats a token after pass 1, 2, ..., the mean over sequences with its 95 %
        bootstrap-t interval.
    gained, gained_low, gained_high : loss after the first pass less that after each, paired by
        sequence, with its interval.
    bits_per_byte : loss after the last trained pass in bits for a byte of the held-out text.
    final_from : share of tokens whose likeliest next token after pass 1, 2, ... and after all later
        ones is that of the last pass.
    early, late : tokens after which it is final soonest and latest: text, mean pass from which it
        is, how often it was read (at least `OFTEN` times).
    """

    model: str
    seed: int
    steps: int
    cpu_minutes: float
    parameters: int
    trained: int
    sequences: int
    context: int
    loss: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    gained: tuple[float, ...]
    gained_low: tuple[float, ...]
    gained_high: tuple[float, ...]
    bits_per_byte: float
    final_from: tuple[float, ...]
    early: tuple[tuple[str, float, int], ...]
    late: tuple[tuple[str, float, int], ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values; losses to four digits."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value


def measure_text(
    folder: Path,
    corpus: Corpus,
    sequences: int = 256,
    report: Callable[[float], None] = lambda share: None,
) -> TextResult:
    """Measure a model that ``loopscope train text`` made, on the first held-out sequences.

    Raises `LoopscopeError` where its record is missing or it was trained on another corpus.
    """
    record = json.loads(read_text(folder / RECORD_FILE, MOST_BYTES))
    plan = record["plan"]
    if plan["data"].get("corpus") != corpus.sha256:
        raise LoopscopeError(f"{folder} was trained on another corpus than this one")
    loaded = load(str(folder), "cpu")
    arch, passes, context = loaded.architecture, plan["passes"], plan["data"]["context"]
    per_pass = arch.n_block // (passes if arch.deep or arch.untied_passes else 1)
    losses = held_out_loss(
        loaded.model, corpus.held_out[: sequences * context + 1],
        n_passes=passes or LAST, per_pass=per_pass,
        context=context, report=report,
    )  # fmt: skip
    mean, gain = bootstrap_mean(losses), bootstrap_mean(losses[:, :1] - losses)
    trained = passes or arch.trained_recurrences
    few = corpus.held_out[: min(sequences, 96) * context]
    final = final_passes(loaded.model, few, context, per_pass, passes or FINAL)
    rows = by_token(few, final, lambda t: loaded.tokenizer.decode((t,)))
    # Tokens a byte of the whole held-out text turn nats a token into bits a byte.
    density = len(corpus.held_out) / corpus.held_out_bytes
    return TextResult(
        model=record.get("arm") or f"text-{record['model']}",
        seed=plan["seed"],
        steps=record["steps"],
        cpu_minutes=record["cpu_minutes"],
        parameters=arch.n_parameters,
        trained=trained,
        sequences=len(losses),
        context=context,
        loss=_floats(mean.value), low=_floats(mean.low), high=_floats(mean.high),
        gained=_floats(gain.value),
        # Of the first pass there is nothing to estimate: it gains 0 on itself.
        gained_low=(0.0, *_floats(gain.low[1:])), gained_high=(0.0, *_floats(gain.high[1:])),
        final_from=tuple(float((final <= r).mean()) for r in range(1, (passes or FINAL) + 1)),
        early=tuple(rows[:LISTED]), late=tuple(rows[::-1][:LISTED]),
        bits_per_byte=float(mean.value[trained - 1]) / float(np.log(2)) * density,
    )  # fmt: skip


def _floats(values: F64) -> tuple[float, ...]:
    return tuple(map(float, values))


def read_text_results(file: Path) -> list[TextResult]:
    """Read a JSON list of `TextResult.as_json`; raises `LoopscopeError` for what is none."""
    try:
        return [_result(row) for row in json.loads(read_text(file, MOST_BYTES))]
    except (ValueError, TypeError, AttributeError) as error:
        raise LoopscopeError(f"{file} holds no results of text models: {error}") from None


def _result(row: dict[str, Any]) -> TextResult:
    return TextResult(**{name: _as_tuples(value) for name, value in row.items()})


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(v) for v in value) if isinstance(value, list) else value


@torch.inference_mode()
def final_passes(model: LoopedModel, tokens: U16, context: int, per_pass: int, n: int) -> I64:
    """The pass from which each token's likeliest next one is that of pass ``n``, from 1 on.

    ``[sequences, context]``, of the sequences that ``tokens`` hold one after the other; ``n + 1``
    where pass ``n`` says nothing, as its logits are not finite.
    """
    rows = tokens[: len(tokens) // context * context].astype(np.int64).reshape(-1, context)
    found = []
    for first in range(0, len(rows), 16):
        e = model.prelude(torch.from_numpy(rows[first : first + 16]))
        tops = [_top(model.readout(s)) for s in pass_states(model, e, n, per_pass)]
        # What is not finite says nothing, not even what it said before.
        changes = (np.stack(tops) != tops[-1]) | (tops[-1] == NO_ANSWER)
        # One beyond the last pass that says something else; 1 where none does.
        found.append(np.where(changes, np.arange(1, n + 1)[:, None, None], 0).max(0) + 1)
    return np.concatenate(found).astype(np.int64)


def _top(logits: torch.Tensor) -> I64:
    """Likeliest tokens; `NO_ANSWER` where the logits are not finite."""
    return np.asarray(logits.argmax(-1).where(logits.isfinite().all(-1), NO_ANSWER).numpy())


def by_token(
    tokens: U16, passes: I64, text_of: Callable[[int], str]
) -> list[tuple[str, float, int]]:
    """(text, mean pass, times read) of every token read `OFTEN` times, soonest first.

    ``tokens`` ``[n]`` are ids; ``passes``, of as many entries, where each was settled.
    """
    flat, read = passes.ravel(), tokens[: passes.size]
    rows = [
        (text_of(int(t)), float(flat[read == t].mean()), int((read == t).sum()))
        for t in np.unique(read)
    ]
    return sorted((row for row in rows if row[2] >= OFTEN), key=lambda row: row[1])
