"""Two runs side by side, of architectures alone: their numbers are of no model."""

from __future__ import annotations

from dataclasses import replace

from recordings import synthetic_recording

from loopscope.core.experiments.architectures import twin_architecture
from loopscope.core.model.architecture import Architecture
from loopscope.core.run.pairing import Pairing
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.graph.compute import Options, compute_second
from loopscope.core.views.graph.data import Data
from loopscope.core.views.second_run import SecondRun, second_selection

LOOPED = twin_architecture("looped", 6, d_model=16)
DEEP = twin_architecture("deep", 6, d_model=16)
# The same fourteen layers, all of them in the block.
BLOCK_ONLY = replace(DEEP, n_prelude=0, n_block=14, n_coda=0)


def run(arch: Architecture, recurrences: int, **identity: str) -> Recording:
    """A run of an architecture, without its numbers."""
    like = synthetic_recording(recurrences=recurrences, n_block=arch.n_block)
    like.info = replace(
        like.info, architecture=arch, checkpoint=arch.family, weights_hash=str(hash(arch))
    )
    like.weight_identity = identity
    return like


def contrast(
    one: Recording, other: Recording, selection: Selection | None = None,
    options: Options | None = None, step_pairing: str = "depth",
) -> Data:  # fmt: skip
    selection = selection or Selection(1)
    pairing = Pairing(one.info.architecture, other.info.architecture, step_pairing)  # type: ignore[arg-type]
    second_run = SecondRun(other, "run 2", pairing, second_selection(selection, pairing, other))
    return compute_second(one, second_run, selection, options or Options())
