"""The layers that run once, before and after the loop: their states and attention patterns.

A recording holds what the loop does. What prelude and coda do follows from the prompt and from a
recorded state, so that it is run when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from loopscope.core.arrays import F32
from loopscope.core.model.architecture import Stack
from loopscope.core.model.layers import LayerOutput
from loopscope.core.run.stepper import Stepper


@dataclass(frozen=True, slots=True, eq=False)
class OutsideLayer:
    """What a layer of the prelude or of the coda did.

    state : float32 ``[T, d]``, as it left it.  pattern : float32 ``[H, T, T]`` (query, key).
    window : keys that a query sees at most, 0 for all.
    """

    state: F32
    pattern: F32
    window: int


class _Kept:
    """Takes the layers of one stack as they run."""

    def __init__(self, stepper: Stepper, stack: Stack) -> None:
        self.layers: list[OutsideLayer] = []
        self._arch, self._stack = stepper.loaded.architecture, stack

    def __call__(self, out: LayerOutput) -> None:
        window = self._arch.shape_of(self._stack, len(self.layers)).window
        assert out.pattern is not None
        state, pattern = (x[0].float().cpu().numpy() for x in (out.state, out.pattern))
        self.layers.append(OutsideLayer(state, pattern, window))


@torch.inference_mode()
def prelude_layers(stepper: Stepper) -> list[OutsideLayer]:
    """Return what each layer of the prelude did to the prompt of a run."""
    kept = _Kept(stepper, "prelude")
    ids = stepper.recording.info.token_ids
    stepper.model.prelude(torch.tensor([ids], device=stepper.loaded.device.device), kept)
    return kept.layers


@torch.inference_mode()
def coda_layers(stepper: Stepper, recurrence: int) -> list[OutsideLayer]:
    """Return what each layer of the coda does to the state after ``recurrence``."""
    kept = _Kept(stepper, "coda")
    state = torch.from_numpy(stepper.recording.state(recurrence).copy())[None]
    stepper.model.coda(state.to(stepper.injected), kept)
    return kept.layers
