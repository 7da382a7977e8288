"""Forms of states against torch's own norms, and tokens of massive norm."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from loopscope.core.measures.state_forms import StateForm, massive_tokens, norm_ratios, normalised
from loopscope.core.model.layer_shape import NormKind
from loopscope.core.model.norms import make_norm

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
