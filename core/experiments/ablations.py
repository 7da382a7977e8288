"""The small models of `loopscope reproduce`: one thing changed at a time, three seeds of each.

The task is two-hop pointer chasing over six letters with a narrower model than the bundled one,
so that each trains on one core in minutes (4 to 7 for two layers or less, 14 for four, two at a
time). Every variant gets the same data, seeds, steps and schedule. `QUICK` are two of them made
smaller still (half a minute each), on which the whole command can be tried.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from loopscope.core.experiments.architectures import default_architecture
from loopscope.core.experiments.small_models import SmallModel
from loopscope.core.experiments.training_plan import HopsData, Recurrences, plan_of

Injection = Literal["concat", "none"]
D_MODEL, N_LETTERS, HOPS = 48, 6, 2
TRAINED_RECURRENCES = 8
STEPS, FINISHING_STEPS = 6000, 2100


def _variant(
    key: str,
    name: str,
    *,
    n_block: int = 2,
    injection: Injection = "concat",
    state_norm: bool = True,
) -> SmallModel:
    """A variant with the sizes of the study."""
    arch = default_architecture(
        d_model=D_MODEL,
        n_block=n_block,
        trained_recurrences=TRAINED_RECURRENCES,
        injection=injection,
        state_norm=state_norm,
    )
    plan = plan_of(
        "anytime",
        data=HopsData(max_hops=HOPS, n_letters=N_LETTERS),
        steps=STEPS,
        learning_rate=2e-3,
        finishing_steps=FINISHING_STEPS,
        recurrences=Recurrences("drawn", most=5, finishing=TRAINED_RECURRENCES),
    )
    return SmallModel(key, name, arch, plan)


# The first with one thing changed.
VARIANTS: tuple[SmallModel, ...] = (
    _variant("base", "2 layers, injection, state norm"),
    _variant("block-1", "1 layer", n_block=1),
    _variant("block-4", "4 layers", n_block=4),
    _variant("no-injection", "no injection", injection="none"),
    _variant("no-norm", "no state norm", state_norm=False),
    _variant("neither", "no injection, no state norm", injection="none", state_norm=False),
)


def _quick(key: str, injection: Injection) -> SmallModel:
    """The variant of that key, asked for one hop over four letters by fewer and smaller steps."""
    variant = next(v for v in VARIANTS if v.key == key)
    arch = default_architecture(d_model=32, trained_recurrences=4, injection=injection)
    plan = replace(
        variant.plan,
        data=HopsData(max_hops=1, n_letters=4),
        steps=1200,
        finishing_steps=400,
        batch_size=32,
        recurrences=Recurrences("drawn", most=4),
    )
    return replace(variant, arch=arch, plan=plan)


# With and without injection: what settles and what does not.
QUICK: tuple[SmallModel, ...] = (_quick("base", "concat"), _quick("no-injection", "none"))
