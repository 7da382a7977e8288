"""The computation graph: structure, totals counted a second way, norms, exact tables."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import networkx as nx
import numpy as np
import pytest
from recordings import architecture, synthetic_recording

from loopscope.core.model.architecture import Architecture, parameter_shapes
from loopscope.core.model.flops import flops_per_token
from loopscope.core.model.graph import edges_of, looped_graph, nodes_of, totals, unrolled_graph
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.states import LayerState
from loopscope.core.selection import Selection
from loopscope.core.views.graph.compute import Options, compute, table
from loopscope.core.views.graph.data import summary
from loopscope.core.views.graph.layout import Layout

CHOICES = list(product(("concat", "add", "none"), (True, False), (True, False)))


def variant(injection: str, norm: bool, tied: bool) -> Architecture:
    return replace(
        architecture(n_block=3), n_prelude=2, n_coda=1,
        injection=injection, closing_norm=norm, tied_head=tied,
    )  # fmt: skip


@pytest.mark.parametrize(("injection", "norm", "tied"), CHOICES)
@pytest.mark.parametrize("r", [1, 2, 7])
def test_totals_of_nodes_agree_with_the_architecture(
    injection: str, norm: bool, tied: bool, r: int
) -> None:
    arch = variant(injection, norm, tied)
    found = totals(unrolled_graph(arch, r, n_tokens=9))
    assert found.unique_depth == arch.unique_depth == 6
    assert found.effective_depth == arch.effective_depth(r) == 3 + 3 * r
    assert found.parameters == arch.n_parameters
    # Counted a third way: the entries of every tensor that a checkpoint holds.
    assert found.parameters == sum(math.prod(s) for s in parameter_shapes(arch).values())
    assert found.deep_parameters == arch.effective_parameters(r)
    assert found.flops == flops_per_token(arch, r, 9)
    assert totals(looped_graph(arch, 9)).flops == flops_per_token(arch, 1, 9)
    assert totals(looped_graph(arch, 9)).parameters == arch.n_parameters


FAMILIES = {
    "nested": {"inner_cycles": 2, "n_block": 6, "injection": "none", "closing_norm": True,
               "initial_state": "embedding", "final_norm": False, "n_prelude": 0, "n_coda": 0},
    "exit gate": {"injection": "none", "initial_state": "embedding", "final_norm": False,
                  "exit_gate": True, "n_prelude": 0, "n_coda": 0},
    "gated close": {"injection": "none", "closing_norm": False, "closing_gate": 3,
                    "initial_state": "embedding"},
    "diagonal": {"injection": "diagonal", "closing_norm": False, "prelude_norm": True,
                 "coda_proj": True, "coda_bias": True, "logit_cap": 15.0, "n_prelude": 1,
                 "n_coda": 1},
    "modulated": {"injection": "none", "closing_norm": False, "initial_state": "embedding",
                  "layer": replace(architecture().layer, norm_kind="bare", modulated=True),
                  "loop_norm_kind": "rms"},
    "value embeddings": {"layer_shapes": tuple(
        replace(architecture().layer, value_rows=13 * (i % 2)) for i in range(5)),
        "n_prelude": 1, "n_coda": 1},
    "normed embedding": {"embed_norm": True, "adapter_bias": True, "n_prelude": 1},
    "masked": {"injection": "none", "initial_state": "embedding", "closing_norm": False,
               "final_norm": False, "learned_positions": True, "embed_norm": True, "embed_width": 8,
               "token_types": 2, "head_transform": True, "tied_head": True,
               "n_prelude": 0, "n_coda": 0},
    "skip-adapter": {"skip_first_injection": True, "initial_state": "embedding"},
    "tied with positions": {"learned_positions": True, "tied_head": True},
    "untied masked": {"embed_width": 8, "head_transform": True, "tied_head": False},
}  # fmt: skip


def skips(arch: Architecture, r: int) -> bool:
    """Whether the adapter never runs in ``r`` recurrences."""
    return arch.skip_first_injection and r == 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("r", [1, 2, 5])
def test_totals_agree_for_what_only_some_families_have(family: str, r: int) -> None:
    arch = replace(architecture(n_block=3), **FAMILIES[family])
    loop, run = totals(looped_graph(arch, 7)), totals(unrolled_graph(arch, r, 7))
    entries = sum(math.prod(s) for s in parameter_shapes(arch).values())
    assert loop.parameters == arch.n_parameters == entries
    assert run.parameters == entries - (arch.injection_weights if skips(arch, r) else 0)
    assert run.unique_depth == arch.unique_depth
    assert run.effective_depth == arch.effective_depth(r)
    assert run.flops == flops_per_token(arch, r, 7)
    # The loop draws the adapter, which a skip-adapter model leaves out of recurrence 1.
    skipped = 2 * arch.injection_weights if arch.skip_first_injection else 0
    assert loop.flops == flops_per_token(arch, 1, 7) + skipped
    head = next(n for n in nodes_of(looped_graph(arch, 7)) if n.kind == "head")
    if not arch.head_transform:
        assert head.parameters == arch.vocab_size * arch.d_model
    # As if every copy in the picture had weights of its own.
    assert arch.effective_parameters(r) == run.deep_parameters
    copies = [n for n in nodes_of(unrolled_graph(arch, r, 7)) if n.recurrence]
    assert sum(n.kind == "injection" for n in copies) == sum(
        r * (n.kind == "injection") for n in nodes_of(looped_graph(arch, 7))
    ) - (1 if arch.skip_first_injection else 0)


def test_a_nested_loop_has_its_inner_passes_and_both_states() -> None:
    arch = replace(architecture(n_block=3), **FAMILIES["nested"])
    run = unrolled_graph(arch, 2)
    assert nx.is_directed_acyclic_graph(run)
    chain = [n.label for n in nodes_of(run) if n.recurrence == 2]
    assert chain == [
        "z_L + z_H", "L1.0", "L1.1", "closing norm", "z_L + z_H", "L2.0", "L2.1", "closing norm",
        "z_H + z_L", "H.0", "H.1", "closing norm",
    ]  # fmt: skip
    # z_H of recurrence 1 goes into all three sums of recurrence 2, its z_L into the first.
    into = {n: sorted(run.predecessors(f"sum.{n}@2")) for n in range(3)}
    assert into[0] == ["closing norm.1@1", "closing norm@1"]
    assert into[1] == ["closing norm.0@2", "closing norm@1"]
    assert into[2] == ["closing norm.1@2", "closing norm@1"]
    weights = [n.weights for n in nodes_of(run) if n.part == "block" and n.recurrence == 1]
    assert weights == ["block.0", "block.1", "block.0", "block.1", "block.2", "block.3"]


def test_sizes_by_hand() -> None:
    # d 16, 2 heads of 8, MLP 64 not gated, 2 norms, 40 tokens, prelude 1 + block 2 + coda 1.
    layer = 3 * 16 * 16 + 16 * 16 + 2 * 16 * 64 + 2 * 16
    unique = 2 * 40 * 16 + 4 * layer + 2 * 16 * 16 + 16 + 16
    loop, run, deep = summary(compute(synthetic_recording(recurrences=3), Selection(), Options()))
    assert (loop.unique_depth, loop.effective_depth, loop.parameters) == (4, 4, unique)
    assert (run.name, run.unique_depth, run.effective_depth) == ("unrolled × 3", 4, 8)
    assert run.parameters == unique
    assert deep.parameters == unique + 2 * (2 * layer + 2 * 16 * 16 + 16)
    assert (deep.unique_depth, deep.effective_depth) == (8, 8)
    # Matrices twice, scores and weighted sum over the 1 to 5 keys that a token has, adapter each
    # time, one head.
    once = 2 * (layer - 32) + 4 * 3 * 16
    assert run.flops == deep.flops == 8 * once + 3 * 2 * 512 + 2 * 40 * 16


@pytest.mark.parametrize(("injection", "norm", "tied"), CHOICES)
def test_the_loop_has_one_cycle_and_the_unrolling_none(
    injection: str, norm: bool, tied: bool
) -> None:
    arch = variant(injection, norm, tied)
    loop, run = looped_graph(arch), unrolled_graph(arch, 4)
    back = [e for e in edges_of(loop) if e.kind == "back"]
    assert len(back) == 1
    # An edge from the last thing repeated to the first: the cycle holds all of the block.
    (cycle,) = nx.simple_cycles(loop)
    assert {f"block.{i}" for i in range(3)} <= set(cycle)
    assert (back[0].source in cycle, back[0].target in cycle) == (True, True)
    assert nx.is_directed_acyclic_graph(run)
    depth = {n.id: n.depth for n in nodes_of(run) if n.depth is not None}
    assert sorted(depth.values()) == list(range(arch.effective_depth(4)))
    order = {node: i for i, node in enumerate(nx.topological_sort(run))}
    # Without injection the prelude leads nowhere: only what follows the start is in order.
    after = [n for n in depth if injection != "none" or not n.startswith("prelude")]
    by_depth = sorted(after, key=lambda node: depth[node])
    assert [order[n] for n in by_depth] == sorted(order[n] for n in by_depth)
    injected = [e for e in edges_of(run) if e.kind == "injection"]
    assert len(injected) == (0 if injection == "none" else 4)
    assert {e.source for e in injected} <= {"prelude.1"}


def test_copies_share_weights_with_their_original_and_only_with_it() -> None:
    arch = architecture()
    originals = {n.key: n.weights for n in nodes_of(looped_graph(arch))}
    copies = [n for n in nodes_of(unrolled_graph(arch, 5)) if n.recurrence]
    assert {n.recurrence for n in copies} == {1, 2, 3, 4, 5}
    assert all(n.weights == originals[n.key] for n in copies)
    data = compute(synthetic_recording(), Selection(), Options())
    having = {n.weights for n in data.nodes if n.weights}
    assert set(data.hues) == having
    assert sorted(data.hues.values()) == list(range(len(having)))
    with pytest.raises(ValueError, match="cannot unroll -1"):
        unrolled_graph(arch, -1)


def test_before_any_run_it_unrolls_to_the_trained_count() -> None:
    data = compute(synthetic_recording(recurrences=0), Selection(), Options())
    assert data.n_copies == 12
    assert not data.has_run
    assert data.now is None
    assert data.statement == (
        "Nothing has run yet; unrolled to the trained 12 recurrences, "
        "4 sets of weights would run as 26 layers."
    )
    assert not any(data.ran(node, 1) for node in data.nodes)


def test_a_recurrence_under_way_is_a_copy_that_ran_in_part() -> None:
    recording = synthetic_recording(recurrences=2)
    done = recording.layer(2, 0)
    writes = np.full((5, 2), 3.0, np.float32)
    recording.append_layer(LayerState(3, 0, done.state, done.pattern, writes))
    data = compute(recording, Selection(), Options())
    by_key = data.node_by_key
    assert (data.n_copies, data.n_complete, data.now) == (3, 2, (3, 0))
    assert data.ran(by_key["block.0"], 3)
    assert not data.ran(by_key["block.1"], 3)
    assert not data.ran(by_key["closing norm"], 3)
    assert data.ran(by_key["closing norm"], 2)
    assert data.norm(3, 0, 0) == 3.0
    assert math.isnan(data.norm(3, 1, 0))
    assert "2 recurrences and 1 of 2 layers run" in data.statement
    assert data.copies_said == "2 + 1 of 2 layers"
    assert compute(synthetic_recording(recurrences=2), Selection(), Options()).copies_said == "2"


def test_what_looks_alike_is_folded_together() -> None:
    """What has not run is one stretch; a recurrence that ran in part stands alone."""
    whole = synthetic_recording(recurrences=3)
    assert Layout(compute(whole, Selection(), Options())).breaks() == {4}
    done = whole.layer(3, 0)
    writes = np.full((5, 2), 3.0, np.float32)
    whole.append_layer(LayerState(4, 0, done.state, done.pattern, writes))
    assert Layout(compute(whole, Selection(), Options())).breaks() == {4, 5}
    none = compute(synthetic_recording(recurrences=0), Selection(), Options())
    assert Layout(none).breaks() == {1, none.n_copies + 1}


def test_norms_are_means_over_the_tokens_asked_for() -> None:
    recording = synthetic_recording(recurrences=4)
    writes = recording.writes
    assert writes is not None
    chosen = compute(recording, Selection(tokens=(1, 3)), Options())
    mean = (writes[2, 1, 1, 0].astype(float) + writes[2, 1, 3, 0]) / 2
    assert chosen.norm(3, 1, 0) == pytest.approx(mean, rel=1e-12)
    one = compute(recording, Selection(token=4), Options(norm_of="token"))
    assert one.norm(3, 1, 1) == writes[2, 1, 4, 1]
    assert one.norms_of == "token 4 'e'"
    for place in ((0, 0), (5, 0), (1, 2)):
        assert math.isnan(one.norm(*place, 0))


def test_a_run_without_writes_says_so() -> None:
    recording = synthetic_recording(recurrences=2, capture=Capture(writes=False))
    data = compute(recording, Selection(), Options(expand=True))
    assert data.norms_missing
    assert data.norms.shape == (0, 2, 2)
    assert math.isnan(data.norm(1, 0, 0))
    assert all(row[-2:] == ("", "") for row in table(data).rows)


def test_the_table_has_a_row_for_each_node_of_the_unrolling() -> None:
    recording = synthetic_recording(recurrences=3)
    data = compute(recording, Selection(), Options())
    rows = list(table(data).rows)
    assert len(rows) == len(unrolled_graph(data.architecture, 3))
    assert sum(row[7] for row in rows) == data.totals.flops  # type: ignore[misc]
    assert {row[5]: row[6] for row in rows}.keys() >= {"block.0", "block.1", "injection"}
    layers = [row for row in rows if row[1] == "block"]
    assert [(row[2], row[3], row[4]) for row in layers[:3]] == [(1, 0, 1), (1, 1, 2), (2, 0, 3)]
    writes = recording.writes
    assert writes is not None
    assert layers[2][9] == pytest.approx(writes[1, 0, :, 0].astype(float).mean(), rel=1e-12)


def test_expanding_one_layer_or_the_block() -> None:
    recording = synthetic_recording()
    for options, opened in (
        (Options(), set()),
        (Options(expand=True), {"block.0", "block.1"}),
        (Options(expanded=("prelude.0",)), {"prelude.0"}),
    ):
        data = compute(recording, Selection(), options)
        assert {n.key for n in data.nodes if data.is_expanded(n)} == opened
