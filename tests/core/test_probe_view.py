"""The probe's pictures, page and command."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from models import tiny_architecture, tiny_checkpoint
from recordings import synthetic_recording

from loopscope.app.cli.main import main
from loopscope.app.cli.probe import _recovery_at, write_page
from loopscope.core.checkpoint.loading import load
from loopscope.core.experiments.architectures import twin_architecture
from loopscope.core.experiments.probe.conditions import Plan, plan_for
from loopscope.core.measures.intervals import two_way_mean
from loopscope.core.measures.probe import PROBE, Condition, Lives, Outcome, Probe
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.probe import Options, compute, picture, statement, table

pytestmark = pytest.mark.slow


def outcome(
    lives: Lives, group: str, size: float, lost: float, moved: float, r: int, **more: object
) -> Outcome:
    scores = np.ones((2, 8, 5))
    scores[:, r - 1 :] -= lost
    donor = np.full((2, 8, 5), 0.25) if more.get("donor") else None
    c = Condition(lives, group, f"{group}, {size:g}", size, "ε", ((),), r, **more)  # type: ignore[arg-type]
    interval = two_way_mean(1 - scores[:, -1])
    return Outcome(c, scores, donor, np.full((2, 5), moved), interval)


FOUND = Probe(
    "m", "0" * 64, "hops", 6, 8, 2, 5, 0.2, np.ones((8, 5)), np.ones((16, 5)),
    (
        outcome("parameters", "weights", 0.1, 0.0, 0.05, 1, lasting=True),
        outcome("parameters", "weights", 1.0, 0.6, 0.7, 1, lasting=True),
        outcome("graph", "back edge cut after recurrence 2", math.nan, 0.0, 1.0, 2),
        outcome("trajectory", "noise on the state at 5", 1.0, 0.1, 1.0, 5),
        outcome("trajectory", "another prompt's state at recurrence 5", math.nan, 0.5, 1.1, 5,
                donor=True),
    ),
)  # fmt: skip


def test_sizes_are_curves_of_what_is_lost_with_intervals() -> None:
    data = picture(FOUND, "sizes")
    assert [c.name for c in data.curves] == ["weights"]  # one dose alone is no curve
    (curve,) = data.curves
    assert curve.x.tolist() == [0.1, 1.0]
    np.testing.assert_allclose(curve.y, [0.0, 0.6])
    assert (curve.low <= curve.y + 1e-12).all()
    assert data.log_x
    assert curve.notes == ("weights, 0.1", "weights, 1")


def test_every_cut_is_on_the_axis_of_displacement() -> None:
    data = picture(FOUND, "displacement")
    assert sum(len(c.x) for c in data.curves) == len(FOUND.outcomes)
    assert {(c.name, c.index) for c in data.curves} == {
        ("parameters", 0), ("graph", 3), ("trajectory", 2),
    }  # fmt: skip


def test_recovery_holds_what_is_cut_once_and_the_donor() -> None:
    data = picture(FOUND, "recovery")
    names = [c.name for c in data.curves]
    assert names[0] == "uncut"
    assert not any(name.startswith("weights") for name in names)  # lasting
    donor = next(c for c in data.curves if c.name.endswith("the other prompt's answers"))
    assert donor.dotted
    assert donor.y.tolist() == [0.25] * 4
    assert data.curves[-1].name == "guessing"
    assert data.cursor == "recurrence"


def test_recovery_is_drawn_from_the_cut_on() -> None:
    """Before it the runs are uncut ones, and those of some of the prompts another selection."""
    for cut, at in (("early", [2]), ("late", [5]), ("both", [2, 5])):
        data = picture(FOUND, "recovery", cut)
        assert data.curves[0].x.tolist() == list(range(1, 9))
        begins = [int(c.x[0]) for c in data.curves if c.role == "token"]
        assert set(begins) == set(at)
        assert all(c.x[-1] == 8 and len(c.x) == len(c.y) for c in data.curves[:-1])
        assert data.marks == tuple((float(r), f"cut after {r}") for r in at)
    # A place that all share is not said of each.
    assert [c.name for c in picture(FOUND, "recovery", "early").curves] == [
        "uncut", "back edge cut, nan", "guessing",
    ]  # fmt: skip
    assert picture(FOUND, "recovery", "both").curves[1].name == "back edge cut, nan, after 2"


def test_curves_of_one_picture_look_unlike() -> None:
    cuts = tuple(
        outcome("trajectory", f"{what} put in after recurrence {r}", math.nan, 0.1, 1.0, r)
        for r in (2, 5)
        for what in ("a", "b", "c", "d", "e", "f", "g", "h")
    )
    sizes = tuple(
        outcome("graph", f"layer {i} skipped", size, 0.1, 1.0, 1, lasting=True)
        for i in range(12)
        for size in (0.1, 0.2)
    )
    found = Probe(
        "m", "0" * 64, "hops", 6, 8, 2, 5, 0.2, np.ones((8, 5)), np.ones((16, 5)), cuts + sizes
    )
    for which, cut, n in (
        ("sizes", "early", 12),
        ("recovery", "early", 8),
        ("recovery", "both", 16),
    ):
        curves = [c for c in picture(found, which, cut).curves if c.role == "token"]
        assert len({(c.index, c.line) for c in curves}) == len(curves) == n
    # The two blues are the first and the second colour of the palette.
    assert {c.index for c in picture(FOUND, "displacement").curves}.isdisjoint({1})


def test_a_curve_over_some_of_the_prompts_says_so() -> None:
    some = outcome("trajectory", "the right end state of another start", math.nan, 0.0, 0.4, 2)
    some.scores[:, :, 3:] = np.nan
    found = Probe(
        "m", "0" * 64, "hops", 6, 8, 2, 5, 0.2, np.ones((8, 5)), np.ones((16, 5)), (some,)
    )
    assert "(3 of 5 prompts)" in picture(found, "recovery").curves[1].name
    assert found.recovery(some) == 0


def test_a_cut_moves_the_prompts_that_it_is_scored_on() -> None:
    """The others were given a state that is not what the cut says."""
    some = outcome("trajectory", "the right end state of another start", math.nan, 0.0, 0.4, 2)
    some.scores[:, :, 3:] = np.nan
    some.displacement[:, 3:] = 9.0
    none = outcome("trajectory", "the right end state of another start", math.nan, 0.0, 0.4, 2)
    none.scores[:] = np.nan
    found = Probe(
        "m", "0" * 64, "hops", 6, 8, 2, 5, 0.2, np.ones((8, 5)), np.ones((16, 5)), (some, none)
    )
    assert some.moved == pytest.approx(0.4)
    assert math.isnan(none.moved)
    data = picture(found, "displacement")
    assert [c.x.tolist() for c in data.curves] == [[pytest.approx(0.4)]]
    moved = [row[7] for row in table(data).rows]
    assert moved[0] == pytest.approx(0.4)
    assert [row["displacement"] for row in found.as_json()["conditions"]] == [moved[0], None]


def test_the_statement_names_the_largest_harmless_and_the_worst_cut() -> None:
    said = statement(FOUND)
    harmless = "weights, 0.1 moves it by 0.05 and loses nothing"
    assert f"parameters: {harmless}, worst, weights, 1, loses 0.60" in said
    assert "graph: back edge cut after recurrence 2, nan moves it by 1 and loses nothing" in said
    rows = list(table(picture(FOUND, "sizes")).rows)
    assert len(rows) == 5
    assert rows[4][-1] == "never"
    assert rows[0][-1] == ""


def test_what_cannot_be_probed_says_why(tmp_path: Path) -> None:
    recording = synthetic_recording()
    assert "was not trained on" in compute(recording, Selection(), Options()).missing
    loaded = load(str(tiny_checkpoint(tmp_path / "m")), "cpu")
    own = Stepper(loaded).begin(loaded.tokenizer.encode("ab ba ? 1 : a b"))
    assert "Nothing has been cut yet" in compute(own, Selection(), Options()).missing
    own.keep(PROBE, FOUND)
    assert not compute(own, Selection(), Options()).missing
    deep = load(str(tiny_checkpoint(tmp_path / "d", twin_architecture("deep", 2, d_model=16))))
    once = Stepper(deep).begin(deep.tokenizer.encode("ab ba ? 1 : a b"))
    assert "A deep model runs once" in compute(once, Selection(), Options()).missing


def test_the_page_and_its_pictures(tmp_path: Path) -> None:
    page = write_page(FOUND, tmp_path).read_text()
    assert "| weights, 1 | 0.7 | 0.600 (0.078 to 1.122) | 5 × 2 | – |" in page
    assert "never in this run" in page
    for name in ("probe-lost", "probe-recovery"):
        assert (tmp_path / "images" / f"{name}.png").stat().st_size > 5000
        assert (tmp_path / "images" / f"{name}.pdf").exists()


def test_each_picture_of_recovery_holds_its_own_cuts() -> None:
    """Also where the number of one recurrence begins that of the other."""
    cuts = tuple(
        outcome("graph", f"back edge cut after recurrence {r}", math.nan, 0.0, 1.0, r)
        for r in (1, 12)
    )
    found = Probe(
        "m", "0" * 64, "hops", 6, 16, 1, 12, 0.2, np.ones((16, 5)), np.ones((32, 5)), cuts
    )
    for r in (1, 12):
        names = [c.name for c in _recovery_at(found, r).curves if c.role == "token"]
        assert names == ["back edge cut, nan"]


def test_a_plan_is_filled_in_for_any_length() -> None:
    assert plan_for(20) == Plan(20, 3, 12)
    assert plan_for(6, draws=1) == Plan(6, 3, 4, 1)
    assert plan_for(20, recurrences=3) == Plan(3, 1, 2)
    assert plan_for(20, mid=5, late=7) == Plan(20, 5, 7)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tiny_checkpoint(tmp_path / "m", tiny_architecture(n_block=1)))
    out = tmp_path / "out"
    command = ["probe", folder, "--task", "hops", "-o", str(out), "--prompts", "4", "--draws", "1"]
    assert main([*command, "--recurrences", "4", "--mid", "1", "--late", "3"]) == 0
    results = json.loads((out / "results.json").read_text())
    assert (results["prompts"], results["recurrences"]) == (4, 4)
    assert main([*command, "--recurrences", "4", "--late", "4"]) == 2
    assert "do not lie in order within 4 recurrences" in capsys.readouterr().err
