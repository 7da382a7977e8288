"""The computation graph of a looped transformer, as a loop and unrolled.

Both are `networkx.DiGraph` and are made of an `Architecture` alone: no weights, no torch. The loop
has one node for each thing that has weights, or a name, and one back edge; the unrolling has a
copy of what repeats for each recurrence and is acyclic. A copy has the same ``weights`` key as
its original: that is what makes it a copy and not a layer of its own.

Attributes of a node are the fields of `Node`; an edge has ``kind``: "stream" (the residual
stream), "injection" (``e``, what the prelude made of the prompt, into each recurrence) or "back"
(``s_r`` to the recurrence after it; in the loop only).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from loopscope.core.architecture import Architecture, LayerShape

if TYPE_CHECKING:
    import networkx as nx

Kind = Literal["embedding", "layer", "start", "injection", "norm", "head"]
Part = Literal[
    "embedding", "prelude", "start", "injection", "block", "closing norm", "coda", "final norm",
    "head",
]  # fmt: skip
EdgeKind = Literal["stream", "injection", "back"]
# What is run again at each recurrence.
REPEATED: frozenset[Part] = frozenset({"injection", "block", "closing norm"})


@dataclass(frozen=True, slots=True)
class Node:
    """One node of either graph.

    id : unique in its graph.  key : the id of the original in the looped graph.
    kind, part : what it is, and which part of the model it belongs to.
    label : for people.
    layer : index within its part, from 0; None when it is no layer.
    recurrence : 1 to R for a copy in the unrolled graph, else None.
    weights : key of its set of weights, the same for copies; "" when it has none.
    parameters : entries of that set of weights.
    flops : floating-point operations for one token, see `LayerShape.flops_per_token`.
    depth : index among the layers that run, from 0 (in the loop: at the first recurrence).
    shape : sizes, in words.  formula : what it computes.
    """

    id: str
    key: str
    kind: Kind
    part: Part
    label: str
    layer: int | None = None
    recurrence: int | None = None
    weights: str = ""
    parameters: int = 0
    flops: int = 0
    depth: int | None = None
    shape: str = ""
    formula: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge: ids of two nodes, and what flows."""

    source: str
    target: str
    kind: EdgeKind


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a graph. Parameters, layers, and operations for one token.

    unique_depth, effective_depth : layers with weights of their own, and layers that run.
    parameters : each set of weights once.
    deep_parameters : as if each recurrence had weights of its own (what is tied otherwise, such
        as embedding and head, stays tied).
    """

    unique_depth: int
    effective_depth: int
    parameters: int
    deep_parameters: int
    flops: int


def copy_id(key: str, recurrence: int) -> str:
    """Id of the copy of ``key`` at ``recurrence`` in the unrolled graph."""
    return f"{key}@{recurrence}"


def layer_formula(shape: LayerShape) -> str:
    """What one decoder layer computes, with the norms it has (``n`` stands for each norm)."""

    def norm(slot: str, inner: str) -> str:
        return f"n({inner})" if slot in shape.norms else inner

    attn = norm("attn_out", f"Attn({norm('attn_in', 'x')})")
    mlp = norm("mlp_out", f"MLP({norm('mlp_in', 'x')})")
    return f"x ← {norm('resid_mid', f'x + {attn}')}; x ← {norm('resid_post', f'x + {mlp}')}"


@lru_cache(maxsize=32)
def looped_nodes(arch: Architecture, n_keys: int = 1, start: str = "") -> tuple[Node, ...]:
    """Nodes of the looped graph in the order they first run.

    Parameters
    ----------
    arch
        The model.
    n_keys
        Keys that a token attends to, for its FLOPs.
    start
        How a run starts ("zeros", "random", "embedding", "given"); default the model's own.
    """
    d, vocab = arch.d_model, arch.vocab_size
    look_up = "e = E[token]" if arch.embedding_scale == 1 else "e = scale · E[token]"
    nodes = [
        Node("embedding", "embedding", "embedding", "embedding", "embedding",
             weights="embedding", parameters=arch.parameters()["embedding"], shape=f"{vocab} × {d}",
             formula=look_up),
        *_layers(arch, n_keys, "prelude", arch.n_prelude, 0),
        Node("start", "start", "start", "start", "s₀", shape=f"state of {d}",
             formula=_start_formula(start or arch.initial_state)),
    ]  # fmt: skip
    if arch.injection != "none":
        nodes.append(_injection(arch))
    nodes += _layers(arch, n_keys, "block", arch.n_block, arch.n_prelude)
    if arch.closing_norm:
        nodes.append(_norm("closing norm", arch, "s ← norm(x)"))
    nodes += _layers(arch, n_keys, "coda", arch.n_coda, arch.n_prelude + arch.n_block)
    if arch.final_norm:
        nodes.append(_norm("final norm", arch, "x ← norm(x)"))
    nodes.append(
        Node("head", "head", "head", "head", "head",
             weights="embedding" if arch.tied_head else "head", parameters=vocab * d,
             flops=2 * vocab * d, shape=f"{vocab} × {d}",
             formula="logits = E x (tied to the embedding)" if arch.tied_head else "logits = U x")
    )  # fmt: skip
    return tuple(nodes)


def _layers(
    arch: Architecture, n_keys: int, part: Literal["prelude", "block", "coda"], n: int, depth: int
) -> list[Node]:
    layer = arch.layer
    heads = f"{layer.n_heads} heads × {layer.d_head}"
    if layer.n_kv_heads != layer.n_heads:
        heads += f" ({layer.n_kv_heads} key/value)"
    shape = f"d {layer.d_model}, {heads}, MLP {layer.d_mlp}{' gated' if layer.gated else ''}"
    named = "layer" if part == "block" else part
    return [
        Node(f"{part}.{i}", f"{part}.{i}", "layer", part, f"{named} {i}", layer=i,
             weights=f"{part}.{i}", parameters=layer.n_parameters,
             flops=layer.flops_per_token(n_keys), depth=depth + i, shape=shape,
             formula=layer_formula(layer))
        for i in range(n)
    ]  # fmt: skip


def _injection(arch: Architecture) -> Node:
    if arch.injection == "add":
        return Node("injection", "injection", "injection", "injection", "input injection",
                    shape=f"{arch.d_model}", formula="x = s ⊕ e (sum)")  # fmt: skip
    return Node(
        "injection", "injection", "injection", "injection", "adapter", weights="injection",
        parameters=arch.injection_weights, flops=2 * arch.injection_weights,
        shape=f"{arch.d_model} × {2 * arch.d_model}", formula="x = W cat[s, e]",
    )  # fmt: skip


def _norm(part: Literal["closing norm", "final norm"], arch: Architecture, formula: str) -> Node:
    d = arch.d_model
    return Node(part, part, "norm", part, part, weights=part,
                parameters=arch.parameters()[part], shape=f"{d}", formula=formula)  # fmt: skip


def _start_formula(start: str) -> str:
    return {
        "zeros": "s₀ = 0",
        "embedding": "s₀ = e",
        "given": "s₀ given",
    }.get(start, "s₀ ~ N(0, σ²)")


def looped_graph(arch: Architecture, n_keys: int = 1, start: str = "") -> nx.DiGraph:
    """Build the graph as it is written: one recurrent block and its back edge.

    Parameters are those of `looped_nodes`. The nodes' FLOPs are of one application each, so that
    they add up to ``arch.flops_per_token(1, n_keys)``.
    """
    nodes = looped_nodes(arch, n_keys, start)
    entry, end = _entry(nodes), _end(nodes)
    edges = _outer_edges(arch, nodes, start, entry, end)
    edges += [Edge(a.id, b.id, "stream") for a, b in pairwise(_repeated(nodes))]
    if arch.injection != "none":
        edges.append(Edge(_prompt(nodes), entry, "injection"))
    edges.append(Edge(end, entry, "back"))
    return _graph(nodes, edges)


def unrolled_graph(
    arch: Architecture, n_recurrences: int, n_keys: int = 1, start: str = ""
) -> nx.DiGraph:
    """Build the graph as it runs: a copy of what repeats for each of ``n_recurrences``.

    The nodes' FLOPs add up to ``arch.flops_per_token(n_recurrences, n_keys)``.
    """
    if n_recurrences < 0:
        raise ValueError(f"cannot unroll {n_recurrences} recurrences; give 0 or more")
    looped = looped_nodes(arch, n_keys, start)
    repeated = _repeated(looped)
    later = (n_recurrences - 1) * arch.n_block
    before = [n for n in looped if n.part in ("embedding", "prelude", "start")]
    after = [
        n if n.depth is None else replace(n, depth=n.depth + later)
        for n in looped
        if n.part in ("coda", "final norm", "head")
    ]
    copies = [[_copy(n, r, arch.n_block) for n in repeated] for r in range(1, n_recurrences + 1)]
    edges, last = [], "start"
    for copy in copies:
        for node in copy:
            edges.append(Edge(last, node.id, "stream"))
            last = node.id
        if arch.injection != "none":
            edges.append(Edge(_prompt(looped), copy[0].id, "injection"))
    edges += _outer_edges(arch, looped, start, None, last)
    return _graph([*before, *(n for copy in copies for n in copy), *after], edges)


def nodes_of(graph: nx.DiGraph) -> tuple[Node, ...]:
    """Nodes of either graph, in the order they run."""
    return tuple(Node(**attributes) for _, attributes in graph.nodes(data=True))


def edges_of(graph: nx.DiGraph) -> tuple[Edge, ...]:
    """Edges of either graph."""
    return tuple(Edge(a, b, kind) for a, b, kind in graph.edges(data="kind"))


def totals(graph: nx.DiGraph) -> Totals:
    """Add up a graph, from its nodes alone."""
    nodes = nodes_of(graph)
    layers = [n for n in nodes if n.kind == "layer"]
    once = {n.weights: n.parameters for n in nodes}
    unshared = {(n.weights, n.recurrence): n.parameters for n in nodes}
    return Totals(
        unique_depth=len({n.weights for n in layers}),
        effective_depth=len(layers),
        parameters=sum(once.values()),
        deep_parameters=sum(unshared.values()),
        flops=sum(n.flops for n in nodes),
    )


def _copy(node: Node, recurrence: int, n_block: int) -> Node:
    depth = None if node.depth is None else node.depth + (recurrence - 1) * n_block
    return replace(node, id=copy_id(node.key, recurrence), recurrence=recurrence, depth=depth)


def _repeated(nodes: tuple[Node, ...]) -> list[Node]:
    return [n for n in nodes if n.part in REPEATED]


def _entry(nodes: tuple[Node, ...]) -> str:
    return _repeated(nodes)[0].id


def _end(nodes: tuple[Node, ...]) -> str:
    return _repeated(nodes)[-1].id


def _prompt(nodes: tuple[Node, ...]) -> str:
    """Id of the node whose output is ``e``."""
    return [n for n in nodes if n.part in ("embedding", "prelude")][-1].id


def _outer_edges(
    arch: Architecture, nodes: tuple[Node, ...], start: str, entry: str | None, end: str
) -> list[Edge]:
    """Edges of what runs once: prompt to ``e``, ``s_0`` into the block, ``s_R`` to the head."""
    first = [n.id for n in nodes if n.part in ("embedding", "prelude")]
    last = [end, *(n.id for n in nodes if n.part in ("coda", "final norm", "head"))]
    edges = [Edge(a, b, "stream") for path in (first, last) for a, b in pairwise(path)]
    if (start or arch.initial_state) == "embedding":
        edges.append(Edge(first[-1], "start", "stream"))
    if entry is not None:
        edges.append(Edge("start", entry, "stream"))
    return edges


def _graph(nodes: tuple[Node, ...] | list[Node], edges: list[Edge]) -> nx.DiGraph:
    import networkx as nx

    graph = nx.DiGraph()
    names = [f.name for f in fields(Node)]
    for node in nodes:
        graph.add_node(node.id, **{name: getattr(node, name) for name in names})
    for edge in edges:
        graph.add_edge(edge.source, edge.target, kind=edge.kind)
    return graph
