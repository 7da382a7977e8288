"""Small models that a command trains itself: what one is, where it lives, how it is trained.

The tables of them are `ablations` and `twins` beside this file. Lengths are in steps: the same
numbers come out of any machine of one kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from loopscope.core.experiments.native_folder import save_native
from loopscope.core.experiments.training import STATE_FILE, Progress, Training, TrainingPlan
from loopscope.core.model.architecture import Architecture

SEEDS = (0, 1, 2)
# A finished training leaves its checkpoint; this file of it says so.
WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class SmallModel:
    """One architecture and how it is trained; every seed of it is a model of its own.

    key : of its folder.  name : in figures and tables.
    plan : of seed 0; others differ in the seed alone.
    """

    key: str
    name: str
    arch: Architecture
    plan: TrainingPlan


def folder_of(model: SmallModel, seed: int, root: Path) -> Path:
    """Where one training lives."""
    return root / f"{model.key}-seed{seed}"


def is_trained(model: SmallModel, seed: int, root: Path) -> bool:
    """Whether its checkpoint is complete."""
    return (folder_of(model, seed, root) / WEIGHTS).exists()


def train(
    model: SmallModel,
    seed: int,
    root: Path,
    report: Callable[[Progress, float], None] = lambda progress, share: None,
    steps: int = 0,
) -> Path:
    """Train one model, or go on with it where it was stopped; returns its checkpoint folder.

    ``steps`` above 0 takes the place of the plan's.
    """
    folder = folder_of(model, seed, root)
    if is_trained(model, seed, root):
        return folder
    plan = replace(model.plan, seed=seed, steps=steps or model.plan.steps)
    training = Training(folder, plan, model.arch)
    try:
        training.run(lambda progress: report(progress, training.share_done))
    except BaseException:
        training.save()
        raise
    save_native(folder, training.model)
    return folder


def learnt_at(model: SmallModel, seed: int, root: Path) -> int | None:
    """Step at which every hop count was learnt and the finishing phase began early.

    None where the phase began because its time had come, or where no training state was kept.
    """
    file = folder_of(model, seed, root) / STATE_FILE
    if not file.exists():
        return None
    since = float(torch.load(file, map_location="cpu", weights_only=False)["finishing_since"])
    due = (1 - model.plan.finishing_share) * model.plan.steps
    return round(since) if since < due else None
