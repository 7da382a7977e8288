"""What is measured of a trained model of text: loss by recurrence, and which tokens need them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.native_folder import RECORD_FILE
from loopscope.core.experiments.text import Corpus, held_out_loss
from loopscope.core.files import read_text
from loopscope.core.measures.intervals import bootstrap_mean

MOST_BYTES = 16 << 20
# Passes that a looped model is run, far beyond those it was trained with.
LAST = 32


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

    def as_json(self) -> dict[str, Any]:
        """Plain values; losses to four digits."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [round(v, 4) for v in value]
    return round(value, 4) if isinstance(value, float) else value


def measure_text(
    folder: Path,
    corpus: Corpus,
    sequences: int = 512,
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
    separate = arch.deep or arch.untied_passes
    losses = held_out_loss(
        loaded.model, corpus.held_out[: sequences * context + 1],
        n_passes=passes or LAST, per_pass=arch.n_block // (passes if separate else 1),
        context=context, report=report,
    )  # fmt: skip
    mean, gain = bootstrap_mean(losses), bootstrap_mean(losses[:, :1] - losses)
    trained = passes or arch.trained_recurrences
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
        gained=_floats(gain.value), gained_low=_floats(gain.low), gained_high=_floats(gain.high),
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
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    return TextResult(**values)
