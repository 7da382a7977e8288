"""The views of stability and of other starts, on the bundled model."""

from __future__ import annotations

import numpy as np
import pytest
from models import tiny_architecture, tiny_checkpoint
from recordings import synthetic_recording

from loopscope.core.errors import Cancelled
from loopscope.core.jobs import Job
from loopscope.core.loading import load
from loopscope.core.requests.paths import run as run_paths
from loopscope.core.requests.stability import run as measure_stability
from loopscope.core.selection import Selection
from loopscope.core.stepper import Stepper
from loopscope.core.views import paths, stability


@pytest.fixture(scope="module")
def stepper() -> Stepper:
    loaded = load("bundled:looped", "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("ab bc ca ? 2 : a b c"))
    for _ in range(16):
        stepper.step()
    return stepper


def job() -> Job:
    return Job("test", lambda job: None)


def test_stability_of_the_bundled_model(stepper: Stepper) -> None:
    options = stability.Options(starts=3, n_values=4)
    found = measure_stability(stepper, Selection(), options, job())
    stepper.recording.findings["stability"] = found
    data = stability.compute(stepper.recording, Selection(), options)
    assert found.recurrence == 16
    # The run closes in about as fast as the spectral radius says.
    assert found.spectrum.radius == pytest.approx(found.rate, rel=0.25)
    assert found.lyapunov == pytest.approx(np.log(found.spectrum.radius), abs=0.35)
    assert data.kinds[found.points.from_end] == "stable"
    assert f"{found.spectrum.radius:.3g} at recurrence 16" in data.statement
    rows = list(stability.table(data).rows)
    # One pair of layers at each point.
    assert len(rows) == len(found.spectrum.values) + 2 * len(data.kinds) + 2
    assert all(len(row) == len(stability.table(data).columns) for row in rows)


def test_the_points_of_the_cycle_are_the_ends_of_the_runs_layers(stepper: Stepper) -> None:
    options = stability.Options(starts=2, n_values=2)
    found = measure_stability(stepper, Selection(), options, job())
    stepper.recording.findings["stability"] = found
    data = stability.compute(stepper.recording, Selection(), options)
    end = found.points.from_end
    last = stepper.recording.layer_states[-1]
    assert found.cycles[end] == pytest.approx(last, abs=2e-3 * float(np.abs(last).max()))
    a, b = last.reshape(2, -1).astype(np.float64)
    apart = 2 * np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b))
    assert data.distances[end, 0, 1] == pytest.approx(apart, rel=1e-3)
    assert f"the 2 points of its cycle are {apart:.3g} of their norm apart" in data.statement
    rows = [row for row in stability.table(data).rows if row[0] == "points of the cycle"]
    assert rows[end][-3:] == (0, 1, data.distances[end, 0, 1])


def test_random_starts_are_run_before_they_are_searched_from(stepper: Stepper) -> None:
    def slow(warm_up: int) -> int:
        options = stability.Options(starts=6, n_values=1, warm_up=warm_up)
        found = measure_stability(stepper, Selection(), options, job())
        assert (found.n_random, found.warm_up) == (3, warm_up)
        stepper.recording.findings["stability"] = found
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
    assert stability.LABEL in ready.missing
    assert list(stability.table(ready).rows) == []
    assert stability.REQUEST.missing(fresh)
    assert not stability.REQUEST.missing(synthetic_recording())


@pytest.mark.parametrize(
    ("fixed", "radius", "margin", "kind"),
    [
        (False, np.nan, np.nan, "slow point"),
        (True, 0.9, 1e-3, "stable"),
        (True, 1.1, 1e-3, "unstable"),
        (True, 0.9995, 1e-3, "marginal"),
    ],
)
def test_a_point_is_called_stable_only_without_doubt(fixed, radius, margin, kind) -> None:
    assert stability._kind(fixed, radius, margin) == kind


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
    stepper.recording.findings["paths"] = found
    data = paths.compute(stepper.recording, Selection(), options)
    a, b, c = found.states[:, -1, 4].astype(np.float64)
    pairs = [2 * np.linalg.norm(x - y) / (np.linalg.norm(x) + np.linalg.norm(y))
             for x, y in ((a, b), (a, c), (b, c))]  # fmt: skip
    assert data.end[4] == pytest.approx(np.mean(pairs))
    assert data.curves[-1].y[-1] == pytest.approx(np.median(data.end))
    assert "the ends of 3 starts" in data.statement
    assert len(list(paths.table(data).rows)) == sum(len(c.x) for c in data.curves)


def test_a_model_without_injection_says_what_a_start_is(tmp_path) -> None:
    arch = tiny_architecture(injection="none", initial_state="embedding")
    loaded = load(str(tiny_checkpoint(tmp_path / "m", arch)), "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("ab ? 1 : a"))
    stepper.step()
    found = run_paths(stepper, Selection(), paths.Options(), job())
    assert found.names[1] == "zeros"
    stepper.recording.findings["paths"] = found
    said = paths.compute(stepper.recording, Selection(), paths.Options()).statement
    assert "replaces the prompt" in said
    stepper.step()
    said = paths.compute(stepper.recording, Selection(), paths.Options()).statement
    assert "the run has gone on to 2" in said


def test_other_starts_can_be_cancelled(stepper: Stepper) -> None:
    stopped = job()
    stopped.cancel()
    with pytest.raises(Cancelled):
        run_paths(stepper, Selection(), paths.Options(), stopped)
