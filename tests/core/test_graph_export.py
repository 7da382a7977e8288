"""The graph in other programs' formats, read back: totals, digests, and hostile names."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from dataclasses import replace
from typing import Any

import networkx as nx
import pytest
from contrasts import DEEP, LOOPED, contrast, run
from recordings import synthetic_recording

from loopscope.core.interventions.base import END
from loopscope.core.interventions.layers import SkipLayer
from loopscope.core.interventions.states import Zero
from loopscope.core.model.flops import flops_per_token
from loopscope.core.selection import Selection
from loopscope.core.views.graph.compute import EXPORTS, Options, compute, table
from loopscope.core.views.graph.data import Data

PROVENANCE = {"prompt": 'a "b"\n\\c <&> \x07', "seed": "3"}
HOSTILE = 'a "quoted" \\ back\nslash & <tag> \x00'


def read_graphml(data: Data) -> nx.DiGraph:
    text = EXPORTS["graphml"](data, PROVENANCE)
    return nx.read_graphml(io.BytesIO(text.encode()))


# ---- a checker of the part of DOT that is written, following the grammar of graphviz.org ----
TOKEN = re.compile(r'\s+|//[^\n]*|"(?:[^"\\]|\\.)*"|->|[{}\[\]=;]|[A-Za-z_][A-Za-z_0-9]*|\d+')


class Dot:
    """Nodes with their attributes, edges, clusters; raises on anything malformed."""

    def __init__(self, text: str) -> None:
        self.nodes: dict[str, dict[str, str]] = {}
        self.edges: list[tuple[str, str, dict[str, str]]] = []
        self.clusters: list[str] = []
        self.tokens, at = [], 0
        while at < len(text):
            match = TOKEN.match(text, at)
            assert match is not None, text[at : at + 40]
            at = match.end()
            if not match[0].isspace() and not match[0].startswith("//"):
                self.tokens.append(match[0])
        assert self.take() == "digraph"
        self.take()
        self.body()
        assert not self.tokens

    def take(self) -> str:
        token = self.tokens.pop(0)
        if token.startswith('"'):
            return re.sub(r'\\(["\\])', r"\1", token[1:-1])
        return token

    def body(self) -> None:
        assert self.take() == "{"
        while self.tokens[0] != "}":
            if self.tokens[0] == "subgraph":
                self.take()
                self.clusters.append(self.take())
                self.body()
                continue
            name = self.take()
            if self.tokens[0] == "=":
                self.take()
                self.take()
            elif self.tokens[0] == "->":
                self.take()
                other = self.take()
                self.edges.append((name, other, self.attributes()))
            elif name != "node":
                self.nodes[name] = self.attributes()
            else:
                self.attributes()
        self.take()

    def attributes(self) -> dict[str, str]:
        assert self.take() == "["
        found = {}
        while self.tokens[0] != "]":
            key = self.take()
            assert self.take() == "="
            found[key] = self.take()
        self.take()
        return found


def total(nodes: dict[str, dict[str, Any]], prefix: str, key: str) -> int:
    return sum(int(v[key]) for n, v in nodes.items() if n.startswith(prefix))


@pytest.mark.parametrize("read", ["graphml", "dot"])
def test_both_models_read_back_with_the_right_totals(read: str) -> None:
    identity = {"block.0": "aa11", "block.1": "bb22"}
    data = contrast(run(LOOPED, 6, **identity), run(DEEP, 1))
    if read == "graphml":
        graph = read_graphml(data)
        nodes = dict(graph.nodes(data=True))
        edges = [(a, b, kind) for a, b, kind in graph.edges(data="kind")]
        layer = "layer"
    else:
        found = Dot(EXPORTS["dot"](data, PROVENANCE))
        nodes, layer = found.nodes, "layer_index"
        edges = [(a, b, values["kind"]) for a, b, values in found.edges]
        assert found.clusters == ["cluster 1 loop", "cluster 1 unrolled", "cluster 2 deep"]
    assert total(nodes, "1.unrolled.", "flops") == flops_per_token(LOOPED, 6, 5)
    assert total(nodes, "1.loop.", "parameters") == LOOPED.n_parameters
    assert total(nodes, "2.deep.", "parameters") == DEEP.n_parameters
    assert total(nodes, "2.deep.", "flops") == flops_per_token(DEEP, 1, 5)
    copies = [v for n, v in nodes.items() if n.startswith("1.unrolled.block.1@")]
    assert [int(v["recurrence"]) for v in copies] == [1, 2, 3, 4, 5, 6]
    assert {v["digest"] for v in copies} == {"bb22"}
    assert {v["weights"] for v in copies} == {"block.1"}
    assert {int(v[layer]) for v in copies} == {1}
    assert [int(v["depth"]) for v in copies] == [2, 4, 6, 8, 10, 12]
    assert "recurrence" not in nodes["1.loop.block.1"]
    assert {v["model"] for n, v in nodes.items() if n.startswith("2.")} == {"run 2"}
    kinds = {
        graph: {k for a, _, k in edges if a.startswith(graph)} for graph in ("1.l", "1.u", "2.")
    }
    assert kinds == {
        "1.l": {"stream", "injection", "back"}, "1.u": {"stream", "injection"}, "2.": {"stream"},
    }  # fmt: skip
    assert len([k for _, _, k in edges if k == "injection"]) == 1 + 6
    assert all(a.split(".")[:2] == b.split(".")[:2] for a, b, _ in edges)


@pytest.mark.parametrize("read", ["graphml", "dot"])
def test_every_node_says_which_of_two_models_it_is_of_though_they_are_called_alike(
    read: str,
) -> None:
    one, other = run(LOOPED, 2, **{"block.0": "aa11"}), run(DEEP, 1)
    one.info = replace(one.info, checkpoint="run 2")
    data = contrast(one, other)
    if read == "graphml":
        nodes, shape = dict(read_graphml(data).nodes(data=True)), "shape"
    else:
        nodes, shape = Dot(EXPORTS["dot"](data, {})).nodes, "sizes"
    hashes = {"1": one.info.weights_hash, "2": other.info.weights_hash}
    assert hashes["1"] != hashes["2"]
    for name, values in nodes.items():
        index = name.split(".")[0]
        assert values["model"] == f"run 2 ({index})"
        assert str(values["model_index"]) == index
        assert values["checkpoint_sha256"] == hashes[index]
        assert values[shape]
        assert {"parameters", "flops"} <= set(values)
    assert nodes["1.unrolled.block.0@2"]["digest"] == "aa11"
    # Weights that were not at hand have no digest; their name is none.
    assert "digest" not in nodes["1.unrolled.block.1@1"]
    assert "digest" not in nodes["2.deep.block.0@1"]
    models = [row[0] for row in table(data).rows]
    assert set(models) == {"run 2 (1)", "run 2 (2)"}


def test_graphml_carries_provenance_types_and_cuts() -> None:
    recording = run(LOOPED, 2)
    cut = SkipLayer(recurrence=2, last=2, layer=1)
    end = Zero(recurrence=1, last=1, layer=END)
    recording.info = replace(recording.info, interventions=(cut, end))
    data = compute(recording, Selection(1), Options())
    graph = read_graphml(data)
    assert graph.graph["prompt"] == 'a "b"\n\\c <&> �'
    assert graph.graph["statement"] == data.statement
    assert isinstance(graph.nodes["1.loop.block.0"]["parameters"], int)
    assert "skip the layer" in graph.nodes["1.unrolled.block.1@2"]["cuts"]
    assert "cuts" not in graph.nodes["1.unrolled.block.1@1"]
    norms = [graph.nodes[f"1.unrolled.closing norm@{r}"] for r in (1, 2)]
    assert ["set to zero" in norm.get("cuts", "") for norm in norms] == [True, False]
    assert nx.is_directed_acyclic_graph(
        graph.subgraph(n for n in graph if n.startswith("1.unrolled"))
    )


@pytest.mark.parametrize("read", ["graphml", "dot"])
def test_names_that_would_break_the_format_are_escaped(read: str) -> None:
    recording = synthetic_recording(recurrences=1)
    recording.info = replace(recording.info, checkpoint=HOSTILE)
    data = compute(recording, Selection(1), Options())
    if read == "graphml":
        model = read_graphml(data).nodes["1.loop.head"]["model"]
        assert model == HOSTILE.replace("\x00", "�")
    else:
        found = Dot(EXPORTS["dot"](data, PROVENANCE))
        assert found.nodes["1.loop.head"]["model"] == " ".join(HOSTILE.splitlines())


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_draws_it() -> None:
    data = contrast(run(LOOPED, 6), run(DEEP, 1))
    text = EXPORTS["dot"](data, PROVENANCE)
    drawn = subprocess.run(
        ["dot", "-Tsvg"], input=text, capture_output=True, text=True, check=True, timeout=60
    )
    assert "layer 11" in drawn.stdout
    assert not drawn.stderr


@pytest.mark.slow
def test_a_thousand_recurrences_are_written() -> None:
    data = compute(run(LOOPED, 1000), Selection(1), Options())
    found = Dot(EXPORTS["dot"](data, {}))
    assert total(found.nodes, "1.unrolled.", "flops") == flops_per_token(LOOPED, 1000, 5)
