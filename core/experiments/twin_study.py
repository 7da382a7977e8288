"""Measure the looped model and its twins alike: accuracy by hop count, sizes, operations."""

from __future__ import annotations

from collections.abc import Callable

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.experiments.evaluation import evaluate_hops
from loopscope.core.experiments.twin_results import Accuracy, Kind, TwinResult
from loopscope.core.model.flops import flops_per_token
from loopscope.core.run.card import recording_bytes


def twin_result(
    loaded: Loaded,
    kind: Kind,
    seed: int,
    *,
    hops: tuple[int, ...],
    recurrences: int,
    n_examples: int = 2000,
    n_letters: int = 8,
    report: Callable[[float], None] = lambda share: None,
) -> TwinResult:
    """Evaluate one model after ``recurrences`` (a deep or shallow one has the single pass)."""
    evaluation = evaluate_hops(
        loaded, hops=hops, recurrences=recurrences, n_examples=n_examples, n_letters=n_letters,
        report=report,
    )  # fmt: skip
    cells = [evaluation.cell(k, recurrences) for k in hops]
    arch, n_tokens = loaded.architecture, 3 * n_letters + 3
    return TwinResult(
        kind,
        seed,
        recurrences,
        tuple(Accuracy(c.hops, c.accuracy, c.low, c.high, c.chance) for c in cells),
        arch.n_parameters,
        arch.effective_depth(recurrences),
        flops_per_token(arch, recurrences, n_tokens),
        4 * arch.n_parameters,
        recording_bytes(arch, n_tokens, recurrences),
    )
