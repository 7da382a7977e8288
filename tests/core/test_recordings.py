"""Recordings in files: written, left by a kill, opened without the model, gone on with."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import torch
from checkpoints import CONFIGS, write_checkpoint
from models import tiny_checkpoint
from recordings import synthetic_recording, with_results

from loopscope.app.views import VIEW_SPECS
from loopscope.core import views
from loopscope.core.analyses import exits, probe, quality
from loopscope.core.analyses import prompts as prompts_of
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.layers import AblateHead
from loopscope.core.interventions.states import Noise
from loopscope.core.measures.exits_over_prompts import EXITS_OVER_PROMPTS
from loopscope.core.measures.lens import READINGS, Reading, Readings
from loopscope.core.measures.over_prompts import (
    PROMPT_MEASURES,
    HowRun,
    OverPrompts,
    PromptMeasures,
)
from loopscope.core.measures.path_independence import PATHS
from loopscope.core.measures.probe import PROBE
from loopscope.core.measures.quality import QUALITY
from loopscope.core.measures.registry import MEASURES
from loopscope.core.measures.stability import STABILITY
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.recordings.finding import find_checkpoint
from loopscope.core.recordings.going_on import differences, resume
from loopscope.core.recordings.reader import is_recording, open_recording
from loopscope.core.recordings.results import KEYS, MODEL_KEYS
from loopscope.core.recordings.segments import segments_of
from loopscope.core.recordings.writing import RecordingWriter, save
from loopscope.core.results import ResultKey
from loopscope.core.run.jobs import Job
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection

PROMPT = "ab bc ca ? 2 : a b c"


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    return load(str(tiny_checkpoint(tmp_path / "m")), "cpu")


def run(loaded: Loaded, n: int = 4, layers: int = 0, capture: Capture | None = None) -> Stepper:
    stepper = Stepper(loaded, capture)
    stepper.begin(loaded.tokenizer.encode(PROMPT), seed=3)
    for _ in range(n):
        stepper.step()
    for _ in range(layers):
        stepper.step_layer()
    return stepper


def assert_same(a: Recording, b: Recording) -> None:
    assert a.info == b.info
    assert (a.layers_done, a.n_recurrences) == (b.layers_done, b.n_recurrences)
    assert a.capture == b.capture
    assert a.kept.keys() == b.kept.keys()
    for name, rows in a.kept.items():
        n = len(b.kept[name])
        np.testing.assert_array_equal(rows.rows(0, n), b.kept[name].rows(0, n), err_msg=name)
    np.testing.assert_equal(dict(a.effects), dict(b.effects))
    assert [a.label(i) for i in range(5)] == [b.label(i) for i in range(5)]
    assert a.weight_identity == b.weight_identity


def test_what_is_saved_is_what_is_opened(loaded: Loaded, tmp_path: Path) -> None:
    stepper, path = run(loaded, 4, 1), tmp_path / "run.h5"
    stepper.readout_direction(3)
    stepper.recording.readout_directions[3] = stepper.readout_direction(3)
    save(path, [stepper.recording], command="loopscope run")
    assert is_recording(path)
    file = open_recording(path)
    assert_same(file.runs[0], stepper.recording)
    assert file.parents == (None,)
    assert not file.read_only
    assert file.notes == ()
    assert file.provenance["command"] == "loopscope run"
    assert file.provenance["torch"] == str(torch.__version__)
    np.testing.assert_array_equal(
        file.runs[0].readout_directions[3], stepper.recording.readout_directions[3]
    )


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_is_opened_as_it_was(family: str, tmp_path: Path) -> None:
    loaded = load(str(write_checkpoint(tmp_path / "m", family)), "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.from_ids((1, 2, 3)))
    stepper.step()
    save(tmp_path / "run.h5", [stepper.recording])
    assert_same(open_recording(tmp_path / "run.h5").runs[0], stepper.recording)


@pytest.mark.slow
def test_a_branch_shares_its_beginning_in_the_file(loaded: Loaded, tmp_path: Path) -> None:
    stepper, path = run(loaded, 6), tmp_path / "run.h5"
    cut = stepper.branch((Noise(recurrence=4, last=5, layer=1, size=0.5),))
    for _ in range(2):
        cut.step()
    again = cut.branch((AblateHead(recurrence=5, last=5, layer=0, head=1),))
    for other in (cut, again):
        while other.recording.n_recurrences < 7:
            other.step()
    runs = [stepper.recording, cut.recording, again.recording]
    save(path, runs)
    with h5py.File(path) as file:
        assert len(file["runs/1/layer_states"]) == 14 - 7
        assert len(file["runs/2/states"]) == 8 - 5
    opened = open_recording(path)
    assert opened.parents == (None, 0, 1)
    for a, b in zip(opened.runs, runs, strict=True):
        assert_same(a, b)
    save(tmp_path / "again.h5", opened.runs)
    assert (tmp_path / "again.h5").stat().st_size == path.stat().st_size
    for a, b in zip(open_recording(tmp_path / "again.h5").runs, runs, strict=True):
        assert_same(a, b)
    # A branch alone takes its whole beginning along.
    save(tmp_path / "alone.h5", [cut.recording])
    assert_same(open_recording(tmp_path / "alone.h5").runs[0], cut.recording)


@pytest.mark.slow
@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("family", ["huginn", "hrm_text"])
def test_going_on_is_bit_for_bit(family: str, layers: int, tmp_path: Path) -> None:
    folder = str(write_checkpoint(tmp_path / "m", family))
    loaded = load(folder, "cpu")
    stepper = Stepper(loaded)
    noise = (Noise(recurrence=2, last=-1, layer=0, size=0.1),)
    stepper.begin(loaded.tokenizer.from_ids((1, 2, 3, 4)), seed=1, interventions=noise)
    for _ in range(3):
        stepper.step()
    for _ in range(layers):
        stepper.step_layer()
    save(tmp_path / "run.h5", [stepper.recording])
    file = open_recording(tmp_path / "run.h5")
    loaded_again = load(folder, "cpu")
    assert differences(loaded_again, file.runs[0], file.about) == ""
    again = resume(loaded_again, file.runs[0])
    for _ in range(3):
        stepper.step()
        again.step()
    assert_same(again.recording, stepper.recording)
    branch, other = (s.branch((Noise(recurrence=3, last=3, size=0.2),)) for s in (stepper, again))
    branch.step()
    other.step()
    assert_same(other.recording, branch.recording)


def test_other_weights_do_not_go_on(loaded: Loaded, tmp_path: Path) -> None:
    save(tmp_path / "run.h5", [run(loaded).recording])
    file = open_recording(tmp_path / "run.h5")
    other = load(str(tiny_checkpoint(tmp_path / "other", seed=1)), "cpu")
    with pytest.raises(LoopscopeError, match="made with other weights .* it is shown as it is"):
        resume(other, file.runs[0])
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        said = differences(loaded, file.runs[0], file.about)
    finally:
        torch.set_num_threads(threads)
    assert said == (
        f"goes on with threads {threads + 1}, not {threads}: equal within rounding only"
    )


def left(path: Path, stepper: Stepper, *more: Stepper) -> RecordingWriter:
    """A writer that has written all there is, as if the process had then been killed."""
    writer = RecordingWriter(path, "loopscope run")
    for own in (stepper, *more):
        writer.add(own.recording)
    writer.flush()
    return writer


@pytest.mark.slow
def test_what_is_made_is_readable_before_it_is_closed(loaded: Loaded, tmp_path: Path) -> None:
    stepper, path = run(loaded, 3, 1), tmp_path / "run.h5"
    writer = left(path, stepper)
    assert is_recording(path)
    file = open_recording(path)
    assert file.read_only
    assert "recorded by another process" in file.notes[0]
    assert_same(file.runs[0], stepper.recording)
    cut = stepper.branch((Noise(recurrence=2, last=3, layer=1, size=0.5),))
    writer.add(cut.recording)
    cut.step()
    stepper.step()
    writer.close()
    assert not segments_of(path).exists()
    for opened, made in zip(open_recording(path).runs, (stepper, cut), strict=True):
        assert_same(opened, made.recording)


def test_a_second_writer_is_refused(loaded: Loaded, tmp_path: Path) -> None:
    writer = left(tmp_path / "run.h5", run(loaded))
    with pytest.raises(LoopscopeError, match="is being recorded elsewhere, or was left unfinished"):
        RecordingWriter(tmp_path / "run.h5")
    writer.close()


@pytest.mark.slow
def test_a_recording_goes_on_in_its_file(loaded: Loaded, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    save(path, [run(loaded, 2, 1).recording])
    file = open_recording(path)
    stepper = resume(loaded, file.runs[0])
    writer = RecordingWriter(path, begun=file.runs)
    stepper.step()
    stepper.step()
    writer.flush()
    assert_same(open_recording(path).runs[0], run(loaded, 4).recording)
    # The segments hold what is new alone.
    assert segments_of(path).stat().st_size < path.stat().st_size
    writer.close()
    assert_same(open_recording(path).runs[0], run(loaded, 4).recording)


def test_the_documented_layout_is_read_with_h5py_alone(loaded: Loaded, tmp_path: Path) -> None:
    recording, path = run(loaded, 3).recording, tmp_path / "run.h5"
    save(path, [recording])
    page = Path(__file__).parents[2] / "docs" / "recordings.md"
    code = page.read_text().split("```python\n")[1].split("```")[0]
    assert len(code.split("\n\n")[-1].strip().splitlines()) == 5 - 1
    names: dict[str, object] = {}
    exec(code.replace("run.h5", str(path)), names)
    np.testing.assert_array_equal(names["states"], recording.states)
    np.testing.assert_array_equal(names["patterns"], recording.patterns)
    assert names["info"]["prompt"] == PROMPT


def same_values(a: object, b: object) -> None:
    """Results are compared field by field: arrays have no equality of their own."""
    if dataclasses.is_dataclass(a):
        assert type(a) is type(b)
        for field in dataclasses.fields(a):
            if not field.name.startswith("_"):  # what is remembered beside it
                same_values(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, Mapping):
        assert list(a) == list(b)
        for key in a:
            same_values(a[key], b[key])
    elif isinstance(a, tuple) and a and dataclasses.is_dataclass(a[0]):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            same_values(one, other)
    elif callable(a):
        assert a is b
    else:
        np.testing.assert_array_equal(a, b)
        assert np.asarray(a).dtype == np.asarray(b).dtype


@pytest.mark.parametrize("sealed", [True, False])
def test_results_of_a_run_are_kept(sealed: bool, tmp_path: Path) -> None:
    recording, path = with_results(synthetic_recording(recurrences=5)), tmp_path / "run.h5"
    rng = np.random.default_rng(0)
    numbers = [rng.normal(size=(5, 2, 5, n)).astype(np.float32) for n in (3, 4, 4)]
    flat = [rng.normal(size=(5, 2, 5)).astype(np.float32) for _ in range(4)]
    flat[1][2] = np.nan
    reading = Reading(
        rng.integers(0, 9, (5, 2, 5, 3)), numbers[0], *flat[:2], np.arange(4), *numbers[1:], *flat[2:]
    )  # fmt: skip
    recording.keep(READINGS, Readings(logit=reading))
    recording.float32_error = flat[0][:, 0]
    if sealed:
        save(path, [recording])
        opened = open_recording(path).runs[0]
    else:
        writer = RecordingWriter(path)
        writer.add(recording)
        writer.flush()
        opened = open_recording(path).runs[0]
        writer.close()
    for key in (STABILITY, PATHS, READINGS):
        same_values(opened.result(key), recording.result(key))
    np.testing.assert_array_equal(opened.float32_error, recording.float32_error)


@pytest.mark.parametrize("sealed", [True, False])
def test_results_over_prompt_sets_are_kept_once_for_all_runs(sealed: bool, tmp_path: Path) -> None:
    loaded, path = load("bundled:looped", "cpu"), tmp_path / "run.h5"
    prompts = PromptSet("here.jsonl", "here", (Item("ab ba ? 1 : a", "b", 1), Item("x", None, 2)))
    loaded.shared.prompts = prompts
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("ab ba ? 1 : a"))
    for _ in range(3):
        stepper.step()
    recording = stepper.recording
    for key, analysis, options in (
        (QUALITY, quality, views.quality.Options()),
        (PROMPT_MEASURES, prompts_of, views.prompts.Options()),
        (EXITS_OVER_PROMPTS, exits, views.exits.Options()),
        (PROBE, probe, views.probe.Options(prompts=3, draws=1, recurrences=4, mid=1, late=2)),
    ):
        recording.keep(key, analysis.run(stepper, Selection(), options, Job("measuring")))
    branch = stepper.branch((Noise(recurrence=1, last=1, layer=-1, size=0.5),))
    runs = [recording, branch.recording]
    if sealed:
        save(path, runs)
        opened = open_recording(path).runs
    else:
        writer = RecordingWriter(path)
        for run in runs:
            writer.add(run)
        writer.flush()
        opened = open_recording(path).runs
        writer.close()
    assert opened[1].shared is opened[0].shared
    for key in (QUALITY, PROMPT_MEASURES, EXITS_OVER_PROMPTS, PROBE):
        same_values(opened[0].result(key), recording.result(key))
    found, kept = recording.result(PROBE), opened[0].result(PROBE)
    assert kept.as_json() == found.as_json()
    assert any(o.condition.donor and o.condition.draws[0][0].source for o in kept.outcomes)
    # Another process goes on with the model: they are its model's.
    again = load("bundled:looped", "cpu")
    resume(again, opened[0])
    same_values(again.shared.results.get(QUALITY), recording.result(QUALITY))


def test_what_every_view_measures_is_kept() -> None:
    asked = {spec.request.result for spec in VIEW_SPECS if spec.request is not None}
    assert len(asked) > 5
    assert asked == {*KEYS, *MODEL_KEYS}


def test_a_result_of_a_measure_that_is_not_here_is_left_out(tmp_path: Path) -> None:
    recording, path = synthetic_recording(recurrences=3), tmp_path / "run.h5"
    prompts = PromptSet("", "none", (Item("a", None, 1),))
    how = HowRun(3, interventions=(Noise(recurrence=1, last=1, layer=-1, size=0.5),))
    step, values = MEASURES["relative_step"], np.ones((1, 3, 1))
    by_key = {
        key: OverPrompts.of(dataclasses.replace(step, key=key), prompts, how, values, [""])
        for key in ("relative_step", "of_a_plug_in")
    }
    recording.keep(PROMPT_MEASURES, PromptMeasures(by_key))
    save(path, [recording])
    found = open_recording(path).runs[0].result(PROMPT_MEASURES)
    assert list(found.by_key) == ["relative_step"]
    assert found.by_key["relative_step"].how == how


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """What a view of another package measures."""

    values: npt.NDArray[np.float64]
    marks: tuple[str, ...]
    radius: float = math.nan


@dataclasses.dataclass(frozen=True, slots=True)
class Odd:
    """What no file can hold."""

    tokens: set[int]


SPREAD = ResultKey("spread_of_a_plug_in", Spread)
ODD = ResultKey("odd", Odd)


@pytest.mark.parametrize("sealed", [True, False])
def test_the_result_of_another_packages_view_is_kept(sealed: bool, tmp_path: Path) -> None:
    recording, path = with_results(synthetic_recording(recurrences=5)), tmp_path / "run.h5"
    result = Spread(np.arange(6.0).reshape(2, 3), ("a", "b"))
    recording.keep(SPREAD, result)
    if sealed:
        save(path, [recording])
        opened = open_recording(path).runs
    else:
        writer = RecordingWriter(path)
        writer.add(recording)
        writer.flush()
        opened = open_recording(path).runs
        writer.close()
    # Who does not know its class writes it again as it is.
    save(tmp_path / "again.h5", opened)
    for run in (opened[0], open_recording(tmp_path / "again.h5").runs[0]):
        changes = run.results.changes
        same_values(run.result(SPREAD), result)
        assert run.results.changes == changes  # reading it is nothing to write
        same_values(run.result(STABILITY), recording.result(STABILITY))
    # Read, it is written once more as what it is.
    save(path, opened)
    same_values(open_recording(path).runs[0].result(SPREAD), result)


def test_a_foreign_result_that_cannot_be_kept_or_read_is_logged_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording, path = synthetic_recording(recurrences=3), tmp_path / "run.h5"
    recording.keep(ODD, Odd({1, 2}))
    recording.keep(SPREAD, Spread(np.arange(3.0), ("a",)))
    save(path, [recording])
    assert [r.getMessage() for r in caplog.records] == [
        "keeping the result of 'odd' in a recording"
    ]
    run = open_recording(path).runs[0]
    assert run.result(ODD) is None
    assert run.result(ResultKey(SPREAD.name, Odd)) is None  # another version of the package
    assert caplog.records[-1].getMessage() == "reading a result of a recording"


FIRST = Path(__file__).parents[1] / "data" / "recordings" / "version-1.h5"


def test_a_file_of_the_first_version_is_opened() -> None:
    """The file was made by the first release with recordings and is never made anew."""
    file = open_recording(FIRST)
    expected = json.loads(FIRST.with_suffix(".json").read_text())
    assert [run.n_recurrences for run in file.runs] == expected["recurrences"]
    assert list(file.parents) == expected["parents"]
    for own, sums in zip(file.runs, expected["sums"], strict=True):
        for name, total in sums.items():
            rows = own.kept[name].rows(0, len(own.kept[name]))
            assert np.nansum(rows.astype(np.float64)) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "kept"),
    [("\0", "\ufffd"), ("\udcff", "\ufffd"), ("\\u0000", "\\u0000"), ("\U0001f600\x1b", None)],
)
def test_text_that_no_file_can_hold_does_not_shut_the_file(
    text: str, kept: str | None, tmp_path: Path
) -> None:
    """A token may be the byte 0, the name of a checkpoint's folder any bytes."""
    run = synthetic_recording(tokens=3, labels=["a", text, "b"], recurrences=2)
    run.info = dataclasses.replace(run.info, checkpoint=f"m{text}")
    save(tmp_path / "run.h5", [run])
    (found,) = open_recording(tmp_path / "run.h5").runs
    assert found.info.token_labels == ("a", kept or text, "b")
    assert found.info.checkpoint == f"m{kept or text}"


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_a_checkpoint_whose_folder_is_named_by_bytes_that_are_no_text(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff"))
    run = Stepper(load(str(tiny_checkpoint(folder)), "cpu"))
    run.begin(run.loaded.tokenizer.encode(PROMPT))
    run.step()
    assert run.recording.info.checkpoint == "m\ufffd"
    save(tmp_path / "run.h5", [run.recording])
    assert_same(open_recording(tmp_path / "run.h5").runs[0], run.recording)


def test_the_checkpoint_of_a_looped_span_is_found_by_its_folder(tmp_path: Path) -> None:
    bundled = load("bundled:deep", "cpu", loop=(1, 3, 0.5))
    folder = tmp_path / "deep"
    shutil.copytree(bundled.checkpoint.path, folder)
    for at, loaded in (
        ("bundled:deep", bundled),
        (str(folder), load(str(folder), "cpu", loop=(1, 3, 0.5))),
    ):
        path = tmp_path / f"{len(at)}.h5"
        save(path, [run(loaded, 2).recording])
        opened = open_recording(path).runs[0]
        assert opened.info.checkpoint.endswith("deep looped 1:3 β = 0.5")
        request, why = find_checkpoint(opened, [str(folder)], {})
        assert why == ""
        assert request is not None
        assert (request.path, request.loop) == (at, (1, 3, 0.5))
