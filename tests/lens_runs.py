"""Runs with what the lens request reads of them."""

from __future__ import annotations

from loopscope.core.analyses import lens as request
from loopscope.core.checkpoint.loading import load
from loopscope.core.measures.lens import READINGS, Reading
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.lens.compute import Options

LENSES = ("coda", "logit")


def job() -> Job:
    return Job("test")


def run_of(
    path: str, recurrences: int, dtype: str = "float32", ids=(5, 17, 3, 60, 41, 8)
) -> Stepper:
    loaded = load(path, "cpu", dtype)
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.from_ids(ids))
    for _ in range(recurrences):
        stepper.step()
    return stepper


def reading_of(stepper: Stepper, options: Options, selection: Selection | None = None) -> Reading:
    selection = selection or Selection()
    stepper.recording.keep(READINGS, request.run(stepper, selection, options, job()))
    return stepper.recording.result(READINGS).of(options.lens)


def bundled_run() -> Stepper:
    """Eight recurrences of the bundled model, read through both lenses."""
    loaded = load("bundled:looped", "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("ab bc ca ? 2 : a b c"))
    for _ in range(8):
        stepper.step()
    for name in LENSES:
        reading_of(stepper, Options(lens=name))
    return stepper
