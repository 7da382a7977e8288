"""Fixed points, spectra, exponents and path independence of dynamics whose answer is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from models import tiny_architecture, tiny_checkpoint

from loopscope.core.checkpoint.loading import load
from loopscope.core.dynamics import fixed_point_search
from loopscope.core.dynamics.fixed_point_search import search
from loopscope.core.dynamics.recurrence_map import RecurrenceMap, jvp
from loopscope.core.errors import Cancelled, LoopscopeError
from loopscope.core.measures.fixed_points import cycle_distances
from loopscope.core.measures.path_independence import spread
from loopscope.core.measures.stability import (
    leading_eigenvalues,
    lyapunov_exponent,
    lyapunov_exponents,
    token_spectrum,
)
from loopscope.core.run.stepper import Stepper


def matrix_with(eigenvalues: list[complex], n: int, seed: int = 0) -> np.ndarray:
    """A real matrix with these leading eigenvalues (pairs given once) and others below 0.3."""
    blocks, size = [], 0
    for value in eigenvalues:
        if value.imag:
            a, b = value.real, value.imag
            blocks.append(np.array([[a, -b], [b, a]]))
        else:
            blocks.append(np.array([[value.real]]))
        size += len(blocks[-1])
    d = np.zeros((n, n))
    at = 0
    for block in blocks:
        d[at : at + len(block), at : at + len(block)] = block
        at += len(block)
    d[at:, at:] = np.diag(np.linspace(-0.3, 0.3, n - at))
    q = np.random.default_rng(seed).normal(size=(n, n))
    return q @ d @ np.linalg.inv(q)


# ---- spectra ----
@pytest.mark.parametrize(
    "eigenvalues",
    [
        [0.9 + 0j, -0.7 + 0j, 0.5 + 0j],
        [0.6 + 0.6j, 0.8 + 0j],  # a complex pair leads
        [1.2 + 0j, 0.4 + 0.5j],  # unstable
        [0.901 + 0j, 0.9 + 0j],  # nearly equal
    ],
)
def test_chosen_eigenvalues_are_found(eigenvalues: list[complex]) -> None:
    a = matrix_with(eigenvalues, 60)
    wanted = sorted([*eigenvalues, *(v.conjugate() for v in eigenvalues if v.imag)],
                    key=lambda v: (-abs(v), v.imag))  # fmt: skip
    found = leading_eigenvalues(lambda v: a @ v, 60, len(wanted), tolerance=1e-8)
    got = sorted(found.values.tolist(), key=lambda v: (-round(abs(v), 9), v.imag))
    assert got == pytest.approx(wanted, abs=1e-6)
    assert found.converged.all()
    for value, vector, residual in zip(found.values, found.vectors, found.residuals, strict=True):
        assert np.linalg.norm(a @ vector - value * vector) == pytest.approx(residual, abs=1e-12)
    assert found.radius == pytest.approx(abs(wanted[0]), abs=1e-6)


def test_a_pair_is_not_split() -> None:
    a = matrix_with([0.6 + 0.6j], 30)
    found = leading_eigenvalues(lambda v: a @ v, 30, 1, tolerance=1e-8)
    assert len(found.values) == 2
    assert found.values[0] == pytest.approx(found.values[1].conjugate())


def test_a_residual_that_was_not_reached_is_told() -> None:
    a = np.random.default_rng(0).normal(size=(200, 200)) / math.sqrt(200)
    found = leading_eigenvalues(lambda v: a @ v, 200, 4, tolerance=1e-10, most=12)
    assert not found.converged.all()
    assert found.residuals.max() > 1e-3


def test_small_and_invariant_spaces_end_early() -> None:
    found = leading_eigenvalues(lambda v: 0.5 * v, 40, 3)
    assert found.values.tolist() == pytest.approx([0.5])
    one = leading_eigenvalues(lambda v: -2.0 * v, 1, 6)
    assert one.values.tolist() == pytest.approx([-2.0])


# ---- the spectrum by token ----
def test_a_radius_that_coupling_hides_from_arnoldi_is_exact_by_token() -> None:
    """Twenty tokens of eigenvalue 0.9, each fed by half of the one before: a Jordan block."""
    a = np.kron(0.9 * np.eye(20) + 0.5 * np.eye(20, k=-1), np.eye(3))
    misled = leading_eigenvalues(lambda v: a @ v, 60, 4, seed=1)
    exact = token_spectrum(a[3 * t : 3 * t + 3, 3 * t : 3 * t + 3] for t in range(20))
    assert exact.radius == pytest.approx(0.9, abs=1e-12)
    assert exact.error < 1e-5
    assert abs(misled.radius - 0.9) > 0.05
    assert misled.residuals.max() < 1e-2  # and nothing says so


def test_the_rounding_of_an_eigenvalue_is_bounded() -> None:
    """Against the eigenvalues of blocks that are off by as much as is said."""
    rng = np.random.default_rng(0)
    block = np.triu(rng.normal(size=(6, 6)), 1) + np.diag([0.9, 0.7, 0.5, 0.3, 0.2, 0.1])
    found = token_spectrum([block], rounding=1e-9)
    for _ in range(50):
        noise = rng.normal(size=(6, 6))
        moved = block + noise / np.linalg.norm(noise, 2) * np.linalg.norm(block, 2) * 1e-9
        values = np.sort(np.abs(np.linalg.eigvals(moved)))[::-1]
        assert (np.abs(values - np.abs(found.values[0])) <= 1.01 * found.errors[0]).all()
    defective = token_spectrum([np.array([[0.9, 1.0], [0.0, 0.9]])])
    assert defective.error > 1e3  # nothing is known of it to first order


@pytest.mark.parametrize("injection", ["add", "concat"])
def test_token_blocks_are_the_diagonal_of_the_whole_jacobian(
    injection: str, tmp_path: Path
) -> None:
    """Against reverse derivatives of the whole map; the blocks above the diagonal are 0."""
    arch = tiny_architecture(injection=injection)
    loaded = load(str(tiny_checkpoint(tmp_path / "m", arch)), "cpu")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode("ab ba ? 1 : a"))
    stepper.step()
    f, state = RecurrenceMap(stepper), recording.states[1]
    t, d = state.shape
    whole = torch.autograd.functional.jacobian(lambda s: f(s)[0], f.flat(state))[:, 0]
    whole = whole.double().numpy().reshape(t, d, t, d)
    shares: list[float] = []
    blocks = list(f.token_blocks(state, shares.append))
    for i in range(t):
        np.testing.assert_allclose(blocks[i], whole[i, :, i], atol=2e-5)
        assert not whole[i, :, i + 1 :].any()
    assert shares[-1] == 1
    exact = np.sort(np.abs(token_spectrum(blocks).values.ravel()))[::-1]
    full = np.sort(np.abs(np.linalg.eigvals(whole.reshape(t * d, t * d))))[::-1]
    np.testing.assert_allclose(exact[:5], full[:5], rtol=1e-2)


# ---- Lyapunov ----
def test_the_exponents_of_several_starts_show_their_spread() -> None:
    a = matrix_with([0.8 + 0j, 0.79 + 0j], 20)
    short = lyapunov_exponents([lambda v: a @ v] * 6, 20, starts=5)
    alone = [lyapunov_exponent([lambda v: a @ v] * 6, 20, seed=i) for i in range(5)]
    assert short.tolist() == alone
    assert np.ptp(short) > 0.01
    long = lyapunov_exponents([lambda v: a @ v] * 3000, 20, skip=1500)
    assert long == pytest.approx(math.log(0.8), abs=1e-6)


def test_the_logistic_map_at_four_has_exponent_ln_two() -> None:
    x, products = 0.2345, []
    for _ in range(60000):
        slope = 4 - 8 * x
        products.append(lambda v, s=slope: s * v)
        x = 4 * x * (1 - x)
    assert lyapunov_exponent(products, 1, skip=100) == pytest.approx(math.log(2), abs=0.01)


def test_a_linear_map_has_the_log_of_its_radius() -> None:
    a = matrix_with([0.8 + 0j, 0.5 + 0j], 20)
    found = lyapunov_exponent([lambda v: a @ v] * 200, 20, skip=60)
    assert found == pytest.approx(math.log(0.8), abs=1e-6)


def test_exponents_that_do_not_exist() -> None:
    assert math.isnan(lyapunov_exponent([], 3))
    assert math.isnan(lyapunov_exponent([lambda v: v * np.nan], 3))
    assert lyapunov_exponent([lambda v: 0 * v], 3) == -math.inf


# ---- fixed points ----
def test_the_fixed_point_of_a_contraction_is_found() -> None:
    torch.manual_seed(0)
    a = 0.5 * torch.linalg.qr(torch.randn(12, 12))[0]
    b = torch.randn(12)
    exact = torch.linalg.solve(torch.eye(12) - a, b)
    found = search(lambda s: s @ a.T + b, torch.randn(5, 12) * 3)
    assert len(found.points) == 1
    assert found.found_by.tolist() == [5]
    assert found.points[0] == pytest.approx(exact.numpy(), abs=1e-4)
    assert found.is_fixed.all()
    assert found.q[0] == pytest.approx(
        0.5 * (found.residual[0] * exact.norm().item()) ** 2, rel=1e-3
    )


def two_points(s: torch.Tensor) -> torch.Tensor:
    """Fixed at 0 (unstable, slope 2) and at 1 (stable, slope 0): the logistic map at a = 2."""
    return torch.cat([2 * s[:, :1] * (1 - s[:, :1]) * 1.0, 0.5 * s[:, 1:] + 0.5], dim=1)


def test_both_fixed_points_are_found_stable_or_not() -> None:
    starts = torch.tensor([[0.45, 0.0], [0.05, 0.2], [0.02, 3.0], [0.7, 1.0]])
    found = search(two_points, starts)
    places = sorted(
        round(float(p[0]), 3) for p, ok in zip(found.points, found.is_fixed, strict=True) if ok
    )
    assert places == [0.0, 0.5]
    assert found.found_by.sum() == 4
    radii = {}
    for p in found.points:
        s = torch.from_numpy(p)[None]

        def product(v: np.ndarray, s: torch.Tensor = s) -> np.ndarray:
            return jvp(two_points, s, torch.from_numpy(v).float()[None])[1][0].double().numpy()

        radii[round(float(p[0]), 3)] = leading_eigenvalues(product, 2, 2).radius
    assert radii[0.0] == pytest.approx(2, abs=1e-2)  # 2 (1 - 2 s)
    assert radii[0.5] == pytest.approx(0.5, abs=1e-4)


def test_a_slow_point_is_not_called_fixed() -> None:
    # s + 0.01 never stands still.
    found = search(lambda s: s + 0.01, torch.ones(1, 4), max_iterations=20)
    assert not found.is_fixed.any()
    assert found.residual[0] > 1e-5


def test_a_search_can_be_cancelled() -> None:
    def stop(share: float) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        search(lambda s: s * 0.5 + torch.sin(s), torch.randn(2, 4), report=stop)


def one_at_a_time(f, starts: torch.Tensor, iterations: int = 200) -> list[float]:
    """Relative residuals where torch's own L-BFGS ends from each start."""
    out = []
    for start in starts:
        s = start[None].clone().requires_grad_(True)
        optimizer = torch.optim.LBFGS(
            [s], max_iter=iterations, history_size=20, tolerance_grad=0, tolerance_change=0,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure(s: torch.Tensor = s, optimizer: torch.optim.LBFGS = optimizer) -> torch.Tensor:
            optimizer.zero_grad()
            q = 0.5 * (s - f(s)).square().sum()
            q.backward()
            return q

        optimizer.step(closure)
        with torch.no_grad():
            out.append(float((s - f(s)).norm() / s.norm()))
    return out


def test_starts_searched_together_end_as_well_as_torch_ends_each_alone() -> None:
    torch.manual_seed(3)
    a = torch.randn(20, 20) / 20**0.5

    def f(s: torch.Tensor) -> torch.Tensor:
        return torch.tanh(1.5 * s @ a.T) + 0.3

    starts = 2 * torch.randn(8, 20)
    alone = one_at_a_time(f, starts)
    found = search(f, starts)
    n_fixed = sum(r <= 1e-5 for r in alone)
    assert found.found_by[found.is_fixed].sum() >= n_fixed
    assert n_fixed > 0


def test_starts_that_do_not_fit_the_memory_at_once_are_searched_in_parts(monkeypatch) -> None:
    starts = torch.tensor([[0.45, 0.0], [0.05, 0.2], [0.02, 3.0], [0.7, 1.0]])
    whole = search(two_points, starts)
    monkeypatch.setattr(fixed_point_search, "MOST_BYTES", 2 * 20 * 2 * 4 * 3)  # three at a time
    told: list[float] = []
    parts = search(two_points, starts, report=told.append)
    np.testing.assert_allclose(parts.points, whole.points, atol=1e-5)
    assert parts.found_by.tolist() == whole.found_by.tolist()
    assert told == sorted(told)


def test_a_start_that_is_not_finite_is_told_and_stops_no_other() -> None:
    starts = torch.tensor([[torch.nan, 0.0], [0.7, 1.0]])
    found = search(two_points, starts)
    assert found.is_fixed.tolist() == [True, False]
    assert found.n_starts == 2
    assert found.from_end == 1


def test_distances_between_the_points_of_a_cycle() -> None:
    points = np.array([[[3.0, 4.0]], [[3.0, 0.0]], [[3.0, 4.0]]], np.float32)
    apart = cycle_distances(points)
    assert apart == pytest.approx(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]))
    assert np.isnan(cycle_distances(np.zeros((2, 1, 2), np.float32))).all()
    assert cycle_distances(points[:1]).tolist() == [[0.0]]


# ---- path independence ----
def test_spread_is_the_mean_over_pairs() -> None:
    x = np.array([[[3.0, 4.0]], [[0.0, 5.0]], [[3.0, 4.0]]])
    apart = math.sqrt(9 + 1) / 5
    assert spread(x)[0] == pytest.approx(2 * apart / 3)
    assert spread(np.repeat(x[:1], 3, axis=0))[0] == 0
    assert np.isnan(spread(x[:1])).all()


# ---- the model's own map ----
@pytest.fixture
def stepper(tmp_path) -> Stepper:
    loaded = load(str(tiny_checkpoint(tmp_path / "m")), "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("ab ? 1 : a"))
    for _ in range(4):
        stepper.step()
    return stepper


def test_the_map_is_one_recurrence(stepper: Stepper) -> None:
    f, states = RecurrenceMap(stepper), stepper.recording.states
    layers, ahead = f.layers(f.flat(states[3]))
    assert ahead.numpy().reshape(states[4].shape) == pytest.approx(states[4], abs=2e-6)
    recorded = stepper.recording.layer_states[3]
    assert layers[:, 0].numpy() == pytest.approx(recorded, abs=2e-6)


def test_jvp_is_the_finite_difference(stepper: Stepper) -> None:
    f = RecurrenceMap(stepper)
    s = f.flat(stepper.recording.states[2])
    v = torch.randn(s.shape, generator=torch.Generator().manual_seed(0))
    h = 1e-2
    difference = (f(s + h * v) - f(s - h * v)) / (2 * h)
    assert jvp(f, s, v)[1].numpy() == pytest.approx(difference.numpy(), rel=2e-2, abs=2e-3)


@pytest.mark.parametrize("which", ["tiny", "bundled:looped"])
def test_arnoldi_agrees_with_the_dense_jacobian(which: str, stepper: Stepper) -> None:
    if which != "tiny":
        loaded = load(which, "cpu")
        stepper = Stepper(loaded)
        stepper.begin(loaded.tokenizer.encode("ab ? 1 : a"))
        for _ in range(8):
            stepper.step()
    f = RecurrenceMap(stepper)
    s = f.flat(stepper.recording.states[-1])
    dense = torch.func.jacrev(lambda x: f(x[None])[0])(s[0]).double().numpy()
    exact = np.linalg.eigvals(dense)
    exact = exact[np.argsort(-np.abs(exact))]

    found = leading_eigenvalues(
        f.product(stepper.recording.states[-1]), s.shape[1], 4, tolerance=1e-4
    )
    assert np.abs(found.values[:4]) == pytest.approx(np.abs(exact[:4]), rel=1e-3)
    assert found.residuals[:2].max() < 1e-3


def test_the_anytime_model_settles_in_a_stable_fixed_point() -> None:
    loaded = load("bundled:anytime", "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("ab bc ca ? 2 : a b c"))
    for _ in range(30):
        stepper.step()
    f, states = RecurrenceMap(stepper), stepper.recording.states
    found = search(f, torch.cat([f.flat(states[-1]), f.flat(states[8])]))
    assert found.from_end >= 0
    assert found.is_fixed[found.from_end]
    apart = np.linalg.norm(found.points[found.from_end] - states[-1].ravel())
    assert apart / np.linalg.norm(states[-1]) < 1e-4


def test_what_has_no_map_says_why(tmp_path, stepper: Stepper) -> None:
    half = load(str(tiny_checkpoint(tmp_path / "h")), "cpu", "bfloat16")
    other = Stepper(half)
    other.begin(half.tokenizer.encode("ab ? 1 : a"))
    with pytest.raises(LoopscopeError, match="float32"):
        RecurrenceMap(other)
    assert tiny_architecture().n_block == 2
