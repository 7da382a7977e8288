"""The door for scripts and notebooks: numbers by numpy alone, figures, names, errors in one line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import plain_forward, tiny_checkpoint
from PIL import Image

import loopscope
from loopscope import LoopscopeError, Model, Run
from loopscope.app.notebook.showing import session_of
from loopscope.core.run.jobs import Job
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.stepper import Stepper
from loopscope.core.sessions.file import read_session, write_session
from loopscope.core.sessions.rebuild import Rebuild
from loopscope.core.sessions.saved import SavedRun, SavedSession
from loopscope.core.views.base import Table

PROMPT = "ab bc ca ? 2 : a b c"
ROOT = Path(__file__).parents[2]
NOISE = {"kind": "noise", "recurrence": 2, "last": 2, "layer": -1, "tokens": [3], "size": 0.5}


@pytest.fixture(scope="module")
def model() -> Model:
    return loopscope.load("bundled:looped", "cpu")


@pytest.fixture(scope="module")
def run(model: Model) -> Run:
    return model.run(PROMPT, 5)


def tiny(folder: Path) -> tuple[Run, dict[str, np.ndarray]]:
    """A run of a small model and the same by a float64 forward of numpy."""
    run = loopscope.load(str(tiny_checkpoint(folder)), "cpu").run([1, 2, 3, 4], 3)
    return run, plain_forward(run.stepper.loaded.model, (1, 2, 3, 4), 3)


def test_measures_are_those_of_the_states(run: Run) -> None:
    found = run.measure("relative_step")
    states = run.states.astype(np.float64)
    step = np.linalg.norm(states[1:] - states[:-1], axis=-1) / np.linalg.norm(states[1:], axis=-1)
    np.testing.assert_allclose(np.asarray(found), step, rtol=1e-12)
    assert found.axes == ("recurrence", "token")
    assert found.coordinates["recurrence"].tolist() == [1, 2, 3, 4, 5]
    assert found.coordinates["token"].tolist() == list(range(12))
    assert (found.unit, found.formula.source) == ("1", "arXiv 2502.05171")
    assert "‖s_r − s_{r−1}‖ / ‖s_r‖" in repr(found)
    by_layer = run.measure("layer_step_size")
    x = run.layer_states.astype(np.float64)
    assert by_layer.axes == ("recurrence", "layer", "token")
    np.testing.assert_allclose(by_layer.values[1:], np.linalg.norm(x[1:] - x[:-1], axis=-1))
    assert np.isnan(by_layer.values[0]).all()


def test_every_measure_says_its_axes(run: Run) -> None:
    sizes = {"recurrence": 5, "layer": 2, "head": 4, "token": 12}
    for name in loopscope.measures():
        if name == "exit_hazard":
            with pytest.raises(LoopscopeError, match="This model has no exit gate"):
                run.measure(name)
            continue
        found = run.measure(name)
        assert found.values.shape == tuple(sizes[axis] for axis in found.axes), name


def test_a_measure_goes_to_xarray(run: Run) -> None:
    found = run.measure("relative_step").to_xarray()
    assert found.dims == ("recurrence", "token")
    assert found.attrs["units"] == "1"
    assert found.attrs["checkpoint"] == "bundled:looped"
    at = found.sel(recurrence=3)[found.text == "?"]
    assert at.values.tolist() == [run.measure("relative_step").values[2, run.tokens.index("?")]]


def test_without_xarray_it_says_what_to_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(LoopscopeError, match="xarray is not installed: pip install xarray"):
        run.measure("relative_step").to_xarray()


def test_arrays_by_hook_are_those_of_a_forward_of_numpy(tmp_path: Path) -> None:
    run, truth = tiny(tmp_path)
    arrays = run.to_dict()
    assert arrays["hook_tokens"].tolist() == [1, 2, 3, 4]
    assert arrays["recurrence.0.hook_state"].shape == run.states[0].shape
    for r in (1, 2, 3):
        state = arrays[f"recurrence.{r}.hook_state"]
        np.testing.assert_allclose(state, truth["states"][r - 1], atol=1e-4)
        for layer in range(run.recording.n_layers):
            name = f"recurrence.{r}.blocks.{layer}"
            for hook, key in (("hook_resid_post", "layers"), ("attn.hook_pattern", "patterns")):
                expected = truth[key][r - 1, layer]
                np.testing.assert_allclose(arrays[f"{name}.{hook}"], expected, atol=1e-4)
            wrote = [arrays[f"{name}.hook_{part}_out_norm"] for part in ("attn", "mlp")]
            expected = truth["writes"][r - 1, layer]
            np.testing.assert_allclose(np.stack(wrote, -1), expected, rtol=1e-3)
        best = arrays[f"recurrence.{r}.coda_lens.hook_ids"][:, 0]
        assert best.tolist() == truth["logits"][r - 1].argmax(-1).tolist()
    run.step_layer()
    assert "recurrence.4.blocks.0.hook_resid_post" in run.to_dict()
    assert "recurrence.4.hook_state" not in run.to_dict()


def test_the_page_lists_the_hook_names_that_there_are_with_their_shapes(run: Run) -> None:
    page = (ROOT / "docs" / "notebook.md").read_text()
    rows = re.findall(r"^\| `([\w.{}]*hook_\w+)` \| \[(.*)\] \|", page, flags=re.M)
    lengths = {"T": 12, "d": 64, "H": 4, "k": 5}
    listed = {name: tuple(lengths[axis] for axis in axes.split(", ")) for name, axes in rows}
    assert listed.pop("recurrence.{r}.hook_hazard") == (12,)  # the bundled model has no exit gate
    found: dict[str, set[tuple[int, ...]]] = {}
    for own, array in run.to_dict().items():
        name = re.sub(r"recurrence\.[1-9]\d*", "recurrence.{r}", own)
        found.setdefault(re.sub(r"blocks\.\d+", "blocks.{l}", name), set()).add(array.shape)
    assert {name: {shape} for name, shape in listed.items()} == found


def test_the_page_lists_the_arrays_of_an_npz_file_with_their_shapes(
    run: Run, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "notebook.md").read_text()
    said = page[page.index("`run.to_npz(") : page.index("`run.to_dict()`")]
    listed: dict[str, str] = {}
    for names, axes in re.findall(r"((?:`\w+`(?:, )?)+)\s\[([^\]]*)\]", said):
        listed |= dict.fromkeys(re.findall(r"\w+", names), axes)
    assert listed.pop("hazards") == "R, T"
    lengths = {"R + 1": 6, "R": 5, "L": 2, "T": 12, "d": 64, "H": 4, "k": 5, "2": 2}
    run.to_npz(tmp_path / "run.npz")
    with np.load(tmp_path / "run.npz", allow_pickle=False) as file:
        shapes = {name: file[name].shape for name in file.files if name != "provenance"}
    said_shapes = {n: tuple(lengths[a] for a in axes.split(", ")) for n, axes in listed.items()}
    assert said_shapes == shapes


def test_npz_holds_the_arrays_and_where_they_come_from(run: Run, tmp_path: Path) -> None:
    run.to_npz(tmp_path / "run.npz")
    with np.load(tmp_path / "run.npz", allow_pickle=False) as file:
        assert np.array_equal(file["states"], run.states)
        assert np.array_equal(file["layer_states"], run.layer_states)
        assert np.array_equal(file["patterns"], run.patterns)
        assert file["coda_lens_ids"].shape == (5, 12, 5)
        assert json.loads(str(file["provenance"])) == run.provenance
    with pytest.raises(LoopscopeError, match="cannot write"):
        run.to_npz(tmp_path / "missing" / "run.npz")


def test_a_run_keeps_what_is_asked_for(model: Model) -> None:
    run = model.run(PROMPT, 1, keep=())
    assert set(run.to_dict()) == {
        "hook_tokens", "recurrence.0.hook_state", "recurrence.1.hook_state",
        "recurrence.1.blocks.0.hook_resid_post", "recurrence.1.blocks.1.hook_resid_post",
    }  # fmt: skip
    with pytest.raises(LoopscopeError, match="did not keep attention patterns"):
        _ = run.patterns


def test_stepping_and_branching(model: Model, run: Run) -> None:
    stepped = model.run(PROMPT, 0)
    assert stepped.recurrences == 0
    assert stepped.step().recurrence == 1
    assert stepped.step(4).recurrence == 5
    assert np.array_equal(stepped.states, run.states)
    branch = run.branch(NOISE)
    assert np.array_equal(branch.states, model.run(PROMPT, 5, interventions=[NOISE]).states)
    assert not np.array_equal(branch.states[2], run.states[2])
    left = run.branch(loopscope.intervention("skip", recurrence=3, last=3, layer=1), run_on=False)
    assert (left.recurrences, left.recording.layers_done) == (2, 5)
    assert model.run([5, 6], 1).tokens == model.loaded.tokenizer.from_ids((5, 6)).labels
    assert model.run(PROMPT).recurrences == model.trained_recurrences
    assert run.logits(2).shape == (12, model.architecture.vocab_size)


def test_a_state_that_overflows_is_warned_of_once(model: Model) -> None:
    run = model.run(PROMPT, 1)
    huge = run.states[0] * 0 + np.float32(3e38)
    with pytest.warns(RuntimeWarning, match="states are not finite from") as said:
        model.run(PROMPT, 2, initial_state=huge).step()
    assert len(said) == 1


def test_over_prompts_each_counts_as_if_run_alone(model: Model) -> None:
    prompts = [PROMPT, "ba ac cb ? 1 : a b c"]
    found = model.measure("relative_step", prompts, 3)
    alone = [model.run(p, 3).measure("relative_step").values for p in prompts]
    alone = [np.median(values, axis=1) for values in alone]
    np.testing.assert_allclose(found.values[..., 0], alone, rtol=1e-6)
    np.testing.assert_allclose(found.mean.value[:, 0], np.mean(alone, 0), rtol=1e-6)
    with pytest.raises(LoopscopeError, match="no prompt set is in use"):
        model.measure("relative_step")


def test_a_view_has_its_numbers_and_its_figure(run: Run, tmp_path: Path) -> None:
    view = run.view("distance", at={"token": 3, "tokens": [3, 1]}, distance="relative")
    assert isinstance(view.table, Table)
    rows = [dict(zip(view.table.columns, row, strict=True)) for row in view.table.rows]
    assert {row["token index"] for row in rows} == {1, 3}
    assert "median" in view.statement
    assert view.formulas
    figure = view.figure("one column")
    data, shown = figure._repr_png_()
    assert data.startswith(b"\x89PNG")
    assert shown["width"] == pytest.approx(88 / 25.4 * 96, abs=1)
    # Saved by hand it is what the export writes.
    view.figure("one column").savefig(tmp_path / "own.png", dpi=100)
    view.save(tmp_path / "exported.png", dpi=100)
    with Image.open(tmp_path / "own.png") as own, Image.open(tmp_path / "exported.png") as exported:
        assert own.tobytes() == exported.tobytes()
        assert PROMPT in exported.info["Description"]
    view.save(tmp_path / "numbers.csv")
    assert f"# prompt: {PROMPT}" in (tmp_path / "numbers.csv").read_text()


def test_two_runs_are_drawn_on_one_pair_of_axes(run: Run) -> None:
    branch = run.branch(NOISE)
    run.name = "as it is"
    both = branch.view("depth", second=run)
    curves = {row[0] for row in both.table.rows}
    assert any("as it is" in str(name) for name in curves)
    with pytest.raises(LoopscopeError, match="make a view of each"):
        run.view("distance", second=branch)


def test_a_view_reads_the_directions_that_it_draws(run: Run) -> None:
    view = run.view("state_space", axes="readout", readout_x=4, readout_y=9)
    w = run.stepper.loaded.model.unembed.weight.double().numpy()
    along = run.states[:, 0].astype(np.float64) @ (w[4] / np.linalg.norm(w[4]))
    found = [row[4] for row in view.table.rows if row[0] == 0]
    np.testing.assert_allclose(found, along, rtol=1e-4)


def test_what_is_measured_on_request_is_asked_for(model: Model) -> None:
    run = model.run(PROMPT, 3)
    with pytest.raises(LoopscopeError, match=r"call run.analyse\('paths'\) first"):
        run.view("paths")
    run.analyse("paths", random_starts=2)
    assert len(run.view("paths").table.rows) > 3
    with pytest.raises(LoopscopeError, match=r"needs no measurement: call view\('settling'\)"):
        run.analyse("settling")


def test_half_precision_is_compared_with_float32(model: Model) -> None:
    run = loopscope.load("bundled:looped", "cpu", "bfloat16").run(PROMPT, 2)
    assert run.compare_with_float32().shape == (2, 12)
    with pytest.raises(LoopscopeError, match="this run is in float32"):
        model.run(PROMPT, 1).compare_with_float32()


ERRORS: dict[str, tuple[Any, str]] = {
    "measure": (lambda run: run.measure("relativ_step"), "perhaps relative_step"),
    "view": (lambda run: run.view("setling"), "perhaps settling"),
    "setting": (lambda run: run.view("settling", tolerence=1), "no setting 'tolerence'; perhaps"),
    "other setting": (lambda run: run.view("pattern", scales=1), "no setting 'scales'; perhaps"),
    "choice": (lambda run: run.view("distance", distance="far"), "distance='far': expected"),
    "range": (lambda run: run.view("settling", tolerance=-1.0), "expected a number, 0 to 1"),
    "whole": (lambda run: run.view("settling", window=2.5), "window=2.5: expected a whole number"),
    "flag": (lambda run: run.view("depth", band=1), "band=1: expected bool"),
    "place": (lambda run: run.view("depth", at={"token": 12}), "token 12 is not among 0 to 11"),
    "field": (lambda run: run.view("depth", at={"place": 1}), "there is no 'place'"),
    "page": (lambda run: run.figure("depth", page="wide"), "page='wide': expected 'one column'"),
    "step_pairing": (
        lambda run: run.view("depth", second=run, step_pairing="slow"),
        "there is no step pairing 'slow'",
    ),
    "second": (lambda run: run.analyse("correspondence"), "second model"),
    "cut": (lambda run: run.branch({"kind": "nose"}), "there is no intervention 'nose'"),
    "cut's place": (lambda run: run.branch(NOISE | {"tokens": [99]}), "99"),
    "recurrences": (lambda run: run.step(0), "0 recurrences cannot be run"),
    "logits": (lambda run: run.logits(9), "recurrence 9 has not been run"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_one_line_that_names_the_offender(run: Run, case: str) -> None:
    call, said = ERRORS[case]
    with pytest.raises(LoopscopeError) as raised:
        call(run)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_errors_of_the_model(model: Model) -> None:
    with pytest.raises(LoopscopeError, match=r"give loop=\(first, end\)"):
        loopscope.load("bundled:deep", "cpu", damping=0.5)
    with pytest.raises(LoopscopeError, match="keep: there is no 'pattern'"):
        model.run(PROMPT, 1, keep=("pattern",))
    for name in ("readout", "readouts"):
        assert model.run(PROMPT, 1, keep=(name,)).recording.capture == Capture(False, False, True)
    with pytest.raises(LoopscopeError, match="at least one prompt"):
        model.prompts = []
    with pytest.raises(LoopscopeError, match="start='ones': this model starts from default, zeros"):
        model.run(PROMPT, 1, start="ones")  # type: ignore[arg-type]
    with pytest.raises(LoopscopeError, match="start_scale=nan: expected a finite number"):
        model.measure("relative_step", [PROMPT], 1, start="random", start_scale=float("nan"))
    with pytest.raises(loopscope.PromptError):
        model.run("")


def test_a_deep_model_is_looped_as_the_command_line_does() -> None:
    looped = loopscope.load("bundled:deep", "cpu", loop=(4, 6), damping=0.5)
    x = looped.run(PROMPT, 2, keep=()).states.astype(np.float64)
    assert looped.architecture.damping == 0.5
    assert looped.architecture.n_block == 2
    assert "looped" in looped.name
    assert np.isfinite(x).all()
    assert "damping" in looped.card()


def test_a_run_is_saved_and_read_without_its_model(model: Model, tmp_path: Path) -> None:
    run = model.run(PROMPT, 4)
    branch = run.branch(NOISE)
    run.save(tmp_path / "run.h5", branch)
    again, other = loopscope.open_recording(tmp_path / "run.h5")
    assert (again.name, other.name) == ("run", "branch")
    assert np.array_equal(again.states, run.states)
    assert np.array_equal(other.patterns, branch.patterns)
    assert again.provenance == run.provenance
    for name in ("settling", "readout", "heads"):
        # NaN is equal to itself here.
        assert repr(again.view(name).table.rows) == repr(run.view(name).table.rows)
    assert other.to_dict().keys() == branch.to_dict().keys()
    for needs_the_model in (again.step, again.logits, lambda: again.branch(NOISE)):
        with pytest.raises(LoopscopeError, match=r"has no model: call model.resume"):
            needs_the_model()
    going_on = model.resume(again)
    going_on.step(2)
    assert np.array_equal(going_on.states, model.run(PROMPT, 6).states)
    with pytest.raises(LoopscopeError, match="other weights"):
        loopscope.load("bundled:deep", "cpu").resume(again)
    with pytest.raises(LoopscopeError):
        loopscope.open_recording(tmp_path / "none.h5")


# ---- the window of a script ----
def made_again(session: SavedSession, model: Model) -> dict[int, Stepper]:
    """The runs of a session, as the window makes them again."""

    def begin(run: SavedRun) -> Stepper:
        stepper = Stepper(model.loaded)
        prompt = model.loaded.tokenizer.encode(run.prompt)
        cuts: Any = run.interventions
        start: Any = {"start": run.start, "start_scale": run.start_scale}
        stepper.begin(prompt, seed=run.seed, interventions=cuts, **start)
        return stepper

    rebuild = Rebuild(session.runs, model.architecture.n_block, begin)
    rebuild.run(Job("again"))
    assert rebuild.problems == []
    return rebuild.made


def opened(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands of windows that would be opened on a display."""
    commands: list[list[str]] = []

    class Process:
        def __init__(self, command: list[str]) -> None:
            commands.append(command)

        def poll(self) -> int:
            return 0

    monkeypatch.setattr("loopscope.app.notebook.showing.has_display", lambda: True)
    monkeypatch.setattr("loopscope.app.notebook.showing.subprocess.Popen", Process)
    return commands


def test_the_window_shows_the_runs_of_the_script(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    commands = opened(monkeypatch)
    run = model.run(PROMPT, 3, seed=2, start="random", start_scale=0.5, name="as it is")
    run.step_layer()
    cut = run.branch(NOISE)
    cut.show(second=run)
    file = Path(commands[0][-1])
    assert commands[0][1:-1] == ["-P", "-m", "loopscope.app", "open"]
    session = read_session(file)
    made = made_again(session, model)
    for own, stepper in ((cut, made[1]), (run, made[2])):
        assert stepper.recording.layers_done == 7
        assert np.array_equal(stepper.recording.states, own.states)
    assert (session.shown, session.second) == (1, 2)
    assert [saved.name for saved in session.runs] == ["branch", "as it is"]


@pytest.mark.slow
def test_the_window_opens_on_them(model: Model, tmp_path: Path) -> None:
    run = model.run(PROMPT, 2)
    file, picture = tmp_path / "run.loopscope.json", tmp_path / "window.png"
    write_session(file, session_of([("run", run.stepper)]))
    command = ["-m", "loopscope.app", "open", str(file), "--screenshot", str(picture), "--exit"]
    env = os.environ | {"PYTHONPATH": str(ROOT / ".dev"), "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert picture.is_file()


def test_a_second_model_is_shown_beside(model: Model) -> None:
    deep = loopscope.load("bundled:deep", "cpu")
    named = [(run.name, run.stepper) for run in (model.run(PROMPT, 1), deep.run(PROMPT, 1))]
    session = session_of(named)
    assert session.second is None
    assert session.second_model is not None
    assert session.second_model.path == "bundled:deep"


def test_what_no_window_can_show_is_said(
    model: Model, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = model.run(PROMPT, 1, initial_state=run.states[1])
    with pytest.raises(LoopscopeError, match="initial state was given as an array"):
        given.show()
    monkeypatch.setattr("loopscope.app.notebook.showing.has_display", lambda: False)
    with pytest.raises(LoopscopeError, match="there is no display"):
        run.show()
