"""What one more recurrence costs does not grow with those before it, counted in work."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from recordings import go_on, synthetic_recording
from work import calls

from loopscope.core.measures.base import Measure, measure
from loopscope.core.measures.registry import MEASURES
from loopscope.core.run.rows import Rows
from loopscope.core.selection import Selection
from loopscope.core.views import depth

SHORT, LONG = 32, 256


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many rows of recordings have been read since it was asked last."""
    rows, part, n = Rows.rows, Rows.part, [0]

    def counted(own: Rows, first: int, last: int) -> np.ndarray:
        n[0] += last - first
        return rows(own, first, last)

    def one(own: Rows, i: int, at: int) -> np.ndarray:
        n[0] += 1
        return part(own, i, at)

    monkeypatch.setattr(Rows, "rows", counted)
    monkeypatch.setattr(Rows, "part", one)

    def since() -> int:
        found, n[0] = n[0], 0
        return found

    return since


@pytest.mark.parametrize("quantity", MEASURES.values(), ids=MEASURES.keys())
def test_a_measure_reads_only_what_came(quantity: Measure, read: Callable[[], int]) -> None:
    def cost(recurrences: int) -> tuple[int, int]:
        recording = synthetic_recording(recurrences=recurrences)
        measure(recording, quantity)
        go_on(recording)
        read()
        done = calls(lambda: measure(recording, quantity))
        return read(), done

    (few_rows, few_calls), (many_rows, many_calls) = cost(SHORT), cost(LONG)
    assert many_rows <= few_rows
    assert many_calls <= 1.1 * few_calls + 20


def test_the_bands_of_measures_over_depth_cost_no_call_for_each_recurrence() -> None:
    def cost(recurrences: int) -> int:
        recording = synthetic_recording(recurrences=recurrences)
        depth.compute(recording, Selection(recurrences), depth.Options())
        return calls(lambda: depth.compute(recording, Selection(recurrences), depth.Options()))

    assert cost(LONG) < 2 * cost(SHORT)


def test_quartiles_leave_out_what_is_not_known() -> None:
    values = np.random.default_rng(3).normal(size=(7, 3, 9))
    values[2, 1, :4] = values[5, 0, 0] = np.nan
    for i, j in np.ndindex(7, 3):
        known = np.sort(values[i, j][np.isfinite(values[i, j])])
        at = np.array([0.25, 0.75]) * (len(known) - 1)
        truth = np.interp(at, np.arange(len(known)), known)
        np.testing.assert_allclose(depth._percentiles(values)[:, i, j], truth, rtol=1e-12)
