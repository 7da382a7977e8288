"""Train the native looped transformer on pointer chasing: `loopscope train hops`.

The hop count starts at 1 and rises by one when the newest count is answered well enough (all
counts at once do not leave the plateau). The recurrence count R is drawn anew for each batch and
the loss is taken at the last two recurrences, so that the answer must be there early *and* stay.
The target is an anytime one: after r recurrences, the pointer min(r, hops) hops on. It tells the
model to walk one hop a recurrence, which a target of the final answer alone does not, and it is
what makes counts beyond three learnable: *the walk of the bundled model is taught, not found*.
The learning rate is constant while the hop count rises and falls along a cosine in the finishing
phase, which also draws from a wider range of recurrences so that the state learns to settle, and
from all hop counts, also those that the curriculum had not reached.
AdamW, betas 0.9 and 0.98, weight decay 0.05, gradient norm clipped at 1.

The *twins* of a looped model are trained by the same steps on the same draws: a deep model, whose
passes through layers of their own take the place of recurrences, and a shallow one, which has the
looped model's layers and a single pass. The last pass of either is asked for the final answer.

Everything that the next step depends on (weights, optimiser moments, random generator, curriculum)
is in the training state, so a killed training resumes with the step it would have made.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.hops import VOCABULARY, make_batch
from loopscope.core.experiments.twin_results import Kind
from loopscope.core.families.native import config_of
from loopscope.core.model.architecture import Architecture, LayerShape, Rope
from loopscope.core.model.looped_model import LoopedModel

STATE_FILE = "training-state.pt"


def default_architecture(
    *,
    d_model: int = 64,
    n_block: int = 2,
    trained_recurrences: int = 20,
    injection: Literal["concat", "add", "none"] = "concat",
    state_norm: bool = True,
) -> Architecture:
    """Return the bundled model's architecture, or one of another size or with something left out.

    Without injection the state starts at the embedded prompt, as nothing else tells it of that.
    """
    heads = 4
    layer = LayerShape(
        d_model,
        heads,
        heads,
        d_model // heads,
        4 * d_model,
        activation="gelu",
        gated=False,
        rope=Rope(theta=100.0),
    )
    return Architecture(
        family="native",
        vocab_size=len(VOCABULARY),
        layer=layer,
        n_prelude=1,
        n_block=n_block,
        n_coda=1,
        trained_recurrences=trained_recurrences,
        max_positions=256,
        norm_eps=1e-6,
        embedding_scale=35.0,
        injection=injection,
        closing_norm=state_norm,
        initial_state="embedding" if injection == "none" else "zeros",
    )


def twin_architecture(
    kind: Kind,
    passes: int,
    *,
    d_model: int = 64,
    n_block: int = 2,
    trained_recurrences: int = 20,
) -> Architecture:
    """Return the looped model's architecture or that of one of its twins.

    "deep" has the effective depth of the looped model at ``passes`` recurrences with weights of
    its own in every layer, as a feedforward transformer: no injection, no norm between passes.
    "shallow" is the looped model, parameter for parameter, trained for one pass.
    """
    if kind == "deep":
        return default_architecture(
            d_model=d_model,
            n_block=passes * n_block,
            trained_recurrences=1,
            injection="none",
            state_norm=False,
        )
    trained = 1 if kind == "shallow" else trained_recurrences
    return default_architecture(d_model=d_model, n_block=n_block, trained_recurrences=trained)


@dataclass(slots=True)
class TrainingPlan:
    """What a training is asked to do.

    minutes : of this process and its forerunners together.
    steps : when above 0 the length in optimiser steps instead, the same on any machine.
    passes : 0 where the block may run as often as is drawn; else the model has this many passes
        (1 for a shallow one, the block's layers divided among them for a deep one), more than
        that are drawn as that many, and the last is asked for the final answer.
    """

    seed: int = 0
    minutes: float = 90.0
    steps: int = 0
    max_hops: int = 6
    batch_size: int = 64
    learning_rate: float = 1e-3
    n_letters: int = 8
    rising_recurrences: int = 12
    finishing_recurrences: int = 20
    finishing_share: float = 0.35
    promote_at: float = 0.93
    passes: int = 0


@dataclass(slots=True)
class Progress:
    """Where a training stands after a step; `accuracy` is a running mean on the newest count."""

    step: int
    minutes: float
    hops: int
    loss: float
    accuracy: float
    learning_rate: float
    finishing: bool


class Training:
    """A resumable training of one native model into one folder."""

    def __init__(self, folder: Path, plan: TrainingPlan, arch: Architecture) -> None:
        if arch.deep and (not plan.passes or arch.n_block % plan.passes):
            raise LoopscopeError(
                f"a deep model of {arch.n_block} layers cannot be trained in {plan.passes} passes"
            )
        self.folder, self.plan, self.arch = folder, plan, arch
        torch.manual_seed(plan.seed)
        self.rng = np.random.default_rng(plan.seed)
        self.model = LoopedModel(arch)
        with torch.no_grad():
            # Unit variance after the embedding scale.
            self.model.embed.weight.normal_(std=1 / arch.embedding_scale)
        decay = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
            lr=plan.learning_rate,
            betas=(0.9, 0.98),
        )
        self.progress = Progress(0, 0.0, 1, math.log(len(VOCABULARY)), 0.0, 0.0, False)
        # When the finishing phase began and how long it is, in the unit of `spent`.
        self.finishing_since = math.nan
        self.finishing_length = math.nan
        if (folder / STATE_FILE).exists():
            self._resume()

    # ---- state on disk ----
    def _resume(self) -> None:
        saved: dict[str, Any] = torch.load(self.folder / STATE_FILE, weights_only=True)
        if saved["config"] != config_of(self.arch):
            raise LoopscopeError(
                f"{self.folder / STATE_FILE} is a training of another architecture; "
                "choose another folder, or the same sizes"
            )
        if saved["plan"]["seed"] != self.plan.seed:
            raise LoopscopeError(
                f"{self.folder / STATE_FILE} was begun with seed {saved['plan']['seed']}, "
                f"not {self.plan.seed}; choose another folder, or the same seed"
            )
        if saved["plan"].get("passes", 0) != self.plan.passes:
            raise LoopscopeError(
                f"{self.folder / STATE_FILE} was begun with {saved['plan'].get('passes', 0)} "
                f"passes, not {self.plan.passes}; choose another folder, or the same number"
            )
        if bool(saved["plan"].get("steps")) != bool(self.plan.steps):
            raise LoopscopeError(
                f"{self.folder / STATE_FILE} counts its length in "
                f"{'steps' if saved['plan'].get('steps') else 'minutes'}; resume it so"
            )
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.rng.bit_generator.state = saved["rng"]
        self.progress = Progress(**saved["progress"])
        self.finishing_since = saved["finishing_since"]
        self.finishing_length = saved["finishing_length"]

    def save(self) -> None:
        """Write the training state; the old one is replaced only by a complete new one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / (STATE_FILE + ".part")
        torch.save(
            {
                "config": config_of(self.arch),
                "plan": asdict(self.plan),
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "rng": self.rng.bit_generator.state,
                "progress": asdict(self.progress),
                "finishing_since": self.finishing_since,
                "finishing_length": self.finishing_length,
            },
            part,
        )
        os.replace(part, self.folder / STATE_FILE)

    # ---- steps ----
    @property
    def spent(self) -> float:
        """Steps or minutes used so far, whichever the plan counts."""
        return self.progress.step if self.plan.steps else self.progress.minutes

    @property
    def budget(self) -> float:
        """Steps or minutes to use in all."""
        return self.plan.steps or self.plan.minutes

    def _schedule(self) -> float:
        """Set and return the learning rate; enters the finishing phase when it is due."""
        plan, p = self.plan, self.progress
        learnt = p.hops >= plan.max_hops and p.accuracy >= plan.promote_at
        due = self.spent >= (1 - plan.finishing_share) * self.budget
        if not p.finishing and (due or learnt):
            p.finishing = True
            p.hops = plan.max_hops
            self.finishing_since = self.spent
            # Learnt early: the same share of the time, from here.
            self.finishing_length = min(
                self.budget - self.spent, max(plan.finishing_share * self.budget, 1e-3)
            )
        rate = plan.learning_rate * min(1.0, (p.step + 1) / 100)
        if p.finishing:
            done = min(1.0, (self.spent - self.finishing_since) / self.finishing_length)
            rate *= 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def step(self) -> Progress:
        """Make one optimiser step and return where the training stands."""
        started = time.perf_counter()
        plan, p = self.plan, self.progress
        p.learning_rate = self._schedule()
        b = plan.batch_size
        newest = self.rng.random(b) < 0.5
        hops = np.where(newest, p.hops, self.rng.integers(1, p.hops + 1, b))
        n = plan.n_letters
        if self.rng.random() < 0.25:
            n = int(self.rng.integers(3, plan.n_letters + 1))
        batch = make_batch(self.rng, hops, n_letters=n, cycle=self.rng.random(b) < 0.5)
        most = plan.finishing_recurrences if p.finishing else plan.rising_recurrences
        n_passes = int(self.rng.integers(1, most + 1))
        if plan.passes:
            n_passes = min(n_passes, plan.passes)

        model = self.model
        ends = self._ends(torch.from_numpy(batch.tokens), n_passes)
        logits = model.readout(torch.cat(ends))[:, -n:]
        read_at = range(n_passes - len(ends) + 1, n_passes + 1)
        targets = [batch.answers if r == plan.passes else batch.target(r) for r in read_at]
        answers = torch.cat([torch.from_numpy(target) for target in targets])
        loss = F.cross_entropy(logits.flatten(0, 1), answers.flatten())
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.optimizer.step()

        right = (logits[-b:].argmax(-1) == answers[-b:]).float().mean(1).detach().numpy()
        newest_right = float(right[hops == p.hops].mean()) if (hops == p.hops).any() else p.accuracy
        if n == plan.n_letters:
            p.accuracy += 0.03 * (newest_right - p.accuracy)
        p.loss = float(loss.detach())
        p.step += 1
        p.minutes += (time.perf_counter() - started) / 60
        if p.accuracy >= plan.promote_at and p.hops < plan.max_hops:
            p.hops += 1
            p.accuracy = 0.0
        return p

    def _ends(self, tokens: Tensor, n_passes: int) -> list[Tensor]:
        """States ``[B, T, d]`` after the last two of ``n_passes`` (or the only one)."""
        model, arch = self.model, self.arch
        e = model.prelude(tokens)
        recurrent, ends = model.begin(model.initial_state(e)), []
        x, per_pass = recurrent.state, arch.n_block // max(self.plan.passes, 1)
        for done in range(1, n_passes + 1):
            if arch.deep:
                for layer in range((done - 1) * per_pass, done * per_pass):
                    x = model.run_layer(x, layer).state
            else:
                recurrent = model.recur(recurrent, e)
                x = recurrent.state
            if done >= n_passes - 1:
                ends.append(x)
        return ends

    def run(self, report: Callable[[Progress], None], save_every: float = 60.0) -> None:
        """Train until the time is used; saves every ``save_every`` seconds and at the end."""
        saved = time.monotonic()
        while self.spent < self.budget and not self._finished():
            report(self.step())
            if time.monotonic() - saved > save_every:
                self.save()
                saved = time.monotonic()
        self.save()

    @property
    def share_done(self) -> float:
        """Share of the training's time that is used, 0 to 1."""
        p = self.progress
        if p.finishing:
            start = min(self.finishing_since, self.budget)
            total = start + self.finishing_length
            return min(1.0, self.spent / total)
        return min(1.0, self.spent / self.budget)

    def _finished(self) -> bool:
        p = self.progress
        return p.finishing and self.spent >= self.finishing_since + self.finishing_length
