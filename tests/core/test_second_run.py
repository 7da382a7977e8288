"""Two runs on one pair of axes, and the one cursor in both."""

from __future__ import annotations

import numpy as np
from recordings import synthetic_recording

from loopscope.core.run.pairing import Pairing
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.depth import Data, Options, compute, compute_second
from loopscope.core.views.second_run import SecondRun, second_selection, selection_back


def pair(one: Recording, other: Recording, step_pairing: str = "depth") -> SecondRun:
    pairing = Pairing(one.info.architecture, other.info.architecture, step_pairing)  # type: ignore[arg-type]
    return SecondRun(other, "other", pairing, second_selection(Selection(3, 1), pairing, other))


ONE = synthetic_recording(recurrences=6, n_block=2)
FOUR = synthetic_recording(recurrences=3, n_block=4, seed=1)


def test_each_run_keeps_its_own_numbers() -> None:
    options = Options("matrix_entropy", "depth")
    both = compute_second(ONE, pair(ONE, FOUR), Selection(), options)
    own, other = (compute(r, Selection(), options) for r in (ONE, FOUR))
    np.testing.assert_array_equal(both.curves[0].y, own.curves[0].y)
    np.testing.assert_array_equal(both.curves[1].y, other.curves[0].y)
    # One prelude layer was run before the block's first: depth 2 to 13 in both.
    assert both.curves[0].x.tolist() == both.curves[1].x.tolist() == list(range(2, 14))
    assert [c.name for c in both.curves] == ["this run", "other"]
    assert [(c.role, c.index) for c in both.curves] == [("token", 0), ("token", 1)]
    assert "second run, other: Matrix entropy" in both.statement


def test_layers_of_the_run_beside_are_dotted_and_a_reference_is_drawn_once() -> None:
    both = compute_second(ONE, pair(ONE, ONE), Selection(), Options("entropy", "layer"))
    lines = [(c.name, c.line) for c in both.curves]
    assert lines == [
        ("layer 0", "solid"), ("layer 1", "solid"), ("uniform causal attention", "dashed"),
        ("other: layer 0", "dotted"), ("other: layer 1", "dotted"),
    ]  # fmt: skip


def test_a_click_on_the_run_beside_moves_the_first_run_s_cursor() -> None:
    both: Data = compute_second(
        ONE, pair(ONE, FOUR), Selection(), Options("matrix_entropy", "depth")
    )
    places = both.curves[1].places
    # Effective depth: layer 2 of the other's recurrence 1 is recurrence 2, layer 0 here.
    assert places[2] == {"recurrence": 2, "layer": 0}
    assert places[11] == {"recurrence": 6, "layer": 1}


def test_a_run_beside_without_the_number_says_why() -> None:
    short = synthetic_recording(recurrences=1, n_block=4)
    options = Options("layer_relative_step", "layer")
    both = compute_second(ONE, pair(ONE, short), Selection(), options)
    assert len(both.curves) == 2
    assert "second run, other: Relative step of layer l needs 2 recurrences" in both.statement
    none = compute_second(short, pair(short, ONE), Selection(), options)
    assert none.missing


def test_the_cursor_beside_stays_within_its_run() -> None:
    pairing = Pairing(ONE.info.architecture, FOUR.info.architecture)
    there = second_selection(Selection(6, 1, head=1, token=4, tokens=(0, 4)), pairing, FOUR)
    assert (there.recurrence, there.layer) == (3, 3)
    small = synthetic_recording(recurrences=1, n_block=1, tokens=2, heads=1)
    pairing = Pairing(ONE.info.architecture, small.info.architecture)
    there = second_selection(Selection(6, 1, head=1, token=4, tokens=(0, 4)), pairing, small)
    assert there == Selection(1, 0, head=0, token=1, tokens=(0,))


def test_a_click_beside_is_turned_back() -> None:
    pairing = Pairing(ONE.info.architecture, FOUR.info.architecture)
    there = Selection(2, 1)
    back = selection_back({"layer": 3, "token": 2}, Selection(), there, pairing)
    assert back == {"token": 2, "recurrence": 4, "layer": 1}
    assert selection_back({"token": 2}, Selection(), there, pairing) == {"token": 2}
    own = Pairing(ONE.info.architecture, FOUR.info.architecture, "own")
    assert selection_back({"layer": 3, "token": 2}, Selection(), there, own) == {"token": 2}
    assert second_selection(Selection(6, 1), own, FOUR, Selection(2, 3)).layer == 3
