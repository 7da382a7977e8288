"""Two models in one picture: colours by identity, places by effective depth, cuts, search."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from contrasts import BLOCK_ONLY, DEEP, LOOPED, contrast, run
from models import random_model
from recordings import architecture

from loopscope.core.experiments.architectures import twin_architecture
from loopscope.core.interventions.base import END, FOREVER
from loopscope.core.interventions.layers import DropInjection, SkipLayer
from loopscope.core.interventions.states import Noise, Zero
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.flops import flops_per_token
from loopscope.core.model.weight_identity import weight_identity
from loopscope.core.selection import Selection
from loopscope.core.views.graph.compute import Options, compute, table
from loopscope.core.views.graph.data import Data, summary
from loopscope.core.views.graph.picture import Picture, Strip, loop_picture
from loopscope.core.views.graph.search import find


def strips(data: Data, room: int = 50) -> list[Strip]:
    picture = Picture(data)
    return picture.strips(picture.columns(room, ()))


def places(strip: Strip) -> dict[int, tuple[float, float]]:
    """(x, y) of each layer by its effective depth."""
    found = {}
    arch = strip.data.architecture
    for i in range(strip.end + 1):
        for b in strip.boxes(i):
            if b.node.kind == "layer" and b.branch is None:
                r = b.recurrence or 1
                depth = (b.node.depth or 0) + (r - 1) * arch.n_block
                if b.node.part == "coda":
                    depth = arch.effective_depth(strip.data.n_copies) - arch.n_coda + b.node.layer
                found[depth] = (b.x, b.y)
    return found


@pytest.mark.parametrize("deep", [DEEP, BLOCK_ONLY], ids=["prelude, block, coda", "all in block"])
@pytest.mark.parametrize("first", ["looped", "deep"])
@pytest.mark.parametrize(
    "options", [Options(), Options(expand=True), Options(expanded=("block.1",))]
)
def test_layers_of_equal_effective_depth_stand_at_equal_places(
    deep: Architecture, first: str, options: Options
) -> None:
    runs = [run(LOOPED, 6), run(deep, 1)]
    data = contrast(*(runs if first == "looped" else runs[::-1]), options=options)
    a, b = (places(s) for s in strips(data))
    assert a == b
    assert sorted(a) == list(range(14))
    columns = [s.boxes(3) for s in strips(data)]
    opened = [{(x.y, x.branch) for x in c if x.branch is not None} for c in columns]
    assert opened[0] == opened[1]


@pytest.mark.parametrize(
    ("r", "block", "coda"), [(3, 2, 1), (9, 2, 1), (4, 3, 2), (2, 1, 3), (6, 2, 2)]
)
def test_places_agree_whatever_has_been_run(r: int, block: int, coda: int) -> None:
    looped = replace(architecture(n_block=block), n_prelude=2, n_coda=coda)
    deep = replace(DEEP, n_prelude=0, n_block=17, n_coda=0)
    looped_at, deep_at = (places(s) for s in strips(contrast(run(looped, r), run(deep, 1))))
    both = set(looped_at) & set(deep_at)
    assert len(both) == min(17, looped.effective_depth(r))
    for depth in both:
        assert looped_at[depth] == deep_at[depth]


def test_two_loops_of_unequal_blocks_are_stretched_to_equal_depth() -> None:
    four = twin_architecture("looped", 6, d_model=16, n_block=4)
    data = contrast(run(LOOPED, 6), run(four, 3))
    picture = Picture(data)
    assert not picture.shared
    two, wide = strips(data)
    # Recurrence 2 of the four-layer block begins where recurrence 3 of the two-layer one does.
    middle = (two.x(3) + two.x(4)) / 2
    assert wide.x(2) == pytest.approx(middle)
    assert two.x(two.end) == wide.x(wide.end)


def test_the_statement_has_the_numbers_that_tell_them_apart() -> None:
    data = contrast(run(LOOPED, 6), run(DEEP, 1))
    words = data.statement
    assert words.startswith(
        "4 sets of weights run as 14 layers; second run: 14 sets of weights run as 14 layers; "
    )
    n = 16 * 16 * 4 + 2 * 16 * 64 + 2 * 16  # a layer of width 16
    outer = 2 * 39 * 16 + 16
    assert LOOPED.n_parameters == 4 * n + outer + 2 * 16 * 16 + 16
    assert DEEP.n_parameters == 14 * n + outer
    assert "14.2 k against 44.7 k parameters" in words
    assert "FLOPs per token" in words
    plain = replace(LOOPED, injection="none", closing_norm=False, initial_state="embedding")
    same = contrast(run(plain, 6), run(DEEP, 1))
    assert same.totals.flops == same.contrast.data.totals.flops
    assert same.statement.endswith("parameters, same FLOPs.")


def test_equal_weights_have_one_hue_in_one_model_and_in_two() -> None:
    model = random_model(DEEP)
    layer = model.block[0].state_dict()
    for i in range(1, 12):
        model.block[i].load_state_dict({k: v.clone() for k, v in layer.items()})
    copied = run(DEEP, 1, **weight_identity(model))
    alone = compute(copied, Selection(1), Options())
    assert len({alone.hues[f"block.{i}"] for i in range(12)}) == 1
    assert alone.n_sets == 3
    assert "3 sets of weights run as 14 layers" in alone.statement
    looped = random_model(LOOPED, seed=5)
    looped.block[1].load_state_dict({k: v.clone() for k, v in layer.items()})
    data = contrast(run(LOOPED, 6, **weight_identity(looped)), copied)
    there = data.contrast.data
    assert data.hues["block.1"] == there.hues["block.7"]
    assert data.hues["block.0"] not in there.hues.values()
    # The first run keeps its colours whatever stands beside it.
    assert (
        data.hues
        == compute(run(LOOPED, 6, **weight_identity(looped)), Selection(1), Options()).hues
    )
    many = run(DEEP, 1, **weight_identity(random_model(DEEP)))
    assert len({compute(many, Selection(1), Options()).hues[f"block.{i}"] for i in range(12)}) == 12


def test_one_cursor_and_clicks_back_through_the_pairing() -> None:
    selection = Selection(3, 1)
    data = contrast(run(LOOPED, 6), run(DEEP, 1), selection)
    assert data.contrast.place(selection) == (1, 5)
    picture = Picture(data)
    assert picture.columns_of(picture.places(selection)) == [3, 3]
    assert data.contrast.back({"layer": 8, "recurrence": 1}, selection) == {
        "recurrence": 5,
        "layer": 0,
    }
    turned = contrast(run(BLOCK_ONLY, 1), run(LOOPED, 6), Selection(1, 9))
    assert turned.contrast.place(Selection(1, 9)) == (5, 0)
    assert turned.contrast.back({"recurrence": 2, "layer": 1}, Selection(1, 0)) == {
        "recurrence": 1, "layer": 4,
    }  # fmt: skip
    own = contrast(run(LOOPED, 6), run(DEEP, 1), selection, step_pairing="own")
    assert own.contrast.back({"layer": 8, "recurrence": 1}, selection) == {}


def test_a_branch_is_one_graph_with_the_cuts_of_both() -> None:
    base = run(LOOPED, 4)
    cut = Noise(recurrence=2, last=2, layer=1, size=0.1)
    branch = run(LOOPED, 6)
    branch.info = replace(branch.info, interventions=(cut,))
    data = contrast(base, branch)
    assert data.contrast is None
    assert (data.n_copies, data.n_complete) == (6, 4)
    assert [(c.cut, c.run) for c in data.cuts] == [(cut, "run 2")]
    assert data.statement.endswith("Cuts: none here, 1 in run 2.")
    assert data.totals.effective_depth == 14
    # Two layers of another model's width are not a branch.
    assert contrast(base, run(DEEP, 1)).contrast is not None


def test_cuts_stand_where_they_act() -> None:
    recording = run(LOOPED, 6)
    cuts = (
        Noise(recurrence=3, last=3, layer=1),
        Zero(recurrence=0, last=0, layer=END),
        DropInjection(recurrence=4, last=5),
        Noise(recurrence=2, last=2, layer=END),
        SkipLayer(recurrence=5, last=FOREVER, layer=0),
    )
    recording.info = replace(recording.info, interventions=cuts)
    data = compute(recording, Selection(1), Options())
    assert [c.cut for c in data.cuts] == list(cuts)
    assert data.cuts[0].text().startswith("noise of 0.1 (seed 0) at recurrence 3, layer 1 (not")
    (strip,) = strips(data)
    found = {i: [(c.cut, m.point) for m in strip.marks(i) for c in m.cuts] for i in range(8)}
    by_cut = {
        cut: [i for i, marks in found.items() if cut in [c for c, _ in marks]] for cut in cuts
    }
    assert list(by_cut.values()) == [[3], [0], [4, 5], [2], [5, 6]]
    # On the state's wire, at the right of the closing norm; on the injection, above the adapter.
    norm = next(b for b in strip.boxes(2) if b.node.key == "closing norm")
    assert found[2][0][1][0] > norm.x + 0.7
    adapter = next(b for b in strip.boxes(4) if b.node.key == "injection")
    assert found[4][0][1][1] < adapter.y
    _, _, marks = loop_picture(strip.layout)
    assert {c.cut for m in marks for c in m.cuts} == set(cuts)
    # What is cut is never folded with what is not.
    picture = Picture(data)
    assert {2, 3, 4, 5, 6} <= picture.breaks


def test_a_fold_beside_a_deep_model_begins_where_that_ends() -> None:
    data = contrast(run(LOOPED, 200), run(DEEP, 1))
    picture = Picture(data)
    columns = picture.columns(12, picture.columns_of([(150, 0), (1, 11)]))
    folds = [(c.first, c.last) for c in columns.columns if c.times > 1]
    assert folds[0][0] > 7
    assert columns.at(columns.place(150)).times == 1
    looped, deep = picture.strips(columns)
    assert looped.end > deep.end == 7
    assert places(deep)[13] == (deep.boxes(7)[0].x, deep.boxes(7)[0].y)


def test_deep_models_alone_fill_a_square() -> None:
    one, other = run(DEEP, 1), run(BLOCK_ONLY, 1)
    data = contrast(one, other)
    a, b = strips(data)
    assert places(a) == places(b)
    assert a.end <= 5


def test_summary_and_table_have_both_models() -> None:
    data = contrast(run(LOOPED, 6), run(DEEP, 1))
    rows = summary(data)
    assert [r.name for r in rows] == ["looped, one pass", "unrolled × 6", "run 2"]
    assert [r.unique_depth for r in rows] == [4, 4, 14]
    assert [r.effective_depth for r in rows] == [4, 14, 14]
    assert rows[2].parameters == DEEP.n_parameters
    numbers = table(data)
    lines = list(numbers.rows)
    assert numbers.columns[0] == "model"
    for name, arch, r in (("native", LOOPED, 6), ("run 2", DEEP, 1)):
        own = [line for line in lines if line[0] == name]
        assert sum(line[8] for line in own) == flops_per_token(arch, r, 5)


def words(data: Data, text: str) -> list[str]:
    return [f"{f.model} {f.description}" for f in find(data, text).nodes]


def test_search_by_label_part_weights_and_recurrence() -> None:
    recording = run(LOOPED, 12)
    recording.weight_identity = {"block.1": "cafe0123"}
    data = compute(recording, Selection(1), Options())
    assert words(data, "prelude") == ["0 prelude 0"]
    assert words(data, "layer 1 r 7") == ["0 layer 1 at recurrence 7"]
    assert words(data, "r 12") == [
        f"0 {n} at recurrence 12" for n in ("adapter", "layer 0", "layer 1", "closing norm")
    ]
    assert words(data, "recurrence = 3  NORM") == ["0 closing norm at recurrence 3"]
    assert len(find(data, "layer 1")) == 12
    assert words(data, "block.0 r 2") == ["0 layer 0 at recurrence 2"]
    assert words(data, "cafe01 r 1") == ["0 layer 1 at recurrence 1"]
    assert words(data, "r 13") == words(data, "nothing") == words(data, "  ") == []
    norms = find(data, "norm")
    assert [f.description for f in norms.nodes][-1] == "final norm"
    assert norms.has(0, data.node_by_key["closing norm"], 3)
    assert norms.has(0, data.node_by_key["closing norm"], 3, 5)
    assert not norms.has(0, data.node_by_key["block.0"], 3)
    assert ("closing norm", 1, 12) in norms.runs(0)


def test_search_finds_whole_numbers_and_both_models() -> None:
    data = contrast(run(LOOPED, 6), run(BLOCK_ONLY, 1))
    assert words(data, "layer 1 r 1") == ["0 layer 1 at recurrence 1", "1 layer 1 at recurrence 1"]
    assert len(find(data, "layer 12")) == 1
    twelve = find(data, "layer 12").nodes[0]
    strip = strips(data)[1]
    index = strip.index_of_node(twelve.node, twelve.recurrence)
    assert any(b.node.key == "block.12" for b in strip.boxes(index))


def test_norms_share_one_scale() -> None:
    data = contrast(run(LOOPED, 6), run(DEEP, 1))
    there = data.contrast.data
    largest = max(np.nanmax(data.norms), np.nanmax(there.norms))
    assert data.norm_scale == there.norm_scale == largest
