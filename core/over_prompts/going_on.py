"""Prompts of one model run together, and gone on with from a state that is put in on the way.

A looped model is entered after a recurrence; one whose layers all have weights of their own after
a layer. A nested loop's state is both of its states, one beside the other. What is put in may want
gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.interventions.base import END
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.looped_model import RecurrentState
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.together import Begin, Together


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a run is entered: after ``recurrence``, or after its ``layer`` of a model run once."""

    recurrence: int
    layer: int = END


def by_layer(arch: Architecture) -> bool:
    """Whether a run is entered after layers: a deep model's, or one of an untied loop."""
    return arch.runs_once or bool(arch.untied_passes)


def entries_of(arch: Architecture, recurrences: int) -> tuple[Entry, ...]:
    """Every place where a run of so many recurrences can be entered, in order."""
    if by_layer(arch):
        return tuple(Entry(1, layer) for layer in range(arch.n_block))
    return tuple(Entry(r) for r in range(1, recurrences + 1))


BEGIN = Begin()


class GoingOn:
    """A batch of prompts, padded on the right where they are of several lengths.

    Parameters
    ----------
    loaded
        The model.
    prompts
        Those that may share a run (`batches`).
    begin
        How each begins.
    """

    def __init__(self, loaded: Loaded, prompts: Sequence[Prompt], begin: Begin = BEGIN) -> None:
        with torch.no_grad():
            run = Together(loaded, prompts, begin)
        self.model, self.e, self.lengths = run.model, run.e, run.lengths
        self.start = run.recurrent

    @torch.no_grad()
    def states(self, recurrences: int) -> list[Tensor]:
        """States ``[B, T, w]`` at each of `entries_of`, w the width d or, of a nested loop, 2 d."""
        model, recurrent, layers = self.model, self.start, by_layer(self.model.arch)
        found: list[Tensor] = []
        for r in range(1, recurrences + 1):
            x = recurrent.state
            for layer in range(model.arch.n_block):
                x = model.open_layer(x, recurrent, self.e, layer, r == 1)
                x = model.run_layer(x, layer, recurrence=r).state
                recurrent = model.close_layer(x, recurrent, layer)
                if layers:
                    found.append(x)
            if not layers:
                found.append(_joined(recurrent))
        return found

    def end(self, state: Tensor, entry: Entry, recurrences: int) -> Tensor:
        """``s_R``, ``[B, T, d]``, of the run that goes on from ``state`` at ``entry``."""
        model = self.model
        if entry.layer == END:
            recurrent = self._parted(state)
        else:
            recurrent = model.close_layer(state, self.start, entry.layer)
            x = state
            for layer in range(entry.layer + 1, model.arch.n_block):
                x = model.open_layer(x, recurrent, self.e, layer, True)
                x = model.run_layer(x, layer).state
                recurrent = model.close_layer(x, recurrent, layer)
        for r in range(entry.recurrence + 1, recurrences + 1):
            recurrent = model.recur(recurrent, self.e, recurrence=r)
        return recurrent.state

    def _parted(self, state: Tensor) -> RecurrentState:
        if not self.model.arch.inner_cycles:
            return RecurrentState(state)
        d = self.model.arch.d_model
        return RecurrentState(state[..., :d], state[..., d:])


def _joined(recurrent: RecurrentState) -> Tensor:
    fast = recurrent.fast
    return recurrent.state if fast is None else torch.cat([recurrent.state, fast], dim=-1)
