"""Live measures against hand-made dynamics, scipy and the source paper's table of null values."""

from __future__ import annotations

import math
from itertools import pairwise
from math import factorial

import numpy as np
import pytest
import torch
from models import random_model, tiny_architecture, tiny_checkpoint
from recordings import recording_of, recording_of_layers, synthetic_recording
from scipy.special import log_softmax, rel_entr, softmax
from scipy.stats import entropy, pearsonr

from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.measures.base import Measure, Measured, averaged, measure
from loopscope.core.measures.exits import BY_KEY, exits_at
from loopscope.core.measures.head_rows import ENTROPY, SINK
from loopscope.core.measures.heads import even_attention
from loopscope.core.measures.registry import MEASURES, find
from loopscope.core.measures.settling_rows import acceleration, cosine_to_previous, step_angle
from loopscope.core.measures.stages import (
    COLUMN_CONCENTRATION,
    anisotropy,
    column_concentration,
    matrix_entropy,
    repeat_correlation,
    spectrum_shares,
)
from loopscope.core.run import readout
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.readout import entropy_and_change
from loopscope.core.run.recording import Recording, iteration
from loopscope.core.run.stepper import Stepper


def spiral(period: float, rate: float, n: int) -> np.ndarray:
    r = np.arange(n + 1)
    turn = rate**r * np.exp(2j * np.pi * r / period)
    return np.stack([turn.real + 2, turn.imag - 1, np.zeros(n + 1)], -1)[:, None]


def value(recording: Recording, key: str) -> Measured:
    return measure(recording, MEASURES[key])


@pytest.mark.parametrize("period", [3, 5, 8])
@pytest.mark.parametrize("rate", [1.0, 0.7])
def test_a_spiral_turns_by_the_angle_of_its_period(period: int, rate: float) -> None:
    found = value(recording_of(spiral(period, rate, 12)), "step_angle").values
    assert np.isnan(found[0]).all()  # one step has no step before it
    assert found[1:] == pytest.approx(math.cos(2 * math.pi / period), abs=1e-4)


def test_acceleration_of_a_contraction_is_its_steps_times_one_less_rate() -> None:
    r = np.arange(8)[:, None, None]
    states = 3 + 0.6**r * np.array([[1.0, -2.0]])
    # Δ_r = (0.6 - 1) 0.6^(r-1) v, so Δ_r - Δ_{r-1} = 0.16 0.6^(r-2) v.
    expected = 0.16 * 0.6 ** np.arange(6) * math.sqrt(5)
    assert acceleration(states)[:, 0] == pytest.approx(expected, rel=1e-12)


def test_angle_and_cosine_without_a_length_do_not_exist() -> None:
    still = np.zeros((4, 1, 3))
    assert np.isnan(step_angle(still)).all()
    assert np.isnan(cosine_to_previous(still)).all()


def test_rows_are_the_same_whether_taken_at_once_or_one_by_one() -> None:
    whole = synthetic_recording(recurrences=9, n_block=3, seed=3)
    slow = synthetic_recording(recurrences=0, n_block=3, seed=3)
    for r in range(1, 10):
        step = iteration(whole, r)
        for layer in range(3):
            at = whole.layer(r, layer)
            slow.append_layer(at)
        slow.append_end(step.state, step.coda_lens, step.logit_lens)
        for m in MEASURES.values():
            measure(slow, m)
    for key, m in MEASURES.items():
        a, b = measure(whole, m), measure(slow, m)
        assert a.missing == b.missing
        np.testing.assert_array_equal(a.values, b.values, err_msg=key)


def test_rows_that_were_measured_are_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = synthetic_recording(recurrences=5)
    asked = []
    m = MEASURES["relative_step"]
    from dataclasses import replace

    spy = replace(m, key="spy", rows=lambda run, a, b: asked.append((a, b)) or m.rows(run, a, b))
    measure(recording, spy)
    measure(recording, spy)
    assert asked == [(1, 5)]


@pytest.mark.parametrize("key", list(MEASURES))
def test_every_measure_says_why_there_is_nothing(key: str) -> None:
    m = MEASURES[key]
    for recording in (
        synthetic_recording(recurrences=0),
        synthetic_recording(recurrences=1, tokens=1),
        synthetic_recording(recurrences=4, capture=Capture(False, False, False)),
    ):
        found = measure(recording, m)
        if found.missing:
            assert found.missing[0].isupper()
            assert found.missing.endswith(".")
        else:
            assert found.values.shape[0] == recording.n_recurrences


def test_a_change_needs_two_recurrences_and_says_so() -> None:
    found = value(synthetic_recording(recurrences=1), "layer_relative_step")
    assert "needs 2 recurrences; 1 has been run" in found.missing


@pytest.mark.parametrize("shape", [(3, 5, 1), (3,), (2, 5)])
def test_rows_of_the_wrong_shape_are_refused_by_name(shape: tuple[int, ...]) -> None:
    run = synthetic_recording(recurrences=3, tokens=5)
    wrong = Measure("odd", MEASURES["state_norm"].formula, ("token",), lambda *_: np.zeros(shape))
    with pytest.raises(
        LoopscopeError, match=r"'odd' gave an array .* expected \[3 recurrences, token\]"
    ):
        measure(run, wrong)


def test_shapes_follow_the_axes() -> None:
    recording = synthetic_recording(recurrences=4, n_block=3, heads=2, tokens=5)
    sizes = {"layer": 3, "head": 2, "token": 5}
    for m in MEASURES.values():
        found = measure(recording, m)
        if not found.missing:
            assert found.values.shape == (4, *(sizes[a] for a in m.axes)), m.key


# ---- stages ----
@pytest.mark.parametrize(
    ("t", "concentration", "mixing", "sink"),
    [(16, 0.1305, 1.917, 0.2113), (64, 0.0974, 3.206, 0.0741), (256, 0.0754, 4.560, 0.0239)],
)
def test_null_values_are_the_source_papers(
    t: int, concentration: float, mixing: float, sink: float
) -> None:
    null = {m: m.null for m in (COLUMN_CONCENTRATION, ENTROPY, SINK)}
    values = [f(even_attention(t)) for f in null.values() if f is not None]
    assert values == pytest.approx([concentration, mixing, sink], abs=6e-4)


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (1, 4)])
def test_matrix_entropy_is_that_of_the_singular_values(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    p = np.linalg.svd(x, compute_uv=False) ** 2
    assert matrix_entropy(x[None])[0] == pytest.approx(entropy(p / p.sum()), abs=1e-12)
    assert anisotropy(x[None])[0] == pytest.approx(p[0] / p.sum())
    full = matrix_entropy(np.eye(*shape)[None], normalised=True)[0]
    assert math.isnan(full) if min(shape) == 1 else full == pytest.approx(1)


def test_matrix_entropy_of_nothing_is_not_zero() -> None:
    assert np.isnan(matrix_entropy(np.zeros((1, 3, 4)))).all()
    assert np.isnan(matrix_entropy(np.full((1, 3, 4), np.inf))).all()


def test_column_concentration_at_its_ends() -> None:
    sink = np.zeros((4, 4))
    sink[:, 0] = 1
    assert column_concentration(sink) == pytest.approx(1)
    assert column_concentration(np.full((4, 4), 0.25)) == pytest.approx(0)


def test_sink_rate_counts_heads() -> None:
    recording = synthetic_recording(recurrences=3, n_block=2, heads=2, tokens=6)
    sinks = recording.patterns[..., 0].astype(np.float64).mean(-1)
    assert value(recording, "sink_rate").values == pytest.approx((sinks >= 0.3).mean(-1))


def test_a_head_that_gives_token_0_just_the_threshold_is_a_sink() -> None:
    """As its source has it: at least 0.3. Three of ten queries look at token 0 alone."""
    patterns = np.eye(10, dtype=np.float32)[None, None, None].repeat(2, axis=2)
    patterns[0, 0, 0, 1:3] = np.eye(10)[0]
    patterns[0, 0, 1, 1] = np.eye(10)[0]
    recording = recording_of_layers(np.ones((1, 1, 10, 4)), patterns)
    assert value(recording, "sink_rate").values.tolist() == [[0.5]]


def test_repeat_correlation_is_pearsons() -> None:
    curves = np.random.default_rng(1).normal(size=(4, 5))
    found = repeat_correlation(curves)
    pairs = [pearsonr(curves[i], curves[i + 1])[0] for i in range(3)]
    last = [pearsonr(curves[i], curves[3])[0] for i in range(3)]
    assert found.consecutive == pytest.approx(np.mean(pairs))
    assert found.with_last == pytest.approx(np.mean(last))
    assert found.n_pairs == 3


def test_repeat_correlation_says_why_not() -> None:
    assert "3 or more" in repeat_correlation(np.ones((4, 2))).missing
    assert "varies" in repeat_correlation(np.ones((4, 3))).missing


def test_averages_leave_nan_out_and_keep_it_where_there_is_nothing_else() -> None:
    values = np.array([[1.0, np.nan, 4.0], [np.nan] * 3])
    assert averaged(values, (1,), "median")[0] == 2.5
    assert np.isnan(averaged(values, (1,), "mean")[1])


# ---- readout ----
@pytest.mark.slow
def test_the_recorded_entropy_and_change_are_those_of_the_readouts(tmp_path) -> None:
    loaded = load(str(tiny_checkpoint(tmp_path / "m")), "cpu")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode("ab ba ? 1 : a b"))
    for _ in range(4):
        stepper.step()
    logits = [stepper.readout(r).astype(np.float64) for r in range(1, 5)]
    p = [np.exp(z - z.max(-1, keepdims=True)) for z in logits]
    p = [q / q.sum(-1, keepdims=True) for q in p]
    assert value(recording, "readout_entropy").values == pytest.approx(
        np.stack([entropy(q, axis=-1) for q in p]), abs=1e-5
    )
    change = value(recording, "readout_change").values
    assert np.isnan(change[0]).all()
    assert change[1:] == pytest.approx(
        np.stack([rel_entr(p[i + 1], p[i]).sum(-1) for i in range(3)]), rel=1e-5, abs=1e-12
    )


def test_a_readout_that_is_not_finite_has_no_entropy() -> None:
    nothing = torch.full((1, 2, 4), torch.nan)
    assert np.isnan(entropy_and_change(nothing, nothing)).all()
    sure = torch.tensor([[[0.0, -torch.inf]]])
    assert entropy_and_change(sure, sure).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("apart", [1e-3, 1e-5, 3e-7, 0.0])
def test_the_change_of_two_readouts_is_exact_however_near_they_are(apart, monkeypatch) -> None:
    """Against the series of KL, whose terms are positive: no two near numbers are subtracted."""
    monkeypatch.setattr(readout, "_MOST", 1000)  # three tokens at a time
    rng = np.random.default_rng(1)
    before = rng.normal(0, 4, (7, 300)).astype(np.float32)
    after = before + (apart * rng.normal(size=before.shape)).astype(np.float32)
    found = entropy_and_change(torch.from_numpy(after)[None], torch.from_numpy(before)[None])
    moved = after.astype(np.float64) - before  # exact: the two are near
    old = softmax(before.astype(np.float64), -1)
    u = moved - np.log1p((old * np.expm1(moved)).sum(-1, keepdims=True))  # log p / p_before
    series = sum(u ** (k + 2) / (factorial(k) * (k + 2)) for k in range(8))
    expected = (old * series).sum(-1)
    assert found[:, 1] == pytest.approx(expected, rel=1e-3, abs=2e-15)
    assert found[:, 0] == pytest.approx(entropy(softmax(after.astype(np.float64), -1), axis=-1))


def test_exits_at_a_small_threshold_are_those_of_float64(tmp_path) -> None:
    """Steps that shrink by half: KL falls by four a recurrence, from 1e-2 to below 1e-14."""
    rng = np.random.default_rng(2)
    end, way = rng.normal(0, 3, (2, 5, 40)).astype(np.float32)
    readouts = [torch.from_numpy(end + np.float32(0.5**r) * way)[None] for r in range(24)]
    found = np.stack([entropy_and_change(b, a)[:, 1] for a, b in pairwise(readouts)])
    logs = [log_softmax(z[0].double().numpy(), -1) for z in readouts]
    exact = np.stack([(np.exp(b) * (b - a)).sum(-1) for a, b in pairwise(logs)])
    taus = np.geomspace(1e-13, 1e-2, 12)
    assert (exits_at(BY_KEY["kl"], found.astype(np.float64), taus)
            == exits_at(BY_KEY["kl"], exact, taus)).all()  # fmt: skip


def test_an_unknown_measure_names_the_nearest() -> None:
    with pytest.raises(LoopscopeError, match="relative_step"):
        find("relativ_step")


def test_models_with_other_shapes_have_all_measures() -> None:
    assert random_model(tiny_architecture(n_block=1)).arch.n_block == 1
    one = synthetic_recording(recurrences=200, n_block=1, tokens=2)
    for m in MEASURES.values():
        found = measure(one, m)
        assert found.missing or len(found.by_recurrence()) == 200


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_state_that_is_not_finite_has_no_spectrum_and_no_warning(bad: float) -> None:
    """Warnings are errors here; numpy's reach the terminal of whoever measures such a run."""
    states = np.random.default_rng(0).normal(size=(3, 4, 6)).astype(np.float32)
    states[1, 2, :3] = [bad, -bad, 0.0]
    shares = spectrum_shares(states)
    assert np.isnan(shares[1]).all()
    np.testing.assert_allclose(shares[[0, 2]].sum(-1), 1.0)
