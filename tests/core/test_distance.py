"""Distances to the end against the closed form of a contraction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from recordings import synthetic_recording

from loopscope.core.measures.base import NO_RUN
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.distance import ONE_PER_LAYER, Options, compute, table


def with_states(states: np.ndarray) -> Recording:
    """A run of two-layer blocks that went through ``states``."""
    like = synthetic_recording(
        recurrences=len(states) - 1, tokens=states.shape[1], d=states.shape[2]
    )
    recording = Recording(like.info, states[0].astype(np.float32), Capture(False, False, False))
    for i in range(1, len(states)):
        for layer in range(2):
            recording.append_layer(like.layer(i, layer))
        recording.append_end(states[i].astype(np.float32), None, None)
    return recording


def test_distances_are_the_closed_form() -> None:
    recording = synthetic_recording(recurrences=10, rate=0.7)
    data = compute(recording, Selection(), Options())
    offset = np.linalg.norm(recording.states[0] - recording.states[-1], axis=-1) / (1 - 0.7**10)
    expected = offset[:, None] * (0.7 ** np.arange(10) - 0.7**10)
    np.testing.assert_allclose(data.distances, expected, rtol=1e-4)
    assert (data.first, data.last) == (0, 10)
    relative = compute(recording, Selection(), Options("relative"))
    norm = np.linalg.norm(recording.states[-1], axis=-1)[:, None]
    np.testing.assert_allclose(relative.distances, expected / norm, rtol=1e-4)
    assert relative.symbol == "‖sᵣ − s₁₀‖ / ‖s₁₀‖"


def test_from_a_layer() -> None:
    recording = synthetic_recording(recurrences=6, n_block=3)
    data = compute(recording, Selection(tokens=(1, 4)), Options(layer=2))
    x = recording.layer_states[:, 2].astype(float)
    assert data.distances.shape == (2, 5)
    assert data.distances[1, 3] == pytest.approx(math.dist(x[3, 4], x[5, 4]))
    assert (data.first, data.last, data.tokens) == (1, 6, (1, 4))
    assert data.symbol == "‖x[r,2] − x[6,2]‖"


def test_layers_beyond_the_block_are_the_last() -> None:
    recording = synthetic_recording(recurrences=4, n_block=2)
    assert compute(recording, Selection(), Options(layer=9)).layer == 1


def test_levels_are_logarithmic() -> None:
    states = np.zeros((5, 1, 2))
    states[:, 0, 0] = [1 + 1000, 1 + 100, 1 + 10, 1 + 1, 1]
    data = compute(with_states(states), Selection(), Options())
    np.testing.assert_allclose(data.distances, [[1000, 100, 10, 1]])
    np.testing.assert_allclose(data.levels(), [[1, 2 / 3, 1 / 3, 0]], atol=1e-6)


def test_zero_nan_and_infinity_have_a_place() -> None:
    states = np.zeros((5, 3, 2))
    states[:, :, 0] = np.array([9.0, 3, 1, 1, 1])[:, None]
    states[1, 1, 0] = np.inf
    states[4, 2, 1] = np.nan
    data = compute(with_states(states), Selection(), Options())
    assert data.levels()[0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert data.levels()[1, 1] == 1.0
    assert np.isnan(data.levels()[2]).all()
    assert (data.low, data.high) == (2.0, 8.0)


def test_a_state_that_never_moved_is_near_everywhere() -> None:
    data = compute(with_states(np.ones((4, 2, 2))), Selection(), Options())
    assert np.isnan(data.low)
    assert (data.levels() == 0).all()


def test_rounding_noise_gets_no_colours() -> None:
    states = np.ones((4, 2, 2))
    states[:, :, 0] += np.array([1.0, 1e-3, 1.2e-7, 0])[:, None]
    data = compute(with_states(states), Selection(), Options())
    assert 0 < data.distances[0, 2] < 2e-7
    assert data.low == pytest.approx(data.distances[0, 2]), "above the floor of 4.9e-8"
    states[:, :, 0] *= 0
    states[:, :, 1] = np.array([8.0, 4.0, 1 + 2**-23, 1])[:, None] * 1e3
    states[:, :, 0] = np.array([1.0, 1.0, 5e-9, 0])[:, None]
    data = compute(with_states(np.where(states == (1 + 2**-23) * 1e3, 1e3, states)), Selection(),
        Options("relative"))  # fmt: skip
    assert data.distances[0, 2] == pytest.approx(5e-12)
    assert data.low == data.distances[0, 1]
    assert data.levels()[0, 2] == 0


@pytest.mark.parametrize("options", [Options(), Options("relative"), Options(layer=0)])
@pytest.mark.parametrize("n", [0, 1, 2, 200])
def test_any_number_of_recurrences(n: int, options: Options) -> None:
    data = compute(synthetic_recording(recurrences=n, tokens=1), Selection(), options)
    columns = max(n - (options.layer >= 0), 0)
    assert data.distances.shape == (1, columns)
    assert data.missing == (NO_RUN if n == 0 else ONE_PER_LAYER if not columns else "")
    assert bool(data.statement)
    assert len(list(table(data).rows)) == columns
    assert not ((data.distances <= 0) & (data.levels() > 0)).any()


def test_statement_names_the_farthest() -> None:
    states = np.zeros((3, 2, 2))
    states[:, 0, 0], states[:, 1, 0] = [4, 2, 1], [9, 6, 1]
    data = compute(with_states(states), Selection(), Options())
    assert data.statement == (
        "Distance to the state after recurrence 2: median 5.5 at recurrence 0, 3 at 1; "
        "farthest then: token 1 'b', 5"
    )


def test_all_nan_is_said() -> None:
    states = np.full((4, 2, 2), np.nan)
    data = compute(with_states(states), Selection(), Options())
    assert "not a finite number" in data.statement
    assert np.isnan(data.levels()).all()


def test_table_holds_exact_values() -> None:
    recording = synthetic_recording(recurrences=3, tokens=2, labels=["a", " "])
    data = compute(recording, Selection(), Options("relative"))
    rows = list(table(data).rows)
    assert rows[1] == (0, "end", 1, " ", data.distances[1, 0], 3)
    assert len(rows) == data.distances.size
    assert "relative distance to the end [1]" in table(data).columns
