"""The hops task as training asks it: graphs, hop counts, recurrences and targets."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from pointers import solved

from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.batches import Curriculum
from loopscope.core.experiments.hops import VOCABULARY, text_of
from loopscope.core.experiments.hops_batches import HopsTask
from loopscope.core.experiments.training_plan import (
    HopsData,
    Recurrences,
    TrainingPlan,
    plan_of,
)


def at(step: int, hops: int = 1, finishing_since: int = -1) -> Curriculum:
    return Curriculum(step, hops, 0.0, finishing_since, [])


# ---- what is drawn ----
def test_the_final_target_is_the_answer_and_the_anytime_target_the_pointer_on_its_way() -> None:
    batch = HopsTask(TrainingPlan(batch_size=5)).batch(at(3, hops=4))
    for row, tokens in enumerate(batch.tokens.numpy()):
        text = text_of(tokens)
        head, rest = text.split(" ? ")
        assert solved(text) == [VOCABULARY[t] for t in batch.target(None)[row]]
        k = int(rest[0])
        for r in (1, 2, k, k + 3):
            walked = solved(f"{head} ? {min(r, k)}{rest[1:]}")
            assert walked == [VOCABULARY[t] for t in batch.target(r)[row]]


def test_a_batch_asks_one_hop_count_half_of_the_time_the_newest() -> None:
    task = HopsTask(TrainingPlan(batch_size=1))
    counts = Counter(task.hop_count(at(i, hops=5)) for i in range(4000))
    assert set(counts) == {1, 2, 3, 4, 5}
    assert abs(counts[5] / 4000 - 0.5) < 4 * math.sqrt(0.25 / 4000)
    for k in (1, 2, 3, 4):
        assert abs(counts[k] / 4000 - 0.125) < 4 * math.sqrt(0.125 * 0.875 / 4000)
    # All alike where the curriculum is over, or where there is none.
    for plan, since in ((TrainingPlan(), 0), (TrainingPlan(data=HopsData(promote_at=0.0)), -1)):
        counts = Counter(HopsTask(plan).hop_count(at(i, 2, since)) for i in range(4000))
        assert set(counts) == {1, 2, 3, 4, 5, 6}
        assert max(abs(n / 4000 - 1 / 6) for n in counts.values()) < 0.025


def test_recurrences_are_those_of_the_rule() -> None:
    rng = np.random.default_rng(0)

    def drawn(rule: Recurrences, step: int = 0, finishing: bool = False) -> set[int]:
        return {rule.draw(rng, step, finishing, hops=3, max_hops=6) for _ in range(300)}

    assert drawn(Recurrences("hops")) == {3}
    assert drawn(Recurrences("hops", slack=3)) == {3, 4, 5, 6}
    widening = Recurrences("hops", slack=6, pace=800)
    assert drawn(widening, step=799) == {3}
    assert drawn(widening, step=1600) == {3, 4, 5}
    assert drawn(widening, step=80_000) == set(range(3, 10))
    kept = Recurrences("hops", slack=1, kept=0.5)
    exact = sum(kept.draw(rng, 0, False, 3, 6) == 3 for _ in range(4000)) / 4000
    assert abs(exact - 0.75) < 0.03  # half of the batches, and half of the others
    assert drawn(Recurrences("fixed")) == {6}
    uniform = Recurrences("drawn", most=4, finishing=7)
    assert drawn(uniform) == {1, 2, 3, 4}
    assert drawn(uniform, finishing=True) == set(range(1, 8))
    counts = Counter(uniform.draw(rng, 0, False, 1, 6) for _ in range(4000))
    assert max(abs(n / 4000 - 0.25) for n in counts.values()) < 0.03
    assert [r.longest(6) for r in (widening, Recurrences("fixed"), uniform)] == [12, 6, 7]


def test_every_arm_of_a_seed_sees_the_same_graphs_in_the_same_order() -> None:
    arms = [
        plan_of("walker", seed=3),
        plan_of("fixed", seed=3, passes=6),
        plan_of("anytime", seed=3),
        plan_of("walker", seed=3, recurrences=Recurrences("hops", slack=5)),
    ]
    for step in (0, 7, 1200):
        # One arm has learnt less than the others: the graphs are the same, the count is its own.
        batches = [HopsTask(p).batch(at(step, h)) for p, h in zip(arms, (1, 4, 4, 4), strict=True)]
        first = [text_of(t).split(" ? ")[0] for t in batches[0].tokens.numpy()]
        for batch in batches[1:]:
            assert [text_of(t).split(" ? ")[0] for t in batch.tokens.numpy()] == first
        assert torch.equal(batches[1].tokens, batches[2].tokens)
        assert torch.equal(batches[1].tokens, batches[3].tokens)
    other = HopsTask(plan_of("walker", seed=4)).batch(at(7, 4)).tokens
    assert not torch.equal(other, HopsTask(arms[0]).batch(at(7, 4)).tokens)


def test_a_finite_set_has_so_many_graphs_and_no_more() -> None:
    def graphs(examples: int) -> list[str]:
        task = HopsTask(TrainingPlan(batch_size=8, data=HopsData(examples=examples)))
        batches = [task.batch(at(i, hops=1 + i % 6)) for i in range(12)]
        # The queries belong to the example, the count asked does not.
        texts = [text_of(t) for b in batches for t in b.tokens.numpy()]
        return [t.split(" ? ")[0] + t.split(" : ")[1] for t in texts]

    endless, finite = graphs(0), graphs(32)
    assert len(set(endless)) == 96
    assert len(set(finite)) == 32
    assert finite[:32] == endless[:32] == finite[32:64] == finite[64:]
    with pytest.raises(LoopscopeError, match="not made of whole batches of 8"):
        graphs(12)


def test_graphs_are_of_all_sizes_and_half_of_them_one_cycle() -> None:
    task = HopsTask(TrainingPlan(batch_size=16))
    sizes, cycles = Counter(), []
    for step in range(400):
        tokens = task.batch(at(step)).tokens.numpy()
        n = tokens.shape[1] // 3 - 1
        sizes[n] += 1
        if n == 8:
            for row in tokens:
                edges = dict(zip(row[:16:2], row[1:16:2], strict=True))
                letter, length = row[0], 0
                while length == 0 or letter != row[0]:
                    letter, length = edges[letter], length + 1
                cycles.append(length == 8)
    assert set(sizes) == {3, 4, 5, 6, 7, 8}
    # Three quarters, and a sixth of the others: 0.79. A permutation of 8 is one cycle 1 in 8 times.
    assert abs(sizes[8] / 400 - 0.79) < 0.08
    assert abs(np.mean(cycles) - (0.5 + 0.5 / 8)) < 0.03
