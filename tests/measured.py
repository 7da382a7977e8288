"""The bundled model after a few recurrences, and the measurement of any view on it, made small."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loopscope.app.view_spec import ViewSpec
from loopscope.core.checkpoint.loading import load
from loopscope.core.prompts.prompt_set import Labels, read_prompts
from loopscope.core.run.jobs import Job
from loopscope.core.run.pairing import Pairing
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.second_run import SecondRun

PROMPT = "ab bc ca ? 2 : a b c"
# Less than a user would ask for.
SMALL: dict[str, dict[str, Any]] = {
    "probe": {"prompts": 2, "draws": 1, "recurrences": 4, "mid": 1, "late": 2},
    "stability": {"n_values": 2, "starts": 2, "warm_up": 1},
    "paths": {"random_starts": 2},
    "correspondence": {"prompts": 6, "permutations": 2},
    "linear_probes": {"prompts": 3, "permutations": 2},
    "interchange": {"prompts": 3},
    "stitching": {"prompts": 3},
    "nulls": {"prompts": 3},
}


def stepper_of(checkpoint: str, recurrences: int, n_prompts: int = 3) -> Stepper:
    """Run ``checkpoint`` for so many recurrences, with the first bundled prompts as its set."""
    loaded = load(checkpoint, "cpu")
    prompts = read_prompts("bundled:hops")
    labels = (Labels("end", ("no", "yes")),)
    items = (replace(item, labels=labels) for item in prompts.items[:n_prompts])
    loaded.shared.prompts = replace(prompts, items=tuple(items))
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode(PROMPT))
    for _ in range(recurrences):
        stepper.step()
    return stepper


class Desk:
    """Two runs of the looped model, and one of a deep model beside it."""

    def __init__(self, recurrences: int = 4) -> None:
        self.stepper = stepper_of("bundled:looped", recurrences)
        self.deep = stepper_of("bundled:deep", 1)
        self.recording = self.stepper.recording
        self.branch = self._branch(recurrences)

    def _branch(self, recurrences: int) -> SecondRun:
        other = Stepper(self.stepper.loaded)
        other.begin(self.stepper.loaded.tokenizer.encode(PROMPT), start="random", seed=1)
        for _ in range(recurrences):
            other.step()
        arch = self.recording.info.architecture
        return SecondRun(other.recording, "other start", Pairing(arch, arch), Selection())

    def measure(self, spec: ViewSpec, selection: Selection, options: Any) -> None:
        """Make the measurement of ``spec``, where it has one, and keep it as the bench does."""
        if spec.request is None:
            return
        job: Job[object] = Job(spec.title)
        job.second_run = self.deep
        found = spec.measure(self.stepper, selection, options, job)
        self.recording.keep(spec.request.result, found)

    def compute(self, spec: ViewSpec, selection: Selection, options: Any) -> Any:
        """Return what the view shows, after reading what it says it lacks, as the bench does."""
        data = spec.compute(self.recording, selection, options)
        if tokens := getattr(data, "directions_to_read", ()):
            read = {token: self.stepper.readout_direction(token) for token in tokens}
            self.recording.readout_directions.update(read)
            data = spec.compute(self.recording, selection, options)
        return data
