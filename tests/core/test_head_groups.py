"""Groups of heads against scipy's hierarchy, and against patterns made to do one thing."""

from __future__ import annotations

import numpy as np
import pytest
from recordings import synthetic_recording
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist, squareform

from loopscope.core.measures.head_groups import Groups, average_linkage, group_heads
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.states import LayerState
from loopscope.core.selection import Selection
from loopscope.core.views.heads import Options, compute, table

UNIFORM = np.array([1.0, 0.2, 0.2, 0.2, 0.05])


def alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two numberings are the same partition."""
    return np.array_equal(a[:, None] == a, b[:, None] == b)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 60])
@pytest.mark.parametrize("k", [1, 2, 4, 9])
def test_it_is_scipys_average_linkage(n: int, k: int) -> None:
    for seed in range(5):
        points = np.random.default_rng(seed).normal(size=(n, 7)) * [1, 1, 3, 1, 1, 1, 1]
        distances = pdist(points)
        mine = average_linkage(squareform(distances), k)
        assert len(set(mine.tolist())) == min(n, k)
        if n > 1:
            assert alike(mine, fcluster(linkage(distances, "average"), k, "maxclust"))


def test_clusters_that_are_there_are_found() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, size=80)
    points = 10 * np.eye(5)[truth] + rng.normal(size=(80, 5))
    assert alike(average_linkage(squareform(pdist(points)), 5), truth)


def test_equal_distances_give_the_same_answer_every_time() -> None:
    square = squareform(pdist(np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])))
    first = average_linkage(square, 2)
    assert first.tolist() == average_linkage(square.copy(), 2).tolist()
    assert len(set(first.tolist())) == 2
    assert average_linkage(np.zeros((4, 4)), 3).tolist() == [0, 0, 2, 3]


def features(*heads: tuple[float, ...]) -> np.ndarray:
    return np.broadcast_to(np.array(heads), (6, len(heads), 5)).copy()


def test_groups_are_numbered_as_they_come_and_named_by_what_they_do() -> None:
    found = group_heads(
        features(
            (0.3, 0.9, 0.1, 0.1, 0.0),  # sink
            (0.9, 0.22, 0.2, 0.2, 0.05),  # as uniform attention
            (0.3, 0.1, 0.9, 0.1, 0.0),  # previous token
            (0.3, 0.88, 0.1, 0.1, 0.0),  # sink
            (0.4, 0.1, 0.1, 0.8, 0.0),  # self
            (0.4, 0.1, 0.1, 0.1, 0.7),  # induction
            (0.1, 0.1, 0.1, 0.1, 0.0),  # narrow, on something else
        ),
        UNIFORM,
        6,
    )
    assert found.of.tolist() == [0, 1, 2, 0, 3, 4, 5]
    assert found.names == ("sink", "broad", "previous-token", "self", "induction", "other")
    assert found.label(1) == "B broad"


def test_a_statistic_that_does_not_exist_is_left_out() -> None:
    values = features((0.3, 0.9, 0.1, 0.1, np.nan), (0.9, 0.2, 0.2, 0.2, np.nan))
    found = group_heads(values, np.where(np.isnan(values[0, 0]), np.nan, UNIFORM), 2)
    assert found.names == ("sink", "broad")


def test_heads_that_are_not_finite_are_a_group_of_their_own() -> None:
    values = features((0.3, 0.9, 0.1, 0.1, 0.0), (0.9, 0.2, 0.2, 0.2, 0.0), (0.3, 0.9, 0.1, 0.1, 0))
    values[3, 1] = np.nan
    found = group_heads(values, UNIFORM, 3)
    assert found.names[1] == "not finite"
    assert len(found.names) == 3
    nothing = group_heads(np.full((2, 3, 5), np.nan), UNIFORM, 2)
    assert (nothing.of.tolist(), nothing.names) == ([0, 0, 0], ("not finite",))
    assert group_heads(np.zeros((0, 4, 5)), UNIFORM, 2).names == ("not finite",)


def applied(n: int = 5) -> Recording:
    """One layer of four heads: sink, previous token, self, and a broad one."""
    t = 8
    like = synthetic_recording(recurrences=0, n_block=1, tokens=t, d=4, heads=4)
    index = np.arange(t)
    heads = np.zeros((4, t, t), np.float32)
    heads[0, :, 0] = 1
    heads[1, index, np.maximum(index - 1, 0)] = 1
    heads[2, index, index] = 1
    heads[3] = np.tri(t) / np.tri(t).sum(-1, keepdims=True)
    recording = Recording(like.info, like.states[0], Capture(True, False, False))
    for i in range(1, n + 1):
        recording.append_layer(LayerState(i, 0, like.states[0], heads))
        recording.append_end(like.states[0], None, None)
    return recording


def test_heads_made_to_do_one_thing_are_called_by_it() -> None:
    data = compute(applied(), Selection(), Options(order="group"))
    assert data.groups.names == ("sink", "previous-token", "self", "broad")
    assert data.row_groups == (
        (0, 0, "A sink"), (1, 1, "B previous-token"), (2, 2, "C self"), (3, 3, "D broad"),
    )  # fmt: skip
    at = table(data).columns.index("group")
    assert [row[at] for row in table(data).rows][:4] == [
        "A sink", "B previous-token", "C self", "D broad",
    ]  # fmt: skip


def test_rows_by_group_keep_the_order_of_heads_within() -> None:
    data = compute(synthetic_recording(heads=8, n_block=2), Selection(), Options(order="group"))
    groups = data.groups.of[data.order]
    assert (np.diff(groups) >= 0).all()
    for g in range(len(data.groups.names)):
        assert (np.diff(data.order[groups == g]) > 0).all()
    assert sum(b - a + 1 for a, b, _ in data.row_groups) == 16
    plain = compute(synthetic_recording(), Selection(), Options())
    assert plain.row_groups == ()
    assert isinstance(plain.groups, Groups)


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("tokens", [1, 5])
def test_any_run_has_groups(n: int, tokens: int) -> None:
    data = compute(synthetic_recording(recurrences=n, tokens=tokens), Selection(), Options())
    assert len(data.groups.of) == 4
    assert data.order.tolist() == [0, 1, 2, 3]
