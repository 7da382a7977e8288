"""The computation graph of a looped transformer, as a loop and unrolled.

Both are `networkx.DiGraph` and are made of an `Architecture` alone: no weights, no torch. The loop
has one node for each thing that has weights, or a name, and one back edge; the unrolling has a
copy of what repeats for each recurrence and is acyclic. A copy has the same ``weights`` key as
its original: that is what makes it a copy and not a layer of its own.

Attributes of a node are the fields of `Node`; an edge has ``kind``: "stream" (the residual
stream), "injection" (``e``, what the prelude made of the prompt, into each recurrence), "held"
(the slow state of a nested loop, into each of its inner passes) or "back" (to the recurrence
after; in the loop only).

The passes of an untied loop are written out: each has weights of its own, so that none is a copy.
The inner passes of a nested loop are written out: one recurrence has each of them in order, as
copies of the fast stack's layers, so that a node is one (recurrence, layer).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from loopscope.core.model.architecture import Architecture
from loopscope.core.model.flops import closing_flops, embedding_flops, head_flops
from loopscope.core.model.layer_shape import LayerShape, norm_shapes

if TYPE_CHECKING:
    import networkx as nx

Kind = Literal["embedding", "layer", "start", "injection", "norm", "head", "gate"]
Part = Literal[
    "embedding", "prelude", "start", "injection", "block", "closing norm", "coda", "final norm",
    "head", "exit gate",
]  # fmt: skip
EdgeKind = Literal["stream", "injection", "held", "back"]
# What is run again at each recurrence.
REPEATED: frozenset[Part] = frozenset({"injection", "block", "closing norm"})
# What is run once, when the state is read out.
AFTER: frozenset[Part] = frozenset({"coda", "final norm", "head", "exit gate"})


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
    step : for what is repeated, the layer of the recurrence that it goes with: itself, the one
        that it feeds (injection) or the one that it ends (norm).
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
    step: int = 0
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
    deep_parameters : as if each copy in the unrolling had weights of its own (what is tied
        otherwise, such as embedding and head, stays tied).
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
    if shape.modulated:
        attn, mlp = "g₁ Attn((1 + c₁) n(x))", "g₂ MLP((1 + c₂) n(x))"
    if shape.parallel:
        return f"x ← x + {attn} + {mlp}"
    return f"x ← {norm('resid_mid', f'x + {attn}')}; x ← {norm('resid_post', f'x + {mlp}')}"


@lru_cache(maxsize=32)
def looped_nodes(arch: Architecture, n_tokens: int = 1, start: str = "") -> tuple[Node, ...]:
    """Nodes of the looped graph in the order they first run.

    Parameters
    ----------
    arch
        The model.
    n_tokens
        Length of the prompt, over which a token's FLOPs are averaged.
    start
        How a run starts ("zeros", "random", "embedding", "given"); default the model's own.
    """
    d, vocab, width = arch.d_model, arch.vocab_size, arch.d_embed
    parts = arch.parameters()
    first = _start_formula(start or arch.initial_state)
    if arch.inner_cycles:
        first = f"z_H: {first}; z_L: a learned vector"
    nodes = [
        Node("embedding", "embedding", "embedding", "embedding", "embedding",
             weights="embedding", parameters=parts["embedding"], flops=embedding_flops(arch),
             shape=f"{vocab} × {width}" + (f", then {d} × {width}" if arch.embed_width else ""),
             formula=_look_up(arch)),
        *_layers(arch, n_tokens, "prelude", arch.n_prelude, 0),
        *_prelude_norm(arch),
        Node("start", "start", "start", "start", "s₀", shape=f"state of {d}", formula=first,
             weights="start" if parts["start"] else "", parameters=parts["start"]),
    ]  # fmt: skip
    if arch.inner_cycles:
        nodes += _nested_passes(arch, n_tokens)
    elif arch.untied_passes:
        nodes += _untied_passes(arch, n_tokens)
    else:
        if arch.injection != "none":
            nodes.append(_injection(arch))
        nodes += _layers(arch, n_tokens, "block", arch.n_block, arch.n_prelude)
        if arch.closing_norm:
            norm = _norm("closing norm", arch, "s ← norm(x)")
            nodes.append(replace(norm, step=arch.n_block - 1))
        nodes += _closing_gate(arch)
    nodes += _coda_proj(arch)
    nodes += _layers(arch, n_tokens, "coda", arch.n_coda, arch.n_prelude + arch.n_block)
    if arch.final_norm:
        nodes.append(_norm("final norm", arch, "x ← norm(x)"))
    formula = "logits = E x (tied to the embedding)" if arch.tied_head else "logits = U x"
    if arch.head_transform:
        formula = formula.replace(" x", " norm(act(W x + b)) + c", 1)
    if arch.logit_cap:
        formula = f"{formula}, then {arch.logit_cap:g} tanh(logits / {arch.logit_cap:g})"
    # A head that is wholly the embedding is the same set of weights and so drawn as a copy of it.
    copies = arch.tied_head and not parts["head"]
    nodes.append(
        Node("head", "head", "head", "head", "head",
             weights="embedding" if copies else "head",
             parameters=vocab * width if copies else parts["head"],
             flops=head_flops(arch), shape=f"{vocab} × {width}", formula=formula)
    )  # fmt: skip
    if arch.exit_gate:
        nodes.append(
            Node("exit gate", "exit gate", "gate", "exit gate", "exit gate", weights="exit gate",
                 parameters=parts["exit gate"], flops=2 * d, shape=f"1 × {d}",
                 formula="hazard λ_r = sigmoid(w s_r + b)" if arch.exit_reads == "state"
                 else "hazard λ_r = sigmoid(w LayerNorm(x − s) + b) of the change before the gate")
        )  # fmt: skip
    return tuple(nodes)


def _look_up(arch: Architecture) -> str:
    e = "E[token]" if arch.embedding_scale == 1 else "scale · E[token]"
    e += " + P[position]" if arch.learned_positions else ""
    e += " + S[0]" if arch.token_types else ""
    e = f"norm({e})" if arch.embed_norm else e
    if arch.layer.modulated:
        return f"e = {e}; c_r = time((r − 1) / R) + step(1 / R) into every layer"
    return f"e = W {e} + b" if arch.embed_width else f"e = {e}"


def _prelude_norm(arch: Architecture) -> list[Node]:
    """The norm that makes ``e`` of the prelude's output, where there is one."""
    if not arch.prelude_norm:
        return []
    shapes = norm_shapes("prelude_norm", arch.d_model, arch.norm_kind)
    parameters = sum(math.prod(shape) for shape in shapes.values())
    key = "prelude norm"
    return [
        Node(key, key, "norm", "prelude", key, weights=key if parameters else "",
             parameters=parameters, shape=f"{arch.d_model}", formula="e = norm(x)")
    ]  # fmt: skip


def _closing_gate(arch: Architecture) -> list[Node]:
    """The gate that ends a recurrence between its output and what it began with."""
    if not arch.closing_gate:
        return []
    d, rank, key = arch.d_model, arch.closing_gate, "closing gate"
    return [
        Node(key, key, "norm", "closing norm", key, weights=key, parameters=2 * d * rank + 2 * d,
             flops=closing_flops(arch), step=arch.n_block - 1, shape=f"{d} × {rank} × {d}",
             formula="s ← a x + (1 − a) s, a = exp(−exp(A) softplus(W₂ W₁ (x − s) + b))")
    ]  # fmt: skip


def _coda_proj(arch: Architecture) -> list[Node]:
    """The matrix that the final state goes through before the coda."""
    if not arch.coda_proj:
        return []
    d, key = arch.d_model, "coda projection"
    parameters = d * d + (d if arch.coda_bias else 0)
    return [
        Node(key, key, "norm", "coda", key, weights=key, parameters=parameters, flops=2 * d * d,
             shape=f"{d} × {d}", formula="x = C s + b" if arch.coda_bias else "x = C s")
    ]  # fmt: skip


def _nested_passes(arch: Architecture, n_tokens: int) -> list[Node]:
    """One recurrence of a nested loop: each pass is a sum, a stack of layers and a norm."""
    layers = _layers(arch, n_tokens, "block", arch.n_block, arch.n_prelude)
    nodes = []
    for i in range(arch.n_passes):
        slow = i == arch.inner_cycles
        first, last = i * arch.n_stack, (i + 1) * arch.n_stack - 1
        terms = "z_H + z_L" if slow else "z_L + z_H"
        terms += " + e" if arch.takes_input(first) else ""
        nodes.append(
            Node(f"sum.{i}", f"sum.{i}", "injection", "injection", terms, step=first,
                 shape=f"{arch.d_model}", formula=f"x = {terms}")
        )  # fmt: skip
        nodes += layers[first : last + 1]
        state = "z_H" if slow else "z_L"
        norm = _norm("closing norm", arch, f"{state} ← norm(x)")
        if not arch.closing_norm:
            norm = replace(norm, label=state, formula=f"{state} ← x")
        key = "closing norm" if slow else f"closing norm.{i}"
        nodes.append(replace(norm, id=key, key=key, step=last))
    return nodes


def _untied_passes(arch: Architecture, n_tokens: int) -> list[Node]:
    """One run of an untied loop: each pass has an injection, layers and a norm of its own."""
    layers = _layers(arch, n_tokens, "block", arch.n_block, arch.n_prelude)
    nodes = []
    for i in range(arch.n_passes):
        first, last = i * arch.n_stack, (i + 1) * arch.n_stack - 1
        if arch.injection != "none":
            nodes.append(_of_pass(_injection(arch), i, first, 1))
        nodes += layers[first : last + 1]
        if arch.closing_norm:
            norm = _norm("closing norm", arch, "s ← norm(x)")
            nodes.append(_of_pass(norm, i, last, arch.n_passes))
    return nodes


def _of_pass(node: Node, index: int, step: int, share: int) -> Node:
    """One pass's own copy of a node that stands for ``share`` sets of weights together."""
    key = f"{node.key}.{index}"
    weights = f"{node.weights}.{index}" if node.weights else ""
    return replace(
        node, id=key, key=key, weights=weights, step=step, parameters=node.parameters // share
    )


def _layers(
    arch: Architecture, n_tokens: int, part: Literal["prelude", "block", "coda"], n: int, depth: int
) -> list[Node]:
    def label(i: int) -> str:
        if part != "block":
            return f"{part} {i}"
        return arch.layer_mark(i) if arch.n_passes > 1 else arch.layer_name(i)

    def node(i: int) -> Node:
        weights = arch.weights_of_layer(i) if part == "block" else i
        layer = arch.shape_of(part, weights)
        return Node(
            f"{part}.{i}", f"{part}.{i}", "layer", part, label(i), layer=i, step=i,
            weights=f"{part}.{weights}", parameters=layer.n_parameters,
            flops=layer.flops_per_token(n_tokens), depth=depth + i, shape=_layer_words(layer),
            formula=layer_formula(layer),
        )  # fmt: skip

    return [node(i) for i in range(n)]


def _layer_words(layer: LayerShape) -> str:
    """Sizes of a layer, in words."""
    heads = f"{layer.n_heads} heads × {layer.d_head}"
    if layer.n_kv_heads != layer.n_heads:
        heads += f" ({layer.n_kv_heads} key/value)"
    window = f", window {layer.window}" if layer.window else ""
    mlp = f"MLP {layer.d_mlp}{' gated' if layer.gated else ''}"
    return f"d {layer.d_model}, {heads}{window}, {mlp}"


def _injection(arch: Architecture) -> Node:
    if arch.injection == "add":
        return Node("injection", "injection", "injection", "injection", "input injection",
                    shape=f"{arch.d_model}", formula="x = s ⊕ e (sum)")  # fmt: skip
    concat = arch.injection == "concat"
    entries = arch.parameters()["injection"] // max(arch.untied_passes, 1)
    return Node(
        "injection", "injection", "injection", "injection", "adapter", weights="injection",
        parameters=entries, flops=2 * arch.injection_weights,
        shape=f"{arch.d_model} × {arch.injection_weights // arch.d_model}",
        formula=f"x = W cat[s, e]{' + b' if arch.adapter_bias else ''}" if concat
        else "x = exp(−Δ exp(A)) s + Δ B e, Δ = softplus(c)",
    )  # fmt: skip


def _norm(part: Literal["closing norm", "final norm"], arch: Architecture, formula: str) -> Node:
    parameters = arch.parameters()[part]
    return Node(part, part, "norm", part, part, weights=part if parameters else "",
                parameters=parameters, shape=f"{arch.d_model}", formula=formula)  # fmt: skip


def _start_formula(start: str) -> str:
    return {
        "zeros": "s₀ = 0",
        "embedding": "s₀ = e",
        "given": "s₀ given",
        "learned": "s₀ learned, one vector for all tokens",
    }.get(start, "s₀ ~ N(0, σ²)")


def looped_graph(arch: Architecture, n_tokens: int = 1, start: str = "") -> nx.DiGraph:
    """Build the graph as it is written: one recurrent block and its back edge.

    Parameters are those of `looped_nodes`. The nodes' FLOPs are of one application each, so that
    they add up to ``flops_per_token(arch, 1, n_tokens)``, and the adapter that a "skip-adapter"
    model leaves out of recurrence 1.
    """
    nodes = looped_nodes(arch, n_tokens, start)
    repeated = _repeated(nodes)
    entry, end = repeated[0].id, repeated[-1].id
    edges = _outer_edges(arch, nodes, start, entry, end)
    edges += [Edge(a.id, b.id, "stream") for a, b in pairwise(repeated)]
    for node in _held(arch, repeated):
        edges += [Edge("start", node.id, "held"), Edge(end, node.id, "back")]
    if arch.inner_cycles:
        edges.append(Edge(_fast_end(arch, repeated).id, entry, "back"))
    edges += _injected(arch, _prompt(nodes), repeated)
    edges.append(Edge(end, entry, "back"))
    return _graph(nodes, edges)


def unrolled_graph(
    arch: Architecture, n_recurrences: int, n_tokens: int = 1, start: str = ""
) -> nx.DiGraph:
    """Build the graph as it runs: a copy of what repeats for each of ``n_recurrences``.

    The nodes' FLOPs add up to ``flops_per_token(arch, n_recurrences, n_tokens)``. Raises
    `ValueError` for fewer than 0 recurrences.
    """
    if n_recurrences < 0:
        raise ValueError(f"cannot unroll {n_recurrences} recurrences; give 0 or more")
    looped = looped_nodes(arch, n_tokens, start)
    repeated = _repeated(looped)
    later = (n_recurrences - 1) * arch.n_block
    before = [n for n in looped if n.part in ("embedding", "prelude", "start")]
    after = [
        n if n.depth is None else replace(n, depth=n.depth + later)
        for n in looped
        if n.part in AFTER
    ]
    copies = [
        [_copy(n, r, arch.n_block) for n in repeated if runs_at(arch, n, r)]
        for r in range(1, n_recurrences + 1)
    ]
    edges, last = [], "start"
    for i, copy in enumerate(copies):
        for node in copy:
            edges.append(Edge(last, node.id, "stream"))
            last = node.id
        edges += _injected(arch, _prompt(looped), copy)
        # The slow state of the recurrence before, and its fast state, into this one.
        before_it = copies[i - 1] if i else None
        source = before_it[-1].id if before_it else "start"
        edges += [Edge(source, node.id, "held") for node in _held(arch, copy)]
        if arch.inner_cycles and before_it:
            edges.append(Edge(_fast_end(arch, before_it).id, copy[0].id, "stream"))
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
    once: dict[str, int] = {}
    unshared: dict[str, int] = {}
    for n in nodes:
        # A tied head shares the embedding's table but not its positions: the larger one counts.
        once[n.weights] = max(once.get(n.weights, 0), n.parameters)
        key = n.id if n.recurrence else n.weights
        unshared[key] = max(unshared.get(key, 0), n.parameters)
    return Totals(
        unique_depth=len({n.weights for n in layers}),
        effective_depth=len(layers),
        parameters=sum(once.values()),
        deep_parameters=sum(unshared.values()),
        flops=sum(n.flops for n in nodes),
    )


def runs_at(arch: Architecture, node: Node, recurrence: int | None) -> bool:
    """Whether a repeated node runs at ``recurrence``: "skip-adapter" begins without injection."""
    return not (recurrence == 1 and node.kind == "injection" and arch.skip_first_injection)


def _copy(node: Node, recurrence: int, n_block: int) -> Node:
    depth = None if node.depth is None else node.depth + (recurrence - 1) * n_block
    return replace(node, id=copy_id(node.key, recurrence), recurrence=recurrence, depth=depth)


def _repeated(nodes: tuple[Node, ...]) -> list[Node]:
    return [n for n in nodes if n.part in REPEATED]


def _injected(arch: Architecture, prompt: str, repeated: list[Node]) -> list[Edge]:
    """``e`` into every injection of one recurrence: one, or one for each untied pass."""
    if arch.injection == "none":
        return []
    into = [n for n in repeated if n.kind == "injection" and arch.takes_input(n.step)]
    return [Edge(prompt, n.id, "injection") for n in into]


def _held(arch: Architecture, repeated: list[Node]) -> list[Node]:
    """Sums that take the slow state from the recurrence's start, but for the first of them."""
    if not arch.inner_cycles:
        return []
    return [n for n in repeated if n.kind == "injection"][1:]


def _fast_end(arch: Architecture, repeated: list[Node]) -> Node:
    """Where the fast state of a recurrence is ready: the norm of its last inner pass."""
    return [n for n in repeated if n.kind == "norm"][arch.inner_cycles - 1]


def _prompt(nodes: tuple[Node, ...]) -> str:
    """Id of the node whose output is ``e``."""
    return [n for n in nodes if n.part in ("embedding", "prelude")][-1].id


def _outer_edges(
    arch: Architecture, nodes: tuple[Node, ...], start: str, entry: str | None, end: str
) -> list[Edge]:
    """Edges of what runs once: prompt to ``e``, ``s_0`` into the block, ``s_R`` to the head."""
    first = [n.id for n in nodes if n.part in ("embedding", "prelude")]
    last = [end, *(n.id for n in nodes if n.part in AFTER and n.kind != "gate")]
    edges = [Edge(a, b, "stream") for path in (first, last) for a, b in pairwise(path)]
    edges += [Edge(end, n.id, "stream") for n in nodes if n.kind == "gate"]
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
