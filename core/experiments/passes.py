"""The states after each pass of a model, with gradients: looped, untied and deep ones alike.

A pass is ``per_pass`` layers of the block. Of a looped model it is a recurrence; an untied or a
deep model runs its block once, in ``n_block / per_pass`` passes. Where more passes are asked for
than the block has, the last one is run again: a looped model's only pass, a deep model's last
layers, which is the fair way to run it on.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from loopscope.core.model.looped_model import LoopedModel


class Change:
    """What is done to a run as it goes; this one does nothing. Passes and layers are counted on.

    ``p`` is the pass, from 1; ``layer`` the layer of the block that runs, from 0.
    """

    def injected(self, e: Tensor, p: int) -> Tensor:
        """What pass ``p`` is given of the prompt, ``[B, T, d]``."""
        return e

    def run(self, model: LoopedModel, x: Tensor, p: int, layer: int) -> Tensor:
        """Run one layer, ``[B, T, d]`` to ``[B, T, d]``."""
        return model.run_layer(x, layer).state

    def state(self, state: Tensor, p: int) -> Tensor:
        """The state after pass ``p``, ``[B, T, d]`` to ``[B, T, d]``."""
        return state


def pass_states(
    model: LoopedModel,
    e: Tensor,
    n_passes: int,
    per_pass: int,
    *,
    start: Tensor | None = None,
    done: int = 0,
    change: Change | None = None,
) -> Iterator[Tensor]:
    """Yield the state ``[B, T, d]`` after each of the passes ``done + 1`` to ``done + n_passes``.

    Parameters
    ----------
    e
        `LoopedModel.prelude` of the tokens.
    start
        The state after ``done`` passes; the model's own start unless given.
    change
        What is done to the run.

    A state is closed by the closing norm where the model has one and a recurrence, or a pass of an
    untied loop, ends. Of a deep model it is what the pass's last layer put out.
    """
    change = change or Change()
    x = model.initial_state(e) if start is None else start
    last = model.arch.n_block // per_pass - 1
    for p in range(done + 1, done + n_passes + 1):
        recurrent, first = model.begin(x), min(p - 1, last) * per_pass
        given = change.injected(e, p)
        for layer in range(first, first + per_pass):
            x = model.open_layer(x, recurrent, given, layer, first=p == 1)
            x = change.run(model, x, p, layer)
            recurrent = model.close_layer(x, recurrent, layer)
        if (layer + 1) % model.arch.n_stack == 0:
            x = recurrent.state
        x = change.state(x, p)
        yield x
