"""Two runs side by side: which place of the one stands for which place of the other.

A looped model's (recurrence, layer) and a deep model's layer are put together by effective depth
(layers run, the prelude's included), or recurrence by recurrence. Places are (recurrence, layer)
with recurrences from 1 and layers of the recurrent block from 0; a deep model has the one
recurrence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loopscope.core.model.architecture import Architecture

StepPairing = Literal["depth", "recurrence", "own"]
STEP_PAIRINGS: dict[StepPairing, str] = {
    "depth": "by effective depth",
    "recurrence": "recurrence by recurrence",
    "own": "each at its own pace",
}


@dataclass(frozen=True, slots=True)
class Pairing:
    """How the second run follows the one shown, which is the one that is stepped.

    shown, second : architectures of the two runs.
    """

    shown: Architecture
    second: Architecture
    step_pairing: StepPairing = "depth"

    @property
    def most(self) -> float:
        """Layers of the block that the second can run: a deep model runs once."""
        return self.second.n_block if self.second.runs_once else float("inf")

    def layers(self, done: int) -> int | None:
        """Layers of the second's block that are run when ``done`` of the shown one's are.

        None when each goes at its own pace.
        """
        if self.step_pairing == "own":
            return None
        return self._clip(self._at(done, self.shown, self.second))

    def place(self, recurrence: int, layer: int) -> tuple[int, int]:
        """Return the second run's (recurrence, layer) for one of the shown run's; 0 starts both."""
        return self._place(recurrence, layer, self.shown, self.second)

    def back(self, recurrence: int, layer: int) -> tuple[int, int]:
        """Return the shown run's (recurrence, layer) for one of the second's."""
        return self._place(recurrence, layer, self.second, self.shown)

    def _clip(self, layers: float) -> int:
        return int(max(0, min(layers, self.most)))

    def _at(self, done: int, a: Architecture, b: Architecture) -> int:
        if self.step_pairing == "recurrence" or self.step_pairing == "own":
            whole, part = divmod(done, a.n_block)
            return whole * b.n_block + part * b.n_block // a.n_block
        return done + a.n_prelude - b.n_prelude

    def _place(
        self, recurrence: int, layer: int, a: Architecture, b: Architecture
    ) -> tuple[int, int]:
        if recurrence <= 0:
            return 0, 0
        if self.step_pairing == "depth":
            done = self._at((recurrence - 1) * a.n_block + layer + 1, a, b)
        else:
            # The layer at the same share of the recurrence; the last one goes with the last.
            done = (recurrence - 1) * b.n_block + -(-(layer + 1) * b.n_block // a.n_block)
        if done <= 0:
            return 0, 0
        if b.runs_once:
            done = min(done, b.n_block)
        whole, part = divmod(done - 1, b.n_block)
        return whole + 1, part
