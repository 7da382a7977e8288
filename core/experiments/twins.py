"""The looped model and its twins at a smaller size of the task: three seeds of each.

The looped model, a deep one of the same effective depth with weights of its own in every layer,
and a shallow one with the looped model's parameters and a single pass; three hops over six letters
(half of the cycle, so that no shorter way round leads to the answer).
The bundled ones are the same three on the full task (`loopscope train hops --model ...`). One
claim is asked of them: the looped model does what the deep one does with a fraction of its
parameters, and does it by looping, since the shallow one cannot (Saunshi et al., arXiv 2502.17416).
"""

from __future__ import annotations

from loopscope.core.experiments.architectures import twin_architecture
from loopscope.core.experiments.small_models import SmallModel
from loopscope.core.experiments.training_plan import HopsData, Recurrences, plan_of
from loopscope.core.experiments.twin_results import KINDS, NAMES, Kind

D_MODEL, N_LETTERS, HOPS = 48, 6, 3
TRAINED_RECURRENCES = 10
STEPS, FINISHING_STEPS = 16_000, 5600
# Passes that the last answer takes: recurrences of the looped model, as deep as the deep one is.
PASSES: dict[Kind, int] = {"looped": 0, "deep": HOPS, "shallow": 1}


def _twin(kind: Kind) -> SmallModel:
    arch = twin_architecture(kind, HOPS, d_model=D_MODEL, trained_recurrences=TRAINED_RECURRENCES)
    plan = plan_of(
        "anytime",
        data=HopsData(max_hops=HOPS, n_letters=N_LETTERS),
        steps=STEPS,
        learning_rate=2e-3,
        finishing_steps=FINISHING_STEPS,
        recurrences=Recurrences("drawn", most=6, finishing=TRAINED_RECURRENCES),
        passes=PASSES[kind],
    )
    return SmallModel(kind, NAMES[kind], arch, plan)


TWINS: tuple[SmallModel, ...] = tuple(_twin(kind) for kind in KINDS)
