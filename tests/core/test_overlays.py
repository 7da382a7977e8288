"""What is drawn beside the run: projected by hand, on and off, kept while nothing changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recordings import synthetic_recording, with_results

from loopscope.core.interventions.states import Zero
from loopscope.core.measures.path_independence import PATHS
from loopscope.core.measures.projection import Basis
from loopscope.core.measures.stability import STABILITY
from loopscope.core.measures.state_forms import StateForm
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.pairing import Pairing
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.second_run import SecondRun
from loopscope.core.views.state_space import compute as state_space
from loopscope.core.views.state_space import overlays
from loopscope.core.views.state_space.compute import (
    Data,
    Options,
    compute,
    compute_second,
)
from loopscope.core.views.state_space.data import joint_pca
from loopscope.core.views.state_space.frame import Frame
from loopscope.core.views.state_space.overlay import Overlay
from loopscope.core.views.state_space.overlays import (
    MODE_LENGTH,
    OverlayContext,
    Source,
    overlays_of,
)

BARE = Capture(patterns=False, writes=False, readout=False)
EVERY = Selection()


def run(**kwargs: object) -> Recording:
    return with_results(synthetic_recording(capture=BARE, **kwargs))


def by_role(data: Data) -> dict[str, Overlay]:
    return {overlay.role: overlay for overlay in data.overlays}


def by_hand(data: Data, states: np.ndarray) -> np.ndarray:
    assert data.basis is not None
    return (states.astype(float) - data.basis.mean) @ data.basis.components[:2].T


def test_nothing_was_found_nothing_is_drawn() -> None:
    data = compute(synthetic_recording(), EVERY, Options())
    assert data.overlays == ()
    assert "beside it" not in data.statement


@pytest.mark.parametrize("tokens", [(), (1, 3)])
def test_found_points_are_projected_like_the_run(tokens: tuple[int, ...]) -> None:
    recording = run()
    found = recording.result(STABILITY)
    data = compute(recording, Selection(tokens=tokens), Options())
    shown = list(data.tokens)
    for i, role in enumerate(("stable", "unstable", "slow point")):
        overlay = by_role(data)[role]
        states = found.points.points[i].reshape(5, -1)[shown]
        np.testing.assert_allclose(overlay.points[:, 0], by_hand(data, states), atol=1e-9)
        assert len(overlay.tooltips) == len(shown)
    # The stable one is where the run ends.
    np.testing.assert_allclose(by_role(data)["stable"].points[:, 0], data.points[:, -1], atol=1e-6)
    said = by_role(data)["unstable"].tooltips[-1]
    assert said.startswith(f"token {shown[-1]} '{data.labels[-1]}', unstable fixed point 2")
    assert "relative residual 2.0e-06, spectral radius 1.4" in said
    assert "1 stable point, 1 unstable point, 1 slow point" in data.statement


def test_with_every_layer_the_points_of_the_cycle_are_drawn() -> None:
    recording = run(n_block=3)
    data = compute(recording, EVERY, Options(states="layers"))
    overlay = by_role(data)["stable"]
    cycle = recording.result(STABILITY).cycles[0]
    assert overlay.layers.tolist() == [0, 1, 2]
    for layer in range(3):
        np.testing.assert_allclose(overlay.points[:, layer], by_hand(data, cycle[layer]), atol=1e-9)
    # Modes and other starts are of the ends of recurrences.
    assert {o.kind for o in data.overlays} == {"points"}


def test_modes_are_segments_of_the_stated_length() -> None:
    recording = run()
    found = recording.result(STABILITY)
    data = compute(recording, EVERY, Options(modes=2))
    segments = [o for o in data.overlays if o.kind == "segment"]
    # Of the pair one, with both parts; the real mode has one part.
    assert [o.role for o in segments] == ["mode", "mode, imaginary", "mode"]
    spread = float(f"{np.sqrt(recording.states.reshape(-1, 16).astype(float).var(0).sum()):.2g}")
    vector = found.spectrum.vectors[0].reshape(5, -1)
    largest = np.linalg.norm(vector, axis=1).max()
    assert data.basis is not None
    for segment, part in zip(segments, (vector.real, vector.imag), strict=False):
        half = (segment.points[:, 1] - segment.points[:, 0]) / 2
        expected = part @ data.basis.components[:2].T * MODE_LENGTH * spread / largest
        np.testing.assert_allclose(half, expected, atol=1e-9)
        np.testing.assert_allclose(segment.points.mean(1), data.points[:, -1], atol=1e-6)
    said = segments[0].tooltips[0]
    assert "modulus 0.671, phase 26.6°, one turn in 13.6 recurrences" in said
    assert "(real part)" in said
    assert "(imaginary part)" in segments[1].tooltips[0]
    assert "a real direction" in segments[2].tooltips[0]
    assert not [o for o in compute(recording, EVERY, Options(modes=0)).overlays if "mode" in o.role]


def test_other_starts_are_paths_beside_the_run() -> None:
    recording = run()
    data = compute(recording, Selection(tokens=(2,)), Options(show_starts=True))
    assert data.other_starts == 1
    overlay = by_role(data)["run"]
    other = recording.result(PATHS).states[1][:, 2]
    np.testing.assert_allclose(overlay.points[0], by_hand(data, other), atol=1e-9)
    assert (overlay.name, overlay.kind) == ("random, seed 1", "path")
    assert overlay.recurrences.tolist() == list(range(13))
    assert "1 other start" in data.statement


def test_each_kind_is_switched_off_by_its_option() -> None:
    recording = run()

    def roles(options: Options) -> set[str]:
        return {o.role for o in compute(recording, EVERY, options).overlays}

    points, mode = {"stable", "unstable", "slow point"}, {"mode", "mode, imaginary"}
    assert roles(Options(show_starts=True)) == points | mode | {"run"}
    assert roles(Options(show_points=False)) == mode
    assert roles(Options(modes=0)) == points
    assert roles(Options()) == points | mode  # other starts only when they are asked for


def test_three_axes_and_other_axes_carry_them_too() -> None:
    recording = run()
    assert {
        o.points.shape[2] for o in compute(recording, EVERY, Options(dimensions="3-D")).overlays
    } == {3}
    data = compute(recording, EVERY, Options(axes="random"))
    states = recording.result(STABILITY).points.points[0].reshape(5, -1)
    np.testing.assert_allclose(
        by_role(data)["stable"].points[:, 0], by_hand(data, states), atol=1e-9
    )


def test_the_projected_picture_is_kept_until_something_changes() -> None:
    recording = run()
    data = compute(recording, EVERY, Options())
    locked = replace(Options(), basis=data.basis)
    first = compute(recording, EVERY, locked).overlays
    again = compute(recording, EVERY, locked).overlays
    assert all(a is b for a, b in zip(first, again, strict=True))
    fewer = compute(recording, Selection(tokens=(0,)), locked).overlays
    assert fewer[0].points.shape[0] == 1
    with_results(recording)  # found anew
    fresh = compute(recording, EVERY, locked).overlays
    assert not any(a is b for a, b in zip(first, fresh, strict=True))
    assert isinstance(data.basis, Basis)


def test_a_new_source_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a branch would be: drawn from something that grows."""
    recording = synthetic_recording(capture=BARE)
    states = [recording.states[:4] + 1]

    def branch(recording: Recording, context: OverlayContext) -> list[Overlay]:
        path = states[0][:, list(context.tokens)].transpose(1, 0, 2).astype(float)
        n = path.shape[1]
        return [
            Overlay("branch", "path", "run", path, np.arange(n), np.full(n, -1),
                    tuple(f"token {t} of the branch" for t in context.tokens), index=2)
        ]  # fmt: skip

    source = Source(branch, lambda recording: ("branch", len(states[0])))
    monkeypatch.setattr(overlays, "SOURCES", (*overlays.SOURCES, source))
    data = compute(recording, EVERY, Options())
    np.testing.assert_allclose(
        data.overlays[0].points[3], by_hand(data, states[0][:, 3]), atol=1e-9
    )
    states[0] = recording.states[:6] + 1
    assert compute(recording, EVERY, Options()).overlays[0].points.shape[1] == 6
    rows = [row for row in state_space.table(data).rows if row[-1]]
    assert len(rows) == 5 * 4
    assert rows[1][2] == 1  # its recurrence


def test_states_that_are_not_finite_leave_a_hole() -> None:
    recording = run()
    recording.result(PATHS).states[1, 4] = np.nan
    overlay = by_role(compute(recording, EVERY, Options(show_starts=True)))["run"]
    assert np.isnan(overlay.points[:, 4]).all()
    assert np.isfinite(overlay.points[:, 3]).all()


def test_overlays_of_asks_each_source_once(monkeypatch: pytest.MonkeyPatch) -> None:
    recording, asked = run(), []
    source = Source(lambda r, s: asked.append(s) or [], lambda r: None)
    monkeypatch.setattr(overlays, "SOURCES", (source,))
    shown = OverlayContext((0,), Options(), 1.0)
    frame = Frame(StateForm("raw"), np.zeros(16), np.eye(2, 16), (0,))
    for _ in range(3):
        assert overlays_of(recording, shown, frame) == ()
    assert len(asked) == 1
    overlays_of(recording, shown, replace(frame, axes=np.eye(3, 16)[1:]))
    assert len(asked) == 2
    overlays_of(recording, shown, replace(frame, form=StateForm("normalised")))
    assert len(asked) == 3


# ---- the paper's joint PCA ----
def test_joint_pca_is_fitted_on_the_final_token_over_layers_and_recurrences() -> None:
    recording = synthetic_recording(recurrences=20, n_block=3, capture=BARE)
    options = joint_pca(Options(states="ends", pc_x=2, dimensions="3-D", colour="token"))
    assert options.colour == "token"  # what the paper does not say stays
    data = compute(recording, Selection(tokens=(4,)), options)
    x = recording.layer_states[:, :, -1].reshape(-1, 16).astype(float)
    _, s, vt = np.linalg.svd(x - x.mean(0), full_matrices=False)
    along = (x - x.mean(0)) @ vt[:2].T
    np.testing.assert_allclose(np.abs(data.points[0]), np.abs(along), atol=1e-6)
    assert [a.share for a in data.axes] == pytest.approx((s[:2] ** 2 / (s**2).sum()).tolist())
    assert data.basis.fitted_on == "every layer of recurrences 1 to 20, the final token"
    # Other tokens can be drawn on the same axes; they do not change them.
    every = compute(recording, EVERY, options)
    np.testing.assert_allclose(every.basis.components, data.basis.components)


# ---- the run beside ----
def branch_of(parent: Recording, at: int, away: float) -> Recording:
    """The same run up to recurrence ``at``, then moved by ``away`` in every entry."""
    branch = synthetic_recording(capture=BARE, recurrences=0)
    for r in range(1, parent.n_recurrences + 1):
        for layer in range(parent.n_layers):
            kept = parent.layer(r, layer)
            state = kept.state + np.float32(away * (r > at))
            branch.append_layer(replace(kept, state=state))
        branch.append_end(state, None, None)
    return branch


def second_run(parent: Recording, other: Recording, name: str = "branch 1") -> SecondRun:
    pairing = Pairing(parent.info.architecture, other.info.architecture)
    return SecondRun(other, name, pairing, Selection())


@pytest.mark.parametrize("states", ["ends", "layers"])
def test_a_branch_is_projected_on_the_axes_of_the_run_from_where_it_parts(states: str) -> None:
    parent = synthetic_recording(capture=BARE)
    branch = branch_of(parent, at=5, away=0.25)
    options = Options(states=states)  # type: ignore[arg-type]
    alone = compute(parent, EVERY, options)
    data = compute_second(parent, second_run(parent, branch), EVERY, options)
    np.testing.assert_array_equal(data.points, alone.points)
    (path,) = [o for o in data.overlays if o.role == "second run"]
    if states == "ends":
        by_station, shared = branch.states, 6  # r = 0 to 5
    else:
        by_station, shared = branch.layer_states.reshape(-1, 5, 16), 10  # two layers a recurrence
    assert np.isnan(path.points[:, : shared - 1]).all()
    for station in range(shared - 1, len(by_station)):
        np.testing.assert_allclose(
            path.points[:, station], by_hand(data, by_station[station]), atol=1e-6
        )
    np.testing.assert_array_equal(path.recurrences, data.recurrences)
    assert f"as this run in its first {shared} states" in path.tooltips[0]
    assert data.statement.endswith("beside it branch 1.")


def test_a_run_of_another_prompt_is_drawn_whole_and_only_where_it_has_tokens() -> None:
    parent = synthetic_recording(capture=BARE)
    short = synthetic_recording(capture=BARE, tokens=3, seed=4, recurrences=7)
    data = compute_second(parent, second_run(parent, short), Selection(tokens=(1, 4)), Options())
    (path,) = [o for o in data.overlays if o.role == "second run"]
    assert path.points.shape == (2, 8, 2)
    for r in range(8):
        np.testing.assert_allclose(path.points[0, r], by_hand(data, short.states[r])[1], atol=1e-6)
    assert np.isnan(path.points[1]).all()
    assert path.tooltips == ("token 1 'b' of branch 1", "")


def test_a_branch_keeps_the_locked_axes_and_another_model_has_none_in_common() -> None:
    parent = synthetic_recording(capture=BARE)
    cut = replace(parent.info, interventions=(Zero(recurrence=3, last=3),))
    branch = Recording(cut, parent.states[0], BARE, label=str)
    assert state_space.run_identity(branch) == state_space.run_identity(parent)
    other = Recording(replace(parent.info, weights_hash="1" * 64), parent.states[0], BARE, str)
    assert state_space.on_one_axis(parent, branch)
    assert not state_space.on_one_axis(parent, other)
