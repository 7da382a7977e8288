"""Head measures against hand-computed values, scipy, published nulls and known dynamics."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from recordings import synthetic_recording, writable
from scipy.spatial.distance import jensenshannon

from loopscope.core.measures import heads as measures
from loopscope.core.measures.base import NO_RUN
from loopscope.core.measures.heads import (
    MEASURES,
    PatternMeasure,
    compare,
    compare_all,
    head_statistics,
)
from loopscope.core.run.kept_rows import Capture
from loopscope.core.selection import Selection
from loopscope.core.views.heads import NO_PATTERNS, Options, compute, table
from loopscope.core.views.heads_data import near_of, scale_of_two

A = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]])
B = np.array([[1, 0, 0], [1.0, 0.0, 0], [0.6, 0.3, 0.1]])


def causal_patterns(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    raw = np.tril(rng.random(shape) ** 3 + 1e-6)
    return (raw / raw.sum(-1, keepdims=True)).astype(np.float32)


def one(a: np.ndarray, b: np.ndarray, measure: str, *, causal: bool = True) -> float:
    return float(compare(a[None], b[None], measure, causal=causal)[0])


def test_frobenius_cosine_and_total_variation_by_hand() -> None:
    # Differences: row 1 (-.5, .5), row 2 (-.4, 0, .4).
    assert one(A, B, "frobenius") == pytest.approx(math.sqrt(0.25 + 0.25 + 0.16 + 0.16))
    dot = 1 + 0.5 + 0.12 + 0.09 + 0.05
    norms = math.sqrt((1 + 0.5 + 0.04 + 0.09 + 0.25) * (1 + 1 + 0.36 + 0.09 + 0.01))
    assert one(A, B, "cosine") == pytest.approx(dot / norms)
    # Rows 1 and 2 only: (0.5 + 0.4) / 2. All three rows would give 0.3.
    assert one(A, B, "total_variation") == pytest.approx(0.45)
    assert one(A, B, "total_variation", causal=False) == pytest.approx(0.3)


def test_jensen_shannon_is_the_mean_of_scipys_rows() -> None:
    a, b = causal_patterns(6, 7, 7), causal_patterns(6, 7, 7, seed=1)
    found = compare(a, b, "jensen_shannon")
    for x, y, value in zip(a, b, found, strict=True):
        rows = [jensenshannon(p, q, base=math.e) ** 2 for p, q in zip(x[1:], y[1:], strict=True)]
        assert value == pytest.approx(np.mean(rows), rel=1e-5)


def test_disjoint_rows_reach_the_bounds() -> None:
    first, last = np.zeros((2, 2)), np.zeros((2, 2))
    first[:, 0], last[:, 1] = 1, 1
    for key, measure in MEASURES.items():
        assert one(first, last, key, causal=False) == pytest.approx(measure.bound(2)), key


def test_jensen_shannon_keeps_its_digits_for_almost_equal_rows() -> None:
    delta = 1e-7
    a = np.array([[0.5, 0.5], [0.5, 0.5]])
    b = a + np.array([[delta, -delta], [delta, -delta]])
    # JS = delta^2 / 2 to leading order; a difference of entropies would be rounding noise here.
    assert one(a, b, "jensen_shannon", causal=False) == pytest.approx(delta**2 / 2, rel=1e-3)


@pytest.mark.parametrize("key", list(MEASURES))
def test_identical_patterns_are_identical(key: str) -> None:
    a = causal_patterns(5, 2, 3, 8, 8)
    same = MEASURES[key].identical
    np.testing.assert_allclose(compare(a, a, key), same, atol=1e-15)
    np.testing.assert_allclose(np.diag(compare_all(a[:, 0, 0], key)), same, atol=1e-15)
    np.testing.assert_allclose(compare(np.ones((1, 1, 1)), np.ones((1, 1, 1)), key), same)


@pytest.mark.parametrize("key", list(MEASURES))
def test_blocks_do_not_change_the_result(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a = causal_patterns(4, 2, 3, 5, 5)
    whole, pairs = compare(a[1:], a[:1], key), compare_all(a[:, 1, 2], key)
    statistics = head_statistics(a, [0, 1, 0, 1, 0])
    monkeypatch.setattr(measures, "BLOCK_ENTRIES", 30)
    np.testing.assert_allclose(compare(a[1:], a[:1], key), whole, rtol=1e-14)
    np.testing.assert_allclose(compare_all(a[:, 1, 2], key), pairs, rtol=1e-14)
    np.testing.assert_allclose(
        head_statistics(a, [0, 1, 0, 1, 0]).entropy, statistics.entropy, rtol=1e-14
    )
    assert pairs == pytest.approx(pairs.T)
    assert pairs[0, 3] == pytest.approx(whole[2, 1, 2])


def test_shapes_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot compare"):
        compare(np.ones((3, 2, 2)), np.ones((2, 2, 2)), "cosine")


def test_statistics_by_hand() -> None:
    s = head_statistics(A[None], [5, 6, 5])
    h2 = -(0.2 * math.log(0.2) + 0.3 * math.log(0.3) + 0.5 * math.log(0.5))
    assert s.entropy[0] == pytest.approx((0 + math.log(2) + h2) / 3)
    assert s.normalised_entropy[0] == pytest.approx((1 + h2 / math.log(3)) / 2)
    assert s.sink[0] == pytest.approx((1 + 0.5 + 0.2) / 3)
    assert s.previous[0] == pytest.approx((0.5 + 0.3) / 2)
    assert s.own[0] == pytest.approx((1 + 0.5 + 0.5) / 3)
    # Token 2 repeats token 0; the token after that is 1.
    assert s.induction[0] == pytest.approx(0.3)


def test_induction_sums_all_earlier_occurrences_and_leaves_out_the_query_itself() -> None:
    a = causal_patterns(1, 6, 6)
    s = head_statistics(a, [1, 2, 1, 1, 3, 1])
    # 2 follows nothing but position 0 (-> 1). 3: position 0 -> 1; position 2 is directly before.
    # 5: positions 0, 2, 3 -> 1, 3, 4.
    by_query = [a[0, 2, 1], a[0, 3, 1], a[0, 5, 1] + a[0, 5, 3] + a[0, 5, 4]]
    assert s.induction[0] == pytest.approx(np.mean(by_query), rel=1e-6)


def test_induction_without_a_repeated_token_is_nan_with_a_reason() -> None:
    s = head_statistics(A[None], [5, 6, 7])
    assert np.isnan(s.induction[0])
    assert "no token" in s.induction_missing


def test_one_token_has_no_previous_token() -> None:
    s = head_statistics(np.ones((2, 1, 1)), [3])
    assert np.isnan(s.previous).all()
    assert np.isnan(s.normalised_entropy).all()
    assert s.entropy.tolist() == [0, 0]
    assert s.sink.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("tokens", "mixing", "sink"),
    [(16, 1.917, 0.2113), (64, 3.206, 0.0741), (128, 3.878, 0.0424), (256, 4.560, 0.0239)],
)
def test_uniform_causal_attention_has_the_known_null_values(
    tokens: int, mixing: float, sink: float
) -> None:
    uniform = np.tril(np.ones((tokens, tokens)))
    uniform /= uniform.sum(-1, keepdims=True)
    s = head_statistics(uniform[None], list(range(tokens)))
    assert s.entropy[0] == pytest.approx(mixing, abs=6e-4)
    assert s.sink[0] == pytest.approx(sink, abs=6e-5)
    assert s.normalised_entropy[0] == pytest.approx(1)


def test_normalised_entropy_in_a_window_is_of_the_keys_it_lets_see() -> None:
    rng = np.random.default_rng(3)
    t, window = 9, 4
    pattern = np.zeros((t, t))
    shares = []
    for i in range(t):
        keys = list(range(max(0, i - window + 1), i + 1))
        row = rng.dirichlet(np.ones(len(keys)))
        pattern[i, keys] = row
        if len(keys) > 1:
            shares.append(-(row * np.log(row)).sum() / np.log(len(keys)))
    s = head_statistics(pattern[None], list(range(t)), window=window)
    assert s.normalised_entropy[0] == pytest.approx(np.mean(shares))
    whole = head_statistics(pattern[None], list(range(t)))
    assert whole.normalised_entropy[0] < s.normalised_entropy[0] - 0.1


def test_a_head_that_attends_evenly_in_its_window_is_broad() -> None:
    # Without the window it would pass for a previous-token and self head.
    recording = synthetic_recording(recurrences=3, tokens=12)
    arch = recording.info.architecture
    near = [[1 / min(i + 1, 3) if 0 <= i - j < 3 else 0.0 for j in range(12)] for i in range(12)]
    patterns = recording.patterns
    assert patterns is not None
    patterns.flags.writeable = True
    patterns[:] = np.array(near, np.float32)
    shapes = tuple(replace(arch.layer, window=3) for _ in range(4))
    recording.info = replace(recording.info, architecture=replace(arch, layer_shapes=shapes))
    data = compute(recording, Selection(), Options(groups=1))
    assert data.groups.names == ("broad",)
    assert data.statistics.normalised_entropy == pytest.approx(1.0, abs=1e-6)


# ---- the view's data ----


def test_frobenius_to_the_previous_falls_by_the_rate() -> None:
    recording = synthetic_recording(recurrences=8, rate=0.6)
    data = compute(recording, Selection(), Options())
    assert np.isnan(data.values[0]).all()
    ratio = data.values[2:] / data.values[1:-1]
    np.testing.assert_allclose(ratio, 0.6, rtol=1e-4)
    assert data.reference_recurrence.tolist() == list(range(8))


def test_the_last_and_a_chosen_recurrence_as_reference() -> None:
    recording = synthetic_recording(recurrences=6, rate=0.5)
    last = compute(recording, Selection(), Options(reference="last"))
    assert (last.values[-1] == 0).all()
    # The reference itself says nothing about consistency.
    np.testing.assert_allclose(last.consistency, last.values[:-1].mean(0))
    # ||A_r - A_R|| = (rate^r - rate^R) ||start - end||.
    expected = (0.5 - 0.5**6) / (0.5**2 - 0.5**6)
    np.testing.assert_allclose(last.values[0] / last.values[1], expected, rtol=1e-4)
    chosen = compute(recording, Selection(), Options(reference="chosen", recurrence=3))
    assert (chosen.values[2] == 0).all()
    assert "recurrence 3" in chosen.statement
    beyond = compute(recording, Selection(), Options(reference="chosen", recurrence=99))
    assert np.isnan(beyond.values).all()
    assert "99" in beyond.statement


def test_least_consistent_first() -> None:
    recording = synthetic_recording(recurrences=5, heads=4, n_block=3)
    for measure, sign in (("frobenius", 1), ("cosine", -1)):
        data = compute(recording, Selection(), Options(measure=measure, order="consistency"))
        flat = data.consistency.ravel()
        np.testing.assert_allclose(flat, data.values[1:].mean(0).ravel())
        assert (np.diff(sign * flat[data.order]) <= 0).all()
        layer, head = divmod(int(data.order[0]), 4)
        assert data.row_labels[0] == f"{layer}.{head}"
        assert f"head {layer}.{head} is least consistent" in data.statement


def test_bright_is_the_same_for_every_measure() -> None:
    recording = synthetic_recording(recurrences=6)
    for key in MEASURES:
        data = compute(recording, Selection(), Options(measure=key))
        levels = data.measure.brightness(data.values, data.far)
        assert np.nanmin(levels) == 0
        assert (np.diff(levels[1:], axis=0) > 0).all()
        wide = compute(recording, Selection(), Options(measure=key, scale="bound"))
        assert wide.far == wide.measure.bound(recording.n_tokens)


def test_nothing_to_show_says_why() -> None:
    empty = compute(synthetic_recording(recurrences=0), Selection(), Options())
    assert empty.missing == empty.statement == NO_RUN
    assert empty.values.shape == (0, 2, 2)
    bare = synthetic_recording(capture=Capture(patterns=False))
    assert compute(bare, Selection(), Options()).statement == NO_PATTERNS
    single = compute(synthetic_recording(recurrences=1), Selection(), Options())
    assert np.isnan(single.values).all()
    assert "second" in single.statement


def test_patterns_that_are_not_finite_are_counted() -> None:
    recording = synthetic_recording(recurrences=4)
    writable(recording.layer(3, 1).pattern)[0] = np.nan
    data = compute(recording, Selection(), Options(order="consistency"))
    assert np.isnan(data.values[2:, 1, 0]).all()
    assert np.isfinite(data.values[1:, 0]).all()
    assert data.row_labels[0] == "1.0"
    assert "1 of 4 heads have patterns that are not finite" in data.statement


def test_the_table_holds_exact_values() -> None:
    recording = synthetic_recording(recurrences=4)
    data = compute(recording, Selection(), Options(measure="jensen_shannon"))
    shown = table(data)
    rows = list(shown.rows)
    assert len(rows) == 4 * 2 * 2
    assert any("nats" in c for c in shown.columns)
    r, layer, head, reference, value, entropy, *_ = rows[-1]
    assert (r, layer, head, reference) == (4, 1, 1, 3)
    assert value == data.values[3, 1, 1]
    assert entropy == data.statistics.entropy[3, 1, 1]
    assert rows[0][3] == ""


def test_a_log_scale_tells_small_differences_apart() -> None:
    measure = MEASURES["frobenius"]
    values = np.array([2.0, 2e-2, 2e-4, 2e-7, 0.0, np.nan])
    assert measure.least_unlike(values, 2.0) == 2e-7
    level = measure.brightness(values, 2.0, 2e-7)
    np.testing.assert_allclose(level[:5], [0, 2 / 7, 4 / 7, 1, 1])
    assert np.isnan(level[5])
    # Linear, all but the first are the same.
    assert np.ptp(measure.brightness(values, 2.0)[2:5]) < 1e-3
    # Below what float32 resolves there is no difference.
    assert measure.least_unlike([1.0, 1e-12], 1.0) == 0
    cosine = MEASURES["cosine"]
    np.testing.assert_allclose(
        cosine.brightness([0.0, 0.99, 0.9999, 1.0], 0.0, 1e-4), [0, 0.5, 1, 1], atol=1e-9
    )


def test_log_is_chosen_where_a_distance_spans_three_decades() -> None:
    measure = MEASURES["frobenius"]
    for values, near in (([1.0, 2e-3], 0.0), ([1.0, 5e-4], 5e-4), ([1.0, 0.0], 0.0)):
        assert near_of(np.array(values), measure, 1.0, "auto") == near
    assert near_of(np.array([1.0, 0.5]), measure, 1.0, "log") == 0.5
    assert near_of(np.array([1.0, 1e-6]), measure, 1.0, "linear") == 0
    assert near_of(np.array([0.0, 1 - 1e-6]), MEASURES["cosine"], 0.0, "auto") == 0


def test_heads_are_filtered_by_layer_by_stability_and_by_what_they_do() -> None:
    recording, at = synthetic_recording(recurrences=12, n_block=3, heads=4), Selection()
    every = compute(recording, at, Options(order="consistency", tolerance=0.007))
    since, of = every.stability.since.ravel(), every.groups
    assert 0 < (since > 0).sum() < since.size
    rows = every.order.tolist()
    wanted = {
        "stable": {i for i in rows if since[i] > 0},
        "changing": {i for i in rows if since[i] == 0},
        **{name: {i for i in rows if of.names[of.of[i]] == name} for name in set(of.names)},
    }
    for shown, heads in wanted.items():
        options = Options(order="consistency", tolerance=0.007, shown=shown)
        data = compute(recording, at, options)
        # The order is that of all heads, without those that are left out.
        assert data.order.tolist() == [i for i in rows if i in heads]
        assert data.row_labels == tuple(every.head_names[i] for i in data.order)
        assert len(data.rows(data.values)) == len(heads)
        np.testing.assert_array_equal(data.values, every.values)
        if len(heads) < len(rows):
            assert f"{len(heads)} of 12 heads shown" in data.statement
    layer = compute(recording, at, Options(layer=1, order="group"))
    assert sorted(layer.order.tolist()) == [4, 5, 6, 7]
    assert sum(last - first + 1 for first, last, _ in layer.row_groups) == 4
    assert len(list(table(layer).rows)) == len(list(table(every).rows))  # files hold all heads
    none = compute(recording, at, Options(layer=7))
    assert none.missing == "None of the 12 heads is shown (of layer 7)."
    assert none.lacks is None


@dataclass(frozen=True)
class Map:
    """A map's colour scale."""

    measure: PatternMeasure
    far: float
    near: float = 0.0
    missing: str = ""


@pytest.mark.parametrize("key", sorted(MEASURES))
def test_two_maps_share_the_scale_that_holds_both(key: str) -> None:
    measure = MEASURES[key]
    away = 1.0 if measure.is_distance else -1.0
    close, apart = measure.identical + 0.2 * away, measure.identical + 0.7 * away
    one, other = Map(measure, close, 1e-3), Map(measure, apart, 1e-5)
    assert scale_of_two(one, other) == scale_of_two(other, one) == (apart, 1e-5)
    # A map on a linear scale has no nearest difference to add.
    assert scale_of_two(one, Map(measure, apart)) == (apart, 1e-3)
    assert scale_of_two(Map(measure, close), Map(measure, apart)) == (apart, 0.0)


def test_maps_of_two_measures_or_of_nothing_share_no_scale() -> None:
    one = Map(MEASURES["frobenius"], 2.0)
    assert scale_of_two(one, Map(MEASURES["cosine"], 0.5)) is None
    assert scale_of_two(one, Map(MEASURES["frobenius"], 2.0, missing="no patterns")) is None
