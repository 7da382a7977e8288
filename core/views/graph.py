"""The computation graph of a run: the loop beside its unrolling, and where the run is now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from loopscope.core.architecture import Architecture
from loopscope.core.graph import (
    Edge,
    Node,
    Totals,
    edges_of,
    looped_graph,
    nodes_of,
    unrolled_graph,
)
from loopscope.core.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import Formula, Table, ViewData, option

F64 = npt.NDArray[np.float64]
BRANCHES = ("attention", "MLP")
NO_WRITES = "this run did not keep the norms of what layers wrote"

UNIQUE_DEPTH = Formula(
    "unique depth", "prelude + L + coda", "layers", "layers with weights of their own"
)
EFFECTIVE_DEPTH = Formula(
    "effective depth", "prelude + R·L + coda", "layers", "layers that run; arXiv 2502.05171"
)
PARAMETERS = Formula(
    "parameters", "Σ entries of each distinct set of weights", "entries", "architecture"
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
FORMULAS = (UNIQUE_DEPTH, EFFECTIVE_DEPTH, PARAMETERS, DEEP_PARAMETERS, FLOPS, WRITE)


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the computation graph.

    expanded : keys of layers that were opened one by one ("block.0"); set by the view.
    """

    expand: bool = option(
        False,
        "Expand layers",
        "Show attention and MLP inside each layer of the block, with the norm of what they wrote",
    )
    norm_of: Literal["tokens", "token"] = option(
        "tokens",
        "Norm of writes",
        "Of which tokens the norms of attention and MLP writes are shown",
        labels={"tokens": "mean over shown tokens", "token": "the cursor's token"},
    )
    expanded: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """What both pictures show. ``C`` copies, ``L`` layers of the block.

    architecture : of the model.  start : how the run started.  n_tokens : ``T``.
    nodes, edges : the looped graph; copies repeat those of its `REPEATED` parts.
    hues : index of the colour of each set of weights.
    n_copies : recurrences drawn: those begun, or the trained number before any run.
    n_complete : recurrences complete.  layers_done : layers of the block run so far.
    totals : of the unrolled graph with ``n_copies`` recurrences.
    norms : float64 ``[C', L, 2]``, norm of what attention and the MLP wrote, state units; NaN for
        what has not run. ``C'`` is 0 when nothing ran or norms were not kept.
    norms_of : whose norms, in words.  norm_scale : the largest finite one, or 1.
    norms_missing : why there are none, or "".
    """

    architecture: Architecture
    start: str
    n_tokens: int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    hues: dict[str, int]
    n_copies: int
    n_complete: int
    layers_done: int
    totals: Totals
    norms: F64
    norms_of: str
    norm_scale: float
    norms_missing: str
    options: Options

    @property
    def n_layers(self) -> int:
        """Layers of the recurrent block, ``L``."""
        return self.architecture.n_block

    @property
    def has_run(self) -> bool:
        """Whether any layer of the block has run."""
        return self.layers_done > 0

    @property
    def now(self) -> tuple[int, int] | None:
        """(recurrence, layer) that ran last."""
        if not self.layers_done:
            return None
        r, layer = divmod(self.layers_done - 1, self.n_layers)
        return r + 1, layer

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


# The columns of `Summary`: heading, its short form, where the number comes from.
SUMMARY_COLUMNS = (
    ("unique depth", "unique", UNIQUE_DEPTH),
    ("effective depth", "effective", EFFECTIVE_DEPTH),
    ("parameters", "params", PARAMETERS),
    ("FLOPs per token", "FLOPs", FLOPS),
)


def summary(data: Data) -> tuple[Summary, Summary, Summary]:
    """Sizes of the loop (one pass), of its unrolling, and of a deep model that shares nothing."""
    arch, run, t = data.architecture, data.totals, data.n_tokens
    once = arch.effective_depth(1), arch.n_parameters, arch.flops_per_token(1, t)
    deep = run.effective_depth, run.effective_depth, run.deep_parameters, run.flops
    return (
        Summary("looped, one pass", arch.unique_depth, *once),
        Summary(f"unrolled × {data.n_copies}", run.unique_depth, run.effective_depth,
                run.parameters, run.flops),
        Summary("if nothing were shared", *deep),
    )  # fmt: skip


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Lay out what has been run so far; the graphs follow from the architecture alone."""
    arch, t = recording.info.architecture, recording.n_tokens
    done = recording.layers_done  # read first: the worker may append meanwhile
    begun = -(-done // arch.n_block)
    complete = min(recording.n_recurrences, done // arch.n_block)
    copies = begun or arch.trained_recurrences
    start = recording.info.start
    nodes, edges = _looped(arch, t, start)
    writes = _writes(recording, done)
    norms, words = _norms(writes, recording, selection, options)
    finite = norms[np.isfinite(norms)]
    return Data(
        statement=_statement(arch, done, complete, copies),
        formulas=FORMULAS,
        architecture=arch,
        start=start,
        n_tokens=t,
        nodes=nodes,
        edges=edges,
        hues=_hues(nodes),
        n_copies=copies,
        n_complete=complete,
        layers_done=done,
        totals=_totals(arch, copies, t),
        norms=norms,
        norms_of=words,
        norm_scale=float(finite.max()) if finite.size and finite.max() > 0 else 1.0,
        norms_missing=NO_WRITES if writes is None else "",
        options=options,
    )


@lru_cache(maxsize=8)
def _looped(
    arch: Architecture, n_keys: int, start: str
) -> tuple[tuple[Node, ...], tuple[Edge, ...]]:
    graph = looped_graph(arch, n_keys, start)
    return nodes_of(graph), edges_of(graph)


def _totals(arch: Architecture, copies: int, n_keys: int) -> Totals:
    """Sums of the unrolled graph, without building its thousands of nodes at each step."""
    return Totals(
        arch.unique_depth,
        arch.effective_depth(copies),
        arch.n_parameters,
        arch.effective_parameters(copies),
        arch.flops_per_token(copies, n_keys),
    )


def _hues(nodes: tuple[Node, ...]) -> dict[str, int]:
    """Number the sets of weights: layers first, so that they have the plainest colours."""
    kinds = ("layer", "injection", "embedding", "head", "norm", "start", "gate")
    parts = ("block", "prelude", "coda")
    having = [n for n in nodes if n.weights]
    having.sort(key=lambda n: (kinds.index(n.kind), parts.index(n.part) if n.part in parts else 0))
    return {key: i for i, key in enumerate(dict.fromkeys(n.weights for n in having))}


def _writes(recording: Recording, done: int) -> F64 | None:
    """Norms of all writes so far, float64 ``[C, L, T, 2]``, NaN where not run; or None."""
    whole, n_layers = recording.writes, recording.n_layers
    if whole is None:
        return None
    shape = (recording.n_tokens, 2)
    flat = whole.reshape(-1, *shape)[:done]
    rest = [recording.layer(i // n_layers + 1, i % n_layers).writes for i in range(len(flat), done)]
    filled = np.full((-(-done // n_layers) * n_layers, *shape), np.nan)
    filled[: len(flat)] = flat
    for i, write in enumerate(rest, len(flat)):
        filled[i] = write
    return filled.reshape(-1, n_layers, *shape)


def _norms(
    writes: F64 | None, recording: Recording, selection: Selection, options: Options
) -> tuple[F64, str]:
    """Norms ``[C, L, 2]`` of the tokens asked for, and whose they are in words."""
    t = recording.n_tokens
    if options.norm_of == "token":
        token = min(max(selection.token, 0), t - 1)
        words = f"token {token} {recording.info.token_labels[token]!r}"
        tokens: tuple[int, ...] = (token,)
    else:
        tokens = selection.shown_tokens(t)
        words = f"mean over {len(tokens)} tokens" if len(tokens) > 1 else f"token {tokens[0]}"
    if writes is None:
        return np.zeros((0, recording.n_layers, 2)), words
    mean: F64 = writes[:, :, list(tokens)].mean(2)
    return mean, words


def _statement(arch: Architecture, done: int, complete: int, copies: int) -> str:
    """Say how deep the run is and with how many layers' weights."""
    unique, effective = arch.unique_depth, arch.effective_depth(copies)
    if not done:
        return (
            f"Nothing has run yet; unrolled to the trained {copies} "
            f"recurrence{'s' * (copies != 1)}, {unique} layers would run as {effective}."
        )
    ran = f"{complete} recurrence{'s' if complete != 1 else ''}"
    under_way = done - complete * arch.n_block
    if under_way:
        ran += f" and {under_way} of {arch.n_block} layers"
    layers = f"{unique} layers" if unique != 1 else "1 layer"
    are = "are" if unique != 1 else "is"
    return f"{ran} run: {layers} with weights {are} {effective} deep when unrolled."


def table(data: Data) -> Table:
    """One row for each node of the unrolled graph, in the order they run."""
    columns = (
        "node",
        "part",
        "recurrence",
        "layer",
        "depth index",
        "weights",
        "parameters",
        "FLOPs per token",
        f"attention write norm, {data.norms_of} [state units]",
        f"MLP write norm, {data.norms_of} [state units]",
    )
    return Table(columns, _rows(data))


def _rows(data: Data) -> Iterator[tuple[object, ...]]:
    graph = unrolled_graph(data.architecture, data.n_copies, data.n_tokens, data.start)
    for node in nodes_of(graph):
        norms: tuple[object, ...] = ("", "")
        if node.part == "block" and node.recurrence is not None and node.layer is not None:
            at = (node.recurrence, node.layer)
            if len(data.norms) >= node.recurrence:
                norms = tuple(data.norm(*at, branch) for branch in (0, 1))
        yield (
            node.label,
            node.part,
            "" if node.recurrence is None else node.recurrence,
            "" if node.layer is None else node.layer,
            "" if node.depth is None else node.depth,
            node.weights,
            node.parameters,
            node.flops,
            *norms,
        )
