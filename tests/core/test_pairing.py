"""Which place of one run stands for which place of another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loopscope.core.experiments.architectures import twin_architecture
from loopscope.core.model.loop_span import with_loop
from loopscope.core.run.pairing import Pairing

LOOPED, DEEP = twin_architecture("looped", 6), twin_architecture("deep", 6)
# The same deep model with all of its layers in the block, as published checkpoints are read.
WHOLE = replace(DEEP, n_prelude=0, n_block=14, n_coda=0)


def test_a_looped_and_a_deep_model_go_together_by_effective_depth() -> None:
    pair = Pairing(LOOPED, DEEP)
    assert [pair.layers(n) for n in (0, 1, 2, 11, 12, 13, 40)] == [0, 1, 2, 11, 12, 12, 12]
    assert [pair.place(r, layer) for r, layer in ((1, 0), (1, 1), (2, 0), (6, 1), (9, 0))] == [
        (1, 0), (1, 1), (1, 2), (1, 11), (1, 11),
    ]  # fmt: skip
    assert [pair.back(1, j) for j in (0, 1, 2, 11)] == [(1, 0), (1, 1), (2, 0), (6, 1)]
    assert pair.place(0, 1) == (0, 0)


def test_the_prelude_counts_as_depth() -> None:
    pair = Pairing(LOOPED, WHOLE)
    assert pair.layers(0) == 1  # the looped model's prelude is the deep one's layer 0
    assert pair.place(1, 0) == (1, 1)
    assert pair.back(1, 0) == (0, 0)  # no layer of the loop does what the prelude does
    assert pair.back(1, 1) == (1, 0)
    assert pair.layers(12) == 13
    assert pair.layers(13) == 14
    assert pair.layers(14) == 14


def test_recurrence_by_recurrence_the_ends_go_together() -> None:
    four = replace(LOOPED, n_block=4)
    pair = Pairing(LOOPED, four, "recurrence")
    assert [pair.layers(n) for n in (0, 1, 2, 3, 4)] == [0, 2, 4, 6, 8]
    assert [pair.place(3, layer) for layer in (0, 1)] == [(3, 1), (3, 3)]
    assert [pair.back(3, layer) for layer in (0, 1, 2, 3)] == [(3, 0), (3, 0), (3, 1), (3, 1)]


@pytest.mark.parametrize("step_pairing", ["depth", "recurrence"])
def test_two_runs_of_one_model_are_at_the_same_place(step_pairing: str) -> None:
    pair = Pairing(LOOPED, LOOPED, step_pairing)  # type: ignore[arg-type]
    for done in range(9):
        assert pair.layers(done) == done
    for r, layer in ((1, 0), (1, 1), (5, 0), (5, 1)):
        assert pair.place(r, layer) == pair.back(r, layer) == (r, layer)


def test_at_its_own_pace_nothing_follows() -> None:
    assert Pairing(LOOPED, DEEP, "own").layers(7) is None


def test_a_span_looped_without_damping_is_not_run_once() -> None:
    span = with_loop(WHOLE, 3, 5, 1.0)
    pair = Pairing(LOOPED, span)
    assert pair.most == float("inf")
    assert pair.layers(40) == 38
    assert pair.place(6, 1) == (5, 1)
