"""The computation graph for other programs: GraphML and DOT, all graphs in one file.

Of a looped model the loop and its unrolling, of a deep one the layers as they run, of two models
both. A node's id is ``MODEL.GRAPH.NODE`` with the models counted from 1; each node says which model
(``model``, ``model_index``, ``checkpoint_sha256``) and which graph ("loop", "unrolled" or "deep")
it is of, so that one can be picked out of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from loopscope.core.model.graph import (
    REPEATED,
    Node,
    edges_of,
    looped_graph,
    nodes_of,
    unrolled_graph,
)
from loopscope.core.views.graph.cuts import cuts_at
from loopscope.core.views.graph.data import Data

if TYPE_CHECKING:
    import networkx as nx

Provenance = dict[str, str]
# Characters that XML 1.0 has no way to write.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def export_graph(data: Data) -> nx.DiGraph:
    """All graphs of a view's data as one, whose parts are not joined.

    Nodes have the fields of `Node` that they have a value for (layers and depths count from 0,
    recurrences from 1), ``digest`` of their weights and ``cuts`` that act on them; edges ``kind``.
    """
    import networkx as nx

    whole = nx.DiGraph()
    for i, (name, of) in enumerate(data.models, 1):
        for kind, graph in _graphs(of).items():
            prefix = f"{i}.{kind}."
            for node in nodes_of(graph):
                values = {
                    "model": name,
                    "model_index": i,
                    "checkpoint_sha256": of.weights_hash or None,
                    "graph": kind,
                    "label": node.label,
                    "kind": node.kind,
                    "part": node.part,
                    "layer": node.layer,
                    "recurrence": node.recurrence,
                    "depth": node.depth,
                    "weights": node.weights or None,
                    "digest": of.digest(node.weights),
                    "parameters": node.parameters,
                    "flops": node.flops,
                    "shape": node.shape or None,
                    "formula": node.formula or None,
                    "cuts": _cuts(of, node) or None,
                }
                attributes = {key: value for key, value in values.items() if value is not None}
                whole.add_node(prefix + node.id, **attributes)
            for edge in edges_of(graph):
                whole.add_edge(prefix + edge.source, prefix + edge.target, kind=edge.kind)
    return whole


def _cuts(data: Data, node: Node) -> str:
    """Cuts at a node; those on the state that leaves a recurrence are at its last node."""
    cuts = cuts_at(data.cuts, node, node.recurrence)
    if node.key == [n for n in data.nodes if n.part in REPEATED][-1].key:
        cuts += tuple(c for c in data.cuts if c.at("end", node.recurrence))
    return "; ".join(c.text() for c in cuts)


def _graphs(data: Data) -> dict[str, nx.DiGraph]:
    arch, t, start = data.architecture, data.n_tokens, data.start
    run = unrolled_graph(arch, data.n_copies, t, start)
    return {"deep": run} if data.deep else {"loop": looped_graph(arch, t, start), "unrolled": run}


def graphml(data: Data, provenance: Provenance) -> str:
    """GraphML 1.0; reads back with ``networkx.read_graphml``. Provenance is on the graph."""
    import networkx as nx

    graph = export_graph(data)
    graph.graph |= {"statement": data.statement, **provenance}
    for values in (graph.graph, *(v for _, v in graph.nodes(data=True))):
        for key, value in values.items():
            if isinstance(value, str):
                values[key] = _NOT_XML.sub("�", value)
    text = "\n".join(nx.generate_graphml(graph))
    return f"<?xml version='1.0' encoding='utf-8'?>\n{text}\n"


# Words that Graphviz takes for its own: shape is a node's form, layer is for printing in layers.
_DOT_NAMES = {"shape": "sizes", "layer": "layer_index", "label": "name"}
_DOT_EDGES = {
    "stream": "",
    "injection": " style=dashed",
    "held": " style=dashed",
    "back": " style=bold constraint=false",
}


def dot(data: Data, provenance: Provenance) -> str:
    """Graphviz' language: a cluster for each graph, sizes in the labels and as attributes."""
    graph = export_graph(data)
    lines = [
        f"// {key}: {' '.join(value.split())}"
        for key, value in {"statement": data.statement, **provenance}.items()
    ]
    lines += [
        "digraph computation {",
        "  rankdir=TB",
        '  node [shape=box fontname="sans-serif" fontsize=10]',
    ]
    clusters: dict[tuple[str, str, str], list[str]] = {}
    for node, values in graph.nodes(data=True):
        attributes = {_DOT_NAMES.get(key, key): value for key, value in values.items()}
        words = " ".join(f"{_quoted(k)}={_quoted(v)}" for k, v in attributes.items())
        label = _label(values["label"], values)
        cluster = node.split(".")[0], values["graph"], values["model"]
        clusters.setdefault(cluster, []).append(f"    {_quoted(node)} [label={label} {words}]")
    for (index, kind, model), nodes in clusters.items():
        lines.append(f"  subgraph {_quoted(f'cluster {index} {kind}')} {{")
        lines += [f"    label={_label(f'{kind}: {model}')}", *nodes, "  }"]
    for a, b, kind in graph.edges(data="kind"):
        lines.append(f"  {_quoted(a)} -> {_quoted(b)} [kind={_quoted(kind)}{_DOT_EDGES[kind]}]")
    return "\n".join([*lines, "}", ""])


def _label(text: str, values: dict[str, object] | None = None) -> str:
    """A label; Graphviz reads HTML entities and backslashes in it."""
    lines = [text]
    if values and values["parameters"]:
        lines.append(f"{values['parameters']:,} parameters")
    if values and values["flops"]:
        lines.append(f"{values['flops']:,} FLOPs/token")
    return '"' + r"\n".join(_escaped(line.replace("&", "&amp;")) for line in lines) + '"'


def _quoted(value: object) -> str:
    return f'"{_escaped(str(value))}"'


def _escaped(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace('"', '\\"').splitlines())


EXPORTS: dict[str, Callable[[Data, Provenance], str]] = {"graphml": graphml, "dot": dot}
