"""What a probe needs in memory, asked before it begins. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.probe.conditions import Plan
from loopscope.core.labels import size
from loopscope.core.measures.probe import Condition
from loopscope.core.model.architecture import Architecture

# States of the batch alive at once besides those kept: of the run under way, before and after.
ALIVE = 4


def kept_recurrences(plan: Plan, todo: Sequence[Condition]) -> frozenset[int]:
    """Recurrences whose uncut states conditions are given, or are compared with."""
    return frozenset({0, plan.mid, plan.late, plan.recurrences}) | {c.recurrence for c in todo}


def model_bytes(
    arch: Architecture, plan: Plan, todo: Sequence[Condition], prompts: int, tokens: int, item: int
) -> int:
    """Bytes on the model's device for ``[B, T]`` tokens in numbers of ``item`` bytes.

    The states kept and those of the widest layer or readout: patterns ``[H, T, T]`` before and
    after the softmax, twice the MLP's width, logits in float32 with their copy.
    """
    layer = arch.layer
    states = (len(kept_recurrences(plan, todo)) + ALIVE) * layer.d_model
    inside = 2 * layer.n_heads * tokens + 2 * layer.d_mlp
    return prompts * tokens * (item * (states + inside) + 2 * 4 * arch.vocab_size)


def result_bytes(plan: Plan, todo: Sequence[Condition], prompts: int) -> int:
    """Bytes of main memory for scores ``[draws, R, B]`` in float64."""
    runs = sum(len(c.draws) * (1 + c.donor) for c in todo) + 3  # 2 R and R uncut
    return 8 * prompts * runs * plan.recurrences


def check_memory(
    needed: int, results: int, free: int | None, free_host: int | None, *, one_memory: bool
) -> None:
    """Raise `LoopscopeError` where a probe does not fit; None is memory that nobody knows of.

    needed, free : bytes on the model's device.  results, free_host : bytes of main memory.
    one_memory : whether the two are the same.
    """
    if one_memory:
        needed, results = needed + results, 0
    for wanted, there in ((needed, free), (results, free_host)):
        if there is not None and wanted > there:
            raise LoopscopeError(
                f"this probe needs {size(wanted)} of memory and {size(there)} are free; "
                "ask for fewer prompts, recurrences or draws"
            )
