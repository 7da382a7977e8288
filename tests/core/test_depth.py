"""Measures over depth: the right numbers in the right curves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recordings import synthetic_recording

from loopscope.core.measures.registry import MEASURES
from loopscope.core.options import settings_of
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.depth import Options, compute, table
from loopscope.core.views.lens.curves import LENS_CURVES


def relative_steps(layers: np.ndarray) -> np.ndarray:
    """Brute force: [R - 1, L, T]."""
    x = layers.astype(np.float64)
    return np.array([
        [[np.linalg.norm(x[r, i, t] - x[r - 1, i, t]) / np.linalg.norm(x[r, i, t])
          for t in range(x.shape[2])] for i in range(x.shape[1])] for r in range(1, len(x))
    ])  # fmt: skip


def test_a_line_for_each_layer_is_the_median_over_tokens() -> None:
    recording = synthetic_recording(recurrences=6, n_block=3)
    data = compute(recording, Selection(), Options())
    expected = np.median(relative_steps(recording.layer_states), axis=-1)
    assert [c.name for c in data.curves] == ["layer 0", "layer 1", "layer 2"]
    for i, c in enumerate(data.curves):
        assert np.isnan(c.y[0])  # a change needs two recurrences
        assert c.y[1:] == pytest.approx(expected[:, i], rel=1e-6)
    low = np.percentile(relative_steps(recording.layer_states)[:, 1], 25, axis=-1)
    assert data.curves[1].low[1:] == pytest.approx(low, rel=1e-6)


def test_groupings_hold_the_same_numbers() -> None:
    recording = synthetic_recording(recurrences=5, n_block=4)
    by = {
        g: compute(recording, Selection(), Options(grouping=g))
        for g in ("layer", "recurrence", "depth")
    }
    layers = np.stack([c.y for c in by["layer"].curves], axis=1)
    np.testing.assert_array_equal(np.stack([c.y for c in by["recurrence"].curves]), layers)
    np.testing.assert_array_equal(by["depth"].curves[0].y, layers.ravel())
    assert by["depth"].curves[0].places[6] == {"recurrence": 2, "layer": 2}


def test_only_the_shown_tokens_count() -> None:
    recording = synthetic_recording(recurrences=5, n_block=2, tokens=6)
    data = compute(recording, Selection(tokens=(1, 4)), Options())
    expected = np.median(relative_steps(recording.layer_states)[..., [1, 4]], axis=-1)
    assert data.curves[0].y[1:] == pytest.approx(expected[:, 0], rel=1e-6)


def test_a_measure_without_layers_falls_back_and_says_so() -> None:
    recording = synthetic_recording(recurrences=5)
    data = compute(recording, Selection(), Options(measure="relative_step", grouping="recurrence"))
    assert data.grouping == "layer"
    assert "it has no layers" in data.statement
    assert len(data.curves) == 1


def test_the_null_line_is_uniform_causal_attention() -> None:
    recording = synthetic_recording(recurrences=4, tokens=7)
    data = compute(recording, Selection(), Options(measure="entropy"))
    null = data.curves[-1]
    assert (null.role, null.dashed) == ("reference", True)
    assert null.y == pytest.approx(np.mean(np.log(np.arange(1, 8))))


def windowed(recording: Recording, *windows: int, causal: bool = True) -> Recording:
    """The same run as if of layers with sliding windows."""
    arch = recording.info.architecture
    layer = replace(arch.layer, causal=causal)
    shapes = tuple(replace(layer, window=w) for w in (0, *windows, 0))
    arch = replace(arch, layer=layer, layer_shapes=shapes)
    recording.info = replace(recording.info, architecture=arch)
    return recording


@pytest.mark.parametrize("causal", [True, False])
def test_the_null_lines_keep_to_each_layers_window(causal: bool) -> None:
    recording = windowed(synthetic_recording(recurrences=4, tokens=7), 3, 0, causal=causal)
    # By hand, of the tokens that a token at i may see in a window of 3 and without one.
    counts = {
        True: ([1, 2, 3, 3, 3, 3, 3], [1, 2, 3, 4, 5, 6, 7]),
        False: ([3, 4, 5, 5, 5, 4, 3], [7] * 7),
    }[causal]
    entropies = [np.mean(np.log(n)) for n in counts]
    firsts = [sum(1 / n for i, n in enumerate(c) if i < (3, 7)[k]) / 7
              for k, c in enumerate(counts)]  # fmt: skip
    for measure, wanted in (("entropy", entropies), ("sink", firsts)):
        data = compute(recording, Selection(), Options(measure=measure))
        assert [c.y[0] for c in data.curves[-2:]] == pytest.approx(wanted)
        assert "window 3" in data.curves[-2].name
        data = compute(recording, Selection(), Options(measure=measure, grouping="recurrence"))
        assert data.curves[-1].y == pytest.approx(wanted)
    data = compute(recording, Selection(), Options(measure="normalised_entropy"))
    assert [c.y[0] for c in data.curves if c.role == "reference"] == [1, 1]


def test_the_statement_says_whether_curves_repeat() -> None:
    recording = synthetic_recording(recurrences=8, n_block=4)
    data = compute(recording, Selection(), Options(measure="residual_norm"))
    assert data.repeat is not None
    assert f"correlation {data.repeat.consecutive:.3f}" in data.statement
    two = compute(synthetic_recording(recurrences=8), Selection(), Options())
    assert "no repeat correlation: 2 layers have no curve to compare" in two.statement


@pytest.mark.parametrize("key", list(MEASURES))
@pytest.mark.parametrize("recurrences", [0, 1, 5])
@pytest.mark.parametrize("tokens", [1, 4])
def test_every_measure_is_drawn_or_says_why_not(key: str, recurrences: int, tokens: int) -> None:
    recording = synthetic_recording(recurrences=recurrences, tokens=tokens, n_block=3)
    for grouping in ("layer", "recurrence", "depth"):
        data = compute(recording, Selection(), Options(measure=key, grouping=grouping))
        assert bool(data.missing) != bool(data.curves)
        assert data.statement
        assert len(list(table(data).rows)) == sum(len(c.x) for c in data.curves)


def test_no_patterns_are_said() -> None:
    recording = synthetic_recording(recurrences=3, capture=Capture(patterns=False))
    assert (
        "did not keep attention patterns"
        in compute(recording, Selection(), Options(measure="sink_rate")).missing
    )


def test_every_measure_and_lens_curve_is_a_choice() -> None:
    choice = next(o for o in settings_of(Options) if o.name == "measure")
    assert [key for key, _ in choice.choices] == [*MEASURES, *LENS_CURVES]
