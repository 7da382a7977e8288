"""What is drawn of a study, against its rows averaged by hand; and how it is followed."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies import STUDY, made_study, run_tasks, write_study

from loopscope.core.errors import LoopscopeError
from loopscope.core.sweeps.parts import read_rows
from loopscope.core.sweeps.picture import Choice, StudyCurves, StudyMap, table
from loopscope.core.sweeps.study import open_study
from loopscope.core.sweeps.watching import Seen, Watch, find_study

pytest.importorskip("pyarrow", reason="the extra `cluster` is not installed")

MEASURE = "layer_relative_step"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_study(tmp_path_factory.mktemp("study"))[1]


def seen(rows: Path, choice: Choice) -> Seen:
    found = Watch(find_study(str(rows))).look(choice)
    assert found is not None
    return found


def by_hand(rows: Path, axes: tuple[str, ...], **kept: Any) -> dict[tuple[Any, ...], list[float]]:
    """For each place on ``axes`` the mean of every prompt, taken from the table of all rows."""
    each: dict[tuple[Any, ...], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in read_rows(rows).to_pylist():
        mine = row["measure"] == MEASURE and all(row[k] == v for k, v in kept.items())
        if mine and row["value"] is not None:
            each[tuple(row[axis] for axis in axes)][row["line"]].append(row["value"])
    return {
        place: [float(np.mean(values)) for _, values in sorted(lines.items())]
        for place, lines in each.items()
    }


def test_curves_are_means_over_prompts_with_their_interval(rows: Path) -> None:
    kept = {"intervention": "none"}
    found = seen(rows, Choice(MEASURE, "curves", "R", "checkpoint", kept)).picture
    assert isinstance(found, StudyCurves)
    hand = by_hand(rows, ("checkpoint", "R"), intervention="none")
    assert [c.name for c in found.curves] == ["bundled:looped", "bundled:orbit"]
    checked = 0
    for curve in found.curves:
        assert curve.x.tolist() == [1, 2, 4]
        for x, y, low, high in zip(curve.x, curve.y, curve.low, curve.high, strict=True):
            values = hand.get((curve.name, int(x)))
            if values is None:
                assert np.isnan(y)  # a step needs two recurrences
                continue
            # Of three prompts it is Student's, t(2, 97.5 %) = 4.302653, 1.9 times as wide.
            half = 1.9 * 4.302652729911275 * np.std(values, ddof=1) / np.sqrt(3)
            assert y == pytest.approx(np.mean(values), rel=1e-12)
            assert (low, high) == pytest.approx((y - half, y + half), rel=1e-9)
            checked += 1
    assert checked == 4
    assert found.bands == "95 % bootstrap-t, n = 3 prompts"


def test_a_map_is_the_mean_of_each_pair(rows: Path) -> None:
    choice = Choice(
        MEASURE, "map", "layer", "intervention", {"R": "4", "checkpoint": "bundled:orbit"}
    )
    found = seen(rows, choice).picture
    assert isinstance(found, StudyMap)
    hand = by_hand(rows, ("intervention", "layer"), R=4, checkpoint="bundled:orbit")
    assert found.names == (("0", "1"), ("none", "layer 1 skipped"))
    for i, cut in enumerate(found.names[1]):
        for j in range(2):
            assert found.values[i, j] == pytest.approx(np.mean(hand[cut, j]), rel=1e-12)
            assert found.n[i, j] == 3
    said = list(table(found).rows)
    assert said[1] == ("none", "1", found.values[0, 1], 3)


def test_prompts_across_have_seeds_as_their_units(rows: Path) -> None:
    kept = {"intervention": "none", "checkpoint": "bundled:looped", "R": "4"}
    found = seen(rows, Choice(MEASURE, "curves", "prompt", "", kept)).picture
    assert isinstance(found, StudyCurves)
    assert found.x_names == ("1", "2", "3")
    assert found.n.tolist() == [[2, 2, 2]]
    hand = by_hand(rows, (), intervention="none", checkpoint="bundled:looped", R=4)[()]
    assert found.curves[0].y.tolist() == pytest.approx(hand, rel=1e-12)
    assert found.bands.endswith("n = 2 seeds")


def test_what_is_chosen_first_and_what_is_kept(rows: Path) -> None:
    first = seen(rows, Choice())
    assert first.choice == Choice(
        "relative_step", "curves", "R", "checkpoint", {"intervention": "none"}
    )
    # Lengths are never averaged unasked; a place that is not there is none.
    odd = seen(rows, Choice(MEASURE, "map", "seed", "seed", {"checkpoint": "nobody"})).choice
    assert (odd.along, odd.by) == ("seed", "R")
    other = seen(rows, Choice(MEASURE, "curves", "seed", "")).choice
    assert other.kept == {"R": "4", "checkpoint": "bundled:looped", "intervention": "none"}
    # Only one that asks for it averages over checkpoints.
    both = seen(rows, Choice(MEASURE, "curves", "R", "", {"checkpoint": ""})).picture
    assert isinstance(both, StudyCurves)
    hand = by_hand(rows, ("R",), intervention="none")
    assert both.curves[0].y[2] == pytest.approx(np.mean(hand[4,]), rel=1e-12)


def test_a_cell_leads_to_the_run_it_is_of(rows: Path) -> None:
    watch = Watch(find_study(str(rows)))
    choice = Choice(
        MEASURE, "map", "prompt", "intervention", {"R": "4", "checkpoint": "bundled:orbit"}
    )
    found = watch.look(choice)
    assert found is not None
    assert isinstance(found.picture, StudyMap)
    checkpoint, run, r = watch.cell(found.choice, int(found.picture.cells[1, 2]))
    assert checkpoint.path == "bundled:orbit"
    assert (run.item.line, run.seed, run.intervention, r) == (3, 0, "layer 1 skipped", 4)
    assert [cut.kind for cut in run.cuts] == ["skip"]


def test_it_is_followed_part_by_part(tmp_path: Path) -> None:
    file, rows = made_study(tmp_path, most=3)
    watch = Watch(find_study(str(file)))
    first = watch.look(Choice())
    assert first is not None
    n = first.done
    assert 0 < n < first.cells == 2 * 3 * 2 * 2 * 2 * 3
    assert watch.look(first.choice, anew=False) is None  # nothing was added
    run_tasks(open_study(str(file)), rows)
    last = watch.look(first.choice, anew=False)
    assert last is not None
    assert (last.done, last.others) == (last.cells, 0)
    # The same as one that looked only once.
    whole, whole_map = last.picture, seen(rows, first.choice).picture
    assert isinstance(whole, StudyCurves)
    assert isinstance(whole_map, StudyCurves)
    assert [c.y.tolist() for c in whole.curves] == [c.y.tolist() for c in whole_map.curves]


def test_before_it_is_run_there_is_nothing_to_see(tmp_path: Path) -> None:
    found = find_study(str(write_study(tmp_path)))
    assert found.folder == tmp_path / "s-study"
    now = Watch(found).look(Choice())
    assert now is not None
    assert (now.done, now.cells) == (0, 144)
    assert now.picture.statement == "There are no rows yet."
    assert find_study("bundled:hops").folder is None


def test_paths_are_taken_from_where_the_study_lay(tmp_path: Path) -> None:
    """The folder's own copy of the study names its prompts as the study's file did."""
    _, rows = made_study(tmp_path / "there", most=1)
    moved = tmp_path / "moved"
    rows.rename(moved)
    found = find_study(str(moved))
    assert found.opened is not None
    assert found.opened.n_cells == 144
    (tmp_path / "there" / "p.txt").unlink()
    left = find_study(str(moved))
    assert left.opened is None
    assert "p.txt" in left.problem
    now = Watch(left).look(Choice())  # what was measured can be seen all the same
    assert now is not None
    assert now.done > 0
    with pytest.raises(LoopscopeError, match=r"the study cannot be read: .*p\.txt"):
        Watch(left).cell(now.choice, 0)


def test_what_is_no_study_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(LoopscopeError, match="holds no study"):
        find_study(str(tmp_path))
    with pytest.raises(LoopscopeError, match="no measure 'nonsense'"):
        find_study(str(write_study(tmp_path, STUDY.replace('"relative_step"', '"nonsense"'))))
    _, rows = made_study(tmp_path, most=2)
    (rows / "failures.json").write_text(
        json.dumps([{"checkpoint": "c", "prompts": "p", "line": 7, "why": "too long"}] * 2)
    )
    assert seen(rows, Choice()).failures == (
        "2 runs could not be made; the first, c, p, line 7: too long"
    )
    part = sorted((rows / "rows").iterdir())[0]
    part.write_bytes(b"PAR1 nothing")
    with pytest.raises(LoopscopeError, match="delete it, and its cells are made again"):
        Watch(find_study(str(rows))).look(Choice())


def test_cells_of_another_study_are_counted_apart(tmp_path: Path) -> None:
    file, _ = made_study(tmp_path)
    file.write_text(STUDY.replace("R = [1, 2, 4]", "R = [1, 2, 8]"))
    now = Watch(find_study(str(file))).look(Choice())
    assert now is not None
    assert (now.done, now.cells, now.others) == (96, 144, 48)
