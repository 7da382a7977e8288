"""The tree of runs without a model: order, names, deleting, what is dropped."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from recordings import synthetic_recording

from loopscope.app.bench import run_tree
from loopscope.app.bench.run_tree import Change, History, Run, RunTree
from loopscope.core.interventions.base import END, Source
from loopscope.core.interventions.states import Noise
from loopscope.core.run.requests import RunRequest

REQUEST = RunRequest("p")


class Stepper:
    """A run of which nothing is asked."""


def add(tree: RunTree, parent: Run | None = None) -> Run:
    return tree.add(Stepper(), REQUEST, parent)


def names(tree: RunTree) -> list[str]:
    return [run.name for run in tree]


def test_a_run_comes_before_its_branches_and_roots_in_order() -> None:
    tree = RunTree()
    first, second = add(tree), add(tree)
    branch = add(tree, first)
    add(tree, second)
    add(tree, branch)
    assert names(tree) == ["run 1", "branch 1", "branch 3", "run 2", "branch 2"]
    assert [run.name for run in tree.branch_of(first)] == ["run 1", "branch 1", "branch 3"]
    assert tree.find(branch.id) is branch
    assert tree.of(branch.stepper) is branch
    assert tree.find(99) is None
    assert tree.of(Stepper()) is None


def test_what_is_removed_comes_back_where_it_was() -> None:
    tree = RunTree()
    first = add(tree)
    branch = add(tree, first)
    add(tree)
    add(tree, branch)
    before = names(tree)
    removed = tree.remove(branch)
    assert names(tree) == ["run 1", "run 2"]
    tree.restore(removed)
    assert names(tree) == before


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_tree, "KEPT_RUNS", 3)


def test_two_dozen_runs_are_kept() -> None:
    tree = RunTree()
    runs = [add(tree) for _ in range(25)]
    assert tree.drop_surplus([runs[-1]]) == runs[:1]


def test_the_oldest_are_dropped_beyond_the_number_kept(few: None) -> None:
    tree = RunTree()
    runs = [add(tree) for _ in range(5)]
    assert tree.drop_surplus([runs[4]]) == runs[:2]
    assert tree.runs == runs[2:]
    assert tree.drop_surplus([runs[4]]) == []


def test_a_named_run_is_never_dropped(few: None) -> None:
    tree = RunTree()
    runs = [add(tree) for _ in range(5)]
    runs[0].named = runs[2].named = True
    assert tree.drop_surplus([]) == [runs[1], runs[3]]
    assert tree.runs == [runs[0], runs[2], runs[4]]


def test_named_runs_alone_may_be_more_than_are_kept(few: None) -> None:
    tree = RunTree()
    for _ in range(5):
        add(tree).named = True
    assert tree.drop_surplus([]) == []
    assert len(tree) == 5


def test_runs_shown_their_parents_and_parents_of_branches_stay(few: None) -> None:
    tree = RunTree()
    root = add(tree)
    middle = add(tree, root)
    shown = add(tree, middle)
    other = add(tree)
    leaf = add(tree, other)
    assert tree.drop_surplus([shown]) == [leaf, other]  # a parent goes after its branch
    assert tree.runs == [root, middle, shown]


def run_of(interventions: tuple[Any, ...] = (), parent: Run | None = None, **info: Any) -> Run:
    recording = synthetic_recording(recurrences=3)
    recording.info = replace(recording.info, interventions=interventions, **info)
    return Run(1, SimpleNamespace(recording=recording), REQUEST, parent)


def test_a_run_is_described_by_what_sets_it_apart() -> None:
    noise = Noise(recurrence=2, last=2, layer=END, size=0.5, seed=3)
    root = run_of(start="random", seed=7)
    assert root.description == "a b c d e, seed 7"
    branch = run_of((noise,), root)
    assert branch.description == noise.describe(root.stepper.recording.info.architecture.layer_name)
    again = run_of((noise,))
    assert again.description == f"a b c d e; {branch.description}"


def test_a_place_is_told_as_data_and_only_where_it_can_be_made_again() -> None:
    run = run_of(start="random", seed=7, start_scale=2.0)
    source = run.source(3, 1)
    assert source == Source(
        token_ids=(0, 1, 2, 3, 4), prompt="a b c d e", seed=7, start="random", start_scale=2.0,
        recurrence=3, layer=1, interventions=(),
    )  # fmt: skip
    assert run.source(4, 0) is None
    assert run.source(-1, 0) is None
    assert run_of(start="given").source(1, 0) is None


def test_changes_are_undone_and_redone_in_order() -> None:
    history, done = History(), []
    for name in ("a", "b"):
        history.note(
            Change(name, lambda n=name: done.append("-" + n), lambda n=name: done.append("+" + n))
        )
    assert [history.undo().text, history.undo().text, history.undo()] == ["b", "a", None]
    assert [history.redo().text, history.redo().text, history.redo()] == ["a", "b", None]
    assert done == ["-b", "-a", "+a", "+b"]
    history.undo()
    history.note(Change("c", lambda: None, lambda: None))
    assert history.redo() is None  # what was undone before a new change is gone
    assert [change.text for change in history.done] == ["a", "c"]
