"""Similarity of places against formulas written out another way, and cycles made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoints import write_checkpoint
from hypothesis import given
from hypothesis import strategies as st
from recordings import recording_of, recording_of_layers, synthetic_recording
from scipy.spatial.distance import cosine as scipy_cosine
from scipy.stats import ortho_group

from loopscope.core.checkpoint.loading import load
from loopscope.core.measures import similarity_map as kept_maps
from loopscope.core.measures.base import NO_RUN
from loopscope.core.measures.places import Places, shown_places
from loopscope.core.measures.similarity import (
    attention_distances,
    cka_matrix,
    cosine_matrix,
    cycle,
)
from loopscope.core.measures.similarity_map import places_of, similarity_map
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import iteration
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.base import RECURRENCE
from loopscope.core.views.similarity import Options, compute, table

KEYS = ("cka_debiased", "cka", "cosine", "attention")


# ---- CKA from its definitions: kernels, explicit centring, trace by trace ----
def biased_hsic(k: np.ndarray, m: np.ndarray) -> float:
    n = len(k)
    h = np.eye(n) - np.ones((n, n)) / n
    return float(np.trace(k @ h @ m @ h) / (n - 1) ** 2)


def unbiased_hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Song et al. 2012, equation 5."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    one = np.ones(n)
    terms = (
        np.trace(k @ m)
        + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ k @ m @ one)
    )
    return float(terms / (n * (n - 3)))


def cka_written_out(x: np.ndarray, y: np.ndarray, hsic) -> float:
    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def linear_cka(x: np.ndarray, y: np.ndarray, debiased: bool = False) -> float:
    """Of two matrices alone, ``[T, d1]`` and ``[T, d2]``."""
    return float(cka_matrix([x], [y], debiased)[0, 0])


@pytest.mark.parametrize(("tokens", "d1", "d2"), [(7, 3, 5), (6, 40, 12), (30, 4, 4), (4, 9, 2)])
@pytest.mark.parametrize("debiased", [False, True])
def test_cka_is_the_ratio_of_its_hsics(tokens: int, d1: int, d2: int, debiased: bool) -> None:
    rng = np.random.default_rng(tokens)
    x = rng.normal(size=(tokens, d1)) + 5
    y = 0.4 * x @ rng.normal(size=(d1, d2)) + rng.normal(size=(tokens, d2))
    expected = cka_written_out(x, y, unbiased_hsic if debiased else biased_hsic)
    assert linear_cka(x, y, debiased) == pytest.approx(expected, abs=1e-10)
    assert linear_cka(y, x, debiased) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize(("tokens", "d"), [(6, 20), (40, 5)])
def test_cka_sees_neither_rotation_nor_scale_nor_shift(tokens: int, d: int, debiased: bool) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, tokens, d))
    turned = 3.7 * x @ ortho_group.rvs(d, random_state=2) - rng.normal(size=d)
    assert linear_cka(x, turned, debiased) == pytest.approx(1, abs=1e-12)
    assert linear_cka(turned, y, debiased) == pytest.approx(linear_cka(x, y, debiased), abs=1e-12)
    assert linear_cka(x, x, debiased) == pytest.approx(1, abs=1e-14)
    stretched = x * np.r_[9.0, np.ones(d - 1)]
    assert linear_cka(x, stretched, debiased) < 0.99


def test_plain_cka_reads_high_with_few_tokens_and_the_debiased_form_does_not() -> None:
    rng = np.random.default_rng(3)
    pairs = [rng.normal(size=(2, 10, 400)) for _ in range(40)]
    assert np.mean([linear_cka(x, y) for x, y in pairs]) > 0.9
    assert abs(np.mean([linear_cka(x, y, True) for x, y in pairs])) < 0.1


def test_grams_and_features_agree() -> None:
    """Half a Gram matrix is kept for few tokens, the states for many: the same numbers."""
    rng = np.random.default_rng(4)
    narrow, wide = rng.normal(size=(3, 12, 4)), rng.normal(size=(2, 12, 30))
    for debiased in (False, True):
        found = cka_matrix(narrow, narrow, debiased)  # states
        padded = np.concatenate([narrow, np.zeros((3, 12, 26))], -1)
        assert cka_matrix(padded, padded, debiased) == pytest.approx(found, abs=1e-12)  # grams
        mixed = cka_matrix(narrow, wide, debiased)
        assert mixed.shape == (3, 2)
        assert mixed[2, 1] == pytest.approx(linear_cka(narrow[2], wide[1], debiased))


def test_float32_states_are_summed_in_float64() -> None:
    rng = np.random.default_rng(5)
    x = (1e4 + rng.normal(size=(20, 8))).astype(np.float32)
    y = (1e4 + rng.normal(size=(20, 8))).astype(np.float32)
    wide = [v.astype(np.float64) - v.astype(np.float64).mean(0) for v in (x, y)]
    assert linear_cka(x, y) == pytest.approx(cka_written_out(*wide, biased_hsic), abs=1e-9)


def test_what_has_no_cka_is_nan_and_leaves_the_others_alone() -> None:
    rng = np.random.default_rng(6)
    states = rng.normal(size=(5, 6, 9)).astype(np.float32)
    good = cka_matrix(states[[0, 4]], states[[0, 4]])
    states[1] = rng.normal(size=9)  # the same at every token
    states[2, 3, 1] = np.nan
    states[3, 0, 0] = np.inf
    for debiased in (False, True):
        found = cka_matrix(states, states, debiased)
        assert np.isnan(found[1:4]).all()
        assert np.isnan(found[:, 1:4]).all()
        assert np.isfinite(found[np.ix_([0, 4], [0, 4])]).all()
    assert cka_matrix(states, states)[np.ix_([0, 4], [0, 4])] == pytest.approx(good)
    assert np.isnan(linear_cka(states[0, :2], states[4, :2]))  # two tokens always give 1
    assert np.isnan(linear_cka(states[0, :3], states[4, :3], debiased=True))
    # Tokens all equally far from one another: nothing is left once the bias is taken off.
    assert np.isnan(linear_cka(np.eye(5), states[0, :5], debiased=True))
    with pytest.raises(ValueError, match="6 and 5 tokens"):
        linear_cka(states[0], states[4, :5])


def test_a_constant_state_is_not_its_rounding() -> None:
    """The mean of equal numbers is off by the last bit: CKA of that would be noise."""
    rng = np.random.default_rng(10)
    for tokens in range(4, 40):
        constant = np.tile(rng.normal(size=11) * 1e3, (tokens, 1))
        assert np.isnan(linear_cka(constant, rng.normal(size=(tokens, 11)))), tokens


# ---- cosine and attention ----
def test_mean_cosine_is_scipys() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(3, 4, 6)), rng.normal(size=(2, 4, 6))
    found = cosine_matrix(x, y)
    for i, j in np.ndindex(3, 2):
        each = [1 - scipy_cosine(x[i, t], y[j, t]) for t in range(4)]
        assert found[i, j] == pytest.approx(np.mean(each), abs=1e-12)
    assert np.diag(cosine_matrix(x, x)) == pytest.approx(1)
    x[1, 2] = 0
    x[2, 0, 0] = np.inf
    assert np.isnan(cosine_matrix(x, y)[1:]).all()
    assert np.isfinite(cosine_matrix(x, y)[0]).all()


@pytest.mark.parametrize("causal", [True, False])
def test_attention_distance_is_the_mean_norm_over_heads(causal: bool) -> None:
    rng = np.random.default_rng(8)
    a, b = rng.random((3, 2, 5, 5)), rng.random((4, 2, 5, 5))
    if causal:
        a, b = np.tril(a), np.tril(b)
    found = attention_distances(list(a), list(b), causal)
    for i, j in np.ndindex(3, 4):
        expected = np.mean([np.linalg.norm(a[i, h] - b[j, h], "fro") for h in range(2)])
        assert found[i, j] == pytest.approx(expected, rel=1e-12)
    assert (np.diag(attention_distances(list(a), list(a), causal)) == 0).all()
    a[1, 1, 3, 0] = np.nan
    assert np.isnan(attention_distances(list(a), list(b), causal)[1]).all()
    with pytest.raises(ValueError, match="cannot compare patterns"):
        attention_distances(list(a), list(b[:, :1]), causal)


# ---- the cycle ----
def test_an_exact_cycle_has_the_contrast_computed_by_hand() -> None:
    # Layer 0 always leaves u, layer 1 always v, at 60 degrees: S is 1 and 1/2.
    u, v = np.array([1.0, 0.0]), np.array([0.5, np.sqrt(0.75)])
    layers = np.tile(np.stack([np.tile(u, (3, 1)), np.tile(v, (3, 1))]), (5, 1, 1, 1))
    data = compute(recording_of_layers(layers), Selection(), Options(measure="cosine"))
    assert data.values.shape == (10, 10)
    assert data.cycle.same == pytest.approx(1)
    assert data.cycle.different == pytest.approx(0.5, abs=1e-6)
    assert data.cycle.contrast == pytest.approx(0.5, abs=1e-6)
    assert data.cycle.by_layer == pytest.approx(np.array([[1, 0.5], [0.5, 1]]), abs=1e-6)
    assert data.statement == (
        "The cycle shows: equal layers of different recurrences 1, different layers 0.5, "
        "contrast 0.5 (mean cosine over 3 tokens)"
    )


def test_contrast_counts_each_pair_of_different_recurrences_and_no_other() -> None:
    # Two recurrences of two layers; entries within a recurrence are absurd on purpose.
    s = np.full((4, 4), 77.0)
    s[0, 2] = s[2, 0] = 0.9  # layer 0 with itself
    s[1, 3] = s[3, 1] = 0.7  # layer 1 with itself
    s[0, 3] = s[3, 0] = 0.2
    s[1, 2] = s[2, 1] = 0.4
    found = cycle(s, 2)
    assert found.same == pytest.approx(0.8)
    assert found.different == pytest.approx(0.3)
    assert found.contrast == pytest.approx(0.5)
    assert found.by_layer == pytest.approx(np.array([[0.9, 0.3], [0.3, 0.7]]))
    assert found.own == 2
    far = cycle(1 - s, 2, is_distance=True)
    assert far.contrast == pytest.approx(0.5)
    assert far.own == 2
    s[0, 2] = s[2, 0] = np.nan
    assert cycle(s, 2).same == pytest.approx(0.7)  # what has no number is left out


def test_a_distance_says_the_cycle_shows_too() -> None:
    patterns = np.zeros((4, 2, 1, 3, 3))
    patterns[:, 0] = np.eye(3)
    patterns[:, 1, :, :, 0] = 1
    recording = recording_of_layers(np.ones((4, 2, 3, 2)), patterns)
    data = compute(recording, Selection(), Options(measure="attention"))
    # Rows 1 and 2 move all their attention: ‖A - A'‖ = √(1 + 1 + 1 + 1) = 2.
    assert (data.cycle.same, data.cycle.different, data.cycle.contrast) == (0, 2, 2)
    assert data.statement.startswith("The cycle shows")


def test_layers_that_end_at_one_point_are_not_called_a_cycle() -> None:
    rng = np.random.default_rng(9)
    layers = np.ones((6, 3, 4, 8)) + 1e-4 * rng.normal(size=(3, 4, 8))
    data = compute(recording_of_layers(layers), Selection(), Options(measure="cosine"))
    assert 0 < data.cycle.contrast < 1e-6
    assert data.statement.startswith("All layers are alike: no cycle is seen: ")


def test_a_run_without_a_cycle_says_so() -> None:
    # The two layers change places at every recurrence: of 15 pairs of recurrences 9 are swapped.
    u, v = np.array([[1.0, 0.0]]), np.array([[0.5, np.sqrt(0.75)]])
    layers = np.array([[u, v], [v, u]] * 3)
    data = compute(recording_of_layers(layers), Selection(), Options(measure="cosine"))
    assert data.cycle.contrast == pytest.approx((6 + 9 / 2 - 9 - 6 / 2) / 15, abs=1e-6)
    assert data.statement.startswith("No cycle shows (0 of 2 layers are most like themselves): ")


def test_layers_that_have_nothing_in_common_show_no_cycle() -> None:
    layers = np.random.default_rng(11).normal(size=(12, 3, 20, 40))
    data = compute(recording_of_layers(layers), Selection(), Options())
    assert abs(data.cycle.contrast) < 0.02
    assert data.statement.startswith("No cycle shows (")


def test_one_layer_and_one_recurrence_have_no_cycle() -> None:
    one_layer = compute(synthetic_recording(n_block=1), Selection(), Options(measure="cosine"))
    assert one_layer.statement.startswith("The block has one layer: there is no cycle to see; ")
    assert np.isnan(one_layer.cycle.contrast)
    once = compute(synthetic_recording(recurrences=1), Selection(), Options(measure="cosine"))
    assert once.statement.startswith("A second recurrence is needed to see a cycle")
    assert once.values.shape == (2, 2)


# ---- places ----
@given(n=st.integers(0, 700), layers=st.integers(1, 40), most=st.integers(1, 600))
def test_shown_places_are_few_start_at_one_and_nest(n: int, layers: int, most: int) -> None:
    marks = tuple(map(str, range(layers)))
    places = shown_places(n, marks, most)
    later = shown_places(n + 1, marks, most)
    assert set(later.recurrences) <= set(places.recurrences) | {n + 1}
    assert list(places.recurrences) == sorted(set(places.recurrences))
    if n:
        assert places.recurrences[0] == 1
        assert len(places) <= max(most, 2 * layers)
    if n * layers <= most:
        assert places.recurrences == tuple(range(1, n + 1))
        assert places.said() == ""


def test_a_place_left_out_is_marked_at_the_shown_one_before_it() -> None:
    places = shown_places(200, ("0", "1", "2", "3", "4", "5", "6", "7"), 512)
    assert places.step == 4
    assert places.recurrences[:4] == (1, 4, 8, 12)
    assert places.recurrences[-1] == 200
    assert places.said() == "recurrence 1 and every 4th are shown"
    assert places.at(places.index(11, 5)) == {"recurrence": 8, "layer": 5}
    assert places.index(0, 5) is None
    assert places.index(3, None) is None
    assert places.labels[9] == "4:1"
    assert places.depths[:9] == (1, 2, 3, 4, 5, 6, 7, 8, 25)
    assert Places((2,), ("0",), 2).said() == "recurrence 1 and every 2nd are shown"


# ---- the map of a growing run ----
def grow(whole, slow, r: int) -> None:
    for layer in range(whole.n_layers):
        slow.append_layer(whole.layer(r, layer))
    end = iteration(whole, r)
    slow.append_end(end.state, end.coda_lens, end.logit_lens)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("most", [512, 12])
def test_a_map_grown_by_rows_is_the_map_at_once(
    key: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_maps, "MOST_PLACES", most)
    whole = synthetic_recording(recurrences=14, n_block=3, seed=3)
    slow = synthetic_recording(recurrences=0, n_block=3, seed=3)
    tokens = tuple(range(5))
    for r in range(1, 15):
        grow(whole, slow, r)
        grown = similarity_map(slow, key, tokens, places_of(slow, key, tokens))
    places = places_of(whole, key, tokens)
    at_once = similarity_map(whole, key, tokens, places)
    assert len(places) == (42 if most == 512 else 12)
    assert len(places) == len(grown)
    np.testing.assert_allclose(grown, at_once, atol=1e-12)
    np.testing.assert_array_equal(grown, grown.T)
    states = [whole.layer_states[r - 1, layer] for r in places.recurrences for layer in range(3)]
    if key == "cosine":
        assert grown == pytest.approx(cosine_matrix(states, states), abs=1e-12)
    elif key != "attention":
        assert grown == pytest.approx(cka_matrix(states, states, key == "cka_debiased"), abs=1e-12)


def test_what_was_compared_is_not_compared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []

    def spy(xs, ys):
        rows.append((len(xs), len(ys)))
        return cosine_matrix(xs, ys)

    monkeypatch.setattr(kept_maps, "cosine_matrix", spy)
    whole = synthetic_recording(recurrences=5, n_block=2)
    slow = synthetic_recording(recurrences=0, n_block=2)
    options = Options(measure="cosine")
    for r in range(1, 6):
        grow(whole, slow, r)
        if r != 4:
            compute(slow, Selection(recurrence=r), options)
            compute(slow, Selection(), Options(measure="cosine", order="layer"))
    assert rows == [(2, 2), (2, 4), (2, 6), (4, 10)]
    compute(slow, Selection(tokens=(1, 3)), options)
    assert rows[-1] == (10, 10)


def test_chosen_tokens_are_the_ones_compared() -> None:
    recording = synthetic_recording(recurrences=4, tokens=7)
    chosen = (0, 2, 3, 6)
    data = compute(recording, Selection(tokens=chosen), Options(measure="cka"))
    x = recording.layer_states[:, :, list(chosen)].reshape(8, 4, 16)
    assert data.values[1, 6] == pytest.approx(linear_cka(x[1], x[6]))
    assert "over 4 tokens" in data.statement
    few = compute(recording, Selection(tokens=(1, 2)), Options())
    assert few.missing == (
        "Debiased CKA needs 4 tokens, because it compares how they lie; 2 tokens are shown."
    )
    # Attention is between all tokens, whatever is chosen.
    attention = compute(recording, Selection(tokens=(1, 2)), Options(measure="attention"))
    assert "over 7 tokens" in attention.statement


def test_memory_and_time_bound_the_places() -> None:
    long = synthetic_recording(
        recurrences=9, tokens=600, d=64, capture=Capture(False, False, False)
    )
    tokens = tuple(range(600))
    assert places_of(long, "cka", tokens).step == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_maps, "MOST_BYTES", 8 * 600 * 64 * 8)  # eight states
        assert places_of(long, "cka", tokens).recurrences == (1, 4, 8)
        patch.setattr(kept_maps, "MOST_PRODUCTS", 600 * 64 * 6**2)  # six places
        assert places_of(long, "cosine", tokens).recurrences == (1, 4, 8)


# ---- the data ----
def test_nothing_to_show_says_why() -> None:
    for key in KEYS:
        empty = compute(synthetic_recording(recurrences=0), Selection(), Options(measure=key))
        assert (empty.missing, empty.lacks) == (NO_RUN, RECURRENCE)
        assert list(table(empty).rows) == []
    bare = synthetic_recording(capture=Capture(patterns=False))
    missing = compute(bare, Selection(), Options(measure="attention")).missing
    assert "did not keep attention patterns" in missing
    single = synthetic_recording(tokens=1)
    assert "1 token is shown" in compute(single, Selection(), Options()).missing
    assert not compute(single, Selection(), Options(measure="cosine")).missing


def test_states_that_are_not_finite_are_counted_and_explained() -> None:
    layers = np.random.default_rng(0).normal(size=(4, 2, 5, 6))
    layers[3, 1, 2] = np.inf
    for key in ("cka", "cka_debiased", "cosine"):
        data = compute(recording_of_layers(layers), Selection(), Options(measure=key))
        assert np.isnan(data.values[7]).all()
        assert np.isfinite(data.values[:7, :7]).all()
        assert "1 of 8 places have no number: their states are not finite" in data.statement
    broken = compute(
        recording_of(np.full((4, 5, 3), np.nan)), Selection(), Options(measure="cosine")
    )
    assert broken.missing.startswith("No two places can be compared: their states are not finite")


def test_the_order_by_layer_makes_blocks_of_the_same_numbers() -> None:
    recording = synthetic_recording(recurrences=3, n_block=2)
    depth = compute(recording, Selection(), Options(measure="cosine"))
    layer = compute(recording, Selection(), Options(measure="cosine", order="layer"))
    assert depth.labels == ("1:0", "1:1", "2:0", "2:1", "3:0", "3:1")
    assert layer.labels == ("1:0", "2:0", "3:0", "1:1", "2:1", "3:1")
    assert (depth.group, layer.group) == (2, 3)
    assert layer.drawn()[0, 3] == depth.drawn()[0, 1]
    assert layer.name(4) == "recurrence 2, layer 1"
    np.testing.assert_array_equal(layer.values, depth.values)


def test_the_darkest_end_can_be_the_bound() -> None:
    recording = synthetic_recording(recurrences=3)
    near = compute(recording, Selection(), Options(measure="cosine"))
    assert near.far == near.values.min()
    assert compute(recording, Selection(), Options(measure="cosine", scale="bound")).far == 0
    far = compute(recording, Selection(), Options(measure="attention", scale="bound")).far
    assert far == pytest.approx(np.sqrt(10))


def test_the_table_lists_each_pair_once() -> None:
    data = compute(synthetic_recording(recurrences=2), Selection(), Options(measure="cka"))
    rows = list(table(data).rows)
    assert len(rows) == 10
    assert rows[-2] == (2, 1, 2, 0, float(data.values[3, 2]))
    assert table(data).columns[-1].startswith("linear CKA [0..1")


# ---- real models ----
@pytest.mark.parametrize(
    ("name", "dtype", "places"),
    [("huginn", "bfloat16", 8), ("hrm_text", "float32", 32), ("gpt2", "float32", 3)],
)
def test_every_kind_of_model_has_a_map(tmp_path, name: str, dtype: str, places: int) -> None:
    loaded = load(str(write_checkpoint(tmp_path / name, name)), "cpu", dtype)
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.from_ids((5, 17, 3, 60, 41, 8)))
    for _ in range(1 if name == "gpt2" else 4):
        stepper.step()
    for key in KEYS:
        data = compute(stepper.recording, Selection(), Options(measure=key))
        assert data.values.shape == (places, places)
        assert np.isfinite(data.values).all()
        np.testing.assert_allclose(np.diag(data.values), data.measure.identical, atol=1e-9)
    if name == "gpt2":
        assert data.statement.startswith("A deep model, run once: ")
    if name == "hrm_text":
        assert data.labels[2] == "1:L2.0"
        assert data.name(2) == "recurrence 1, L cycle 2, layer 0"
