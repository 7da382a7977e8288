"""Forms of states against torch's own norms, and tokens of massive norm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recordings import synthetic_recording

from loopscope.core.measures.base import measure
from loopscope.core.measures.registry import find
from loopscope.core.measures.state_forms import StateForm, massive_tokens, norm_ratios, normalised
from loopscope.core.model.layer_shape import NormKind
from loopscope.core.model.norms import make_norm
from loopscope.core.run.recording import Capture, Recording
from loopscope.core.run.states import LayerState
from loopscope.core.selection import Selection
from loopscope.core.views import distance, similarity

STATES = np.random.default_rng(3).normal(2.0, 3.0, (7, 5, 16)).astype(np.float32)


@pytest.mark.parametrize("kind", ["rms", "bare", "layer"])
def test_normalised_is_what_the_norm_hands_on_before_its_weights(kind: NormKind) -> None:
    norm = make_norm(kind, 16, 1e-5)
    expected = norm(torch.from_numpy(STATES)).detach().numpy()
    np.testing.assert_allclose(normalised(STATES, kind, 1e-5), expected, rtol=2e-6, atol=2e-6)


def test_the_zero_state_stays_zero_without_a_warning() -> None:
    assert not normalised(np.zeros((2, 3, 4), np.float32), "rms", 0.0).any()


def test_centred_states_of_the_fit_have_mean_zero() -> None:
    centres = STATES[:4].astype(np.float64).mean(0)
    form = StateForm("centred", centres=centres)
    paths = STATES.transpose(1, 0, 2)
    np.testing.assert_allclose(form.of(paths, tuple(range(5)))[:, :4].mean(1), 0, atol=1e-6)
    # Rows are of the tokens named, in their order.
    np.testing.assert_array_equal(
        form.of(paths[[3, 1]], (3, 1))[0], form.of(paths, tuple(range(5)))[3]
    )


def test_a_ratio_is_over_the_median_of_the_same_place() -> None:
    states = STATES / np.linalg.norm(STATES, axis=-1, keepdims=True)
    states[2, 4] *= 40
    states[5] *= 1000  # a place where every token is large is none of a massive token
    ratios = norm_ratios(states)
    np.testing.assert_allclose(ratios[:4], 1, rtol=1e-5)
    assert ratios[4] == pytest.approx(40, rel=1e-5)
    assert massive_tokens(states) == (4,)


def test_few_tokens_zeros_and_what_is_not_finite_have_none() -> None:
    assert massive_tokens(STATES[:, :2]) == ()
    assert massive_tokens(np.zeros((3, 4, 8), np.float32)) == ()
    assert massive_tokens(STATES[:0]) == ()
    broken = STATES.copy()
    broken[:, 1] = np.nan
    broken[3] = np.inf
    assert massive_tokens(broken) == ()
    assert massive_tokens(np.full_like(STATES, np.nan)) == ()


def massive_run() -> Recording:
    """Six tokens; the first is eighty times as large as the others."""
    start = np.random.default_rng(1).normal(size=(6, 16)).astype(np.float32)
    like = synthetic_recording(recurrences=0, tokens=6, n_block=1)
    recording = Recording(like.info, start, Capture(False, False, False))
    for r in range(1, 9):
        state = np.random.default_rng(10 + r).normal(size=(6, 16)).astype(np.float32)
        state[0] *= 80
        recording.append_layer(LayerState(r, 0, state))
        recording.append_end(state, None, None)
    return recording


def by_torch(recording: Recording, states: np.ndarray) -> np.ndarray:
    norm = make_norm("bare", 16, recording.info.architecture.norm_eps)
    return norm(torch.from_numpy(np.array(states))).double().numpy()


def test_distance_of_normalised_states_and_its_unit() -> None:
    recording = massive_run()
    options = distance.Options(form="normalised")
    data = distance.compute(recording, Selection(), options)
    states = by_torch(recording, recording.states)
    expected = np.linalg.norm(states[:-1] - states[-1], axis=-1).T
    np.testing.assert_allclose(data.distances, expected, rtol=1e-5)
    assert (data.formula.unit, data.unit) == ("1", "")
    assert data.symbol == "‖ŝᵣ − ŝ₈‖"
    raw = distance.compute(recording, Selection(), distance.Options())
    assert raw.symbol == "‖sᵣ − s₈‖"
    # The bright row of the massive token is gone.
    assert raw.distances[0].mean() > 20 * raw.distances[1:].mean()
    assert data.distances[0].mean() < 2 * data.distances[1:].mean()


def test_similarity_of_normalised_states_is_kept_apart_from_that_of_raw_ones() -> None:
    recording = massive_run()
    places = {}
    for form in ("raw", "normalised", "raw"):
        options = similarity.Options(measure="cka", form=form)
        data = similarity.compute(recording, Selection(), options)
        if form in places:
            np.testing.assert_array_equal(places[form], data.values)
        places[form] = data.values
    for form, states in (
        ("raw", recording.layer_states[:, 0].astype(float)),
        ("normalised", by_torch(recording, recording.layer_states[:, 0])),
    ):
        centred = states - states.mean(1, keepdims=True)
        grams = np.einsum("rtd,rud->rtu", centred, centred)
        dots = np.einsum("atu,btu->ab", grams, grams)
        cka = dots / np.sqrt(np.outer(np.diag(dots), np.diag(dots)))
        np.testing.assert_allclose(places[form], cka, rtol=2e-4)
    # Raw, one token of massive norm makes any two places alike.
    assert places["raw"].min() > 0.9 > places["normalised"].min()


def test_matrix_entropy_of_normalised_states() -> None:
    recording = massive_run()
    got = measure(recording, find("matrix_entropy_as_read")).values.reshape(-1)
    states = by_torch(recording, recording.layer_states[:, 0])
    p = np.linalg.svd(states, compute_uv=False) ** 2
    p /= p.sum(-1, keepdims=True)
    np.testing.assert_allclose(got, -(p * np.log(p)).sum(-1), rtol=1e-5)
    assert (measure(recording, find("matrix_entropy")).values.reshape(-1) < 0.1 * got).all()
