"""Small models that a command trains itself: what one is, where it lives, how it is trained.

The tables of them are `ablations`, `twins` and `arms` beside this file. Lengths are in steps: the
same numbers come out of any machine of one kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.native_folder import save_native
from loopscope.core.experiments.text import Corpus, TextTask
from loopscope.core.experiments.training import STATE_FILE, Progress, Training, read_state
from loopscope.core.experiments.training_plan import TextData, TrainingPlan
from loopscope.core.model.architecture import Architecture

SEEDS = (0, 1, 2)
# A finished training leaves its checkpoint; this file of it says so.
WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class SmallModel:
    """One architecture and how it is trained; every seed of it is a model of its own.

    key : of its folder.  name : in figures and tables.
    plan : of seed 0; others differ in the seed alone.
    start : key of the model that it goes on from, seed by seed; "" for random weights.
    """

    key: str
    name: str
    arch: Architecture
    plan: TrainingPlan
    start: str = ""


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
    corpus: Corpus | None = None,
) -> Path:
    """Train one model, or go on with it where it was stopped; returns its checkpoint folder.

    ``steps`` above 0 takes the place of the plan's. ``corpus`` is what a model of text is trained
    on. Raises `LoopscopeError` where the model that it starts from is not there.
    """
    folder = folder_of(model, seed, root)
    if is_trained(model, seed, root):
        return folder
    plan = replace(model.plan, seed=seed, steps=steps or model.plan.steps)
    weights, tokenizer, task = None, None, None
    if model.start:
        start = load(str(root / f"{model.start}-seed{seed}"), "cpu")
        plan = replace(plan, weights=start.weights_hash)
        weights = {name: value.clone() for name, value in start.model.state_dict().items()}
    if isinstance(plan.data, TextData):
        if corpus is None:
            raise LoopscopeError(f"{model.name} is trained on text; a corpus is needed")
        plan = replace(plan, data=replace(plan.data, corpus=corpus.sha256))
        tokenizer, task = corpus.tokenizer, TextTask(plan, corpus)
    training = Training(folder, plan, model.arch, task, weights)
    try:
        training.run(lambda progress: report(progress, training.share_done))
    except BaseException:
        training.save()
        raise
    save_native(
        folder, training.model, tokenizer=tokenizer, record={"arm": model.key, **training.record()}
    )
    return folder


def learnt_at(model: SmallModel, seed: int, root: Path) -> int | None:
    """Step at which every hop count was learnt; None for never, or without a training state.

    Raises `LoopscopeError` for a state that is damaged or no state.
    """
    folder = folder_of(model, seed, root)
    if not (folder / STATE_FILE).exists():
        return None
    state = read_state(folder)
    try:
        learnt: list[int] = state["progress"]["learnt"]
        return int(learnt[-1]) if len(learnt) == state["plan"]["data"]["max_hops"] else None
    except (IndexError, KeyError, TypeError, ValueError):
        raise LoopscopeError(f"{folder / STATE_FILE} is not a training state") from None
