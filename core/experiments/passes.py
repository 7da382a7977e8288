"""The states after each pass of a model, with gradients: looped, untied and deep ones alike.

A pass is ``per_pass`` layers of the block. Of a looped model it is a recurrence; an untied or a
deep model runs its block once, in so many passes. Layers go on from the first again where more
passes are asked for than the block has.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from loopscope.core.model.looped_model import LoopedModel


def pass_states(model: LoopedModel, e: Tensor, n_passes: int, per_pass: int) -> Iterator[Tensor]:
    """Yield the state ``[B, T, d]`` after each of ``n_passes``, from the model's own start.

    ``e`` is `LoopedModel.prelude` of the tokens. A state is closed by the closing norm where the
    model has one and a recurrence, or a pass of an untied loop, ends.
    """
    arch = model.arch
    recurrent = model.begin(model.initial_state(e))
    x = recurrent.state
    for done in range(1, n_passes * per_pass + 1):
        recurrence, layer = divmod(done - 1, arch.n_block)
        x = model.open_layer(x, recurrent, e, layer, first=recurrence == 0)
        x = model.run_layer(x, layer).state
        recurrent = model.close_layer(x, recurrent, layer)
        if (layer + 1) % arch.n_stack == 0:
            x = recurrent.state
        if done % per_pass == 0:
            yield x
