"""What is done to every prompt, and the names of what comes of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import Intervention
from loopscope.core.interventions.registry import as_json
from loopscope.core.measures.limiting_behaviour import LEAST_RECURRENCES
from loopscope.core.measures.places import Places, shown_places
from loopscope.core.model.architecture import Architecture
from loopscope.core.run.requests import check_recurrences

# Recurrences of the paper's figures: of the stages and the first maps, of the trajectory and the
# further maps, and of what is taken for the end.
SHOWN, LONG, DEEP = 8, 32, 128
# Places of a map, and differences of entries of one prompt's map: some seconds.
MOST_PLACES, MOST_DIFFERENCES = 512, 8e9
# Of what is kept of a prompt; what was kept in another form is made again.
FORM = 1

# The measures of the stages of inference, in the order of the figures.
STAGES = ("column_concentration", "entropy", "sink_rate", "residual_norm", "matrix_entropy")
# Maps of places: by what, over how many recurrences.
MAPS = ("attention", "cosine")
LENGTHS = ("shown", "long")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done to every prompt; with the weights and the text it decides the numbers.

    shown : recurrences of the figures by depth.  deep : recurrences that are run, the last one
        taken for the end.  longest : tokens of the longest prompt, which say how dense maps are.
    """

    request: LoadRequest
    shown: int = SHOWN
    deep: int = DEEP
    seed: int = 0
    interventions: tuple[Intervention, ...] = ()
    longest: int = 0

    def check(self) -> None:
        """Raise `LoopscopeError` for numbers of recurrences that make no figure."""
        check_recurrences(self.deep)
        if self.shown < 2:
            raise LoopscopeError(f"--recurrences {self.shown} shows no loop; ask for 2 or more")
        if self.deep < max(self.shown + 1, LEAST_RECURRENCES):
            least = max(self.shown + 1, LEAST_RECURRENCES)
            raise LoopscopeError(
                f"--deep {self.deep} is no end to compare with; ask for {least} or more"
            )

    @property
    def long(self) -> int:
        """Recurrences of the trajectory and of the further maps."""
        return max(self.shown, min(LONG, self.deep))

    def places(self, arch: Architecture, length: str) -> Places:
        """The places of the loop that a map has, "shown" or "long"; prelude and coda stand apart.

        Every one, or every k-th recurrence where patterns are large.
        """
        entries = max(arch.layer.n_heads * self.longest**2 / 2, 1.0)
        most = min(MOST_PLACES, (MOST_DIFFERENCES / entries) ** 0.5) - arch.n_prelude - arch.n_coda
        marks = tuple(map(arch.layer_mark, range(arch.n_block)))
        return shown_places(getattr(self, length), marks, max(int(most), 0))

    def key(self, weights: str, text: str, floorplan: bool) -> str:
        """Digest of all that decides what is kept of a prompt."""
        own = self.request
        how = [own.dtype, own.loop, own.family, weights, text, floorplan, FORM]
        run = [self.shown, self.deep, self.seed, as_json(self.interventions), self.longest]
        told = json.dumps([how, run], ensure_ascii=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def check_looped(arch: Architecture, path: str) -> None:
    """Raise `LoopscopeError` for a deep model: without a loop there is nothing to repeat."""
    if arch.runs_once:
        raise LoopscopeError(
            f"{path} is not looped; --loop A:B loops a span of its {arch.unique_depth} layers"
        )


def depth_names(arch: Architecture, places: Places) -> tuple[str, ...]:
    """Short names along depth: p0.. of the prelude, recurrence:layer, c0.. of the coda."""
    return (*numbered("p", arch.n_prelude), *places.labels, *numbered("c", arch.n_coda))


def numbered(letter: str, n: int) -> Sequence[str]:
    """Names such as p0, p1."""
    return [f"{letter}{i}" for i in range(n)]
