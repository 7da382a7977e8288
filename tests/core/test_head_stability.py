"""When heads are stable and how that goes with settling, against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from recordings import synthetic_recording
from scipy.stats import pearsonr, spearmanr

from loopscope.core.measures.base import measure
from loopscope.core.measures.head_stability import (
    ABOVE_FLOOR,
    correlate,
    rank_correlation,
    stable_since,
)
from loopscope.core.measures.registry import MEASURES
from loopscope.core.measures.settling import relative_floor
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.states import LayerState
from loopscope.core.selection import Selection
from loopscope.core.views.heads import Options, compute, table

nan = float("nan")


# ---- stable since ----
@pytest.mark.parametrize(
    ("changes", "since"),
    [
        ([nan, 1.0, 0.01, 0.02], 3),
        ([nan, 0.01, 1.0, 0.02], 4),  # it was calm before, and moved again
        ([nan, 0.01, 0.02, 0.05], 0),  # below, not at, the tolerance
        ([nan, 0.01, 0.01, 0.01], 2),
        ([nan, 0.01, nan, 0.01], 4),
        ([nan, 0.01, 0.01, nan], 0),
        ([nan], 0),
        ([], 0),
    ],
)
def test_stable_since_by_hand(changes: list[float], since: int) -> None:
    assert stable_since(np.array(changes), 0.05) == since


def test_stable_since_of_many() -> None:
    changes = np.random.default_rng(0).uniform(size=(9, 3, 4))
    found = stable_since(changes, 0.6)
    for at in np.ndindex(3, 4):
        rows = [r + 1 for r in range(9) if (changes[r:, *at] < 0.6).all()]
        assert found[at] == (rows[0] if rows else 0)


# ---- correlations ----
def test_correlation_leaves_out_what_is_near_the_floor() -> None:
    rng = np.random.default_rng(1)
    steps = np.exp(rng.normal(size=(20, 3)))
    changes = steps**1.3 * np.exp(0.2 * rng.normal(size=(20, 3)))
    floor = float(np.quantile(steps, 0.3)) / ABOVE_FLOOR
    kept = steps > ABOVE_FLOOR * floor
    r, n = correlate(steps, changes, floor)
    assert n == kept.sum()
    assert r == pytest.approx(pearsonr(np.log(steps[kept]), np.log(changes[kept]))[0])
    changes[4, 1] = 0  # no logarithm
    steps[5, 0] = nan
    assert correlate(steps, changes, 0.0)[1] == 58


def test_ranks_are_spearmans() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(1, 9, size=(2, 40))
    rho, n = rank_correlation(a, b)
    assert n == 40
    assert rho == pytest.approx(spearmanr(a, b)[0])
    a[:30] = 0  # not yet
    rho, n = rank_correlation(a, b)
    assert n == 10
    assert rho == pytest.approx(spearmanr(a[30:], b[30:])[0])


def test_correlations_that_do_not_exist() -> None:
    assert np.isnan(correlate(np.ones((4, 2)), np.ones((4, 2)), 0.0)[0])
    assert np.isnan(correlate(np.ones((1, 2)), np.ones((1, 2)), 0.0)[0])
    assert np.isnan(rank_correlation(np.array([3, 4, 5]), np.array([7, 7, 7]))[0])
    assert rank_correlation(np.array([3, 0]), np.array([1, 2]))[1] == 1


# ---- the view ----
def run(n: int = 30) -> Recording:
    """Two layers that settle at rates 0.5 and 0.8, and their heads with them; one never does."""
    like = synthetic_recording(recurrences=0, n_block=2, tokens=4, d=4, heads=2)
    rng = np.random.default_rng(3)
    start, end = (p / p.sum(-1, keepdims=True) for p in
                  (np.tril(rng.uniform(0.1, 1, size=(4, 4))) for _ in range(2)))  # fmt: skip
    recording = Recording(like.info, like.states[0], Capture(True, False, False))
    for i in range(1, n + 1):
        for layer, rate in enumerate((0.5, 0.8)):
            mix = rate**i
            calm = mix * start + (1 - mix) * end
            restless = calm if layer == 0 else (start if i % 2 else end)
            state = 3 + mix * np.ones((4, 4))
            patterns = np.stack([calm, restless]).astype(np.float32)
            recording.append_layer(LayerState(i, layer, state.astype(np.float32), patterns))
        recording.append_end(state.astype(np.float32), None, None)
    return recording


def test_the_view_says_since_when_heads_are_stable() -> None:
    recording = run()
    data = compute(recording, Selection(), Options(tolerance=0.05))
    changes = measure(recording, MEASURES["head_change"]).values
    assert data.stability.since.tolist() == stable_since(changes, 0.05).tolist()
    # ||A_r - A_{r-1}|| = (1 / rate - 1) rate^r ||start - end||, in closed form.
    size = np.linalg.norm(recording.patterns[0, 0, 0] - recording.patterns[-1, 0, 0]) / 0.5
    for layer, rate in enumerate((0.5, 0.8)):
        r = np.arange(2, 31)
        first = r[(1 / rate - 1) * rate**r * size < 0.05][0]
        assert data.stability.since[layer, 0] == first
    assert data.stability.since[1, 1] == 0
    assert data.since_text(1, 1) == "not yet"
    assert "3 of 4 heads stable (change below 0.05)" in data.statement
    assert f"the last since recurrence {data.stability.since.max()}" in data.statement
    looser = compute(recording, Selection(), Options(tolerance=10.0))
    assert looser.stability.since.tolist() == [[2, 2], [2, 2]]


def test_the_view_says_how_stability_goes_with_settling() -> None:
    recording = run()
    data = compute(recording, Selection(), Options(tolerance=0.005))
    s = data.stability
    steps = np.median(measure(recording, MEASURES["layer_relative_step"]).values, axis=2)
    changes = measure(recording, MEASURES["head_change"]).values.mean(-1)
    kept = (steps > ABOVE_FLOOR * relative_floor("float32")) & (changes > 0)
    kept[0] = False
    expected = pearsonr(np.log(steps[kept]), np.log(changes[kept]))[0]
    assert (s.r, s.n) == (pytest.approx(expected), kept.sum())
    assert f"r = {expected:.2f} (n = {kept.sum()})" in data.statement
    # Three heads are stable, in layers that settled at different recurrences.
    assert s.n_ranks == 3
    assert s.ranks == pytest.approx(
        spearmanr([s.since[0, 0], s.since[0, 1], s.since[1, 0]],
                  [s.layer_since[0], s.layer_since[0], s.layer_since[1]])[0]
    )  # fmt: skip
    assert f"rank correlation {s.ranks:.2f} (n = 3)" in data.statement
    never = compute(recording, Selection(), Options(step_tolerance=0.0))
    assert np.isnan(never.stability.ranks)
    assert "fewer than 3" in never.stability.ranks_missing


def test_other_measures_change_by_their_own_distance_from_the_same() -> None:
    recording = run()
    data = compute(recording, Selection(), Options(measure="cosine", tolerance=1e-3))
    change = 1 - measure(recording, MEASURES["head_cosine"]).values
    assert data.stability.since.tolist() == stable_since(change, 1e-3).tolist()
    # What it is compared with in the picture does not matter to it.
    last = compute(recording, Selection(), Options("cosine", reference="last", tolerance=1e-3))
    assert last.stability.since.tolist() == data.stability.since.tolist()


def test_all_of_it_is_in_the_table() -> None:
    data = compute(run(), Selection(), Options())
    rows = [dict(zip(table(data).columns, row, strict=True)) for row in table(data).rows]
    last = rows[-1]
    assert last["stable since, change below 0.05 [recurrence]"] == "not yet"
    assert (
        last["layer settled since, step below 0.01 [recurrence]"] == data.stability.layer_since[1]
    )
    assert (last["r of log change and log step"], last["points of r"]) == (
        data.stability.r, data.stability.n,
    )  # fmt: skip
    assert last["heads of rank correlation"] == 3


def test_rows_that_are_kept_are_those_of_the_whole_run() -> None:
    grown = run(4)
    compute(grown, Selection(), Options())  # keeps its rows
    whole = run(12)
    for i in range(4, 12):
        for layer in range(2):
            grown.append_layer(LayerState(i + 1, layer, whole.layer_states[i, layer],
                                          whole.patterns[i, layer]))  # fmt: skip
        grown.append_end(whole.states[i + 1], None, None)
    a, b = (compute(x, Selection(), Options()) for x in (grown, whole))
    np.testing.assert_array_equal(a.values, b.values)
    np.testing.assert_array_equal(a.statistics.entropy, b.statistics.entropy)
    np.testing.assert_array_equal(a.statistics.normalised_entropy, b.statistics.normalised_entropy)
    assert a.stability.since.tolist() == b.stability.since.tolist()
    assert a.statement == b.statement
