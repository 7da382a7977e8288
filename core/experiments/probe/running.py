"""Run the probe: the same batch of prompts under every condition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.hops import VOCABULARY, chance_level, make_batch
from loopscope.core.experiments.probe.conditions import (
    EXCHANGED,
    OTHER_GROUP,
    OTHER_START,
    RANDOM,
    RUNS_ONCE,
    START,
    Condition,
    Cuts,
    Plan,
    conditions,
    too_few,
)
from loopscope.core.experiments.probe.results import Outcome, Probe
from loopscope.core.interventions.applied import AppliedInterventions
from loopscope.core.interventions.base import Source
from loopscope.core.measures.intervals import bootstrap_two_way
from loopscope.core.model.float64 import float64

F64 = npt.NDArray[np.float64]
Report = Callable[[float], None]
# Random starts that are tried to find a prompt another way to its right end.
OTHER_STARTS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Prompts of one length and their answers.

    tokens : int64 ``[B, T]``.  answers : int64 ``[B, n]``, read at the last ``n`` positions.
    chance : score of guessing.  task : what they are, in words.
    """

    tokens: Tensor
    answers: Tensor
    chance: float
    task: str


def hops_batch(loaded: Loaded, n: int, hops: tuple[int, ...], seed: int = 2_000_003) -> Batch:
    """Fresh pointer-chasing prompts on one 8-letter cycle, as many of each hop count as fit."""
    if loaded.architecture.vocab_size != len(VOCABULARY):
        raise LoopscopeError(
            f"{loaded.checkpoint.name} has {loaded.architecture.vocab_size} tokens; the task hops "
            f"is for models trained on it ({len(VOCABULARY)} tokens)"
        )
    counts = np.array([hops[i % len(hops)] for i in range(n)])
    drawn = make_batch(np.random.default_rng(seed), counts)
    chance = float(np.mean([chance_level(k, 8) for k in hops]))
    named = f"{min(hops)} to {max(hops)}" if len(hops) > 1 else str(hops[0])
    return Batch(
        torch.from_numpy(drawn.tokens), torch.from_numpy(drawn.answers), chance,
        f"hops, {named} hops over 8 letters",
    )  # fmt: skip


@dataclass(slots=True)
class _Runs:
    """The batch on the model's device, its uncut states, and how it is run with cuts."""

    loaded: Loaded
    batch: Batch
    e: Tensor
    states: list[Tensor]
    other: Tensor
    # Prompts that another start was found for which ends in the right answers, [B].
    other_right: F64

    def source(self, source: Source) -> Tensor:
        """The state of the batch that a `Source` of the probe names, ``[B, T, d]``."""
        if source.prompt == START:
            return self.states[0]
        if source.prompt == EXCHANGED:
            return self.states[source.recurrence].roll(1, 0)
        if source.prompt == OTHER_START:
            return self.other
        if source.prompt == RANDOM:
            rng = np.random.default_rng(source.seed)
            end = self.states[-1]
            g: Tensor = end.new_tensor(rng.standard_normal(tuple(end.shape), dtype=np.float32))
            length: Tensor = end.norm(dim=-1, keepdim=True) / g.norm(dim=-1, keepdim=True)
            return g * length
        raise LoopscopeError(f"the probe has no state '{source.prompt}'")

    def run(
        self, n: int, cuts: Cuts = (), start: Tensor | None = None, readout: bool = True
    ) -> tuple[list[Tensor], F64, F64]:
        """States ``s_0 .. s_n`` and scores ``[n, B]``, of the prompt and of its neighbour."""
        model = self.loaded.model
        applied = AppliedInterventions(model, cuts, self.source, measuring=False)
        state = applied.start(model.initial_state(self.e) if start is None else start)
        recurrent, states = model.begin(state), [state]
        own, donor = [], []
        answers = self.batch.answers.to(self.e.device)
        for r in range(1, n + 1):
            recurrent = applied.recur(recurrent, self.e, r)
            states.append(recurrent.state)
            if readout:
                top = model.readout(recurrent.state)[:, -answers.shape[1] :].argmax(-1)
                own.append(_share(top == answers))
                donor.append(_share(top == answers.roll(1, 0)))
        return states, np.array(own), np.array(donor)


@torch.inference_mode()
def probe(loaded: Loaded, batch: Batch, plan: Plan, report: Report = lambda share: None) -> Probe:
    """Run every condition; ``report`` is told the share done and may raise to cancel."""
    arch = loaded.architecture
    if arch.runs_once:
        raise LoopscopeError(RUNS_ONCE)
    if problem := too_few(plan.recurrences, arch.trained_recurrences):
        raise LoopscopeError(problem)
    if not 1 <= plan.mid < plan.late < plan.recurrences:
        raise LoopscopeError(
            f"the cuts after recurrences {plan.mid} and {plan.late} do not lie in order within "
            f"{plan.recurrences} recurrences"
        )
    runs = _begin(loaded, batch, plan)
    todo = conditions(arch, plan)
    longer = runs.run(2 * plan.recurrences)[1]
    total, done = sum(len(c.draws) for c in todo) + 4, 4
    report(done / total)
    found = []
    for condition in todo:
        scores, donors, moved = [], [], []
        for cuts in condition.draws:
            states, own, donor = runs.run(plan.recurrences, cuts)
            if condition.group.startswith(OTHER_GROUP):
                own[:, runs.other_right == 0] = np.nan
            scores.append(own)
            donors.append(donor)
            moved.append(_displacement(states, runs.states, condition))
            done += 1
            report(done / total)
        after = np.stack(scores)
        donor_scores = np.stack(donors) if condition.donor else None
        lost = bootstrap_two_way(longer[plan.recurrences - 1] - after[:, -1])
        found.append(Outcome(condition, after, donor_scores, np.stack(moved), lost))
    return Probe(
        checkpoint=loaded.checkpoint.name,
        weights_hash=loaded.weights_hash,
        task=batch.task,
        trained=arch.trained_recurrences,
        recurrences=plan.recurrences,
        mid=plan.mid,
        late=plan.late,
        chance=batch.chance,
        baseline=longer[: plan.recurrences],
        longer=longer,
        outcomes=tuple(found),
    )


def _begin(loaded: Loaded, batch: Batch, plan: Plan) -> _Runs:
    """Run the batch uncut, and from other starts until each prompt has a right end, if it can."""
    e = loaded.model.prelude(batch.tokens.to(loaded.device.device))
    runs = _Runs(loaded, batch, e, [], e, np.zeros(len(e)))
    runs.states = runs.run(plan.recurrences, readout=False)[0]
    runs.other = runs.states[-1].clone()
    size = runs.states[-1].float().square().mean().sqrt().to(e.dtype)
    for seed in range(OTHER_STARTS):
        rng = np.random.default_rng(seed + 1)
        start = e.new_tensor(rng.standard_normal(tuple(e.shape), dtype=np.float32)) * size
        states, own, _ = runs.run(plan.recurrences, start=start)
        new = (own[-1] == 1) & (runs.other_right == 0)
        runs.other[torch.from_numpy(new)] = states[-1][torch.from_numpy(new)]
        runs.other_right[new] = 1
        if runs.other_right.all():
            break
    return runs


def _displacement(cut: list[Tensor], uncut: list[Tensor], condition: Condition) -> F64:
    """``‖s' - s‖ / ‖s‖`` of each prompt's whole state where the cut first acts, ``[B]``."""
    r = condition.recurrence
    a, b = (float64(states[r]).flatten(1) for states in (uncut, cut))
    return np.asarray(((b - a).norm(dim=1) / a.norm(dim=1)).cpu().numpy())


def _share(right: Tensor) -> F64:
    return np.asarray(right.cpu().double().mean(1).numpy())
