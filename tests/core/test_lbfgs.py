"""Many problems minimised at once: each as if it were alone, against scipy and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from loopscope.core.dynamics.lbfgs import minimise_rows
from loopscope.core.errors import Cancelled


def never(x: Tensor, f: Tensor) -> Tensor:
    return torch.zeros_like(f, dtype=torch.bool)


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


def test_rosenbrock_from_many_starts() -> None:
    torch.manual_seed(0)
    starts = torch.randn(9, 2, dtype=torch.float64) * 2
    found, taken = minimise_rows(rosenbrock, starts, arrived=lambda x, f: f < 1e-20)
    np.testing.assert_allclose(found.numpy(), 1, atol=1e-8)

    # About as many iterations as scipy takes of each alone.
    def plain(x: np.ndarray) -> float:
        return float(rosenbrock(torch.from_numpy(x)[None]))

    alone = [minimize(plain, s.numpy(), method="L-BFGS-B", tol=1e-18).nit for s in starts]
    assert int(taken.sum()) < 2 * sum(alone)


def test_a_quadratic_is_solved_exactly() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(30, 30))
    a = a @ a.T + 30 * np.eye(30)
    b = rng.normal(size=30)
    at, bt = torch.from_numpy(a), torch.from_numpy(b)

    def objective(x: Tensor) -> Tensor:
        return 0.5 * torch.einsum("bn,nm,bm->b", x, at, x) - x @ bt

    starts = torch.from_numpy(rng.normal(size=(3, 30)))
    found, _ = minimise_rows(objective, starts, arrived=never)
    np.testing.assert_allclose(found.numpy(), [np.linalg.solve(a, b)] * 3, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_units_of_the_objective_do_not_matter(scale: float) -> None:
    torch.manual_seed(2)
    starts = torch.randn(4, 8, dtype=torch.float64)
    asked: list[int] = []

    def objective(x: Tensor) -> Tensor:
        asked.append(len(x))
        return scale * (x.square() * torch.arange(1.0, 9.0)).sum(1)

    found, _ = minimise_rows(objective, starts, arrived=lambda x, f: f < 1e-12 * scale, most=60)
    assert found.abs().max() < 1e-5
    # Steps of the wrong length would be doubled or halved at every iteration.
    assert sum(asked) < 4 * 40


def test_a_row_goes_its_way_whatever_the_others_do() -> None:
    torch.manual_seed(1)
    starts = torch.randn(6, 5, dtype=torch.float64)
    together, taken = minimise_rows(rosenbrock, starts, arrived=lambda x, f: f < 1e-16)
    for i in range(6):
        alone, n = minimise_rows(rosenbrock, starts[i : i + 1], arrived=lambda x, f: f < 1e-16)
        assert int(n[0]) == int(taken[i])
        np.testing.assert_allclose(alone[0].numpy(), together[i].numpy(), atol=1e-9)


def test_a_bad_start_does_not_stop_the_others() -> None:
    starts = torch.tensor([[torch.nan, 1.0], [-1.2, 1.0], [torch.inf, 0.0]], dtype=torch.float64)
    found, taken = minimise_rows(rosenbrock, starts, arrived=lambda x, f: f < 1e-16)
    np.testing.assert_allclose(found[1].numpy(), 1, atol=1e-6)
    assert taken.tolist()[::2] == [0, 0]
    assert torch.isnan(found[0, 0])


def test_a_wall_that_is_not_finite_is_backed_away_from() -> None:
    # log is not a number below 0: the first long step would land there.
    def f(x: Tensor) -> Tensor:
        return (x - torch.log(x)).sum(1)

    found, _ = minimise_rows(f, torch.tensor([[30.0], [1e-3]]), arrived=never)
    np.testing.assert_allclose(found.numpy(), 1, atol=2e-3)


def test_a_row_that_has_arrived_is_not_moved() -> None:
    starts = torch.tensor([[1.0, 1.0], [-1.0, 1.0]])
    found, taken = minimise_rows(rosenbrock, starts, arrived=lambda x, f: f < 1e-6, most=50)
    assert taken[0] == 0
    assert torch.equal(found[0], starts[0])
    assert rosenbrock(found)[1] < 1e-6


def test_what_gains_nothing_ends_before_the_last_iteration() -> None:
    found, taken = minimise_rows(
        lambda x: 1 + 1e-9 * x.square().sum(1), torch.ones(2, 3), arrived=never, most=100
    )
    assert (taken <= 10).all()
    assert torch.isfinite(found).all()


def test_it_tells_how_far_it_is_and_can_be_stopped() -> None:
    told: list[float] = []
    minimise_rows(rosenbrock, torch.randn(3, 4), arrived=never, most=30, report=told.append)
    assert told[0] == 0
    assert told[-1] == 1
    assert told == sorted(told)

    def stop(share: float) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        minimise_rows(rosenbrock, torch.randn(3, 4), arrived=never, report=stop)
