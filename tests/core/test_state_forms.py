"""Forms of states against torch's own norms, and tokens of massive norm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recordings import recording_of, synthetic_recording

from loopscope.core.measures.base import measure
from loopscope.core.measures.massive import OVER_FIRST, massive_in
from loopscope.core.measures.registry import find
from loopscope.core.measures.stages import matrix_entropy_without_massive
from loopscope.core.measures.state_forms import StateForm, massive_tokens, norm_ratios, normalised
from loopscope.core.model.layer_shape import NormKind
from loopscope.core.model.norms import make_norm
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
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


def test_matrix_entropy_without_massive_tokens() -> None:
    recording = massive_run()
    got = measure(recording, find("matrix_entropy_without_massive")).values.reshape(-1)
    for entropy, state in zip(got, recording.layer_states[:, 0].astype(float), strict=True):
        norms = np.linalg.norm(state, axis=-1)
        kept = state[norms < 5 * np.median(norms)]
        assert len(kept) == len(state) - 1  # the one massive token
        p = np.linalg.svd(kept, compute_uv=False) ** 2
        p /= p.sum()
        assert entropy == pytest.approx(-(p * np.log(p)).sum(), rel=1e-6)


def test_without_a_massive_token_all_of_them_count() -> None:
    recording = synthetic_recording(recurrences=3)
    names = ("matrix_entropy", "matrix_entropy_without_massive")
    one, other = (measure(recording, find(name)).values for name in names)
    np.testing.assert_allclose(one, other)


def test_a_state_that_is_not_finite_has_no_entropy_left_over() -> None:
    states = massive_run().layer_states[0].copy()
    states[..., 2, 1] = np.inf
    assert np.isnan(matrix_entropy_without_massive(states)).all()


def test_similarity_leaves_massive_tokens_out_when_asked() -> None:
    recording = massive_run()
    everything = Selection()
    kept = similarity.compute(recording, everything, similarity.Options(measure="cosine"))
    out = similarity.compute(
        recording, everything, similarity.Options(measure="cosine", massive="left out")
    )
    states = recording.layer_states[:, 0].astype(float)
    unit = states / np.linalg.norm(states, axis=-1, keepdims=True)
    cosine = np.einsum("atd,btd->abt", unit, unit)
    norms = np.linalg.norm(states, axis=-1)
    massive = (norms >= 5 * np.median(norms, axis=1, keepdims=True)).any(0)
    assert massive.sum() == 1
    np.testing.assert_allclose(kept.values, cosine.mean(-1), atol=1e-6)
    np.testing.assert_allclose(out.values, cosine[..., ~massive].mean(-1), atol=1e-6)
    (token,) = np.flatnonzero(massive)
    assert kept.statement.endswith(f"token {token} is of massive norm")
    assert out.statement.endswith(f"token {token} is of massive norm and left out")
    alone = Selection(tokens=(int(token),))
    only = similarity.compute(
        recording, alone, similarity.Options(measure="cosine", massive="left out")
    )
    assert not only.missing  # what alone is shown is not left out


def test_which_tokens_are_massive_does_not_change_as_a_run_goes_on() -> None:
    states = np.random.default_rng(3).normal(size=(OVER_FIRST + 4, 6, 8))
    states[OVER_FIRST + 2 :, 0] *= 80
    assert massive_in(recording_of(states)) == ()
    states[3, 2] *= 80
    assert massive_in(recording_of(states)) == (2,)
    assert massive_in(recording_of(states[:1])) == ()
