"""Grids: where a token stands, and that what is shown and written says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import write_checkpoint

from loopscope.core.checkpoint.loading import load
from loopscope.core.model.token_layout import TokenLayout
from loopscope.core.recordings.reader import open_recording
from loopscope.core.recordings.writing import save
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views import readout, settling


def test_cells_count_row_by_row_behind_what_stands_before() -> None:
    layout = TokenLayout(2, 3, before=2)
    cells = [layout.cell(token) for token in range(9)]
    assert cells == [None, None, (1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), None]
    assert [layout.name(t, "x") for t in (1, 5)] == ["x", "r2c1 x"]


@pytest.mark.parametrize(("cells", "side"), [(81, 9), (900, 30), (4, 2), (60, 0), (1, 0)])
def test_a_square_where_there_is_one(cells: int, side: int) -> None:
    expected = TokenLayout(side, side, 16) if side else None
    assert TokenLayout.square(cells, 16) == expected


@pytest.mark.parametrize("prefixed", [True, False])
def test_a_run_of_trm_names_its_cells(tmp_path: Path, prefixed: bool) -> None:
    changes = {"seq_len": 9} | ({} if prefixed else {"puzzle_emb_ndim": 0})
    loaded = load(str(write_checkpoint(tmp_path / "grid", "trm", changes)), "cpu")
    before = 2 if prefixed else 0
    assert loaded.architecture.layout == TokenLayout(3, 3, before)
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.from_ids(tuple(range(10, 19))))
    stepper.step()
    names = ["r1c1 10", "r1c2 11", "r1c3 12", "r2c1 13", "r2c2 14", "r2c3 15"]
    names += ["r3c1 16", "r3c2 17", "r3c3 18"]
    puzzle = ["puzzle␣0·0", "puzzle␣0·1"][:before]
    assert list(recording.info.token_names) == puzzle + names
    shown = Selection(tokens=(before, before + 5))
    assert settling.compute(recording, shown, settling.Options()).labels == ("r1c1 10", "r2c3 15")
    data = readout.compute(recording, Selection(), readout.Options())
    table = readout.table(data)
    rows = {row[1]: tuple(row[2:5]) for row in table.rows}
    assert table.columns[1:5] == ("token index", "row", "column", "token")
    assert rows[before + 5] == (2, 3, "15")
    assert not prefixed or rows[0][:2] == ("", "")
    save(tmp_path / "run.h5", [recording])
    (again,) = open_recording(tmp_path / "run.h5").runs
    assert again.info.architecture.layout == TokenLayout(3, 3, before)


def test_a_line_of_text_has_no_cells(tmp_path: Path) -> None:
    loaded = load(str(write_checkpoint(tmp_path / "line", "trm", {"seq_len": 60})), "cpu")
    assert loaded.architecture.layout is None
    recording = Stepper(loaded).begin(loaded.tokenizer.from_ids((1, 2)))
    assert recording.info.token_names[-2:] == ("1", "2")
    assert (
        "row"
        not in readout.table(readout.compute(recording, Selection(), readout.Options())).columns
    )
