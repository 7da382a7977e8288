"""Sessions as data: written and read back, refused in one line, and made again bit for bit."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import EXAMPLES
from models import tiny_architecture, tiny_checkpoint

from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.errors import Cancelled, LoopscopeError
from loopscope.core.interventions.base import END, MOST_RECURRENCES, Intervention
from loopscope.core.interventions.layers import FreezeHead, ScaleWrite
from loopscope.core.interventions.states import Noise, Zero
from loopscope.core.measures.projection import Basis
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.sessions.file import found, portable, read_session, write_session
from loopscope.core.sessions.rebuild import Rebuild
from loopscope.core.sessions.saved import (
    MOST_RUNS,
    SavedCursor,
    SavedModel,
    SavedRun,
    SavedSession,
    SavedWindow,
)
from loopscope.core.typed_json import Reader, plain

DATA = Path(__file__).parents[1] / "data" / "sessions"
PROMPT = "ab bc ca ? 2 : a b c"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("m")
    return load(str(tiny_checkpoint(folder / "m", tiny_architecture(n_block=3))), "cpu")


def saved_run(run_id: int, layers: int, *cuts: Intervention, **fields: Any) -> SavedRun:
    run = SavedRun(id=run_id, name=f"run {run_id}", prompt=PROMPT, layers=layers)
    return replace(run, interventions=cuts, **fields)


def session() -> SavedSession:
    """One with something in every field."""
    early, late = Noise(recurrence=2, last=2, size=0.5), Zero(recurrence=5, last=5, layer=END)
    begun = {"seed": (1 << 63) - 1, "start": "random", "start_scale": 0.5}
    held = FreezeHead(recurrence=3, last=-1, head=1, held=2)
    runs = (
        saved_run(3, 17, named=True, **begun),
        saved_run(4, 12, early, parent=3, cursor=Selection(2, 1, 0, 3, (3, 4)), **begun),
        saved_run(9, 18, early, held, parent=4, **begun),
        saved_run(5, 7, late, parent=3, **begun),
        saved_run(6, 4, prompt="ab ba ? 1 : a b", patterns=False),
    )
    return SavedSession(
        model=SavedModel(path="../m", absolute="/models/m", loop=(1, 3, 0.5), family="llama"),
        second_model=SavedModel(path="bundled:deep", device="cpu"),
        prompt_file="bundled:hops",
        runs=runs,
        shown=4,
        second=3,
        step_pairing="own",
        cursor=SavedCursor(place=Selection(2), in_second=Selection(1, 1), following=False),
        speed=1e9,
        stop_at_settling=True,
        views={"settling": {"tolerance": 0.01}, "graph": {"expanded": ["block"]}},
        places={"graph": {"x": 12.0, "zoom": 0.5}},
        measured=("stability",),
        window=SavedWindow(size=(900, 700), layout="00ff", maximised="heads", current="graph"),
    )


# ---- the file ----
def test_a_session_is_written_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.loopscope.json"
    write_session(path, session())
    assert read_session(path) == session()
    assert path.stat().st_size < 8000


def test_what_could_not_be_read_again_is_told_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.loopscope.json"
    write_session(path, session())
    before = path.read_bytes()
    named_by_bytes = replace(session(), model=SavedModel(path="/models/m\udcff"))
    with pytest.raises(LoopscopeError, match=r"a\.loopscope\.json, 'model', 'path': .* no.* text"):
        write_session(path, named_by_bytes)
    assert path.read_bytes() == before


def test_the_first_version_of_the_format_is_still_read() -> None:
    """It knew no run without patterns."""
    runs = tuple(replace(run, patterns=True) for run in session().runs)
    assert read_session(DATA / "v1.loopscope.json") == replace(session(), runs=runs)


def test_arrays_of_a_projection_basis_are_kept_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    basis = Basis(rng.normal(size=16), rng.normal(size=(3, 16)), rng.random(3), 0.1, "all", "x", 8)
    again = Reader().value(Basis, json.loads(json.dumps(plain(basis))), "basis")
    np.testing.assert_array_equal(again.components, basis.components)
    np.testing.assert_array_equal(again.mean, basis.mean)
    assert (again.total_variance, again.run, again.n_recurrences) == (0.1, "x", 8)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"format": "png"}, "is no session of Loopscope"),
        ({"version": 2}, "is of version 2 of the format; this Loopscope reads version 1"),
        ({"version": True}, "is of version True"),
        ({"step_pairing": "fast"}, "'step_pairing': 'fast' is not one of depth, recurrence, own"),
        ({"colour": 1}, "there is no 'colour'"),
        ({"shown": 77}, "'shown': there is no run 77"),
        ({"shown": None}, "none of the runs is shown"),
        ({"second": 4}, "'second': is the run shown"),
        ({"speed": 0}, "'speed': 0 is not between"),
        ({"model": {}}, "'model': .*path"),
        ({"model": {"path": "m", "dtype": "int8"}}, "'model', 'dtype': 'int8' is not one of"),
        ({"model": {"path": "m", "loop": [1, 2]}}, "'loop': expected 3 values, got 2"),
        ({"window": {"size": [1, 1]}}, "'window', 'size': no window has 1 × 1 pixels"),
        ({"window": {"layout": "xy"}}, "'layout': is not hexadecimal"),
        ({"views": {"settling": 3}}, "'views', 'settling': expected an object"),
    ],
)
def test_what_is_wrong_is_told_by_place(
    tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    path = tmp_path / "a.loopscope.json"
    write_session(path, session())
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(LoopscopeError, match=problem):
        read_session(path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"parent": 99}, "its parent 99 is not before it"),
        ({"seed": 5}, "9: was not begun as its parent was"),
        ({"id": 3}, "3: is there twice"),
        ({"interventions": []}, "does not have the interventions of its parent"),
        ({"interventions": [{"kind": "smash"}]}, "entry 1: there is no intervention 'smash'"),
        ({"layers": -1}, "'layers': -1 is less than 0"),
        ({"seed": -1}, "'seed': -1 is not between"),
        ({"prompt": "a\0b"}, "is not text that can be shown"),
    ],
)
def test_a_run_out_of_place_is_refused(
    tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    path = tmp_path / "a.loopscope.json"
    write_session(path, session())
    values = json.loads(path.read_text())
    values["runs"][2] |= change
    path.write_text(json.dumps(values))
    with pytest.raises(LoopscopeError, match=problem):
        read_session(path)


def test_too_many_runs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.loopscope.json"
    many = tuple(saved_run(i, 1) for i in range(MOST_RUNS + 1))
    with pytest.raises(LoopscopeError, match="more than 200"):
        write_session(path, replace(session(), runs=many))
    assert not path.exists()
    write_session(path, session())
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"runs": plain(many)}))
    with pytest.raises(LoopscopeError, match="more than 200"):
        read_session(path)


# ---- a stranger's file ----
NASTY = (
    None, True, -1, 1 << 62, 1e308, "", "x" * 3000, "\0", "../..", "bundled:no", [], {}, [[]],
    {"kind": "noise"}, {"shape": [9, 9], "float64": "AAAA"},
)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested values."""
    inside: list[Any] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    return [at, *(place for key, v in inside for place in places(v, (*at, key)))]


def mutated(text: str, rng: random.Random) -> bytes:
    """The file with one thing in it changed, or with bytes of it cut or turned."""
    if rng.random() < 0.3:
        raw = bytearray(text.encode())
        at = rng.randrange(len(raw))
        if rng.random() < 0.5:
            return bytes(raw[:at])
        raw[at] = rng.randrange(256)
        return bytes(raw)
    values = json.loads(text)
    *way, last = rng.choice(places(values)[1:])
    holder = values
    for key in way:
        holder = holder[key]
    if rng.random() < 0.3:
        del holder[last]
    else:
        holder[last] = rng.choice(NASTY)
    return json.dumps(values).encode()


@pytest.mark.slow
def test_a_mutated_file_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.loopscope.json"
    write_session(path, session())
    text, refused = path.read_text(), 0
    for i in range(max(EXAMPLES // 10, 100)):
        path.write_bytes(mutated(text, random.Random(i)))
        try:
            read_session(path)
        except LoopscopeError as error:
            refused += 1
            assert "\n" not in str(error)
            assert str(error).startswith(str(path)), i
            assert len(str(error)) < 1000, i
    assert refused > 50


# ---- places ----
def test_paths_move_along_with_the_file_and_are_looked_for(tmp_path: Path) -> None:
    model, file = tmp_path / "models" / "m", tmp_path / "work" / "a.loopscope.json"
    model.mkdir(parents=True)
    file.parent.mkdir()
    assert portable("bundled:looped", file) == "bundled:looped"
    assert portable("m/here", file) == "m/here"
    path = portable(str(model), file)
    assert path == "../models/m"
    assert found(path, str(model), file) == str(model)
    moved = tmp_path / "elsewhere" / "deep" / "a.loopscope.json"
    moved.parent.mkdir(parents=True)
    assert found(path, str(model), moved) == str(model)  # where it was when it was saved
    model.rename(moved.parent / "m")
    assert found(path, str(model), moved) == str(moved.parent / "m")  # beside the file
    assert found(path, str(model), file) is None
    assert found("bundled:looped", "", file) == "bundled:looped"


def test_no_path_into_the_network_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def exists(place: str) -> bool:
        tried.append(place)
        return False

    monkeypatch.setattr(os.path, "exists", exists)
    assert found("//host/share", "\\\\host\\share", tmp_path / "a.loopscope.json") is None
    assert tried == [str(tmp_path / "share")]


# ---- made again ----
def began(loaded: Loaded, run: SavedRun) -> Stepper:
    stepper = Stepper(loaded)
    stepper.begin(
        loaded.tokenizer.encode(run.prompt),
        seed=run.seed,
        start=run.start,
        start_scale=run.start_scale,
        interventions=run.interventions,
    )
    return stepper


def test_runs_made_again_are_those_begun_with_their_interventions(loaded: Loaded) -> None:
    cut = ScaleWrite(recurrence=3, last=3, layer=1, factor=0.0)
    where_it_ends = replace(session().runs[-1], id=11, name="run 11", parent=6, layers=4)
    runs = (*session().runs, replace(where_it_ends, interventions=(cut,)))
    rebuild = Rebuild(runs, 3, lambda run: began(loaded, run))
    job: Job[None] = Job("opening")
    shares: list[float] = []
    report = job.report
    job.report = lambda share: (shares.append(share), report(share))  # type: ignore[method-assign]
    rebuild.run(job)
    assert rebuild.problems == []
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1 - 1 / len(shares))  # what was told is what was run
    for run in runs:
        straight = began(loaded, run)
        while straight.recording.layers_done < run.layers:
            straight.step_layer()
        made = rebuild.made[run.id].recording
        assert made.layers_done == run.layers
        assert made.info == straight.recording.info
        np.testing.assert_array_equal(made.states, straight.recording.states)
        assert made.effects == straight.recording.effects
        # Both can be stepped on.
        rebuild.made[run.id].step()
        straight.step()
        np.testing.assert_array_equal(made.states, straight.recording.states)


def test_a_run_that_cannot_be_made_is_told_and_the_others_are_made(loaded: Loaded) -> None:
    nowhere = Noise(recurrence=1, last=1, layer=7)
    runs = (
        saved_run(1, 6),
        saved_run(2, 6, nowhere, parent=1),
        saved_run(3, 6, prompt="ß?"),
        saved_run(4, 1 << 60),
        saved_run(5, 3),
    )
    rebuild = Rebuild(runs, 3, lambda run: began(loaded, run))
    rebuild.run(Job("opening"))
    assert [rebuild.made[i].recording.layers_done for i in (1, 5)] == [6, 3]
    assert [problem.split(":")[0] for problem in rebuild.problems] == ["run 2", "run 3", "run 4"]
    assert "there is no layer 7" in rebuild.problems[0]
    assert f"more than {MOST_RECURRENCES:,} recurrences cannot be run" in rebuild.problems[2]


def test_cancelled_it_leaves_what_was_made(loaded: Loaded) -> None:
    rebuild = Rebuild((saved_run(1, 6), saved_run(2, 6)), 3, lambda run: began(loaded, run))
    job: Job[None] = Job("opening")
    report = job.report

    def report_and_cancel(share: float) -> None:
        if share >= 0.75:
            job.cancel()
        report(share)

    job.report = report_and_cancel  # type: ignore[method-assign]
    with pytest.raises(Cancelled):
        rebuild.run(job)
    assert [stepper.recording.layers_done for stepper in rebuild.made.values()] == [6, 3]
