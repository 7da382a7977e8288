"""The views of stability and of other starts, on the bundled model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from models import tiny_architecture, tiny_checkpoint
from recordings import synthetic_recording, with_results

from loopscope.core.analyses.paths import _other_prompt
from loopscope.core.analyses.paths import run as run_paths
from loopscope.core.analyses.stability import _starts
from loopscope.core.analyses.stability import run as measure_stability
from loopscope.core.checkpoint.loading import load
from loopscope.core.dynamics.recurrence_map import RecurrenceMap
from loopscope.core.errors import Cancelled, LoopscopeError
from loopscope.core.interventions.base import END, FOREVER
from loopscope.core.interventions.layers import FreezeHead, ScaleWrite
from loopscope.core.interventions.states import Noise
from loopscope.core.measures.path_independence import PATHS
from loopscope.core.measures.stability import STABILITY
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views import paths, stability

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stepper() -> Stepper:
    loaded = load("bundled:anytime", "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("ab bc ca ? 2 : a b c"))
    for _ in range(16):
        stepper.step()
    return stepper


def recording_shape(stepper: Stepper) -> tuple[int, ...]:
    return stepper.recording.states[0].shape


def job() -> Job:
    return Job("test")


def test_stability_of_the_bundled_model(stepper: Stepper) -> None:
    options = stability.Options(starts=3, n_values=4)
    found = measure_stability(stepper, Selection(), options, job())
    stepper.recording.keep(STABILITY, found)
    data = stability.compute(stepper.recording, Selection(), options)
    assert found.recurrence == 16
    # The run closes in about as fast as the spectral radius says.
    assert found.radius == pytest.approx(found.rate, rel=0.25)
    assert found.lyapunov == pytest.approx(np.log(found.radius), abs=0.35)
    assert found.tokens is not None
    assert found.tokens.values.shape == recording_shape(stepper)
    assert data.kinds[found.points.from_end] == "stable"
    assert f"Spectral radius {found.radius:.3g} at recurrence 16 (exact, of token" in data.statement
    assert "over 4 start vectors" in data.statement
    rows = list(stability.table(data).rows)
    # One pair of layers at each point.
    others = found.tokens.values.size + len(found.lyapunov) + 1
    assert len(rows) == len(found.spectrum.values) + 2 * len(data.kinds) + others
    assert [row[-1] for row in rows if row[0] == "Lyapunov exponent"] == found.lyapunov.tolist()
    assert all(len(row) == len(stability.table(data).columns) for row in rows)


def test_the_points_of_the_cycle_are_the_ends_of_the_runs_layers(stepper: Stepper) -> None:
    options = stability.Options(starts=2, n_values=2)
    found = measure_stability(stepper, Selection(), options, job())
    stepper.recording.keep(STABILITY, found)
    data = stability.compute(stepper.recording, Selection(), options)
    end = found.points.from_end
    last = stepper.recording.layer_states[-1]
    assert found.cycles[end] == pytest.approx(last, abs=2e-3 * float(np.abs(last).max()))
    a, b = last.reshape(2, -1).astype(np.float64)
    apart = 2 * np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b))
    assert data.distances[end, 0, 1] == pytest.approx(apart, rel=1e-3)
    assert f"the 2 points of its cycle are {apart:.3g} of their norm apart" in data.statement
    rows = [row for row in stability.table(data).rows if row[0] == "points of the cycle"]
    assert rows[end][-4:-1] == (0, 1, data.distances[end, 0, 1])


def test_random_starts_are_run_before_they_are_searched_from(stepper: Stepper) -> None:
    def slow(warm_up: int) -> int:
        options = stability.Options(starts=6, n_values=1, warm_up=warm_up)
        found = measure_stability(stepper, Selection(), options, job())
        assert (found.n_random, found.warm_up) == (3, warm_up)
        stepper.recording.keep(STABILITY, found)
        said = stability.compute(stepper.recording, Selection(), options).statement
        assert ("(3 random, run for 5 recurrences first)" in said) == (warm_up == 5)
        return int(found.points.found_by[~found.points.is_fixed].sum())

    assert slow(5) < slow(0)


def test_the_spectrum_can_be_taken_at_the_cursor(stepper: Stepper) -> None:
    options = stability.Options(at="cursor", starts=1, n_values=2)
    found = measure_stability(stepper, Selection(recurrence=3), options, job())
    assert found.recurrence == 3


def test_why_nothing_was_measured_is_said() -> None:
    fresh = synthetic_recording(recurrences=0)
    assert (
        "Run a recurrence first"
        in stability.compute(fresh, Selection(), stability.Options()).missing
    )
    ready = stability.compute(synthetic_recording(), Selection(), stability.Options())
    assert ready.lacks == stability.LACKS
    assert "Nothing has been measured" in ready.missing
    assert list(stability.table(ready).rows) == []
    assert stability.REQUEST.missing(fresh)
    assert not stability.REQUEST.missing(synthetic_recording())


@pytest.mark.parametrize(
    ("residual", "radius", "margin", "kind"),
    [
        (0.1, np.nan, np.nan, "slow point"),
        # 32 rounding floors of float32 are 32 · 2^-23 / √12 = 1.10e-6.
        (1.15e-6, np.nan, np.nan, "slow point"),
        (1.05e-6, np.nan, np.nan, "below resolution"),
        (1e-9, 0.9, 1e-3, "stable"),
        (1e-9, 1.1, 1e-3, "unstable"),
        (1e-9, 0.9995, 1e-3, "marginal"),
    ],
)
def test_a_point_is_called_stable_only_without_doubt(residual, radius, margin, kind) -> None:
    found = with_results(synthetic_recording()).result(STABILITY)
    points = replace(found.points, residual=np.full(3, residual), tolerance=1e-8)
    found = replace(found, points=points, radii=np.full(3, radius), margins=np.full(3, margin))
    assert stability.kinds_of(found) == (kind,) * 3


def test_the_exact_spectrum_is_drawn_where_it_is_known_and_estimates_are_called_so(stepper) -> None:
    options = stability.Options(starts=1, n_values=2)
    found = measure_stability(stepper, Selection(), options, job())
    stepper.recording.keep(STABILITY, found)
    shown = stability.compute(stepper.recording, Selection(), options).eigenvalues
    # The whole Jacobian, formed column by column, has these eigenvalues and no others.
    f = RecurrenceMap(stepper)
    state = stepper.recording.states[found.recurrence]
    product = f.product(state)
    whole = np.stack([product(e) for e in np.eye(state.size)], 1)
    assert shown.exact
    assert len(shown.values) == state.size
    last = np.argsort(-np.abs(np.linalg.eigvals(whole)))[:5]
    leading = np.abs(np.linalg.eigvals(whole))[last]
    assert np.sort(np.abs(shown.values))[::-1][:5] == pytest.approx(leading, rel=1e-2)
    rows = list(stability.table(stability.compute(stepper.recording, Selection(), options)).rows)
    assert {r[6] for r in rows if r[0] == "eigenvalue of a token"} == {"exact"}
    assert {r[6] for r in rows if r[0] == "eigenvalue"} == {"estimate"}
    stepper.recording.keep(STABILITY, replace(found, tokens=None))
    data = stability.compute(stepper.recording, Selection(), options)
    assert not data.eigenvalues.exact
    assert "an estimate" in data.statement
    np.testing.assert_array_equal(data.eigenvalues.values, found.spectrum.values)


def test_other_starts_end_as_far_apart_as_their_states(stepper: Stepper) -> None:
    options = paths.Options(random_starts=2)
    found = run_paths(stepper, Selection(), options, job())
    assert found.names == ("the run (zeros)", "random, seed 1", "random, seed 2")
    np.testing.assert_array_equal(found.states[0], stepper.recording.states)
    # A path is the run that the stepper itself makes from that start.
    other = Stepper(stepper.loaded)
    other.begin(
        stepper.loaded.tokenizer.encode("ab bc ca ? 2 : a b c"), initial_state=found.states[1, 0]
    )
    for _ in range(16):
        other.step()
    assert found.states[1] == pytest.approx(other.recording.states, abs=2e-5)
    stepper.recording.keep(PATHS, found)
    data = paths.compute(stepper.recording, Selection(), options)
    a, b, c = found.states[:, -1, 4].astype(np.float64)
    pairs = [2 * np.linalg.norm(x - y) / (np.linalg.norm(x) + np.linalg.norm(y))
             for x, y in ((a, b), (a, c), (b, c))]  # fmt: skip
    assert data.end[4] == pytest.approx(np.mean(pairs))
    assert data.curves[-1].y[-1] == pytest.approx(np.median(data.end))
    assert "the ends of 3 starts" in data.statement
    assert len(list(paths.table(data).rows)) == sum(len(c.x) for c in data.curves)


def test_other_starts_are_cut_as_the_run_is(stepper: Stepper) -> None:
    """Else their ends would differ by the cuts as well as by where they start."""
    cuts = (
        Noise(recurrence=0, last=0, layer=END, size=1.0),
        FreezeHead(recurrence=2, last=FOREVER, layer=0, head=1, held=1),
        ScaleWrite(recurrence=1, last=FOREVER, layer=1, factor=0.2),
    )
    cut = Stepper(stepper.loaded)
    prompt = stepper.loaded.tokenizer.encode("ab bc ca ? 2 : a b c")
    cut.begin(prompt, initial_state=np.ones((12, stepper.loaded.architecture.d_model)),
              interventions=cuts)  # fmt: skip
    for _ in range(6):
        cut.step()
    found = run_paths(cut, Selection(), paths.Options(random_starts=1), job())
    assert found.names[1:] == ("zeros", "random, seed 1")
    for states in found.states[1:]:
        other = Stepper(stepper.loaded)
        other.begin(prompt, initial_state=states[0], interventions=cuts[1:])
        for _ in range(6):
            other.step()
        assert states == pytest.approx(other.recording.states, abs=2e-5)
        assert not np.allclose(states[-1], found.states[0, -1], atol=1e-9)
    found = measure_stability(cut, Selection(), stability.Options(starts=2), job())
    cut.recording.keep(STABILITY, found)
    said = stability.compute(cut.recording, Selection(), stability.Options()).statement
    assert "what was cut into this run is not in the map" in said


def test_another_prompts_end_is_a_start(stepper: Stepper) -> None:
    other_prompt = "cb ba ac ? 1 : c a b"
    options = paths.Options(random_starts=1, prompt=other_prompt)
    found = run_paths(stepper, Selection(), options, job())
    assert found.names == ("the run (zeros)", "random, seed 1", f"the end of '{other_prompt}'")
    # By hand: run the other prompt as far, then this one from where it ended.
    loaded = stepper.loaded
    other, back = Stepper(loaded), Stepper(loaded)
    other.begin(loaded.tokenizer.encode(other_prompt))
    for _ in range(16):
        other.step()
    back.begin(
        loaded.tokenizer.encode("ab bc ca ? 2 : a b c"), initial_state=other.recording.states[-1]
    )
    for _ in range(16):
        back.step()
    assert found.states[2, 0] == pytest.approx(other.recording.states[-1], abs=2e-5)
    assert found.states[2] == pytest.approx(back.recording.states, abs=2e-5)
    stepper.recording.keep(PATHS, found)
    data = paths.compute(stepper.recording, Selection(), options)
    assert f"3 starts (the run (zeros), 1 random, the end of '{other_prompt}')" in data.statement
    x, y = found.states[[0, 2], -1].astype(np.float64)
    norms = np.linalg.norm(x, axis=-1) + np.linalg.norm(y, axis=-1)
    expected = np.median(2 * np.linalg.norm(x - y, axis=-1) / norms)
    assert data.from_run[2] == pytest.approx(expected)
    assert f"from the end of '{other_prompt}' it ends {expected:.3g} from the run" in data.statement


def test_another_prompt_of_another_length_is_refused_before_anything_runs(stepper) -> None:
    told: list[float] = []
    asked = job()
    asked.report = told.append
    options = paths.Options(prompt="ab bc ? 1 : a")
    with pytest.raises(LoopscopeError, match="has 8 tokens and this one 12: tokens are matched"):
        run_paths(stepper, Selection(), options, asked)
    assert told == []
    with pytest.raises(LoopscopeError, match="no token for"):
        run_paths(stepper, Selection(), paths.Options(prompt="é"), asked)


def test_the_starts_are_listed_as_curves_of_their_distance_to_the_run(stepper: Stepper) -> None:
    options = paths.Options(random_starts=2, curves="start")
    stepper.recording.keep(PATHS, run_paths(stepper, Selection(), options, job()))
    data = paths.compute(stepper.recording, Selection(tokens=(4, 5)), options)
    assert [c.name for c in data.curves] == ["random, seed 1", "random, seed 2"]
    found = stepper.recording.result(PATHS).states[:, :, [4, 5]].astype(np.float64)
    norms = np.linalg.norm(found, axis=-1)
    for i, curve in enumerate(data.curves, start=1):
        apart = np.linalg.norm(found[i] - found[0], axis=-1) / (0.5 * (norms[i] + norms[0]))
        # The run starts at zeros, so the distance to it is 2 there.
        assert curve.y == pytest.approx(np.median(apart, axis=1))
        assert curve.y[0] == pytest.approx(2)
        assert curve.places[3] == {"recurrence": 3}
    assert paths.table(data).columns[0] == "start"
    assert "distance to the run" in data.y_label


def test_the_other_prompt_begins_as_this_run_did() -> None:
    loaded = load("bundled:anytime", "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("ab ? 1 : a"), seed=5, start="random", start_scale=2.0)
    stepper.step()
    other = _other_prompt(stepper, "ba ? 1 : b")
    np.testing.assert_array_equal(other.recording.states[0], stepper.recording.states[0])
    assert other.recording.info.prompt == "ba ? 1 : b"


def test_a_model_without_injection_says_what_a_start_is(tmp_path) -> None:
    arch = tiny_architecture(injection="none", initial_state="embedding")
    loaded = load(str(tiny_checkpoint(tmp_path / "m", arch)), "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("ab ? 1 : a"))
    stepper.step()
    found = run_paths(stepper, Selection(), paths.Options(), job())
    assert found.names[1] == "zeros"
    stepper.recording.keep(PATHS, found)
    said = paths.compute(stepper.recording, Selection(), paths.Options()).statement
    assert "replaces the prompt" in said
    stepper.step()
    said = paths.compute(stepper.recording, Selection(), paths.Options()).statement
    assert "the run has gone on to 2" in said


def test_warming_up_can_be_cancelled(stepper: Stepper) -> None:
    asked: list[float] = []

    def stop(share: float) -> None:
        asked.append(share)
        raise Cancelled("enough")

    f, options = RecurrenceMap(stepper), stability.Options(starts=4, warm_up=1000)
    with pytest.raises(Cancelled):
        _starts(f, stepper.recording.states, options, stop)
    assert len(asked) == 1


def test_other_starts_can_be_cancelled(stepper: Stepper) -> None:
    stopped = job()
    stopped.cancel()
    with pytest.raises(Cancelled):
        run_paths(stepper, Selection(), paths.Options(), stopped)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_in_half_precision_the_same_run_in_float32_is_measured(dtype: str) -> None:
    """From the run's own start, which half precision has rounded, with the run's own cut."""
    half, exact = load("bundled:anytime", "cpu", dtype), load("bundled:anytime", "cpu")
    cuts = (Noise(recurrence=2, last=2, layer=END, size=0.1, seed=3),)
    prompt = half.tokenizer.encode("ab bc ca ? 2 : a b c")
    run = Stepper(half)
    run.begin(prompt, start="random", seed=5, interventions=cuts)
    twin = Stepper(exact)
    twin.begin(prompt, initial_state=run.recording.state(0), interventions=cuts)
    for stepper in (run, twin):
        for _ in range(5):
            stepper.step()
    options = stability.Options(starts=2, n_values=3)
    shares: list[float] = []
    work = job()
    report = work.report
    work.report = lambda share: (shares.append(share), report(share))  # type: ignore[method-assign]
    found = measure_stability(run, Selection(), options, work)
    expected = measure_stability(twin, Selection(), options, job())
    # Attention is made in another way where its patterns are not kept: float32's rounding apart.
    np.testing.assert_allclose(found.tokens.values, expected.tokens.values, atol=1e-5)
    np.testing.assert_allclose(found.points.points, expected.points.points, rtol=0.01, atol=1e-3)
    assert found.rate == pytest.approx(expected.rate, rel=1e-4)
    assert (found.recurrence, found.n_recurrences) == (5, 5)
    assert shares == sorted(shares)
    run.recording.keep(STABILITY, found)
    said = stability.compute(run.recording, Selection(), options)
    assert said.statement.startswith(
        f"Of the same run in float32, as derivatives in {dtype} are rounding noise: spectral radius"
    )
    twin.recording.keep(STABILITY, expected)
    assert said.kinds == stability.compute(twin.recording, Selection(), options).kinds
    assert not stability.REQUEST.missing(run.recording)
