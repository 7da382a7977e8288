"""The search for fixed points with all starts at once, over one start after the other."""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest
import torch

from loopscope.core.analyses.stability import _starts
from loopscope.core.checkpoint.loading import load
from loopscope.core.dynamics.fixed_point_search import search
from loopscope.core.dynamics.recurrence_map import RecurrenceMap
from loopscope.core.run.stepper import Stepper
from loopscope.core.views.stability import Options

PROMPTS = ("ha bc de fg gh cd ab ef ? 3 : a b c d e f g h", "ab bc ca ? 2 : a b c")


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("n_starts", [6, 24])
@pytest.mark.parametrize("warm_up", [0, 3])
def test_search_together_over_one_by_one(say, n_starts: int, warm_up: int) -> None:
    torch.set_num_threads(1)
    loaded = load("bundled:looped", "cpu")
    ratios, fixed = [], []
    for prompt in PROMPTS:
        stepper = Stepper(loaded)
        stepper.begin(loaded.tokenizer.encode(prompt))
        for _ in range(20):
            stepper.step()
        f = RecurrenceMap(stepper)
        options = Options(starts=n_starts, warm_up=warm_up)
        starts = _starts(f, stepper.recording.states, options)
        started = time.perf_counter()
        together = search(f, starts)
        at_once = time.perf_counter() - started
        started = time.perf_counter()
        alone = [by_torch(f, start[None]) for start in starts]
        ratios.append((time.perf_counter() - started) / at_once)
        fixed.append(
            (int(together.found_by[together.is_fixed].sum()), sum(r <= 1e-5 for r in alone))
        )
    say(
        f"one start after the other by torch.optim.LBFGS over all at once, {n_starts} starts, "
        f"random ones run for {warm_up} recurrences first",
        ratio=round(statistics.mean(ratios), 2),
        starts_ending_in_fixed_points={
            "at once": sum(a for a, _ in fixed),
            "alone": sum(b for _, b in fixed),
        },
    )
    assert statistics.mean(ratios) > 1


def by_torch(f: RecurrenceMap, start: torch.Tensor) -> float:
    """As the search was made before: chunks of 5 iterations until nothing is gained."""
    s = start.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [s], max_iter=5, history_size=20, tolerance_grad=0, tolerance_change=0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        q = 0.5 * (s - f(s)).square().sum()
        torch.autograd.backward(q)
        return q

    def judged() -> tuple[float, float]:
        with torch.no_grad():
            a, b = s[0].double().numpy(), f(s)[0].double().numpy()
        size = float(np.linalg.norm(a - b))
        return 0.5 * size**2, size / float(np.linalg.norm(a))

    done, (q, residual) = 0, judged()
    while done < 200 and residual > 1e-6:
        optimizer.step(closure)
        done += 5
        now, residual_now = judged()
        if not np.isfinite(now) or now > q * 0.999:
            return min(residual, residual_now)
        q, residual = now, residual_now
    return residual
