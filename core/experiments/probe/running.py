"""Run the probe: the same batch of prompts under every condition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from loopscope.core.arrays import F64
from loopscope.core.checkpoint.devices import free_bytes
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
    Plan,
    conditions,
    too_few,
)
from loopscope.core.experiments.probe.memory import (
    check_memory,
    kept_recurrences,
    model_bytes,
    result_bytes,
)
from loopscope.core.interventions.applied import AppliedInterventions
from loopscope.core.interventions.base import Source
from loopscope.core.measures.intervals import two_way_mean
from loopscope.core.measures.probe import Condition, Cuts, Outcome, Probe
from loopscope.core.measures.readout import NO_ANSWER
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.float64 import float64
from loopscope.core.system import host_free_bytes

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
    """`fresh_batch` for a loaded model."""
    return fresh_batch(loaded.checkpoint.name, loaded.architecture, n, hops, seed)


def fresh_batch(
    name: str, arch: Architecture, n: int, hops: tuple[int, ...], seed: int = 2_000_003
) -> Batch:
    """Fresh pointer-chasing prompts on one 8-letter cycle, as many of each hop count as fit.

    Raises `LoopscopeError` for a model with another vocabulary than the task's.
    """
    if arch.vocab_size != len(VOCABULARY):
        raise LoopscopeError(
            f"{name} has {arch.vocab_size} tokens; the task hops "
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
    """The batch on the model's device, its uncut states, and how it is run with cuts.

    states : the uncut state after each recurrence of ``kept``.  end : after the last one.
    other : the end of a run from another start.  other_right : whether that ends in the right
        answers, 1 or 0 for each prompt, ``[B]``.
    check : called before every recurrence; raises to cancel.
    """

    loaded: Loaded
    batch: Batch
    e: Tensor
    kept: frozenset[int]
    check: Callable[[], None]
    states: dict[int, Tensor]
    end: Tensor
    other: Tensor
    other_right: F64

    def source(self, source: Source) -> Tensor:
        """The state of the batch that a `Source` of the probe names, ``[B, T, d]``.

        Raises `LoopscopeError` for a prompt that the probe does not have.
        """
        if source.prompt == START:
            return self.states[0]
        if source.prompt == EXCHANGED:
            return self.states[source.recurrence].roll(1, 0)
        if source.prompt == OTHER_START:
            return self.other
        if source.prompt == RANDOM:
            rng = np.random.default_rng(source.seed)
            end = self.end
            g: Tensor = end.new_tensor(rng.standard_normal(tuple(end.shape), dtype=np.float32))
            length: Tensor = end.norm(dim=-1, keepdim=True) / g.norm(dim=-1, keepdim=True)
            return g * length
        raise LoopscopeError(f"the probe has no state '{source.prompt}'")

    def run(
        self, n: int, cuts: Cuts = (), start: Tensor | None = None, readout: bool = True
    ) -> tuple[dict[int, Tensor], F64, F64]:
        """Run ``n`` recurrences.

        Returns the states of `kept` and of the last recurrence, and the scores ``[n, B]`` of each
        prompt's own answers and of its neighbour's.
        """
        tokens = self.batch.tokens.to(self.e.device)
        model = self.loaded.model.bound(tokens)
        applied = AppliedInterventions(model, cuts, self.source, measuring=False)
        state = applied.start(model.initial_state(self.e) if start is None else start)
        recurrent, states = model.begin(state), {0: state}
        own, donor = [], []
        answers = self.batch.answers.to(self.e.device)
        for r in range(1, n + 1):
            self.check()
            recurrent = applied.recur(recurrent, self.e, r)
            if r in self.kept or r == n:
                states[r] = recurrent.state
            if readout:
                logits = model.readout(recurrent.state)[:, -answers.shape[1] :]
                # NaN answers nothing, though `argmax` names a token.
                top = logits.argmax(-1).where(logits.isfinite().all(-1), NO_ANSWER)
                own.append(_share(top == answers))
                donor.append(_share(top == answers.roll(1, 0)))
        return states, np.array(own), np.array(donor)


class _Progress:
    """Counts runs of R recurrences and reports their share of all."""

    def __init__(self, runs: int, report: Report) -> None:
        self._runs, self._report = runs, report
        self._done = 0

    def add(self, runs: int = 1) -> None:
        """So many more runs are done."""
        self._done += runs
        self.check()

    def check(self) -> None:
        """Report the share done, which raises when nobody wants the rest."""
        self._report(self._done / self._runs)


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """What was measured under one condition; the fields are those of `Outcome`."""

    scores: F64
    donor: F64 | None
    displacement: F64


class Cutting:
    """A model with its batch, run uncut once, on which conditions are made one after the other.

    todo : every condition, in the order they are reported.

    Parameters
    ----------
    report
        Told the share of all conditions done before every recurrence; may raise to cancel.
    Raises `LoopscopeError` for what cannot be probed or does not fit into memory.
    """

    @torch.inference_mode()
    def __init__(
        self, loaded: Loaded, batch: Batch, plan: Plan, report: Report = lambda share: None,
    ) -> None:  # fmt: skip
        check_plan(loaded.architecture, plan)
        self.todo = conditions(loaded.architecture, plan)
        self._plan = plan
        _check_memory(loaded, batch, plan, self.todo)
        # The uncut run and its starts, and the longer one that counts twice.
        draws = sum(len(c.draws) for c in self.todo)
        self._progress = _Progress(1 + OTHER_STARTS + 2 + draws, report)
        self._runs = _begin(loaded, batch, plan, self.todo, self._progress)

    @torch.inference_mode()
    def longer(self) -> F64:
        """Scores of the uncut runs as far as twice R, ``[2 R, B]``."""
        found = self._runs.run(2 * self._plan.recurrences)[1]
        self._progress.add(2)
        return found

    @torch.inference_mode()
    def cut(self, condition: Condition) -> Cut:
        """Run every draw of one condition."""
        runs, scores, donors, moved = self._runs, [], [], []
        for cuts in condition.draws:
            states, own, donor = runs.run(self._plan.recurrences, cuts)
            if condition.group.startswith(OTHER_GROUP):
                own[:, runs.other_right == 0] = np.nan
            scores.append(own)
            donors.append(donor)
            moved.append(_displacement(states, runs.states, condition))
            self._progress.add()
        return Cut(np.stack(scores), np.stack(donors) if condition.donor else None, np.stack(moved))


def check_plan(arch: Architecture, plan: Plan) -> None:
    """Raise `LoopscopeError` for a model or a plan that cannot be probed."""
    if arch.runs_once:
        raise LoopscopeError(RUNS_ONCE)
    if problem := too_few(plan.recurrences, arch.trained_recurrences):
        raise LoopscopeError(problem)
    if not 1 <= plan.mid < plan.late < plan.recurrences:
        raise LoopscopeError(
            f"the cuts after recurrences {plan.mid} and {plan.late} do not lie in order within "
            f"{plan.recurrences} recurrences"
        )


def probe(loaded: Loaded, batch: Batch, plan: Plan, report: Report = lambda share: None) -> Probe:
    """Run every condition.

    ``report`` is told the share done before every recurrence and may raise to cancel. Raises
    `LoopscopeError` for what cannot be probed or does not fit into memory.
    """
    cutting = Cutting(loaded, batch, plan, report)
    longer = cutting.longer()
    cuts = [(condition, cutting.cut(condition)) for condition in cutting.todo]
    trained = loaded.architecture.trained_recurrences
    return put_together(
        loaded.checkpoint.name, loaded.weights_hash, trained, batch, plan, longer, cuts
    )


def put_together(
    name: str, weights: str, trained: int, batch: Batch, plan: Plan, longer: F64,
    cuts: list[tuple[Condition, Cut]],
) -> Probe:  # fmt: skip
    """The whole probe, of what was measured under each condition."""
    outcomes = []
    for condition, own in cuts:
        lost = two_way_mean(longer[plan.recurrences - 1] - own.scores[:, -1])
        outcomes.append(Outcome(condition, own.scores, own.donor, own.displacement, lost))
    return Probe(
        checkpoint=name,
        weights_hash=weights,
        task=batch.task,
        trained=trained,
        recurrences=plan.recurrences,
        mid=plan.mid,
        late=plan.late,
        chance=batch.chance,
        baseline=longer[: plan.recurrences],
        longer=longer,
        outcomes=tuple(outcomes),
    )


@torch.inference_mode()
def accuracy_lost(loaded: Loaded, batch: Batch, plan: Plan, condition: Condition) -> F64:
    """`LOST` of every prompt under one condition, mean over its draws: float64 ``[B]``.

    NaN for a prompt that the cut cannot be made on. The numbers are those that `probe` finds for
    the condition; nothing else is run. Raises `LoopscopeError` where it does not fit into memory.
    """
    todo = [condition]
    _check_memory(loaded, batch, plan, todo)
    others = condition.group.startswith(OTHER_GROUP)
    runs = _begin(loaded, batch, plan, todo, _Progress(1, lambda share: None), others)
    uncut = runs.run(plan.recurrences)[1][-1]
    lost = []
    for cuts in condition.draws:
        own = runs.run(plan.recurrences, cuts)[1][-1]
        if others:
            own = np.where(runs.other_right == 0, np.nan, own)
        lost.append(uncut - own)
    return np.asarray(np.mean(lost, axis=0))


def _check_memory(loaded: Loaded, batch: Batch, plan: Plan, todo: list[Condition]) -> None:
    prompts, tokens = batch.tokens.shape
    item = next(loaded.model.parameters()).element_size()
    check_memory(
        model_bytes(loaded.architecture, plan, todo, prompts, tokens, item),
        result_bytes(plan, todo, prompts),
        free_bytes(loaded.device.device),
        host_free_bytes(),
        one_memory=loaded.device.device.type != "cuda",
    )


def _begin(
    loaded: Loaded,
    batch: Batch,
    plan: Plan,
    todo: list[Condition],
    progress: _Progress,
    others: bool = True,
) -> _Runs:
    """Run the batch uncut, and from other starts until each prompt has a right end, if it can.

    Without ``others`` no other start is tried.
    """
    progress.check()
    e = loaded.model.prelude(batch.tokens.to(loaded.device.device))
    kept, none = kept_recurrences(plan, todo), np.zeros(len(e))
    runs = _Runs(loaded, batch, e, kept, progress.check, {}, e, e, none)
    runs.states = runs.run(plan.recurrences, readout=False)[0]
    runs.end = runs.states[plan.recurrences]
    runs.other = runs.end.clone()
    progress.add()
    size = runs.end.float().square().mean().sqrt().to(e.dtype)
    for seed in range(OTHER_STARTS if others else 0):
        rng = np.random.default_rng(seed + 1)
        start = e.new_tensor(rng.standard_normal(tuple(e.shape), dtype=np.float32)) * size
        states, own, _ = runs.run(plan.recurrences, start=start)
        new = (own[-1] == 1) & (runs.other_right == 0)
        runs.other[torch.from_numpy(new)] = states[plan.recurrences][torch.from_numpy(new)]
        runs.other_right[new] = 1
        progress.add()
        if runs.other_right.all():
            progress.add(OTHER_STARTS - seed - 1)  # no other start is needed
            break
    return runs


def _displacement(cut: dict[int, Tensor], uncut: dict[int, Tensor], condition: Condition) -> F64:
    """``‖s' - s‖ / ‖s‖`` of each prompt's whole state where the cut first acts, ``[B]``."""
    r = condition.recurrence
    a, b = (float64(states[r]).flatten(1) for states in (uncut, cut))
    return np.asarray(((b - a).norm(dim=1) / a.norm(dim=1)).cpu().numpy())


def _share(right: Tensor) -> F64:
    return np.asarray(right.cpu().double().mean(1).numpy())
