"""Recording processes that are killed, disks that are full, files that go: nothing is lost.

`LOOPSCOPE_KILLS` asks for more than the gate's number of kills.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import recording_child
from recordings import synthetic_recording

from loopscope.core.errors import LoopscopeError
from loopscope.core.recordings.following import Follower
from loopscope.core.recordings.reader import open_recording
from loopscope.core.recordings.segments import SegmentWriter, segments_of
from loopscope.core.recordings.writing import RecordingWriter, save
from loopscope.core.run.recording import Recording

KILLS = int(os.environ.get("LOOPSCOPE_KILLS", "5"))
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(36_000)
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_what_was_flushed_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    of, rng, path = recording_child.source(), random.Random(), tmp_path / "run.h5"
    environment = os.environ | {"PYTHONPATH": f"{ROOT / '.dev'}{os.pathsep}{ROOT / 'tests'}"}
    safe = 0
    for i in range(KILLS):
        if i % 20 == 0:
            path.unlink(missing_ok=True)
            segments_of(path).unlink(missing_ok=True)
            safe = 0
        child = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "recording_child.py"), str(path)],
            stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert child.stdout is not None
        safe = int(child.stdout.readline())  # it is under way
        time.sleep(rng.random() * 2)
        child.kill()
        safe = max([safe, *map(int, child.stdout.read().split())])
        child.stdout.close()
        child.wait()
        file = open_recording(path)
        recovered = file.runs[0]
        assert recovered.n_recurrences >= safe
        for name, rows in recovered.kept.items():
            n = len(rows)
            np.testing.assert_array_equal(rows.rows(0, n), of.kept[name].rows(0, n), err_msg=name)


def test_a_kill_after_sealing_leaves_rows_twice(tmp_path: Path) -> None:
    path, of = tmp_path / "run.h5", synthetic_recording(recurrences=40)
    save(path, [replayed(3)])
    run = open_recording(path).runs[0]
    writer = RecordingWriter(path, begun=[run])
    recording_child.step(run, of)
    writer.flush()
    left = segments_of(path).read_bytes()
    writer.close()
    segments_of(path).write_bytes(left)
    file = open_recording(path)
    assert "4 recurrences were recovered" in file.notes[0]
    np.testing.assert_array_equal(file.runs[0].states, of.states[:5])


def replayed(n: int) -> Recording:
    of = synthetic_recording(recurrences=40)
    recording = Recording(of.info, of.state(0), of.capture)
    for _ in range(n):
        recording_child.step(recording, of)
    return recording


def test_a_full_disk_ends_the_recording_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, recording = tmp_path / "run.h5", replayed(3)
    of = synthetic_recording(recurrences=40)
    writer = RecordingWriter(path)
    writer.add(recording)
    writer.flush()
    with monkeypatch.context() as full:

        def refuse(self: SegmentWriter, data: memoryview | bytes) -> None:
            self._file.write(data[: len(data) // 2])  # a part still fits
            raise OSError(28, "No space left on device")

        full.setattr(SegmentWriter, "_write", refuse)
        recording_child.step(recording, of)
        writer.flush()
    assert writer.problem.endswith("has ended: No space left on device; the run goes on")
    recording_child.step(recording, of)  # which is no longer written
    writer.flush()
    assert open_recording(path).runs[0].n_recurrences == 3
    monkeypatch.setattr("loopscope.core.recordings.writing.h5_file", no_space)
    with pytest.raises(LoopscopeError, match=r"cannot write .*run.h5: No space left"):
        writer.close()
    assert not path.exists()
    file = open_recording(path)
    assert "cannot be sealed: cannot write" in file.notes[0]
    assert file.runs[0].n_recurrences == 3
    monkeypatch.undo()
    assert "3 recurrences were recovered" in open_recording(path).notes[0]
    assert open_recording(path).notes == ()


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is held open stays there")
@pytest.mark.parametrize("all_of_it", [True, False])
def test_a_drive_that_is_removed_is_told_and_the_run_is_completed_where_there_is_room(
    all_of_it: bool, tmp_path: Path
) -> None:
    drive = tmp_path / "drive"
    drive.mkdir()
    path, recording = drive / "run.h5", replayed(3)
    writer = RecordingWriter(path)
    writer.add(recording)
    writer.flush()
    assert writer.problem == ""
    segments_of(path).unlink()
    if all_of_it:
        drive.rmdir()
    writer.flush()  # what it holds open still takes what is written
    assert writer.problem.endswith("the file or its drive is gone; the run goes on")
    if all_of_it:
        with pytest.raises(LoopscopeError, match=r"cannot write .*run.h5: No such file"):
            writer.close()
    else:
        writer.close()  # as where a folder is left that the drive was mounted on
        file = open_recording(path)
        assert (file.notes, file.runs[0].n_recurrences) == ((), 3)


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is held open stays there")
def test_who_left_a_file_takes_none_of_anothers_segments_away(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    writer = RecordingWriter(path)
    writer.add(replayed(3))
    writer.flush()
    segments_of(path).unlink()
    other = RecordingWriter(path)
    other.add(replayed(2))
    other.flush()
    writer.close()
    assert segments_of(path).exists()
    other.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size")
@pytest.mark.parametrize("reserved", [True, False])
def test_the_library_does_not_see_a_full_disk(
    reserved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    if not reserved:  # as where another takes the room meanwhile
        monkeypatch.setattr("loopscope.core.recordings.target._reserve", lambda *_: None)
    path = tmp_path / "run.h5"
    save(path, [replayed(2)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(LoopscopeError, match=r"cannot write .*run.h5: File too large"):
            save(path, [replayed(40)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert open_recording(path).runs[0].n_recurrences == 2
    assert [own.name for own in tmp_path.iterdir()] == ["run.h5"]


def no_space(*_: object) -> object:
    raise OSError(28, "No space left on device")


def test_a_file_that_goes_is_told_where_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    save(path, [replayed(8)])
    run = open_recording(path).runs[0]
    first = run.states.copy()
    os.truncate(path, 2000)
    with pytest.raises(LoopscopeError, match=r"run.h5: cannot be read: it ends before"):
        run.layer_states_of(1, 8)
    with pytest.raises(
        LoopscopeError, match=r"would lie beyond its end: it was cut|cannot be read"
    ):
        open_recording(path)
    if sys.platform != "win32":  # what is held open is there although its name has gone
        save(path, [replayed(8)])
        run = open_recording(path).runs[0]
        path.unlink()
        np.testing.assert_array_equal(run.states, first)
        assert len(run.layer_states_of(1, 8)) == 8


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is held open stays there")
def test_who_follows_a_file_reads_all_of_it_and_sees_it_end(tmp_path: Path) -> None:
    path, of, recording = tmp_path / "run.h5", synthetic_recording(recurrences=40), replayed(2)
    writer = RecordingWriter(path)
    writer.add(recording)
    writer.flush()
    file = open_recording(path)
    assert file.growing is not None
    follower = Follower(file, file.growing)
    assert not follower.look()
    recording_child.step(recording, of)
    for layer in range(of.n_layers - 1):  # a recurrence that is under way
        recording.append_layer(of.layer(4, layer))
    writer.flush()
    assert follower.look()
    seen = file.runs[0]
    assert (seen.n_recurrences, seen.layers_done) == (3, 4 * of.n_layers - 1)
    np.testing.assert_array_equal(seen.states, of.states[:4])
    branch = recording.prefix(2 * of.n_layers, of.info)
    writer.add(branch)
    writer.close()  # what was left to write is written, and the segments go
    # Another goes on with it meanwhile: that is not what was followed.
    again = open_recording(path)
    other = RecordingWriter(path, begun=again.runs)
    assert follower.look()
    assert (follower.ended, follower.completed) == (True, True)
    (own, cut) = follower.file.runs
    assert own is seen
    assert (cut.n_recurrences, follower.file.parents) == (2, (None, 0))
    np.testing.assert_array_equal(cut.layer_states, of.layer_states[:2])
    other.close()


def test_who_follows_a_file_sees_that_it_is_written_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, of, recording = tmp_path / "run.h5", synthetic_recording(recurrences=40), replayed(2)
    writer = RecordingWriter(path)
    writer.add(recording)
    writer.flush()
    file = open_recording(path)
    assert file.growing is not None
    follower = Follower(file, file.growing)
    follower.look()
    assert not follower.ended
    recording_child.step(recording, of)
    with monkeypatch.context() as full:
        full.setattr(SegmentWriter, "_write", no_space)
        writer.flush()
    assert not follower.look()  # its writer may yet complete it
    assert not follower.ended
    writer.leave()
    follower.look()
    assert (follower.ended, follower.completed) == (True, False)
    assert "2 recurrences were recovered" in open_recording(path).notes[0]


def test_two_who_read_one_file(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    save(path, [replayed(8)])
    a, b = open_recording(path), open_recording(path)
    np.testing.assert_array_equal(a.runs[0].states, b.runs[0].states)
    # One of them goes on; the other still has what it opened.
    before = b.runs[0].states.copy()
    writer = RecordingWriter(path, begun=a.runs)
    recording_child.step(a.runs[0], synthetic_recording(recurrences=40))
    late = open_recording(path)
    assert late.read_only
    writer.close()
    np.testing.assert_array_equal(b.runs[0].states, before)
    assert open_recording(path).runs[0].n_recurrences == 9
