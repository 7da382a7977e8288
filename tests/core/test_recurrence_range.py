"""Which recurrences heat maps and curves show, and what is left of their data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import recording_of, synthetic_recording

from loopscope.app.views import BY_KEY
from loopscope.core.run.pairing import Pairing
from loopscope.core.run.recording import Recording
from loopscope.core.selection import LEAST_RECURRENCES, RecurrenceRange, Selection
from loopscope.core.views.base import ViewData
from loopscope.core.views.second_run import SecondRun
from loopscope.widgets.plots.matrix_steps import log_edges, on_log_axis

RUN = synthetic_recording(recurrences=40, n_block=2)
AT = Selection(recurrence=40, layer=1, head=1, token=2)


def shown(key: str, first: int, last: int | None, *, log: bool = False, **options: object) -> tuple:
    spec = BY_KEY[key]
    whole = spec.compute(RUN, AT, spec.options(**options))
    return whole, spec.within(whole, RecurrenceRange(first, last, log))


def test_a_whole_range_goes_on_with_the_run() -> None:
    whole = RecurrenceRange()
    assert whole.whole
    assert whole.ends(7) == (0, 7)
    assert whole.said(7) == ""
    some = RecurrenceRange(3, 20)
    assert some.ends(100) == (3, 20)
    assert some.ends(10) == (3, 10)
    assert some.ends(2) == (0, 2)  # not reached yet
    assert some.said(100) == "r = 3 to 20 of 100"


@given(
    st.integers(4, 5000), st.floats(0, 5000), st.floats(0.1, 10), st.booleans(),
    st.integers(0, 5000), st.integers(1, 5000),
)  # fmt: skip
def test_zooming_stays_within_the_run(latest, about, factor, log, first, wide) -> None:
    before = RecurrenceRange(first, first + wide, log)
    after = before.zoomed(min(about, latest), factor, latest)
    a, b = after.ends(latest)
    assert 0 <= a < b <= latest
    assert b - a >= min(LEAST_RECURRENCES, latest)
    assert after.log == log
    assert not after.misused()


def test_the_place_that_is_zoomed_about_stays_where_it_is() -> None:
    after = RecurrenceRange(0, 100).zoomed(20, 0.5, 1000)
    assert after.ends(1000) == (10, 60)  # 20 is a fifth of the way in both
    log = RecurrenceRange(1, 1000, log=True).zoomed(10, 0.5, 10_000)
    a, b = log.ends(10_000)
    share = math.log(10) / math.log(1000)
    assert math.log(10 / a) / math.log(b / a) == pytest.approx(share, abs=0.1)


def test_one_that_reaches_the_end_follows_the_run() -> None:
    assert RecurrenceRange(0, 50).zoomed(25, 3, 60).last is None
    assert RecurrenceRange().between(10, 60, 60) == RecurrenceRange(10, None)


def test_a_distance_map_keeps_scale_and_numbers() -> None:
    whole, part = shown("distance", 5, 20)
    np.testing.assert_array_equal(part.distances, whole.distances[:, 5:21])
    assert (part.first, part.low, part.high) == (5, whole.low, whole.high)


def test_heads_keep_scale_order_and_statistics() -> None:
    whole, part = shown("heads", 5, 20, order="consistency")
    np.testing.assert_array_equal(part.values, whole.values[4:20])
    np.testing.assert_array_equal(part.order, whole.order)
    assert (part.first, part.far) == (5, whole.far)
    assert part.statistics is whole.statistics


def test_square_maps_are_cut_both_ways() -> None:
    whole, part = shown("head_map", 5, 20)
    np.testing.assert_array_equal(part.values, whole.values[4:20, 4:20])
    whole, part = shown("similarity", 5, 8)
    np.testing.assert_array_equal(part.values, whole.values[8:16, 8:16])
    assert part.labels == whole.labels[8:16]
    _, by_layer = shown("similarity", 5, 8, order="layer")
    assert by_layer.labels[:5] == ("5:0", "6:0", "7:0", "8:0", "5:1")


def test_the_readout_starts_where_the_range_does() -> None:
    whole, part = shown("readout", 5, 20)
    assert part.column_labels == tuple(map(str, range(5, 21)))
    np.testing.assert_array_equal(part.probabilities, whole.probabilities[4:20])
    np.testing.assert_array_equal(part.flip[1:], whole.flip[5:20])
    assert not part.flip[0].any()
    spans = list(part.spans())
    assert all(1 <= s.first <= s.last <= 16 for s in spans)


def test_curves_show_a_part_of_their_axis() -> None:
    whole, part = shown("depth", 5, 20, measure="layer_relative_step")
    assert part.curves == whole.curves
    assert part.x_shown == (5.0, 20.0)
    assert not part.log_x
    assert shown("depth", 0, None, log=True)[1].log_x
    # Along effective depth: one prelude layer, then two a recurrence.
    _, along = shown("depth", 5, 20, measure="residual_norm", grouping="depth")
    assert along.x_shown == (10.0, 41.0)
    _, each = shown("depth", 5, 7, measure="residual_norm", grouping="recurrence")
    assert [c.name for c in each.curves] == ["r = 5", "r = 6", "r = 7"]


def test_settling_is_cut_on_its_axis_alone() -> None:
    whole, part = shown("settling", 5, 20, log=True)
    np.testing.assert_array_equal(part.values, whole.values)
    assert part.x_shown == (5.0, 20.0)
    assert part.log_r


@pytest.mark.parametrize("key", [k for k, s in BY_KEY.items() if s.request is None])
@pytest.mark.parametrize("log", [False, True])
def test_every_live_view_bears_any_range(key: str, log: bool) -> None:
    for run in (RUN, synthetic_recording(recurrences=1), synthetic_recording(recurrences=0)):
        spec = BY_KEY[key]
        whole = spec.compute(run, AT if run is RUN else Selection(), spec.options())
        for ends in ((0, None), (3, 9), (39, 41), (100, 200)):
            part = spec.within(whole, RecurrenceRange(*ends, log))
            assert isinstance(part, ViewData)
            # What is drawn of the state space is named in its sentence; others speak of the run.
            assert part.statement == whole.statement or key == "state_space"


def test_a_log_axis_gives_each_number_its_share() -> None:
    edges = log_edges(range(1, 101), 300.0)
    whole = math.log(100.5 / 0.5)
    assert edges[0] == 0
    assert edges[-1] == pytest.approx(300)
    for k in (1, 7, 100):
        share = math.log((k + 0.5) / (k - 0.5)) / whole * 300
        assert edges[k] - edges[k - 1] == pytest.approx(share)
    with_start = log_edges(range(3), 1.0)
    assert with_start[1] - with_start[0] == pytest.approx(with_start[2] - with_start[1])


def test_labels_of_a_log_axis_are_round_and_apart() -> None:
    numbers = range(1, 2001)
    edges = log_edges(numbers, 600.0)
    taken = [numbers[i] for i in on_log_axis(edges, numbers, None, lambda _: 40.0)]
    assert {1, 10, 100, 1000} <= set(taken)
    middles = sorted((edges[n - 1] + edges[n]) / 2 for n in taken)
    assert min(np.diff(middles)) >= 40
    at = on_log_axis(edges, numbers, 136, lambda _: 40.0)
    assert at[0] == 136  # the cursor's comes first


def beside(run: Recording, other: Recording) -> SecondRun:
    pairing = Pairing(run.info.architecture, other.info.architecture)
    return SecondRun(other, "other", pairing, Selection())


@pytest.mark.parametrize("states", ["ends", "layers"])
def test_the_state_space_keeps_its_axes(states: str) -> None:
    whole, part = shown("state_space", 5, 20, states=states)
    kept = (whole.recurrences >= 5) & (whole.recurrences <= 20)
    np.testing.assert_array_equal(part.points, whole.points[:, kept])
    np.testing.assert_array_equal(part.recurrences, whole.recurrences[kept])
    assert part.basis is whole.basis
    assert "recurrences 5 to 20" in part.statement
    assert part.start_words == "r = 5"
    assert whole.start_words == ("r = 1" if states == "layers" else "the start s₀")
    assert part.axes[0].label.endswith("of variance over all r)")
    assert part.newest == 20
    assert part.last_cycle == slice(0, 0)  # the run's last cycle is not among them
    layer = 1 if states == "layers" else -1
    for r in (4, 5, 12, 20, 21):
        station = part.station(r, layer)
        assert (station is not None) == (5 <= r <= 20)
        if station is not None:
            assert (part.recurrences[station], part.layers[station]) == (r, layer)
    end = shown("state_space", 30, None, states=states)[1]
    if states == "layers":
        assert [tuple(x) for x in end.points[0, end.last_cycle]] == [
            tuple(x) for x in whole.points[0, whole.last_cycle]
        ]


def test_paths_beside_the_run_are_of_the_same_recurrences() -> None:
    run = recording_of(np.random.default_rng(1).normal(size=(13, 3, 4)))
    other = recording_of(np.random.default_rng(2).normal(size=(13, 3, 4)))
    spec, second = BY_KEY["state_space"], beside(run, other)
    whole = spec.compute_second(run, second, Selection(), spec.options())
    part = spec.within(whole, RecurrenceRange(4, 9))
    (path,), (before,) = part.overlays, whole.overlays
    np.testing.assert_array_equal(path.recurrences, np.arange(4, 10))
    np.testing.assert_array_equal(path.points, before.points[:, 4:10])
