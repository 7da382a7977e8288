"""One recurrence as a map of the state onto itself: what fixed points and stability are asked of.

The map is ``F: s_r -> s_{r+1}`` for one prompt, all tokens together: causal attention couples
them, so a fixed point is one of the whole ``T x d`` state. States are flattened to ``n = T d``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from loopscope.core.arrays import F64
from loopscope.core.errors import LoopscopeError
from loopscope.core.run.stepper import Stepper

# ``[B, n] -> [B, n]``; anything differentiable can stand in for a model.
Map = Callable[[Tensor], Tensor]


# Unit vectors that are pushed through the map in one pass.
AT_ONCE = 64


class RecurrenceMap:
    """``F`` of one run: its prompt's injected input and its model, in float32.

    Parameters
    ----------
    stepper
        A run that has begun; it is only read.

    Raises
    ------
    LoopscopeError
        For half precision, whose rounding swamps a derivative, for nested loops, whose recordings
        do not keep the second state, and for blocks that change with the recurrence.
    """

    def __init__(self, stepper: Stepper) -> None:
        loaded = stepper.loaded
        if loaded.dtype != "float32":
            raise LoopscopeError(
                f"derivatives in {loaded.dtype} are rounding noise; open the checkpoint in float32"
            )
        if loaded.architecture.inner_cycles:
            raise LoopscopeError(
                "this model carries two states from recurrence to recurrence and the recording "
                "keeps one; its map cannot be rebuilt"
            )
        if loaded.architecture.layer.modulated:
            raise LoopscopeError(
                "the block of this model changes with the recurrence: it is no map of its own"
            )
        self.model, self.e = stepper.model, stepper.injected
        self.shape = (self.e.shape[1], self.e.shape[2])

    def __call__(self, s: Tensor) -> Tensor:
        """``[B, n] -> [B, n]``."""
        return self.layers(s)[1]

    def layers(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """States after each layer, ``[L, B, T, d]``, and the next state, ``[B, n]``.

        Patterns are computed openly: torch's fused attention has no forward derivative.
        """
        model, b = self.model, len(s)
        x = s.view(b, *self.shape)
        e = self.e.expand(b, -1, -1)
        recurrent, after = model.begin(x), []
        for layer in range(model.arch.n_block):
            x = model.open_layer(x, recurrent, e, layer, first=False)
            x = model.run_layer(x, layer, want_pattern=True).state
            after.append(x)
            recurrent = model.close_layer(x, recurrent, layer)
        return torch.stack(after), recurrent.state.reshape(b, -1)

    def flat(self, state: object) -> Tensor:
        """A recorded state ``[T, d]`` as ``[1, n]`` on the model's device."""
        return torch.tensor(state, dtype=torch.float32).reshape(1, -1).to(self.e.device)

    def token_blocks(
        self, state: object, report: Callable[[float], None] = lambda share: None
    ) -> Iterator[F64]:
        """``∂F_t/∂s_t`` at a recorded state ``[T, d]`` for each token, float64 ``[d, d]``.

        ``T d`` products with unit vectors, at most `AT_ONCE` of them a pass; ``report`` is told
        the share done and may raise to cancel.
        """
        s, (n_tokens, d) = self.flat(state), self.shape
        for t in range(n_tokens):
            block = np.empty((d, d))
            for first in range(0, d, AT_ONCE):
                rows = range(first, min(first + AT_ONCE, d))
                unit = torch.zeros(len(rows), *self.shape)
                unit[:, t, first : first + len(rows)] = torch.eye(len(rows))
                unit = unit.reshape(len(rows), -1).to(s.device)
                images = jvp(self, s.repeat(len(rows), 1), unit)[1].view(-1, n_tokens, d)[:, t]
                block[:, rows] = images.cpu().double().numpy().T
                report((t + rows.stop / d) / n_tokens)
            yield block

    def product(self, state: object) -> Callable[[F64], F64]:
        """``v -> J v`` at a recorded state ``[T, d]``, float64 outside, float32 within."""
        s = self.flat(state)

        def product(v: F64) -> F64:
            tangent = jvp(self, s, torch.from_numpy(v).to(s.dtype).to(s.device)[None])[1]
            return np.asarray(tangent[0].cpu().double().numpy())

        return product


def jvp(f: Map, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """``F(s)`` and ``J v``, ``J = ∂F/∂s`` at ``s``, both shaped as ``s``; J is never formed."""
    pair: tuple[Tensor, Tensor] = torch.func.jvp(f, (s,), (v,))  # type: ignore[assignment]
    return pair
