"""Where a run stood, and the measurements that were made of it, as data that can be run again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.run.recording import Recording
from loopscope.core.run.run_info import RunInfo
from loopscope.core.selection import Selection

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyRun


@dataclass(frozen=True, slots=True)
class Point:
    """A run as far as it had got.

    request : what its model was loaded by.  layers : of the recurrent block, run so far.
    file, index : the recording that it is shown from, without a model, and which run of that it
        is; "" for one that was stepped.
    patterns : whether it keeps attention patterns.
    """

    request: LoadRequest
    info: RunInfo
    layers: int
    file: str = ""
    index: int = 0
    patterns: bool = True

    @classmethod
    def of(cls, stepper: AnyRun) -> Point:
        """Where a run is now."""
        recording = stepper.recording
        return cls(
            stepper.loaded.request, recording.info, recording.layers_done,
            patterns=recording.capture.patterns,
        )  # fmt: skip

    @classmethod
    def recorded(cls, recording: Recording, file: str, index: int) -> Point:
        """A run that is shown from its file."""
        return cls(LoadRequest(""), recording.info, recording.layers_done, file, index)

    @property
    def model(self) -> tuple[object, ...]:
        """What its model was loaded by, whatever else the request asks for; or its file."""
        r = self.request
        return r.path, r.device, r.dtype, r.loop, r.family, self.file, self.index

    @property
    def begun_as(self) -> tuple[object, ...]:
        """What is the same for all points of one run."""
        i = self.info
        start = (i.token_ids, i.prompt, i.seed, i.start, i.start_scale, self.patterns)
        return (*self.model, *start, i.interventions)


@dataclass(frozen=True, slots=True)
class Made:
    """A measurement as it was made.

    key : of the view that asked for it.  run : what it was made of, then.
    second : what that was compared with.  prompts : path of the prompt set in use, "" for none.
    """

    key: str
    options: Any
    selection: Selection
    run: Point
    second: Point | None = None
    prompts: str = ""
