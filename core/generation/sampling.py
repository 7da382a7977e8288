"""Which token comes next."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from loopscope.core.errors import LoopscopeError
from loopscope.core.model.float64 import float64


@dataclass(slots=True)
class Sampling:
    """Draws tokens: the likeliest (temperature 0), or from ``softmax(logits / temperature)``.

    The same seed draws the same tokens of the same logits, on every device.
    """

    temperature: float = 0.0
    seed: int = 0
    _generator: torch.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise LoopscopeError(f"the temperature is 0 or above, not {self.temperature:g}")
        self._generator = torch.Generator().manual_seed(self.seed)

    def draw(self, logits: Tensor) -> tuple[int, float]:
        """Return a token and the model's own probability of it, for logits ``[V]``.

        Raises `LoopscopeError` for logits that are not finite.
        """
        wide = float64(logits)
        if not bool(torch.isfinite(wide).all()):
            raise LoopscopeError("the readout is not finite, so no token can follow")
        wide = wide.cpu()
        if self.temperature:
            weights = (wide / self.temperature).softmax(-1)
            token = int(torch.multinomial(weights, 1, generator=self._generator))
        else:
            token = int(wide.argmax())
        return token, float(wide.softmax(-1)[token])
