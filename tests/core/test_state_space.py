"""What the state-space plotter is given, from recordings with known dynamics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recordings import architecture, synthetic_recording

from loopscope.core.options import settings_of
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.states import LayerState
from loopscope.core.selection import Selection
from loopscope.core.views.state_space import compute as state_space
from loopscope.core.views.state_space.compute import Options, compute
from loopscope.core.views.state_space.data import (
    MAX_GROUPS,
    Refit,
    colour_positions,
    joint_pca,
    strokes,
)

EVERY = Selection()
BARE = Capture(patterns=False, writes=False, readout=False)


def recorded(states: np.ndarray, start: np.ndarray) -> Recording:
    """A recording of one layer with ``states [R, T, d]``."""
    like = synthetic_recording(recurrences=0, tokens=len(start), n_block=1, d=start.shape[1])
    info = replace(like.info, architecture=architecture(n_block=1, d=start.shape[1]))
    recording = Recording(info, start.astype(np.float32), BARE)
    for r, state in enumerate(states.astype(np.float32), 1):
        recording.append_layer(LayerState(r, 0, state))
        recording.append_end(state, None, None)
    return recording


def test_coordinates_are_the_projection_of_the_states_onto_the_basis() -> None:
    recording = synthetic_recording()
    data = compute(recording, EVERY, Options(pc_x=2, pc_y=1))
    assert data.points.shape == (5, 13, 2)
    assert data.basis is not None
    states = recording.states.astype(np.float64)
    flat, first = states.reshape(-1, 16), states[:9].reshape(-1, 16)
    axes = np.linalg.svd(first - first.mean(0), full_matrices=False)[2]
    scores = ((flat - first.mean(0)) @ axes.T).reshape(13, 5, -1).transpose(1, 0, 2)
    np.testing.assert_allclose(np.abs(data.points[..., 0]), np.abs(scores[..., 1]), atol=1e-9)
    np.testing.assert_allclose(np.abs(data.points[..., 1]), np.abs(scores[..., 0]), atol=1e-9)
    share = (flat @ axes[1]).var() / flat.var(0).sum()
    assert data.axes[0].share == pytest.approx(share)
    assert data.axes[0].label == f"PC2 ({100 * share:.1f} % of variance)"
    np.testing.assert_array_equal(data.recurrences, np.arange(13))
    assert (data.layers == -1).all()


def test_every_layer_is_a_station_in_the_order_of_the_cycle() -> None:
    recording = synthetic_recording(n_block=3, recurrences=9)
    data = compute(recording, EVERY, Options(states="layers", dimensions="3-D"))
    assert data.points.shape == (5, 27, 3)
    np.testing.assert_array_equal(data.recurrences, np.repeat(np.arange(1, 10), 3))
    np.testing.assert_array_equal(data.layers, np.tile(np.arange(3), 9))
    assert data.basis is not None
    expected = (recording.layer_states[4, 2, 1] - data.basis.mean) @ data.basis.components[:3].T
    station = data.station(5, 2)
    assert station == 14
    np.testing.assert_allclose(data.points[1, station], expected, atol=1e-6)
    assert data.last_cycle == slice(24, 27)
    assert data.station(0, 0) is None
    assert data.station(10, 0) is None


def test_a_recurrence_under_way_is_shown_layer_by_layer() -> None:
    recording = synthetic_recording(n_block=2, recurrences=3, capture=BARE)
    recording.append_layer(LayerState(4, 0, np.ones((5, 16), np.float32)))
    data = compute(recording, EVERY, Options(states="layers"))
    assert data.points.shape[1] == 7
    assert data.n_recurrences == 3
    assert data.newest == 4
    assert data.last_cycle == slice(4, 6)
    assert compute(recording, EVERY, Options()).newest == 3


def test_axes_are_of_the_first_eight_recurrences_whenever_they_are_looked_at() -> None:
    early = compute(synthetic_recording(recurrences=8), EVERY, Options())
    late = compute(synthetic_recording(recurrences=40), EVERY, Options())
    assert early.basis is not None
    assert late.basis is not None
    np.testing.assert_array_equal(late.basis.components, early.basis.components)
    np.testing.assert_array_equal(late.basis.mean, early.basis.mean)
    np.testing.assert_array_equal(late.points[:, :9], early.points)
    kept = compute(synthetic_recording(recurrences=40), EVERY, Options(basis=early.basis))
    assert kept.basis is early.basis
    np.testing.assert_array_equal(kept.points, late.points)
    assert kept.statement == late.statement
    # The share is that of the points now shown, along these axes.
    flat = synthetic_recording(recurrences=40).states.reshape(-1, 16).astype(np.float64)
    along = flat @ early.basis.components[0]
    assert late.axes[0].share == pytest.approx(along.var() / flat.var(0).sum(), rel=1e-6)
    assert "axes fitted on the ends of recurrences 0 to 8, all 5 tokens" in late.statement


@pytest.mark.parametrize("states", ["ends", "layers"])
def test_axes_do_not_depend_on_when_an_analysis_came_back(states: str) -> None:
    """A quick bench looks after every recurrence, a slow one at 39; both keep what was fitted."""
    kept = []
    for looks in (range(1, 41), (39,), (5, 23, 40)):
        options = Options(states=states)
        for r in looks:
            data = compute(synthetic_recording(recurrences=r, n_block=2), EVERY, options)
            if not data.provisional and not data.locked:
                options = replace(options, basis=data.basis)
        kept.append(options.basis)
    assert kept[0] is not None
    for basis in kept[1:]:
        np.testing.assert_array_equal(basis.components, kept[0].components)
        assert basis.fitted_on == kept[0].fitted_on


def test_axes_over_all_recurrences_follow_the_run() -> None:
    options = Options(fit_over="all")
    data = compute(synthetic_recording(recurrences=20), EVERY, options)
    assert data.follows_run
    assert not data.provisional
    flat = synthetic_recording(recurrences=20).states.reshape(-1, 16).astype(np.float64)
    axis = np.linalg.svd(flat - flat.mean(0))[2][0]
    assert data.basis is not None
    assert abs(axis @ data.basis.components[0]) == pytest.approx(1)
    assert "axes follow the run, fitted on the ends of recurrences 0 to 20" in data.statement


def test_a_refit_is_of_the_recurrences_it_was_asked_at_and_of_its_run_only() -> None:
    recording = synthetic_recording(recurrences=20)
    run = compute(recording, EVERY, Options()).run
    refit = Options(refit=Refit(run, 12))
    data = compute(recording, EVERY, refit)
    at_twelve = compute(synthetic_recording(recurrences=12), EVERY, Options(fit_over="all"))
    assert data.basis is not None
    assert at_twelve.basis is not None
    np.testing.assert_array_equal(data.basis.components, at_twelve.basis.components)
    # The basis of the first eight, kept from before, does not serve any more.
    held = compute(recording, EVERY, Options()).basis
    again = compute(recording, EVERY, replace(refit, basis=held))
    assert not again.locked
    other = compute(synthetic_recording(recurrences=20, labels=list("vwxyz")), EVERY, refit)
    assert other.basis is not None
    assert other.basis.n_recurrences == 8


def test_axes_of_other_states_than_are_shown_say_so() -> None:
    recording = synthetic_recording(recurrences=9, n_block=2)
    basis = compute(recording, EVERY, Options()).basis
    assert compute(recording, EVERY, Options(basis=basis)).elsewhere == ""
    assert compute(recording, Selection(tokens=(2,)), Options(basis=basis)).elsewhere == ""
    layers = compute(recording, EVERY, Options(basis=basis, states="layers"))
    assert layers.elsewhere == (
        "These axes are of the ends of recurrences 0 to 8, all 5 tokens; shown is every layer"
    )
    assert "these axes are of the ends" in layers.statement
    joint = joint_pca(Options())
    of_final = compute(recording, Selection(tokens=(4,)), joint)
    assert of_final.elsewhere == ""
    every = compute(recording, EVERY, joint)
    assert every.elsewhere.endswith(
        "every layer of recurrences 1 to 9, the final token; shown is 5 tokens"
    )


def massive(recurrences: int = 10) -> Recording:
    """Six tokens, of which the first is 80 times as large from the second recurrence on."""
    rng = np.random.default_rng(5)
    states = rng.normal(size=(recurrences, 6, 8))
    states[1:, 0] *= 80
    return recorded(states, rng.normal(size=(6, 8)))


def test_a_massive_token_takes_the_variance_until_it_is_left_out() -> None:
    recording = massive()
    kept = compute(recording, EVERY, Options(pc_y=2))
    (token,) = kept.massive
    norms = np.linalg.norm(recording.states[:9].astype(float), axis=-1)
    ratio = (norms / np.median(norms, axis=1, keepdims=True)).max(0)
    assert token.position == 0
    assert token.ratio == pytest.approx(ratio[0], rel=1e-6)
    assert "token 0 has" in kept.statement
    out = compute(recording, EVERY, Options(massive="left out", basis=kept.basis))
    assert out.tokens == (1, 2, 3, 4, 5)
    assert not out.locked  # those axes were of the massive token
    flat = recording.states[:9, 1:].reshape(-1, 8).astype(np.float64)
    values = np.linalg.svd(flat - flat.mean(0), compute_uv=False) ** 2
    assert out.basis is not None
    assert out.basis.explained_variance[0] == pytest.approx(values[0] / len(flat))
    assert out.axes[0].label.endswith("% of variance, without token 0)")
    assert "and left out" in out.statement
    alone = compute(recording, Selection(tokens=(0,)), Options(massive="left out"))
    assert alone.tokens == (0,)
    assert alone.without == ""


def test_states_as_the_next_norm_reads_them_and_centred() -> None:
    recording = massive()
    states = recording.states.astype(np.float64)
    eps = recording.info.architecture.norm_eps
    normed = states / np.sqrt((states**2).mean(-1, keepdims=True) + eps)
    less = states - states[:9].mean(0)
    for form, expected in (("normalised", normed), ("centred", less)):
        data = compute(recording, EVERY, Options(form=form))
        flat = expected[:9].reshape(-1, 8)
        axes = np.linalg.svd(flat - flat.mean(0))[2][:2]
        points = np.abs((expected - flat.mean(0)) @ axes.T).transpose(1, 0, 2)
        np.testing.assert_allclose(np.abs(data.points), points, atol=2e-4)
        word = {"normalised": "PC1 of s/rms(s) (", "centred": "PC1 of s − token mean ("}[form]
        assert data.axes[0].label.startswith(word)
        # A basis of another form does not serve.
        assert not compute(recording, EVERY, Options(basis=data.basis)).locked


def test_a_basis_serves_its_own_run_and_others_only_when_asked() -> None:
    basis = compute(synthetic_recording(), EVERY, Options()).basis
    other = synthetic_recording(seed=1, labels=["v", "w", "x", "y", "z"])
    assert not compute(other, EVERY, Options(basis=basis)).locked
    kept = compute(other, EVERY, Options(basis=basis, keep_basis=True))
    assert kept.locked
    assert "of an earlier run" in kept.statement
    wider = synthetic_recording(d=32)
    dropped = compute(wider, EVERY, Options(basis=basis, keep_basis=True))
    assert not dropped.locked
    assert dropped.basis is not None
    assert dropped.basis.width == 32


def test_few_recurrences_make_a_provisional_basis() -> None:
    few = compute(synthetic_recording(recurrences=7), EVERY, Options())
    assert few.provisional
    assert "axes change until recurrence 8" in few.statement
    assert not compute(synthetic_recording(recurrences=8), EVERY, Options()).provisional


def test_the_fit_uses_the_selected_tokens_or_all() -> None:
    recording, two = synthetic_recording(), Selection(tokens=(1, 3))
    selected = compute(recording, two, Options())
    every = compute(recording, two, Options(fit_on="all"))
    assert selected.tokens == every.tokens == (1, 3)
    assert selected.labels == ("b", "d")
    whole = compute(recording, EVERY, Options())
    assert selected.basis is not None
    assert every.basis is not None
    assert whole.basis is not None
    np.testing.assert_array_equal(every.basis.components, whole.basis.components)
    assert np.abs(selected.basis.components - whole.basis.components).max() > 1e-3


def test_readout_directions_are_the_axes_when_they_are_recorded() -> None:
    recording = synthetic_recording()
    options = Options(axes="readout", readout_x=3, readout_y=7)
    missing = compute(recording, EVERY, options)
    assert missing.empty
    assert missing.missing_directions == (3, 7)
    assert "'tok3' (id 3) and 'tok7' (id 7) have not been read" in missing.statement
    rng = np.random.default_rng(0)
    rows = {i: rng.normal(size=16).astype(np.float32) for i in (3, 7)}
    recording.readout_directions.update(rows)
    data = compute(recording, EVERY, options)
    w = rows[3].astype(np.float64)
    expected = recording.states[:, 2].astype(np.float64) @ w / np.sqrt(w @ w)
    np.testing.assert_allclose(data.points[2, :, 0], expected, rtol=1e-6)
    cosine = rows[3] @ rows[7] / np.linalg.norm(rows[3]) / np.linalg.norm(rows[7])
    assert f"({np.degrees(np.arccos(cosine)):.0f}° apart)" in data.statement
    unknown = compute(recording, EVERY, Options(axes="readout", readout_x=99))
    assert unknown.statement == "Token id 99 does not exist: the model has ids 0 to 39."


def test_a_random_pair_does_not_depend_on_the_run() -> None:
    a = compute(synthetic_recording(), EVERY, Options(axes="random", random_seed=2))
    b = compute(synthetic_recording(seed=9), EVERY, Options(axes="random", random_seed=2))
    assert a.basis is not None
    assert b.basis is not None
    np.testing.assert_array_equal(a.basis.components, b.basis.components)
    assert a.axes[0].name == "random 1 of seed 2"


def test_states_that_are_not_finite_are_left_out_and_counted() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(10, 3, 8))
    states[4, 1, 2] = np.nan
    states[9, 0] = np.inf
    data = compute(recorded(states, rng.normal(size=(3, 8))), EVERY, Options())
    assert data.n_left_out == 2
    assert "2 states not finite left out" in data.statement
    assert np.isnan(data.points[1, 5]).all()
    assert np.isnan(data.points).any(-1).sum() == 2
    assert data.basis is not None
    assert np.isfinite(data.basis.components).all()
    nothing = compute(
        recorded(np.full((9, 3, 8), np.nan), np.full((3, 8), np.nan)), EVERY, Options()
    )
    assert nothing.empty
    assert nothing.statement.startswith("None of the 30 states is finite")


def test_the_closing_of_the_cycle_follows_the_known_rate() -> None:
    recording = synthetic_recording(recurrences=12, n_block=2)
    data = compute(recording, EVERY, Options(states="layers"))
    layers = recording.layer_states.astype(np.float64)
    step = np.linalg.norm(layers[11] - layers[10], axis=-1) / np.linalg.norm(layers[11], axis=-1)
    np.testing.assert_allclose(data.closing, step.max(0))
    assert "the last cycle repeats the one before to within" in data.statement
    assert np.isnan(compute(synthetic_recording(recurrences=1), EVERY, Options()).closing).all()


@pytest.mark.parametrize("states", ["ends", "layers"])
@pytest.mark.parametrize("axes", ["pca", "readout", "random"])
@pytest.mark.parametrize("tokens", [1, 5])
def test_an_empty_run_has_no_points_and_says_so(states: str, axes: str, tokens: int) -> None:
    recording = synthetic_recording(recurrences=0, tokens=tokens)
    recording.readout_directions.update({i: np.ones(16, np.float32) for i in (0, 1)})
    data = compute(recording, EVERY, Options(states=states, axes=axes))
    assert data.empty
    assert "has been run yet" in data.statement
    assert list(state_space.table(data).rows) == []
    assert strokes(data) == []


def test_one_token_and_one_recurrence_are_enough() -> None:
    data = compute(synthetic_recording(recurrences=1, tokens=1), EVERY, Options(dimensions="3-D"))
    assert data.points.shape == (1, 2, 3)
    assert data.axes[0].share == pytest.approx(1)
    assert data.axes[2].share == 0


def test_the_table_is_what_is_drawn() -> None:
    data = compute(
        synthetic_recording(recurrences=9), Selection(tokens=(2, 4)), Options(states="layers")
    )
    table = state_space.table(data)
    columns = ("position", "token", "recurrence", "layer", "PC1", "PC2", "beside the run")
    assert table.columns == columns
    rows = list(table.rows)
    assert len(rows) == 2 * 18
    assert rows[18 + 3] == (4, "e", 2, 1, *data.points[1, 3].tolist(), "")


@pytest.mark.parametrize("colour", ["recurrence", "token"])
@pytest.mark.parametrize("tokens", [1, 5, 30])
@pytest.mark.parametrize("recurrences", [1, 12, 200])
def test_strokes_cover_every_segment_once_in_few_groups(
    colour: str, tokens: int, recurrences: int
) -> None:
    recording = synthetic_recording(recurrences=recurrences, tokens=tokens, capture=BARE)
    data = compute(recording, EVERY, Options(colour=colour))
    parts = strokes(data)
    assert len(parts) <= MAX_GROUPS
    drawn = np.zeros((tokens, recurrences), int)
    for part in parts:
        drawn[np.ix_(part.rows, range(part.first, part.last))] += 1
    assert (drawn == 1).all()
    ages = [part.age for part in parts]
    assert ages == sorted(ages)
    assert ages[-1] == 1


def test_settings_leave_out_what_the_view_sets_itself() -> None:
    names = {o.name for o in settings_of(Options)}
    assert {"states", "dimensions", "colour", "axes", "pc_x", "keep_basis"} <= names
    assert not names & {"basis", "azimuth", "elevation"}


def test_every_measure_shown_has_a_formula_and_unit() -> None:
    for axes in ("pca", "readout", "random"):
        formulas = compute(synthetic_recording(), EVERY, Options(axes=axes)).formulas
        assert all(f.formula and f.unit and f.source for f in formulas)


def test_a_component_on_two_axes_counts_once() -> None:
    recording = synthetic_recording(recurrences=6)
    one = compute(recording, Selection(), Options(pc_x=1, pc_y=2))
    twice = compute(recording, Selection(), Options(pc_x=1, pc_y=1))
    share = 100 * one.axes[0].share
    assert f"hold {share:.1f} % of the variance" in twice.statement


def test_colours_are_spent_where_the_motion_is() -> None:
    recording = synthetic_recording(recurrences=200, rate=0.5)
    data = compute(recording, Selection(), Options())
    position = colour_positions(data)
    assert position[0] == 0
    assert position[-1] == pytest.approx(1)
    assert (np.diff(position) > 0).all()
    # Half of the way is gone with the first step, and nearly all of it with the tenth.
    way = 1 - 0.5 ** np.arange(201)
    np.testing.assert_allclose(position, 0.8 * way + 0.2 * np.arange(201) / 200, atol=0.01)
    parts = strokes(data)
    assert parts[0].last <= 2
    assert sum(part.first < 10 for part in parts) >= 4
    assert [part.level for part in parts] == sorted(part.level for part in parts)
    assert parts[-1].level == pytest.approx(1)
    ticks = data.colour_ticks()
    assert ticks[0][1] == 0
    assert ticks[-1][1] == 200
    assert sum(r <= 10 for _, r in ticks) >= 3
    even = compute(recording, Selection(), Options(spread="recurrence"))
    np.testing.assert_allclose(colour_positions(even), np.linspace(0, 1, 201))
    still = compute(synthetic_recording(recurrences=5, rate=0.0), Selection(), Options())
    assert np.isfinite(colour_positions(still)).all()
