"""The cuts of the probe, as data: one condition is one dose of one kind of cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loopscope.core.interventions.base import END, FOREVER, Source
from loopscope.core.interventions.layers import (
    BorrowLayer,
    DropInjection,
    PerturbWeights,
    SkipLayer,
)
from loopscope.core.interventions.states import Noise, Replace
from loopscope.core.measures.probe import Condition, Cuts
from loopscope.core.model.architecture import Architecture

# States of the batch itself that a `Source` of the probe can name.
START, EXCHANGED, OTHER_START, RANDOM = "start", "exchanged", "other start", "random"
RUNS_ONCE = "a deep model runs once: there is no loop to cut; loop a span of its layers first"
# A cut early, a later one, and a recurrence in which the state may come back.
LEAST_RECURRENCES = 3
OTHER_GROUP = "the right end state of another start"
# Of what is random: with three the intervals cover far less than they say.
DRAWS = 16
SIZES = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the probe is asked.

    recurrences : R of every run.  mid, late : recurrences at which the trajectory is cut: while
        answers are still being found, and when they have been.
    draws : of what is random.  sizes : of noise, over the norm of what it is added to.
    """

    recurrences: int
    mid: int
    late: int
    draws: int = DRAWS
    sizes: tuple[float, ...] = SIZES


def plan_for(
    trained: int, *, recurrences: int = 0, mid: int = 0, late: int = 0, draws: int = DRAWS
) -> Plan:
    """Fill in what was left at 0: as many recurrences as trained, cuts after 3 and after 3/5."""
    n = recurrences or trained
    mid = mid or max(1, min(3, n - 2))
    return Plan(n, mid, late or max(mid + 1, 3 * n // 5), draws)


def too_few(recurrences: int, trained: int) -> str:
    """Why so few recurrences cannot be probed and what to do, or ""."""
    if recurrences >= LEAST_RECURRENCES:
        return ""
    had = "1 recurrence" if recurrences == 1 else f"{recurrences} recurrences"
    why = "as many as the model was trained to" if recurrences == trained else "as asked"
    return (
        f"a probe needs at least {LEAST_RECURRENCES} recurrences and this one would have {had} "
        f"({why}): ask for more with --recurrences, in the panel with the setting Recurrences"
    )


def conditions(arch: Architecture, plan: Plan) -> list[Condition]:
    """Every condition for this architecture, in the order they are reported."""
    return [*_parameters(arch, plan), *_graph(arch, plan), *_trajectory(plan)]


def _parameters(arch: Architecture, plan: Plan) -> Iterator[Condition]:
    """Noise on the block's weights: one draw for all recurrences, or a new one for each."""
    for anew in (False, True):
        group = "weights, new noise at each recurrence" if anew else "weights, the same noise"
        for size in plan.sizes:
            draws = tuple(
                tuple(
                    PerturbWeights(
                        recurrence=1, last=FOREVER, layer=layer, size=size, seed=seed, anew=anew
                    )
                    for layer in range(arch.n_block)
                )
                for seed in range(plan.draws)
            )
            yield Condition(
                "parameters", group, f"{group}, ε = {size:g}", size, "ε of every matrix", draws, 1,
                lasting=True,
            )  # fmt: skip


def _graph(arch: Architecture, plan: Plan) -> Iterator[Condition]:
    """Layers left out or exchanged, the injection cut: for good, and for a while.

    A loop has no memory but its state: of a cut that is over nothing is left but the state it made.
    Only the lasting ones ask for the wiring; the others are in the list to be compared with them.
    """
    n = plan.recurrences
    for layer in range(arch.n_block):
        name = arch.layer_name(layer)
        group = f"{name} skipped"
        for count in _counts(n):
            cut = SkipLayer(recurrence=1, last=count, layer=layer)
            words = f"{group} {_when(count, n)}"
            yield Condition(
                "graph", group, words, count / n, "share of recurrences", ((cut,),), 1,
                lasting=count == n,
            )  # fmt: skip
    if arch.n_block > 1 and not arch.inner_cycles:
        for count in _counts(n):
            swap: Cuts = (
                BorrowLayer(recurrence=1, last=count, layer=0, of=arch.n_block - 1),
                BorrowLayer(recurrence=1, last=count, layer=arch.n_block - 1, of=0),
            )
            group = "first and last layer swapped"
            words = f"{group} {_when(count, n)}"
            yield Condition(
                "graph", group, words, count / n, "share of recurrences", (swap,), 1,
                lasting=count == n,
            )  # fmt: skip
    if arch.injection != "none":
        for r in (1, plan.mid + 1, plan.late + 1):
            yield Condition(
                "graph", "injection cut", f"injection cut from recurrence {r} on",
                (n - r + 1) / n, "share of recurrences",
                ((DropInjection(recurrence=r, last=FOREVER),),), r, lasting=True,
            )  # fmt: skip


def _trajectory(plan: Plan) -> Iterator[Condition]:
    """The state moved by noise, or exchanged for another: the start's is the back edge cut once."""
    for r in (plan.mid, plan.late):
        group = f"noise on the state at {r}"
        for size in plan.sizes:
            draws: tuple[Cuts, ...] = tuple(
                (Noise(recurrence=r, last=r, layer=END, size=size, seed=seed),)
                for seed in range(plan.draws)
            )
            yield Condition(
                "trajectory", group, f"{group}, ε = {size:g}", size, "ε of the state", draws, r
            )
        for key, words, seeds in (
            (START, "the start state", [0]),
            (RANDOM, "a random state", range(plan.draws)),
            (EXCHANGED, "another prompt's state", [r]),
            (OTHER_START, OTHER_GROUP, [0]),
        ):
            yield Condition(
                "trajectory", f"{words} at {r}", f"{words} put in after recurrence {r}",
                float("nan"), "", tuple((_put(key, r, seed),) for seed in seeds), r,
                donor=key == EXCHANGED,
            )  # fmt: skip


def _counts(n: int) -> list[int]:
    """How many recurrences are cut: 1, 2, 4, ... and all."""
    counts = [1 << i for i in range(n.bit_length()) if 1 << i < n]
    return [*counts, n]


def _when(count: int, n: int) -> str:
    """In how many of ``n`` recurrences, from the first on, in words."""
    if count == n:
        return "always"
    if count == 1:
        return "in the first recurrence"
    return f"in the first {count} of {n} recurrences"


def _put(key: str, recurrence: int, which: int) -> Replace:
    """A state of the batch put in at the end of ``recurrence``; ``which`` is told to its maker."""
    source = Source(token_ids=(0,), prompt=key, recurrence=which, seed=which)
    return Replace(recurrence=recurrence, last=recurrence, layer=END, source=source)
