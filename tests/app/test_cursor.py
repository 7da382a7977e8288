"""The cursor without Qt: bounds, scrubbing, following, and the place in a second run."""

from __future__ import annotations

import sys

import pytest
from recordings import synthetic_recording

from loopscope.app.bench.cursor import Cursor, within
from loopscope.core.run.pairing import Pairing
from loopscope.core.selection import Selection

RUN = synthetic_recording(recurrences=6, n_block=2, tokens=5, heads=2)


def at(recurrence: int, layer: int = 0) -> Cursor:
    cursor = Cursor()
    cursor.select({"recurrence": recurrence, "layer": layer}, RUN)
    return cursor


def place(cursor: Cursor) -> tuple[int, int]:
    return cursor.selection.recurrence, cursor.selection.layer


@pytest.mark.parametrize(
    ("outside", "inside"),
    [
        (Selection(99, 99, 99, 99, (1, 4, 5, 99)), Selection(6, 1, 1, 4, (1, 4))),
        (Selection(-1, -1, -1, -1, (-1, 0)), Selection(0, 0, 0, 0, (0,))),
        (Selection(3, 1, 1, 2, (2, 3)), Selection(3, 1, 1, 2, (2, 3))),
    ],
)
def test_a_place_outside_becomes_the_nearest_inside(outside: Selection, inside: Selection) -> None:
    assert within(outside, RUN) == inside
    assert within(outside, None) == outside


def test_moving_says_whether_it_moved() -> None:
    cursor = at(3, 1)
    assert not cursor.select({"recurrence": 3}, RUN)
    assert cursor.select({"recurrence": 4}, RUN)
    assert cursor.point({"recurrence": 2})
    assert not cursor.point({"recurrence": 2})
    assert cursor.point({})


def test_an_earlier_recurrence_ends_following_and_the_latest_does_not_begin_it() -> None:
    cursor = Cursor()
    cursor.select({"recurrence": 6}, RUN)
    assert cursor.following
    cursor.select({"token": 2}, RUN)
    assert cursor.following
    cursor.select({"recurrence": 5}, RUN)
    assert not cursor.following
    cursor.select({"recurrence": 6}, RUN)
    assert not cursor.following


@pytest.mark.parametrize(("asked", "got"), [(-1, 0), (0, 0), (4, 4), (6, 6), (7, 6)])
def test_scrubbing_stays_within_the_run(asked: int, got: int) -> None:
    cursor = at(2)
    cursor.scrub(asked, RUN)
    assert cursor.selection.recurrence == got
    cursor.scrub(asked, None)
    assert cursor.selection.recurrence == 0


@pytest.mark.parametrize(
    ("start", "by", "end"),
    [
        ((2, 0), 1, (2, 1)),
        ((2, 1), 1, (3, 0)),
        ((3, 0), -1, (2, 1)),
        ((2, 0), 3, (3, 1)),
        ((6, 1), 1, (6, 1)),
        ((1, 0), -1, (0, 0)),
        ((0, 0), -1, (0, 0)),
        ((0, 1), 1, (1, 0)),
        ((0, 0), 1, (1, 0)),
        ((0, 0), 2, (1, 1)),
    ],
)
def test_layers_are_scrubbed_over_the_ends_of_recurrences(
    start: tuple[int, int], by: int, end: tuple[int, int]
) -> None:
    cursor = at(*start)
    cursor.scrub_layer(by, RUN)
    assert place(cursor) == end


def test_no_layer_is_reached_before_one_has_run() -> None:
    cursor = Cursor()
    cursor.scrub_layer(1, synthetic_recording(recurrences=0))
    assert place(cursor) == (0, 0)


def test_following_goes_to_the_latest_recurrence() -> None:
    cursor = Cursor()
    assert cursor.keep_up(RUN)
    assert cursor.selection.recurrence == 6
    assert not cursor.keep_up(RUN)


def test_a_run_gone_back_to_is_shown_where_it_was_left_once_it_has_come_that_far() -> None:
    cursor = at(6, 1)
    cursor.following = False
    left = Selection(5, 1, 1, 3)
    short, longer = synthetic_recording(recurrences=2), synthetic_recording(recurrences=5)
    cursor.return_to(left, short)
    assert place(cursor) == (2, 1)
    cursor.keep_up(short)
    assert place(cursor) == (2, 1)
    cursor.keep_up(longer)
    assert cursor.selection == left
    cursor.scrub(1, longer)
    cursor.keep_up(RUN)
    assert place(cursor) == (1, 1)  # it returned once


def test_moving_by_hand_gives_up_returning() -> None:
    cursor = at(6)
    cursor.following = False
    cursor.return_to(Selection(5), synthetic_recording(recurrences=2))
    cursor.select({"recurrence": 1}, RUN)
    cursor.keep_up(RUN)
    assert place(cursor) == (1, 0)


def test_places_go_to_the_second_run_and_back_by_effective_depth() -> None:
    one = RUN.info.architecture
    there = synthetic_recording(recurrences=4, n_block=4, tokens=3)
    pairing = Pairing(one, there.info.architecture, "depth")
    cursor = at(5, 1)  # ten layers of two
    second = cursor.second_run(there, "second", pairing)
    assert (second.selection.recurrence, second.selection.layer) == (3, 1)  # ten layers of four
    cursor.point({"recurrence": 2, "layer": 1, "token": 2})
    assert cursor.second_hover(second) == {"recurrence": 1, "layer": 3, "token": 2}
    cursor.point({"token": 1})
    assert cursor.second_hover(second) == {"token": 1}
    cursor.select_in_second({"recurrence": 2, "layer": 0, "token": 2}, second, RUN)
    assert place(cursor) == (3, 0)  # five layers
    assert cursor.selection.token == 2
    assert not cursor.following
    cursor.point_in_second({"recurrence": 1, "layer": 3}, second)
    assert cursor.hover == {"recurrence": 2, "layer": 1}


def test_at_its_own_pace_the_second_run_has_a_cursor_of_its_own() -> None:
    there = synthetic_recording(recurrences=4)
    pairing = Pairing(RUN.info.architecture, there.info.architecture, "own")
    cursor = at(5, 1)
    second = cursor.second_run(there, "second", pairing)
    cursor.select_in_second({"recurrence": 2, "layer": 1, "token": 3}, second, RUN)
    assert place(cursor) == (5, 1)
    assert cursor.selection.token == 3
    second = cursor.second_run(there, "second", pairing)
    assert (second.selection.recurrence, second.selection.layer) == (2, 1)
    cursor.scrub(1, RUN)
    second = cursor.second_run(there, "second", pairing)
    assert (second.selection.recurrence, second.selection.layer) == (2, 1)


def test_the_cursor_knows_nothing_of_qt() -> None:
    source = sys.modules[Cursor.__module__].__dict__
    assert not [name for name in source if name.startswith("Q")]
