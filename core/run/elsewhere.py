"""What stands for a loaded model and its stepper where those are in another process.

The runner, the bench and the window use a model and its runs through what both kinds have; where
the weights themselves are needed they ask which kind it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, cast

from loopscope.core.arrays import F32
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.interventions.base import Intervention
from loopscope.core.prompts.shared import Shared
from loopscope.core.results import ResultKey
from loopscope.core.run.budget import Budget
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.requests import RunRequest
from loopscope.core.selection import Selection

if TYPE_CHECKING:
    from loopscope.core.checkpoint.devices import DeviceChoice
    from loopscope.core.checkpoint.folder import Checkpoint
    from loopscope.core.checkpoint.loading import Loaded
    from loopscope.core.model.architecture import Architecture
    from loopscope.core.prompts.tokenizer import Prompt, PromptTokenizer
    from loopscope.core.run.stepper import Stepper

Report = Callable[[float, str], None]


class ModelElsewhere(Protocol):
    """A loaded model in another process: all of a `Loaded` but its weights, and what needs them."""

    # ---- as a `Loaded` has it ----
    @property
    def checkpoint(self) -> Checkpoint:
        """What was loaded; its path is as the other process sees it."""

    @property
    def tokenizer(self) -> PromptTokenizer:
        """Reads prompts here."""

    @property
    def device(self) -> DeviceChoice:
        """The device there."""

    @property
    def dtype(self) -> str:
        """Of the weights."""

    @property
    def weights_hash(self) -> str:
        """Of the weights' files."""

    @property
    def warning(self) -> str | None:
        """Of the loading."""

    @property
    def shared(self) -> Shared:
        """What its runs share."""

    @property
    def weight_identity(self) -> dict[str, str]:
        """Digest of each set of weights."""

    @property
    def request(self) -> LoadRequest:
        """What it was loaded by."""

    @property
    def architecture(self) -> Architecture:
        """The checkpoint's."""

    @property
    def nbytes(self) -> int:
        """Bytes that the weights take there."""

    def release(self) -> None:
        """Give it up, there too; waits for nothing."""

    # ---- what only one elsewhere has ----
    @property
    def lost(self) -> str:
        """Why it cannot be asked any more, or ""."""

    @property
    def place(self) -> str:
        """The machine that it is on."""

    @property
    def place_details(self) -> str:
        """More on that: memory, address, versions."""

    @property
    def process(self) -> tuple[str, int]:
        """The version of torch there, and its threads."""

    @property
    def travelled(self) -> int:
        """Bytes of rows that came from there."""

    @property
    def link_words(self) -> str:
        """How good the link is, in words."""

    def reconnect(self, report: Report, cancelled: Callable[[], bool]) -> None:
        """Connect to it again. Raises `LoopscopeError` where it cannot be."""

    def relooped(self, request: LoadRequest) -> ModelElsewhere:
        """Loop another span of it."""

    def begin(self, request: RunRequest, capture: Capture, budget: Budget | None) -> RunElsewhere:
        """Begin a run there."""

    def resume(self, recording: Recording) -> RunElsewhere:
        """Go on with a recording there."""

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of a module there, and wait for it."""

    def continued(
        self, prompt: Prompt, plan: Any, sampling: Any, keep_going: Callable[[], None]
    ) -> Iterator[Any]:
        """Continue a text there, as `continue_text` does; ``keep_going`` raises what ends it."""


class RunElsewhere(Protocol):
    """A run whose stepper is in another process; its recording is here."""

    @property
    def loaded(self) -> ModelElsewhere:
        """The model."""

    @property
    def recording(self) -> Recording:
        """What came so far."""

    def step_layer(self, ahead: float = 0) -> object:
        """Append the next layer; ``ahead`` more will be wanted after it."""

    def interrupt(self) -> None:
        """Have a `step_layer` that waits raise `Cancelled`; for any thread."""

    def branch(self, interventions: tuple[Intervention, ...]) -> RunElsewhere:
        """Cut a run off, as `Stepper.branch` does."""

    def readout_direction(self, token_id: int) -> F32:
        """Row of the unembedding, float32 ``[d]``; as `Stepper.readout_direction`."""

    def measure(
        self, analysis: Callable[..., Any], selection: Selection, options: Any,
        key: ResultKey[Any], report: Callable[[float], None], second: AnyRun | None,
    ) -> object:  # fmt: skip
        """Make a measurement there that needs the model; ``report`` ends it by raising."""

    def in_float32(
        self, report: Callable[[float], None], *, readouts: bool
    ) -> tuple[F32, Recording | None]:
        """Errors against float32, ``[R, T]``, and the run in float32 if ``readouts`` are wanted."""


def elsewhere(model: AnyModel | None) -> ModelElsewhere | None:
    """Return the model where it is one in another process."""
    return cast("ModelElsewhere", model) if model is not None and model.place else None


if TYPE_CHECKING:
    AnyModel = Loaded | ModelElsewhere
    AnyRun = Stepper | RunElsewhere
