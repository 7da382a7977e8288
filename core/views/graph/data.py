"""What the computation graph's view shows: sizes, copies, norms, cuts, and the second run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from typing_extensions import override

from loopscope.core.arrays import F64
from loopscope.core.formula import Formula
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.flops import flops_per_token
from loopscope.core.model.graph import Edge, Node, Totals
from loopscope.core.options import setting
from loopscope.core.run.pairing import Pairing
from loopscope.core.selection import Selection
from loopscope.core.views.base import ViewData
from loopscope.core.views.graph.cuts import CutMark
from loopscope.core.views.second_run import selection_back

BRANCHES = ("attention", "MLP")
NO_WRITES = "this run did not keep the norms of what layers wrote"

UNIQUE_DEPTH = Formula(
    "unique depth", "prelude + L + coda", "layers", "layers with weights of their own"
)
SETS = Formula(
    "sets of weights",
    "number of distinct digests among the layers that run",
    "sets",
    "BLAKE2b of shapes and values: equal weights are one set whatever they are called",
)
EFFECTIVE_DEPTH = Formula(
    "effective depth", "prelude + R·L + coda", "layers", "layers that run; arXiv 2502.05171"
)
PARAMETERS = Formula(
    "parameters", "Σ entries of each tensor of the model", "entries", "architecture"
)
DEEP_PARAMETERS = Formula(
    "parameters not shared",
    "unique − (injection + block + closing norm) + Σ over the copies that run of their entries",
    "entries",
    "as if each recurrence had weights of its own",
)
FLOPS = Formula(
    "FLOPs per token",
    "Σ over what runs of 2 · matrix entries, + 4 T H d_head for each attention",
    "floating-point operations",
    "T keys; norms, activations and the embedding look-up are not counted",
)
WRITE = Formula(
    "norm of a write",
    "‖w‖ of the vector w that attention or the MLP adds to the residual stream",
    "state units",
    "euclidean, for each token; Elhage 2021",
)
FORMULAS = (UNIQUE_DEPTH, SETS, EFFECTIVE_DEPTH, PARAMETERS, DEEP_PARAMETERS, FLOPS, WRITE)
Fold = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the computation graph.

    expanded : keys of layers that were opened one by one ("block.0"); set by the view.
    """

    expand: bool = setting(
        False,
        "Expand layers",
        "Show attention and MLP inside each layer of the block, with the norm of what they wrote",
    )
    norm_of: Literal["tokens", "token"] = setting(
        "tokens",
        "Norm of writes",
        "Of which tokens the norms of attention and MLP writes are shown",
        labels={"tokens": "mean over shown tokens", "token": "the cursor's token"},
    )
    fold: Fold = setting(
        "auto",
        "Fold repeats",
        "Draw recurrences that are alike as one column “× N”; the cursor's is always drawn",
        labels={"auto": "when more than fit", "always": "always", "never": "never"},
    )
    expanded: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """What the pictures of one run show. ``C`` copies, ``L`` layers of the block.

    name : of the checkpoint.  architecture : of the model.  start : how the run started.
    n_tokens : ``T``.
    nodes, edges : the looped graph; copies repeat those of its `REPEATED` parts.
    digests : what identifies each set of weights, by its key: its digest, or the key itself where
        the weights were not at hand.
    hues : index of the colour of each set of weights, by its key; equal weights have one.
    n_copies : recurrences drawn: those begun, or the trained number before any run.
    n_complete : recurrences complete.  layers_done : layers of the block run so far.
    totals : of the unrolled graph with ``n_copies`` recurrences.
    norms : float64 ``[C', L, 2]``, norm of what attention and the MLP wrote, state units; NaN for
        what has not run. ``C'`` is 0 when nothing ran or norms were not kept.
    norms_of : whose norms, in words.  norm_scale : the largest finite one, or 1.
    norms_missing : why there are none, or "".
    cuts : where interventions act, in this run and in a branch of it that stands beside.
    weights_hash : sha256 of the checkpoint's weights.
    contrast : the run of another model that stands beside, or None.
    """

    name: str
    architecture: Architecture
    start: str
    n_tokens: int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    digests: dict[str, str]
    hues: dict[str, int]
    n_copies: int
    n_complete: int
    layers_done: int
    totals: Totals
    norms: F64
    norms_of: str
    norm_scale: float
    norms_missing: str
    cuts: tuple[CutMark, ...]
    options: Options
    weights_hash: str = ""
    contrast: Contrast | None = None

    @property
    @override
    def drawn_words(self) -> str:
        """What boxes, colours and bars are."""
        norms = (
            f" Bars beside the layers: norm of what attention and the MLP wrote, "
            f"{self.norms_of}, over "
            f"the largest, {self.norm_scale:.3g}."
            if self.norms.size
            else ""
        )
        return (
            "Boxes are layers, in one colour where their weights are the same; arrows are what "
            f"passes between them. Above: the loop; below: unrolled.{norms}"
        )

    @property
    def models(self) -> tuple[tuple[str, Data], ...]:
        """Each model drawn with its name; two that are called alike are numbered."""
        if self.contrast is None:
            return ((self.name, self),)
        one, other = self.name, self.contrast.name
        if one == other:
            one, other = f"{one} (1)", f"{other} (2)"
        return (one, self), (other, self.contrast.data)

    @property
    def n_layers(self) -> int:
        """Layers of the recurrent block, ``L``."""
        return self.architecture.n_block

    @property
    def has_run(self) -> bool:
        """Whether any layer of the block has run."""
        return self.layers_done > 0

    @property
    def copies_said(self) -> str:
        """The recurrences that are drawn: "12", or "12 + 1 of 2 layers" in the middle of one."""
        block = self.architecture.n_block
        under_way = self.layers_done - self.n_complete * block
        return (
            f"{self.n_complete} + {under_way} of {block} layers"
            if under_way
            else str(self.n_copies)
        )

    @property
    def deep(self) -> bool:
        """Whether this is drawn as a deep model: its block has weights of its own and runs once."""
        arch = self.architecture
        return arch.runs_once and self.n_copies <= 1

    @property
    def layers(self) -> tuple[Node, ...]:
        """The layers of the looped graph in the order they run, each once."""
        return tuple(n for n in self.nodes if n.kind == "layer")

    @property
    def n_sets(self) -> int:
        """Distinct sets of weights among the layers."""
        return len({self.digests[n.weights] for n in self.layers})

    @property
    def now(self) -> tuple[int, int] | None:
        """(recurrence, layer) that ran last."""
        if not self.layers_done:
            return None
        r, layer = divmod(self.layers_done - 1, self.n_layers)
        return r + 1, layer

    def digest(self, weights: str) -> str | None:
        """What identifies a set of weights by its values; None where they were not at hand."""
        digest = self.digests.get(weights)
        return None if digest is None or digest.endswith(weights) else digest

    def ran(self, node: Node, recurrence: int) -> bool:
        """Whether the copy of ``node`` at ``recurrence`` has run."""
        if node.key == "closing norm":
            return recurrence <= self.n_complete
        return (recurrence - 1) * self.n_layers + node.step < self.layers_done

    def is_expanded(self, node: Node) -> bool:
        """Whether ``node`` is drawn as attention and MLP."""
        whole_block = self.options.expand and node.part == "block"
        return node.kind == "layer" and (whole_block or node.key in self.options.expanded)

    def norm(self, recurrence: int, layer: int, branch: int) -> float:
        """Norm of what ``branch`` (0 attention, 1 MLP) wrote; NaN when there is none."""
        if not (1 <= recurrence <= len(self.norms) and 0 <= layer < self.n_layers):
            return float("nan")
        return float(self.norms[recurrence - 1, layer, branch])

    @property
    def node_by_key(self) -> dict[str, Node]:
        """Nodes of the looped graph by id."""
        return {n.key: n for n in self.nodes}


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """The second run, of another model.

    name : what the user calls it.  data : what its pictures show.
    pairing : which of its places goes with which of the first run's.
    selection : its cursor when each goes at its own pace.
    """

    name: str
    data: Data
    pairing: Pairing
    selection: Selection

    def place(self, selection: Selection) -> tuple[int, int]:
        """(recurrence, layer) of the second run that the first run's cursor lights up."""
        if self.pairing.step_pairing == "own":
            return self.selection.recurrence, self.selection.layer
        return self.pairing.place(selection.recurrence, selection.layer)

    def back(self, changes: dict[str, object], selection: Selection) -> dict[str, object]:
        """Turn a place of the second run into changes of the first run's cursor."""
        recurrence, layer = self.place(selection)
        there = Selection(recurrence, layer)
        return selection_back(changes, selection, there, self.pairing)


@dataclass(frozen=True, slots=True)
class Summary:
    """Sizes of one way to draw the model, for people to compare.

    name : of the row.  unique_depth, effective_depth : layers.  parameters : entries.
    flops : floating-point operations for one token.
    """

    name: str
    unique_depth: int
    effective_depth: int
    parameters: int
    flops: int


def summary(data: Data) -> tuple[Summary, ...]:
    """Sizes of what is drawn and, of a looped run alone, of a model that shares nothing."""
    rows = _rows(data, "deep, run once" if data.deep else f"unrolled × {data.n_copies}")
    if data.contrast is not None:
        there = data.contrast.data
        times = "" if there.deep else f" × {there.n_copies}"
        return (*rows, *_rows(there, f"{data.contrast.name}{times}")[-1:])
    if data.deep:
        return rows
    run = data.totals
    deep = run.effective_depth, run.effective_depth, run.deep_parameters, run.flops
    return (*rows, Summary("if nothing were shared", *deep))


def _rows(data: Data, name: str) -> tuple[Summary, ...]:
    """One pass of a loop, and all that runs."""
    arch, run, t = data.architecture, data.totals, data.n_tokens
    whole = Summary(name, run.unique_depth, run.effective_depth, run.parameters, run.flops)
    once = arch.effective_depth(1), arch.n_parameters, flops_per_token(arch, 1, t)
    one = Summary("looped, one pass", arch.unique_depth, *once)
    return (whole,) if data.deep else (one, whole)
