"""Projections against independent ground truth: the covariance's eigenvectors, a known circle."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from loopscope.core.measures import projection
from loopscope.core.measures.projection import fit_pca, project, turn, variance_shares


def cloud(n: int = 60, d: int = 9, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * np.arange(1, d + 1) + rng.normal(size=d) * 5


def reference(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors (rows) of the covariance, strongest first."""
    covariance = np.cov(points, rowvar=False, bias=True)
    values, vectors = scipy.linalg.eigh(covariance)
    return values[::-1], vectors[:, ::-1].T


def embedded_circle(d: int = 16, n: int = 40, radius: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """A circle in a tilted plane of ``d`` dimensions, away from the origin, and its angles."""
    rng = np.random.default_rng(5)
    plane = scipy.linalg.qr(rng.normal(size=(d, 2)), mode="economic")[0].T
    angles = np.arange(n) * 2 * np.pi / n
    xy = radius * np.column_stack([np.cos(angles), np.sin(angles)])
    return xy @ plane + rng.normal(size=d) * 4, angles


def test_pca_is_the_eigenvectors_of_the_covariance() -> None:
    points = cloud()
    basis = fit_pca(points)
    values, vectors = reference(points)
    assert basis.components.shape == (8, 9)
    np.testing.assert_allclose(basis.explained_variance, values[:8], rtol=1e-10)
    np.testing.assert_allclose(np.abs(np.sum(basis.components * vectors[:8], 1)), 1, atol=1e-10)
    assert basis.total_variance == pytest.approx(values.sum())


def test_explained_variance_adds_up_to_one_over_all_components() -> None:
    points = cloud()
    basis = fit_pca(points, k=None)
    assert basis.explained_variance.sum() / basis.total_variance == pytest.approx(1)
    shares = variance_shares(points, basis.components)
    assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(shares, basis.explained_variance / basis.total_variance)


def test_signs_are_fixed_however_the_points_are_ordered_or_mirrored() -> None:
    points = cloud()
    forward, shuffled = fit_pca(points), fit_pca(points[::-1])
    for basis in (forward, shuffled):
        rows = basis.components
        assert (rows[np.arange(len(rows)), np.abs(rows).argmax(1)] > 0).all()
    np.testing.assert_allclose(forward.components, shuffled.components, atol=1e-9)
    np.testing.assert_allclose(fit_pca(-points).components, forward.components, atol=1e-9)


def test_a_circle_in_sixteen_dimensions_keeps_its_radius_and_angles() -> None:
    points, angles = embedded_circle()
    basis = fit_pca(points)
    z = project(points, basis.mean, basis.components[:2])
    np.testing.assert_allclose(np.hypot(*z.T), 3.0, rtol=1e-12)
    found = np.unwrap(np.arctan2(z[:, 1], z[:, 0]))
    steps = np.diff(found)
    np.testing.assert_allclose(np.abs(steps), angles[1], rtol=1e-9)
    assert np.all(steps > 0) or np.all(steps < 0)
    assert variance_shares(points, basis.components[:2]).sum() == pytest.approx(1)


def test_the_iteration_for_wide_models_finds_what_the_exact_fit_finds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = cloud(200, 40, seed=3)
    exact = fit_pca(points, k=3)
    monkeypatch.setattr(projection, "_EXACT_WORK", 0)
    monkeypatch.setattr(projection, "_BLOCK_ELEMENTS", 40 * 7)  # several blocks, the last short
    quick = fit_pca(points, k=3)
    np.testing.assert_allclose(quick.explained_variance, exact.explained_variance, rtol=1e-3)
    assert quick.total_variance == pytest.approx(exact.total_variance)
    assert (np.abs(np.sum(quick.components * exact.components, 1)) > 0.99).all()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_points_make_a_basis_with_zeros_for_what_is_not_there(n: int) -> None:
    basis = fit_pca(cloud(n or 1)[:n])
    assert basis.width == 9
    assert not basis.component(7).any()
    assert np.isfinite(basis.explained_variance).all()


def test_points_may_have_more_axes_and_lie_anyhow(monkeypatch: pytest.MonkeyPatch) -> None:
    points = cloud(60, 9).astype(np.float32)
    turned = points.reshape(12, 5, 9).transpose(1, 0, 2)
    axes = fit_pca(points).components[:2]
    monkeypatch.setattr(projection, "_BLOCK_ELEMENTS", 12 * 9 * 2)  # several blocks
    z = project(turned, points.mean(0), axes)
    expected = (turned.astype(np.float64) - points.mean(0)) @ axes.T
    np.testing.assert_allclose(z, expected, atol=1e-6)
    assert z.shape == (5, 12, 2)
    flat = points.astype(np.float64)
    shares = np.var(flat @ axes.T, axis=0) / np.var(flat, axis=0).sum()
    np.testing.assert_allclose(variance_shares(turned, axes), shares, rtol=1e-9)


def test_points_that_do_not_vary_have_no_shares() -> None:
    points = np.ones((5, 4))
    assert not variance_shares(points, fit_pca(points).components).any()


def test_random_pair_is_orthonormal_and_depends_on_its_seed_only() -> None:
    pair = projection.random_pair(16, 3)
    np.testing.assert_allclose(pair @ pair.T, np.eye(2), atol=1e-12)
    np.testing.assert_array_equal(pair, projection.random_pair(16, 3))
    assert np.abs(pair - projection.random_pair(16, 4)).max() > 0.1
    assert projection.random_pair(1, 0).shape == (2, 1)


def test_known_angles_of_view() -> None:
    x, y, z = np.eye(3)
    np.testing.assert_allclose(turn(x, -90, 0)[:2], [1, 0], atol=1e-12)
    np.testing.assert_allclose(turn(z, -90, 0)[:2], [0, 1], atol=1e-12)
    np.testing.assert_allclose(turn(y, -90, 90)[:2], [0, 1], atol=1e-12)
    np.testing.assert_allclose(turn(x, 0, 0), [0, 0, 1], atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.floats(-180, 180), st.floats(-90, 90))
def test_turning_keeps_distances_and_handedness(azimuth: float, elevation: float) -> None:
    view = turn(np.eye(3), azimuth, elevation)
    np.testing.assert_allclose(view @ view.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(view) == pytest.approx(1)
