"""The runs of a study, each with a name that stays the same wherever and whenever it is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from itertools import product

from loopscope.core.interventions.base import Intervention
from loopscope.core.interventions.registry import as_json
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.sweeps.study import OpenedStudy, StudyCheckpoint, StudyStart

# What is measured of a run: (measure, R).
Wanted = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the grid.

    key : digest of all that decides its numbers but the weights, whose hash the store keeps.
    has_answers : whether the prompt's file gives answers, to this prompt or to another.
    wanted : what is measured of it, in order.
    record : recurrences to which it is kept as a recording, 0 for not.
    """

    key: str
    prompts: str
    item: Item
    has_answers: bool
    seed: int
    start: StudyStart
    intervention: str
    cuts: tuple[Intervention, ...]
    wanted: Wanted = ()
    record: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is given at a time: runs of one checkpoint.

    weights : hash that the checkpoint had before, or "".  every_place : see `Study.places`.
    """

    checkpoint: StudyCheckpoint
    runs: tuple[Run, ...]
    every_place: bool
    weights: str = ""

    @property
    def n_cells(self) -> int:
        """Measures × lengths over its runs."""
        return sum(len(run.wanted) for run in self.runs)

    def alone(self) -> Iterator[Task]:
        """A task for each of its runs."""
        return (replace(self, runs=(run,)) for run in self.runs)


def runs_of(opened: OpenedStudy, checkpoint: StudyCheckpoint) -> Iterator[Run]:
    """Every run of one checkpoint, prompts innermost."""
    s = opened.study
    wanted = tuple((measure, r) for measure in s.measures for r in s.R)
    for own, start, seed, prompts in product(
        s.interventions, s.starts, s.seeds, opened.prompt_sets
    ):
        cuts = as_json(own.cuts)
        for item in prompts.items:
            key = _key(opened, checkpoint, prompts, item, [seed, start.label, cuts])
            record = max(
                (
                    chosen.R
                    for chosen in s.recordings
                    if chosen.chooses(checkpoint.name, prompts.name, item.line, seed, own.name)
                ),
                default=0,
            )
            yield Run(
                key, prompts.name, item, prompts.has_answers, seed, start, own.name, own.cuts,
                wanted, record,
            )  # fmt: skip


def _key(
    opened: OpenedStudy, own: StudyCheckpoint, prompts: PromptSet, item: Item, rest: list[object]
) -> str:
    how = [own.name, own.dtype, own.loop, own.damping, own.family, opened.study.places]
    what = [prompts.name, prompts.has_answers, item.line, item.text, item.answer]
    text = json.dumps([how, what, rest], ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def tasks_of(
    opened: OpenedStudy,
    done: dict[str, set[tuple[str, int]]],
    weights: dict[str, str],
    recorded: Set[str] = frozenset(),
) -> Iterator[Task]:
    """What is left to do, checkpoint by checkpoint; ``done`` is by the run's key.

    ``recorded`` are the keys of the runs whose recording is there.

    Prompts of one task differ in nothing else.
    """
    most, every_place = opened.study.prompts_per_task, opened.study.places == "all"
    for checkpoint in opened.study.checkpoints:
        left: list[Run] = []
        for run in runs_of(opened, checkpoint):
            had = done.get(run.key, set())
            wanted = tuple(cell for cell in run.wanted if cell not in had)
            record = 0 if run.key in recorded else run.record
            if not wanted and not record:
                continue
            if left and (len(left) == most or _group(left[0]) != _group(run)):
                yield Task(checkpoint, tuple(left), every_place, weights.get(checkpoint.name, ""))
                left = []
            left.append(replace(run, wanted=wanted, record=record))
        if left:
            yield Task(checkpoint, tuple(left), every_place, weights.get(checkpoint.name, ""))


def _group(run: Run) -> tuple[object, ...]:
    return run.intervention, run.start, run.seed, run.prompts
