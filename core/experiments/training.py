"""Train a native model by a plan into a folder: `loopscope train`.

AdamW, betas 0.9 and 0.98, weight decay 0.05 on matrices, gradient norm clipped at 1; the learning
rate rises over 100 steps, stays, and falls to 0 in a line over the plan's finishing steps. What is
asked for after how many recurrences is the plan's (`training_plan`), what is drawn the task's
(`hops_batches`, `text`).

Everything that the next step depends on (weights, optimiser moments, curriculum) is in the training
state, and what is drawn depends on seed and step alone, so a killed training goes on with the step
it would have made.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.batches import Curriculum, Task, TrainingBatch
from loopscope.core.experiments.hops_batches import HopsTask
from loopscope.core.experiments.passes import pass_states
from loopscope.core.experiments.training_plan import HopsData, TrainingPlan, differences
from loopscope.core.families.native import config_of
from loopscope.core.files import check_regular, make_folder, reason, written
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.looped_model import LoopedModel

STATE_FILE = "training-state.pt"
WARM_UP_STEPS = 100
# Weight of a new value in the running means, and steps from one entry of the history to the next.
RUNNING_WEIGHT, HISTORY_STEPS = 0.03, 50


@dataclass(slots=True)
class Progress(Curriculum):
    """Where a training stands after a step.

    loss : of the step.  mean_loss : its running mean.
    cpu_minutes : processor time of all steps, of this process and its forerunners.
    history : (step, hop count, running loss, running accuracy), every `HISTORY_STEPS` steps.
    """

    loss: float
    mean_loss: float
    learning_rate: float
    cpu_minutes: float
    history: list[tuple[int, int, float, float]]


class Training:
    """A resumable training of one native model into one folder.

    ``task`` is what the plan's data ask for, pointer chasing unless given. ``weights`` is what to
    start from in place of random ones; the plan names their digest.
    """

    def __init__(
        self,
        folder: Path,
        plan: TrainingPlan,
        arch: Architecture,
        task: Task | None = None,
        weights: dict[str, Tensor] | None = None,
    ) -> None:
        if (arch.deep or arch.untied_passes) and (not plan.passes or arch.n_block % plan.passes):
            raise LoopscopeError(
                f"a model of {arch.n_block} separate layers cannot be trained in {plan.passes} "
                "passes"
            )
        self.folder, self.plan, self.arch = folder, plan, arch
        self.task = HopsTask(plan) if task is None else task
        self.model = _fresh_model(arch, plan.seed)
        if weights is not None:
            self.model.load_state_dict(weights)
        self.optimizer = _optimizer(self.model, plan.learning_rate)
        self.progress = Progress(
            step=0, hops=1, accuracy=0.0, finishing_since=-1, learnt=[], loss=math.nan,
            mean_loss=math.log(arch.vocab_size), learning_rate=0.0, cpu_minutes=0.0, history=[],
        )  # fmt: skip
        if isinstance(plan.data, HopsData) and not plan.data.promote_at:
            self.progress.hops = plan.data.max_hops
        if (folder / STATE_FILE).exists():
            self._resume(read_state(folder))

    # ---- state on disk ----
    def _resume(self, saved: dict[str, Any]) -> None:
        file = self.folder / STATE_FILE
        try:
            if saved["config"] != config_of(self.arch):
                raise LoopscopeError(
                    f"{file} is a training of another architecture; choose another folder, or the "
                    "same sizes"
                )
            for name, old, new in differences(saved["plan"], self.plan.as_json()):
                raise LoopscopeError(
                    f"{file} was begun with {name} {old}, not {new}; choose another folder, or the "
                    "same plan"
                )
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.progress = _as_progress(saved["progress"], self.progress)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise LoopscopeError(f"{file} is not a training state: {reason(error)}") from None

    def save(self) -> None:
        """Write the training state; the old one is replaced only by a complete new one.

        Raises `LoopscopeError` where it cannot be written.
        """
        make_folder(self.folder)
        content = io.BytesIO()  # torch does not say what the system has against a file
        torch.save(
            {
                "config": config_of(self.arch),
                "plan": self.plan.as_json(),
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "progress": asdict(self.progress),
            },
            content,
        )
        with written(self.folder / STATE_FILE) as part:
            part.write_bytes(content.getbuffer())

    def record(self) -> dict[str, Any]:
        """How the model was made: plan, cost and course (`native_folder.RECORD_FILE`)."""
        p = self.progress
        return {
            "plan": self.plan.as_json(),
            "steps": p.step,
            "cpu_minutes": round(p.cpu_minutes, 2),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "hop_counts_learnt_at": p.learnt,
            "finishing_since": p.finishing_since,
            "history": p.history,
        }

    # ---- steps ----
    def step(self) -> Progress:
        """Make one optimiser step and return where the training stands."""
        started = time.process_time()
        p = self.progress
        self._enter_finishing_phase()
        p.learning_rate = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = p.learning_rate
        batch = self.task.batch(p)
        loss, right = self._loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        p.step += 1
        p.loss = float(loss.detach())
        p.mean_loss += RUNNING_WEIGHT * (p.loss - p.mean_loss)
        if batch.counts:
            self._learn(right)
        if p.step % HISTORY_STEPS == 0:
            p.history.append((p.step, p.hops, round(p.mean_loss, 4), round(p.accuracy, 4)))
        p.cpu_minutes += (time.process_time() - started) / 60
        return p

    def _enter_finishing_phase(self) -> None:
        plan, p = self.plan, self.progress
        all_learnt = isinstance(plan.data, HopsData) and len(p.learnt) == plan.data.max_hops
        due = p.step >= plan.steps - plan.finishing_steps
        if not p.finishing and (due or (plan.finish_when_learnt and all_learnt)):
            p.finishing_since = p.step

    def _learning_rate(self) -> float:
        plan, p = self.plan, self.progress
        rate = plan.learning_rate * min(1.0, (p.step + 1) / WARM_UP_STEPS)
        if p.finishing:
            rate *= (self.length - p.step) / (self.length - p.finishing_since)
        return rate

    def _loss(self, batch: TrainingBatch) -> tuple[Tensor, float]:
        """Cross-entropy where the plan asks for it, and the share of right final answers."""
        n_passes = min(batch.n_recurrences, self.plan.passes or batch.n_recurrences)
        n_losses = 2 if self.plan.target == "anytime" else 1
        ends = list(self._pass_states(batch.tokens, n_passes))[-n_losses:]
        targets = [self._target(batch, r) for r in range(n_passes - len(ends) + 1, n_passes + 1)]
        logits = self.model.readout(torch.cat(ends))[:, -targets[-1].shape[1] :]
        loss = F.cross_entropy(logits.flatten(0, 1), torch.cat(targets).flatten())
        last = logits[-len(batch.tokens) :].argmax(-1)
        return loss, float((last == targets[-1]).float().mean())

    def _target(self, batch: TrainingBatch, recurrence: int) -> Tensor:
        final = self.plan.target == "final" or recurrence == self.plan.passes
        return batch.target(None if final else recurrence)

    def _pass_states(self, tokens: Tensor, n_passes: int) -> list[Tensor]:
        """States ``[B, T, d]`` after each of ``n_passes``."""
        e = self.model.prelude(tokens)
        return list(pass_states(self.model, e, n_passes, self.per_pass))

    @property
    def per_pass(self) -> int:
        """Layers of the block in one pass."""
        separate = self.arch.deep or self.arch.untied_passes
        return self.arch.n_block // (self.plan.passes if separate else 1)

    def _learn(self, right: float) -> None:
        """Count one batch of the newest hop count; add the next count when this one is learnt."""
        p, data = self.progress, self.plan.data
        assert isinstance(data, HopsData)
        p.accuracy += RUNNING_WEIGHT * (right - p.accuracy)
        if data.promote_at and p.accuracy >= data.promote_at and len(p.learnt) < p.hops:
            p.learnt.append(p.step)
            if p.hops < data.max_hops:
                p.hops += 1
                p.accuracy = 0.0

    def run(self, report: Callable[[Progress], None], save_every: float = 60.0) -> None:
        """Train to the end; saves every ``save_every`` seconds and at the end."""
        saved = time.monotonic()
        while self.progress.step < self.length:
            report(self.step())
            if time.monotonic() - saved > save_every:
                self.save()
                saved = time.monotonic()
        self.save()

    @property
    def length(self) -> int:
        """Steps in all, as far as is known now."""
        if self.progress.finishing:
            return min(self.plan.steps, self.progress.finishing_since + self.plan.finishing_steps)
        return self.plan.steps

    @property
    def share_done(self) -> float:
        """Share of the steps that is made, 0 to 1."""
        return self.progress.step / self.length


def read_state(folder: Path) -> dict[str, Any]:
    """Read a training state: tensors and plain values; nothing else of the file is executed.

    Raises `LoopscopeError` for a file that is damaged or holds anything else.
    """
    file = folder / STATE_FILE
    check_regular(file)
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes of a stranger: its reader raises whatever comes of them
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LoopscopeError(f"{file} is not a training state: {why[:200]}") from None
    if not isinstance(saved, dict):
        raise LoopscopeError(f"{file} is not a training state: it holds no dictionary")
    return saved


def _as_progress(saved: dict[str, Any], fresh: Progress) -> Progress:
    """A saved progress; raises TypeError where a field is not of the type of ``fresh``."""
    progress = Progress(**saved)
    for name, value in asdict(fresh).items():
        own = getattr(progress, name)
        if not isinstance(own, (int, float) if isinstance(value, float) else type(value)):
            raise TypeError(f"'{name}' is {type(own).__name__}")
    return progress


def _fresh_model(arch: Architecture, seed: int) -> LoopedModel:
    """A model with random weights; the embedding has unit variance after its scale."""
    torch.manual_seed(seed)
    model = LoopedModel(arch)
    with torch.no_grad():
        model.embed.weight.normal_(std=1 / arch.embedding_scale)
    return model


def _optimizer(model: LoopedModel, learning_rate: float) -> torch.optim.AdamW:
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), fused=True)
