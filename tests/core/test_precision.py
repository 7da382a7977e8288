"""The error of a half-precision run against float32: by hand, and where rounding puts it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint
from models import tiny_checkpoint

from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import END, FOREVER
from loopscope.core.interventions.layers import FreezeHead, SkipLayer
from loopscope.core.interventions.states import Noise
from loopscope.core.measures.precision import error_line
from loopscope.core.run.float32_twin import Float32Twin
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.settling import Options, compute

IDS = (3, 1, 4, 1, 5, 9)


@pytest.mark.parametrize(("dtype", "bits"), [("bfloat16", 8), ("float16", 11)])
@pytest.mark.parametrize("family", ["native", "huginn", "hrm_text"])
def test_the_error_is_that_of_the_same_run_in_float32(
    dtype: str, bits: int, family: str, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    path = str(tiny_checkpoint(folder) if family == "native" else write_checkpoint(folder, family))
    half, wide = load(path, "cpu", dtype), load(path, "cpu", "float32")
    runs = []
    for loaded in (half, wide):
        stepper = Stepper(loaded)
        start = None if loaded is half else runs[0].states[0]
        runs.append(stepper.begin(loaded.tokenizer.from_ids(IDS), initial_state=start))
        for _ in range(5):
            stepper.step()
    by_hand = np.array([
        [np.linalg.norm(a[t] - b[t]) / np.linalg.norm(b[t]) for t in range(len(IDS))]
        for a, b in zip(runs[0].states[1:], runs[1].states[1:], strict=True)
    ])  # fmt: skip
    shares: list[float] = []
    errors = Float32Twin(half).error(runs[0], shares.append)
    np.testing.assert_allclose(errors, by_hand, rtol=2e-3)  # with patterns and without
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    # Rounding to that many bits, a few dozen times: neither nothing nor everything.
    assert 0.05 * 2.0**-bits < np.median(errors) < 60 * 2.0**-bits
    assert f"{dtype} states are {np.median(errors[-1]):.2g}" in error_line(errors, dtype)


def test_a_run_with_cuts_is_held_against_one_with_the_same_cuts(tmp_path: Path) -> None:
    loaded = load(str(tiny_checkpoint(tmp_path / "m")), "cpu", "bfloat16")
    cuts = (
        Noise(recurrence=0, last=1, layer=END, size=0.5),
        FreezeHead(recurrence=2, last=FOREVER, layer=0, head=1, held=1),
        SkipLayer(recurrence=2, last=3, layer=1),
    )
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.from_ids(IDS), interventions=cuts)
    for _ in range(5):
        stepper.step()
    assert np.median(Float32Twin(loaded).error(recording)) < 60 * 2.0**-8


def test_the_settling_view_draws_it_once_it_is_known(tmp_path: Path) -> None:
    loaded = load(str(tiny_checkpoint(tmp_path / "m")), "cpu", "bfloat16")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.from_ids(IDS))
    for _ in range(4):
        stepper.step()
    assert np.isnan(compute(recording, Selection(), Options()).error_line).all()
    recording.float32_error = Float32Twin(loaded).error(recording)
    stepper.step()
    line = compute(recording, Selection(), Options()).error_line
    np.testing.assert_allclose(line[:4], np.median(recording.float32_error, axis=1), rtol=1e-6)
    assert np.isnan(line[4])  # run since


def test_float32_runs_and_empty_runs_have_no_error(tmp_path: Path) -> None:
    path = str(tiny_checkpoint(tmp_path / "m"))
    for dtype, message in (("float32", "in float32"), ("bfloat16", "no recurrence")):
        loaded = load(path, "cpu", dtype)
        recording = Stepper(loaded).begin(loaded.tokenizer.from_ids(IDS))
        with pytest.raises(LoopscopeError, match=message):
            Float32Twin(loaded).error(recording)


def test_asked_again_it_steps_only_what_was_run_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(str(tiny_checkpoint(tmp_path / "m")), "cpu", "bfloat16")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.from_ids(IDS))
    twin = Float32Twin(loaded)
    for _ in range(3):
        stepper.step()
    first = twin.error(recording)
    stepper.step()
    ran: list[float] = []
    both = twin.error(recording, ran.append)
    assert len(ran) == 1
    np.testing.assert_array_equal(both[:3], first)
    np.testing.assert_array_equal(both, Float32Twin(loaded).error(recording))
    # Another run begins anew.
    other = stepper.begin(loaded.tokenizer.from_ids(IDS[::-1]))
    stepper.step()
    np.testing.assert_array_equal(twin.error(other), Float32Twin(loaded).error(other))
