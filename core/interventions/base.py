"""What an intervention is: a place in the run and something that is done there.

An intervention is data. What it needs of the run it acts in, it asks of a `RunContext`;
`loopscope.core.interventions.applied` is the one that is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

from loopscope.core.errors import LoopscopeError
from loopscope.core.formula import Formula
from loopscope.core.model.architecture import Architecture
from loopscope.core.options import settings_of

if TYPE_CHECKING:
    from torch import Tensor

    from loopscope.core.interventions.plan import LayerPlan
    from loopscope.core.model.layers import DecoderLayer

# `Intervention.layer` of the state at a recurrence's end, after the closing norm if there is one.
END = -1
# `Intervention.last` of what goes on to the end of the run.
FOREVER = -1
# No run has more: numbers of recurrences fit 32 bits.
MOST_RECURRENCES = (1 << 31) - 1
# Of a run whose state is taken and that a file asks for: its recurrences, its seed, and such runs
# one inside the other.
FURTHEST_SOURCE, LARGEST_SEED, DEEPEST_SOURCE = 100_000, (1 << 63) - 1, 8
STARTS = ("default", "zeros", "random", "embedding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervention:
    """One intervention. Subclasses say what is done; each is a line in `registry.OURS`.

    recurrence, last : it acts at recurrences ``recurrence`` to ``last``; `FOREVER` (-1) for a
        last one without end. Recurrence 0 is the initial state.
    layer : of the block, from 0; `END` (-1) for the state at the recurrence's end.
    tokens : positions it acts on; () for all of them.

    kind, title : what files and people call it.  help : one sentence.  formula : what it computes.
    sites : which of the fields above the user may choose ("layer", "end", "tokens").
    """

    kind: ClassVar[str] = ""
    title: ClassVar[str] = ""
    help: ClassVar[str] = ""
    formula: ClassVar[Formula]
    sites: ClassVar[frozenset[str]] = frozenset()

    recurrence: int = 1
    last: int = 1
    layer: int = 0
    tokens: tuple[int, ...] = ()

    # ---- where ----
    def acts_at(self, recurrence: int) -> bool:
        """Whether it acts at this recurrence."""
        return self.recurrence <= recurrence and (self.last == FOREVER or recurrence <= self.last)

    def starts_at(self, n_layers: int) -> int:
        """Layers of the run that are done before it first acts; -1 for the initial state."""
        return self.done_before(self.recurrence, n_layers)

    def done_before(self, recurrence: int, n_layers: int) -> int:
        """Layers of the run that are done before it acts at ``recurrence``; -1 for its start."""
        if self.layer == END:
            return recurrence * n_layers - 1
        # What has no layer of its own acts where the recurrence begins, whatever the field says.
        layer = self.layer if "layer" in self.sites else 0
        return (recurrence - 1) * n_layers + layer

    def misused(self) -> str:
        """What of its fields no model or prompt could make right, or "".

        A parameter outside its bounds, or positions for one that does not act on positions.
        """
        if self.tokens and "tokens" not in self.sites:
            return "'tokens': it acts on all positions alike and takes none"
        for field in settings_of(self):
            value = getattr(self, field.name)
            if field.kind == "number" and not field.low <= value <= field.high:
                bounds = f"{field.low:g} and {field.high:g}"
                return f"'{field.name}': {value:g} is not between {bounds}"
        return ""

    @property
    def source_depth(self) -> int:
        """Runs that have to be made one inside the other to take a state from; 0 for none."""
        return 0

    def check(self, arch: Architecture, n_tokens: int) -> None:
        """Raise `LoopscopeError` when the place does not exist in this model or prompt.

        Also for what is `misused`, and in subclasses for what this model does not have: an
        injection, a layer to borrow, a recurrence before to take a pattern or a state from.
        """
        if problem := self.misused() or self._misplaced(arch, n_tokens):
            raise self.error(problem)

    def _misplaced(self, arch: Architecture, n_tokens: int) -> str:
        """What of its place does not exist in this model or prompt, or ""."""
        at_end = self.layer == END and "end" in self.sites
        if self.last != FOREVER and self.last < self.recurrence:
            return f"it would end at {self.last}, before it begins"
        if self.recurrence < (0 if at_end else 1):
            return f"there is no recurrence {self.recurrence} to act at"
        if not (at_end or 0 <= self.layer < arch.n_block):
            return f"there is no layer {self.layer}; the block has layers 0 to {arch.n_block - 1}"
        outside = [t for t in self.tokens if not 0 <= t < n_tokens]
        if outside:
            return f"there is no token {outside[0]}; the prompt has tokens 0 to {n_tokens - 1}"
        return ""

    def error(self, problem: str) -> LoopscopeError:
        """Make the error for an intervention that cannot be made."""
        return LoopscopeError(f"cannot {self.title.lower()} at {self.place()}: {problem}")

    # ---- what, each for the part of a recurrence that it concerns ----
    def injected(self, e: Tensor) -> Tensor:
        """What is injected in place of ``e``, ``[B, T, d]``."""
        return e

    def plan(self, plan: LayerPlan, run: RunContext, recurrence: int, layer: int) -> LayerPlan:
        """How the layer is run in place of ``plan``."""
        return plan

    def state(self, x: Tensor, run: RunContext, recurrence: int, layer: int) -> Tensor:
        """The state in place of ``x``, ``[B, T, d]``."""
        return x

    # ---- in words ----
    def action(self) -> str:
        """What is done, with its strength: "noise of 0.1"."""
        return self.title.lower()

    def place(self, layer_name: Callable[[int], str] | None = None) -> str:
        """Where: "recurrences 4 to 6, layer 1, tokens 3 and 5"."""
        if self.layer == END and self.recurrence == self.last == 0:
            where = "the initial state"
        else:
            where = self._recurrences() + self._layer(layer_name)
        if self.tokens:
            many = "s" if len(self.tokens) > 1 else ""
            where += f", token{many} {', '.join(map(str, self.tokens))}"
        return where

    def _recurrences(self) -> str:
        if self.last == FOREVER:
            return f"recurrence {self.recurrence} and on"
        if self.last != self.recurrence:
            return f"recurrences {self.recurrence} to {self.last}"
        return f"recurrence {self.recurrence}"

    def _layer(self, layer_name: Callable[[int], str] | None) -> str:
        if not self.sites & {"layer", "end"}:
            return ""
        if self.layer == END:
            return ", end"
        return f", {layer_name(self.layer) if layer_name else f'layer {self.layer}'}"

    def describe(self, layer_name: Callable[[int], str] | None = None) -> str:
        """What and where, in one line."""
        return f"{self.action()} at {self.place(layer_name)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A state of a run that can be made again: of which prompt, from which start, and where.

    token_ids : of the prompt.  prompt : its text, for people.
    recurrence, layer : where its state is taken; layer `END` for the recurrence's end.
    interventions : those that act in that run.
    """

    token_ids: tuple[int, ...]
    prompt: str = ""
    seed: int = 0
    start: str = "default"
    start_scale: float = 1.0
    recurrence: int = 1
    layer: int = END
    interventions: tuple[Intervention, ...] = ()

    def misused(self) -> str:
        """What of it no model could make right, or ""."""
        if not self.token_ids:
            return "the source has no token ids"
        if not -1 <= self.recurrence <= FURTHEST_SOURCE:
            return f"the source's recurrence {self.recurrence} is not 0 to {FURTHEST_SOURCE:,}"
        if not 0 <= self.seed <= LARGEST_SEED:
            return f"the source's seed {self.seed} is not 0 to {LARGEST_SEED:,}"
        if self.start not in STARTS:
            return f"the source's start '{self.start[:40]}' is not one of {', '.join(STARTS)}"
        if self.depth > DEEPEST_SOURCE:
            return f"runs to take states from lie {self.depth} deep; at most {DEEPEST_SOURCE} can"
        return ""

    @property
    def depth(self) -> int:
        """Runs that have to be made one inside the other, this one counted."""
        return 1 + max((own.source_depth for own in self.interventions), default=0)

    def describe(self) -> str:
        """Which run and where, in one line."""
        where = f"recurrence {self.recurrence}"
        where += "" if self.layer == END else f", layer {self.layer}"
        seed = f", seed {self.seed}" if self.start == "random" else ""
        text = self.prompt if len(self.prompt) <= 40 else self.prompt[:39] + "…"
        n = len(self.interventions)
        edited = f", {n} intervention{'s' if n > 1 else ''}" if n else ""
        return f"{where} of “{text}”{seed}{edited}"


class RunContext(Protocol):
    """What an intervention may ask of the run it acts in."""

    def layer(self, index: int) -> DecoderLayer:
        """Weights that run as layer ``index`` of the block."""

    def perturbed(
        self, layer: DecoderLayer, size: float, seed: int, draw: int, index: int
    ) -> DecoderLayer:
        """A copy of ``layer`` with noise of relative size ``size`` in each of its matrices."""

    def pattern(self, recurrence: int, layer: int, /) -> Tensor:
        """The attention pattern ``[H, T, T]`` of an earlier recurrence of this run."""

    def source_state(self, source: Source, /) -> Tensor:
        """The state of a `Source`, ``[B or 1, T', d]``."""


def after_start(interventions: tuple[Intervention, ...]) -> tuple[Intervention, ...]:
    """Return what is left to do in a run whose given initial state they have acted on already."""
    later = (i for i in interventions if i.last != 0)
    return tuple(replace(i, recurrence=max(i.recurrence, 1)) for i in later)


def at_tokens(x: Tensor, changed: Tensor, tokens: tuple[int, ...]) -> Tensor:
    """``changed`` at the positions ``tokens`` (all without any), ``x`` elsewhere; ``[B, T, d]``."""
    if not tokens:
        return changed
    out = x.clone()
    out[:, list(tokens)] = changed[:, list(tokens)]
    return out
