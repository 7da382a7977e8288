"""The small models of `loopscope reproduce`: one thing changed at a time, three seeds of each.

The task is two-hop pointer chasing over six letters with a narrower model than the bundled one,
so that each trains on one core in minutes (4 to 7 for two layers or
less, 14 for four, two at a time). Every variant gets the same data, seeds,
steps and schedule. Lengths are in steps: the same numbers come out of any machine of one kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loopscope.core.native_folder import save_native
from loopscope.core.training import Progress, Training, TrainingPlan, default_architecture

SEEDS = (0, 1, 2)
D_MODEL, N_LETTERS, HOPS = 48, 6, 2
TRAINED_RECURRENCES = 8
STEPS = 6000
# A finished training leaves its checkpoint; this file of it says so.
WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class Variant:
    """One architecture of the study, the first of `VARIANTS` with one thing changed.

    key : of its folder.  name : in figures and tables.
    """

    key: str
    name: str
    n_block: int = 2
    injection: Literal["concat", "none"] = "concat"
    state_norm: bool = True


VARIANTS: tuple[Variant, ...] = (
    Variant("base", "2 layers, injection, state norm"),
    Variant("block-1", "1 layer", n_block=1),
    Variant("block-4", "4 layers", n_block=4),
    Variant("no-injection", "no injection", injection="none"),
    Variant("no-norm", "no state norm", state_norm=False),
    Variant("neither", "no injection, no state norm", injection="none", state_norm=False),
)


def folder_of(variant: Variant, seed: int, root: Path) -> Path:
    """Where one training lives."""
    return root / f"{variant.key}-seed{seed}"


def is_trained(variant: Variant, seed: int, root: Path) -> bool:
    """Whether its checkpoint is complete."""
    return (folder_of(variant, seed, root) / WEIGHTS).exists()


def train(
    variant: Variant,
    seed: int,
    root: Path,
    report: Callable[[Progress, float], None] = lambda progress, share: None,
    steps: int = STEPS,
) -> Path:
    """Train one model, or go on with it where it was stopped; returns its checkpoint folder."""
    folder = folder_of(variant, seed, root)
    if is_trained(variant, seed, root):
        return folder
    plan = TrainingPlan(
        seed=seed,
        steps=steps,
        max_hops=HOPS,
        learning_rate=2e-3,
        n_letters=N_LETTERS,
        rising_recurrences=5,
        finishing_recurrences=TRAINED_RECURRENCES,
    )
    arch = default_architecture(
        d_model=D_MODEL,
        n_block=variant.n_block,
        trained_recurrences=TRAINED_RECURRENCES,
        injection=variant.injection,
        state_norm=variant.state_norm,
    )
    training = Training(folder, plan, arch)
    try:
        training.run(lambda progress: report(progress, training.share_done))
    except BaseException:
        training.save()
        raise
    save_native(folder, training.model)
    return folder
