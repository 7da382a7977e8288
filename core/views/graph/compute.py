"""The computation graph of a run: the loop beside its unrolling, and beside another model's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.labels import count
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.flops import flops_per_token
from loopscope.core.model.graph import (
    Edge,
    Node,
    Totals,
    edges_of,
    looped_graph,
    nodes_of,
    unrolled_graph,
)
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import Table, ViewDefinition
from loopscope.core.views.graph.cuts import cuts_of
from loopscope.core.views.graph.data import FORMULAS, NO_WRITES, Contrast, Data, Options
from loopscope.core.views.graph.export import EXPORTS
from loopscope.core.views.second_run import SecondRun


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Lay out what has been run so far; the graphs follow from the architecture alone."""
    arch, t = recording.info.architecture, recording.n_tokens
    done = recording.layers_done  # read first: the worker may append meanwhile
    begun = -(-done // arch.n_block)
    complete = min(recording.n_recurrences, done // arch.n_block)
    copies = begun or arch.trained_recurrences
    start = recording.info.start
    nodes, edges = _looped(arch, t, start)
    digests = {n.weights: recording.weight_identity.get(n.weights, n.weights) for n in nodes}
    writes = _writes(recording, done)
    norms, words = _norms(writes, recording, selection, options)
    data = Data(
        statement="",
        formulas=FORMULAS,
        name=recording.info.checkpoint,
        architecture=arch,
        start=start,
        n_tokens=t,
        nodes=nodes,
        edges=edges,
        digests={key: digest for key, digest in digests.items() if key},
        hues={},
        n_copies=copies,
        n_complete=complete,
        layers_done=done,
        totals=_totals(arch, copies, t),
        norms=norms,
        norms_of=words,
        norm_scale=_scale(norms),
        norms_missing=NO_WRITES if writes is None else "",
        cuts=cuts_of(recording),
        options=options,
        weights_hash=recording.info.weights_hash,
    )
    return replace(data, statement=_statement(data), hues=_hues(data)[0])


def compute_second(
    recording: Recording, second_run: SecondRun, selection: Selection, options: Options
) -> Data:
    """Contrast two models, aligned by effective depth, or mark the cuts of a branch as well.

    A run of the same model has the same graph, which is drawn once, to the longer of the runs.
    """
    one, other = recording.info, second_run.recording.info
    own = compute(recording, selection, options)
    if (one.weights_hash, one.architecture) == (other.weights_hash, other.architecture):
        return _with_branch(own, second_run)
    there = compute(second_run.recording, second_run.selection, options)
    # Weights that were not at hand are known by their names, which say nothing across models.
    digests = {k: d if d != k else f"second run: {k}" for k, d in there.digests.items()}
    there = replace(there, digests=digests)
    scale = max(_scale(own.norms), _scale(there.norms))
    hues = _hues(own, there)
    there = replace(there, hues=hues[1], norm_scale=scale)
    contrast = Contrast(second_run.name, there, second_run.pairing, second_run.selection)
    return replace(
        own,
        statement=_contrast_statement(own, there),
        hues=hues[0],
        norm_scale=scale,
        contrast=contrast,
    )


def _with_branch(data: Data, second_run: SecondRun) -> Data:
    """One graph for two runs of one model: the cuts of both, as many copies as the longer has."""
    arch, marks = data.architecture, cuts_of(second_run.recording, second_run.name)
    begun = -(-second_run.recording.layers_done // arch.n_block)
    copies = max(data.n_copies, begun) if data.has_run else begun or data.n_copies
    words = f"{len(data.cuts) or 'none'} here, {len(marks) or 'none'} in {second_run.name}"
    return replace(
        data,
        statement=f"{data.statement} Cuts: {words}.",
        cuts=data.cuts + tuple(m for m in marks if all(m.cut != own.cut for own in data.cuts)),
        n_copies=copies,
        totals=_totals(arch, copies, data.n_tokens),
    )


@lru_cache(maxsize=8)
def _looped(
    arch: Architecture, n_tokens: int, start: str
) -> tuple[tuple[Node, ...], tuple[Edge, ...]]:
    graph = looped_graph(arch, n_tokens, start)
    return nodes_of(graph), edges_of(graph)


def _totals(arch: Architecture, copies: int, n_tokens: int) -> Totals:
    """Sums of the unrolled graph, without building its thousands of nodes at each step."""
    return Totals(
        arch.unique_depth,
        arch.effective_depth(copies),
        arch.n_parameters,
        arch.effective_parameters(copies),
        flops_per_token(arch, copies, n_tokens),
    )


def _hues(*models: Data) -> list[dict[str, int]]:
    """Number the sets of weights of all models by what identifies them; equal ones have one number.

    The first model keeps its colours whatever stands beside it. Its layers come first, so that
    they have the plainest colours.
    """
    kinds = ("layer", "injection", "embedding", "head", "norm", "start", "gate")
    parts = ("block", "prelude", "coda")

    def rank(node: Node) -> tuple[int, int]:
        return kinds.index(node.kind), parts.index(node.part) if node.part in parts else 0

    having = [
        data.digests[n.weights]
        for data in models
        for n in sorted((n for n in data.nodes if n.weights), key=rank)
    ]
    order = {digest: i for i, digest in enumerate(dict.fromkeys(having))}
    return [{key: order[digest] for key, digest in data.digests.items()} for data in models]


def _scale(norms: F64) -> float:
    finite = norms[np.isfinite(norms)]
    return float(finite.max()) if finite.size and finite.max() > 0 else 1.0


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


def _sets(data: Data) -> str:
    """Count what runs and the weights it runs with: "4 sets of weights run as 14 layers"."""
    sets, layers = data.n_sets, data.totals.effective_depth
    run = ("run" if data.has_run else "would run") + "s" * (data.has_run and sets == 1)
    return f"{sets} set{'s' * (sets != 1)} of weights {run} as {layers} layer{'s' * (layers != 1)}"


def _statement(data: Data) -> str:
    """Say how deep the run is and with how many sets of weights."""
    arch, copies = data.architecture, data.n_copies
    many = f"{copies} recurrence{'s' * (copies != 1)}"
    if not data.has_run:
        unrolled = "" if data.deep else f"unrolled to the trained {many}, "
        return f"Nothing has run yet; {unrolled}{_sets(data)}."
    done = data.n_complete
    ran = f"{done} recurrence{'s' * (done != 1)}"
    under_way = data.layers_done - done * arch.n_block
    if under_way:
        ran += f" and {under_way} of {arch.n_block} layers"
    return f"{ran} run: {_sets(data)}."


def _contrast_statement(one: Data, other: Data) -> str:
    """Both models in one sentence, with the numbers that tell them apart."""
    a, b = one.totals, other.totals
    parameters = f"{count(a.parameters)} against {count(b.parameters)} parameters"
    if a.parameters == b.parameters:
        parameters = f"both {count(a.parameters)} parameters"
    flops = f"{count(a.flops)} against {count(b.flops)} FLOPs per token"
    if a.flops == b.flops:
        flops = "same FLOPs"
    elif count(a.flops) == count(b.flops):
        flops = f"both about {count(a.flops)} FLOPs per token"
    return f"{_sets(one)}; second run: {_sets(other)}; {parameters}, {flops}."


def table(data: Data) -> Table:
    """One row for each node of the unrolled graph, in the order they run; both models' graphs."""
    columns = (
        "node",
        "part",
        "recurrence",
        "layer",
        "depth index",
        "weights",
        "parameters",
        "FLOPs per token",
        "weights digest",
        f"attention write norm, {data.norms_of} [state units]",
        f"MLP write norm, {data.norms_of} [state units]",
    )
    if data.contrast is None:
        return Table(columns, _rows(data))
    rows = ((name, *row) for name, of in data.models for row in _rows(of))
    return Table(("model", *columns), rows)


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
            data.digest(node.weights) or "",
            *norms,
        )


VIEW = ViewDefinition(
    Options,
    compute,
    table,
    reads=frozenset({"token", "tokens"}),
    compute_second=compute_second,
    exports=EXPORTS,
)
