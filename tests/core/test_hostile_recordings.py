"""Recordings that are damaged, cut or made to harm: one clear line, nothing allocated or run.

`LOOPSCOPE_MUTATIONS` asks for more than the gate's number of mutated files.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from recordings import synthetic_recording, with_results

from loopscope.core.errors import LoopscopeError
from loopscope.core.measures.correspondence import ModelCorrespondence, correspondences
from loopscope.core.measures.path_independence import PATHS
from loopscope.core.measures.places import Places
from loopscope.core.measures.stability import STABILITY
from loopscope.core.recordings import checking
from loopscope.core.recordings.reader import open_recording
from loopscope.core.recordings.result_shapes import SHAPES, misshapen
from loopscope.core.recordings.segments import MAGIC, read_segments, segments_of
from loopscope.core.recordings.writing import RecordingWriter, save

FIRST = Path(__file__).parents[1] / "data" / "recordings" / "version-1.h5"
MUTATIONS = int(os.environ.get("LOOPSCOPE_MUTATIONS", "100"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(shutil.copy(FIRST, tmp_path / "run.h5"))


def refused(path: Path) -> str:
    """The one line that opening ends in; nothing large is allocated on the way."""
    tracemalloc.start()
    try:
        with pytest.raises(LoopscopeError) as caught:
            open_recording(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text
    return text


def head_edited(path: Path, run: int, change: Callable[[dict[str, Any]], None]) -> None:
    with h5py.File(path, "r+") as file:
        group = file[f"runs/{run}"]
        values = json.loads(group["head"][()].tobytes())
        change(values)
        del group["head"]
        group["head"] = np.frombuffer(json.dumps(values).encode(), np.uint8)


def at(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        for key in keys[:-1]:
            values = values[key]
        values[keys[-1]] = value

    return change


ARCH = ("info", "architecture")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (at(*ARCH, "n_block", value=10**9), "'n_block' is 1000000000"),
        (at(*ARCH, "n_coda", value=-1), "'n_coda' is -1"),
        (at(*ARCH, "vocab_size", value=1 << 40), "'vocab_size' is"),
        (at(*ARCH, "layer", "n_heads", value=10**7), "heads"),
        (at(*ARCH, "layer", "norms", value=["there"]), "a norm where there is none"),
        (at(*ARCH, "layer", "d_model", value=1 << 30), "shares layers that its parent does not"),
        (at(*ARCH, "layer", "rope", "scaling", value={"kind": "x"}), "no stretching 'x'"),
        (at(*ARCH, "block_weights", value=[0, 9]), "share weights that there are not"),
        (at("info", "token_ids", value=[5, 1, 2]), "not as many"),
        (at("info", "token_ids", value=[1 << 40] * 6), "token ids that its vocabulary"),
        (at("info", "interventions", value=[{"kind": "os.system"}]), "there is no intervention"),
        (at("info", "prompt", value=7), "expected str"),
        (at("info", value=None), "expected an object"),
        (at("parent", value=1), "does not come before it"),
        (at("parent", value=-1), "does not come before it"),
        (at("shared_layers", value=10**9), "shares layers that its parent does not have"),
        (at("effects", value=[[7, 1, "0.5"]]), "an effect of no intervention"),
        (at("effects", value=[[0, 1, "__import__('os')"]]), "an effect of no intervention"),
        (at("capture", value={"patterns": True, "more": 1}), "there is no 'more'"),
    ],
)  # fmt: skip
def test_a_head_that_claims_what_cannot_be_is_refused(
    path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    head_edited(path, 1, change)
    assert said in refused(path)


def test_a_state_wider_than_its_rows_is_refused(path: Path) -> None:
    head_edited(path, 0, at(*ARCH, "layer", "d_model", value=1 << 30))
    assert "'states' has the shape [4, 6, 16]" in refused(path)


def put(name: str, **how: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file.create_dataset(name, **how)

    return change


def linked(file: h5py.File) -> None:
    del file["runs/0/states"]
    file["runs/0/states"] = h5py.ExternalLink("/etc/passwd", "/states")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4, 6, 16), "<f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "states", (4, 6, 16))
    del file["runs/0/states"]
    file.create_virtual_dataset("runs/0/states", layout)


def elsewhere(file: h5py.File) -> None:
    del file["runs/0/states"]
    file.create_dataset("runs/0/states", (4, 6, 16), "<f4", external=[("/etc/passwd", 0, 1536)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("runs/0/states", shape=(1 << 40, 6, 16), dtype="<f4", chunks=(1, 6, 16)), "one piece"),
        (put("runs/0/states", shape=(1 << 40, 6, 16), dtype="<f4"), "has no place"),
        (put("runs/0/states", data=np.zeros((4, 6, 15), "<f4")), "'states' has the shape"),
        (put("runs/0/states", data=np.zeros((0, 6, 16), "<f4")), "has no initial state"),
        (put("runs/0/states", data=np.zeros((4, 6, 16), "<f8")), "'states' has the shape"),
        (put("runs/0/states", data=np.zeros((4, 6, 16), ">f4")), "is no array of a recording"),
        (put("runs/0/states", data=[b"text"], dtype=h5py.string_dtype()), "is no array"),
        (put("about", data=np.zeros(9, "u1")), "is not JSON"),
        (put("runs/0/head", data=np.frombuffer(b"[" * 100_000, "u1")), "is not JSON"),
        (linked, "has no initial state"),
        (elsewhere, "one piece"),
        (virtual, "one piece"),
        (lambda file: file.create_group("a/" * 3000), "lies too deep"),
        (put("runs/0/more", data=h5py.Empty("f")), "'runs/0/more' holds nothing"),
        (lambda file: file.attrs.__setitem__("version", [1, 1]), "does not say of which version"),
        (lambda file: file.attrs.__setitem__("version", "1"), "does not say of which version"),
        (lambda file: file.attrs.__setitem__("version", math.nan), "does not say of which"),
        (lambda file: file.attrs.__setitem__("version", 2), "of a newer Loopscope"),
        (lambda file: file.attrs.__setitem__("version", -1), "does not say of which version"),
        (lambda file: file.attrs.__setitem__("format", "other"), "no recording of Loopscope"),
        (lambda file: file.__delitem__("runs"), "holds no run"),
    ],
)  # fmt: skip
def test_arrays_that_a_recording_does_not_have_are_refused(
    path: Path, change: Callable[[h5py.File], None], said: str
) -> None:
    with h5py.File(path, "r+") as file:
        change(file)
    assert said in refused(path)


@pytest.mark.parametrize(("n", "kept"), [(0, None), (2, 2), (1000, 3)])
def test_errors_against_float32_are_of_recurrences_that_are_there(
    path: Path, n: int, kept: int | None
) -> None:
    put("runs/0/float32_error", data=np.ones((n, 6), "<f4"))(h5py.File(path, "r+"))
    found = open_recording(path).runs[0].float32_error
    assert (None if found is None else len(found)) == kept


def test_what_is_no_file_of_ours_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "run.h5"
    assert "cannot be read" in refused(path)
    path.write_bytes(b"")
    assert "is not HDF5" in refused(path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 1000)
    assert "cannot be read as a recording" in refused(path)
    shutil.copy(FIRST, path)
    monkeypatch.setattr(checking, "MOST_SECONDS", 0)
    assert "cannot be read as HDF5 within" in refused(path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "'results' is no object"),
        ({"paths": {"states": 1}}, "is no Paths"),
        ({"paths": {"states": {"array": "x", "shape": [1]}, "names": []}}, "has no array"),
        ({"paths": {"states": {"array": "results_arrays/0", "shape": [1 << 50]}, "names": []}},
         "has no array"),
        ({"paths": {"states": {"array": "results_arrays/0", "shape": [2]}, "names": []}},
         "is an array of int64"),
        ({"paths": {"states": None, "names": [1]}}, "has no array"),
    ],
)  # fmt: skip
def test_results_that_are_none_are_refused(path: Path, words: Any, said: str) -> None:
    with h5py.File(path, "r+") as file:
        file["runs/0/results"] = np.frombuffer(json.dumps(words).encode(), np.uint8)
        file["runs/0/results_arrays/0"] = np.array([1, 2])
    assert said in refused(path)


def test_arrays_of_a_result_that_do_not_go_together_are_told() -> None:
    run = with_results(synthetic_recording(recurrences=4))
    stability, sizes = run.result(STABILITY), {"T": 5, "W": 16, "L": 2}
    assert misshapen(stability, sizes) == ""
    for owner in (stability, stability.points, stability.spectrum):
        for name, axes in SHAPES[type(owner)].items():
            array = getattr(owner, name)
            for axis in range(array.ndim):
                if name == "lyapunov" or axes.split()[axis] == "n":
                    continue  # of one array alone: it may be of any length
                longer = np.concatenate([array, array.take([0], axis)], axis)
                other = replace(owner, **{name: longer})
                whole = {
                    "Stability": other,
                    "FixedPoints": replace(stability, points=other),
                    "Spectrum": replace(stability, spectrum=other),
                }[type(owner).__name__]
                assert "has the shape" in misshapen(whole, sizes), (name, axis)


def compared(n: int, m: int) -> ModelCorrespondence:
    """Two models of two layers, so many recurrences each, three and two heads."""
    rng = np.random.default_rng(0)
    xs, ys = ([rng.normal(size=(15, 4)) for _ in range(2 * k)] for k in (n, m))
    first, second = (Places(tuple(range(1, k + 1)), ("0", "1")) for k in (n, m))
    heads = rng.random((2 * n, 3, 2 * m, 2))
    return ModelCorrespondence(
        "a", "b", first, second, np.arange(2 * n), np.arange(2 * m), 3, 15, "three",
        correspondences(xs, ys, measures=("cosine",), n_prompts=3), heads=heads, heads_null=heads,
    )  # fmt: skip


def test_a_comparison_of_models_of_other_sizes_than_its_places_is_told() -> None:
    found = compared(4, 3)
    assert misshapen(found) == ""
    heads, states = found.heads, found.states["cosine"]
    other = {
        "places": replace(found, places=Places((1, 2), ("0", "1"))),
        "second_places": replace(found, second_places=Places((1,), ("0", "1"))),
        "no places": replace(found, second_places=Places((), ("0", "1"))),
        "nothing": replace(
            found,
            places=Places((), ("0",)),
            depths=np.arange(0),
            heads=None,
            heads_null=None,
            states={},
        ),
        "depths": replace(found, depths=np.arange(7)),
        "places of heads": replace(found, heads=heads[:7]),
        "no heads": replace(found, heads=heads[:0]),
        "heads": replace(found, heads=heads[:, :2]),
        "second heads": replace(found, heads_null=heads[..., :1]),
        "values": replace(found, states={"cosine": replace(states, values=states.values[:, :5])}),
    }
    for name, one in other.items():
        assert "has the shape" in misshapen(one), name
    for wrong in (-1, 6):
        path = states.path.copy()
        path[2] = wrong
        one = replace(found, states={"cosine": replace(states, path=path)})
        assert misshapen(one) == "'path' of its Correspondence is of places that there are not"


def test_a_result_of_other_tokens_than_the_run_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    run = with_results(synthetic_recording(recurrences=4))
    paths = run.result(PATHS)
    run.keep(PATHS, replace(paths, states=paths.states[:, :, :3]))
    save(path, [run])
    assert "'paths': 'states' of its Paths has the shape [2, 5, 3, 16]" in refused(path)


def test_a_library_that_dies_takes_nothing_with_it(path: Path, monkeypatch: Any) -> None:
    script = path.with_name("dies.py")
    monkeypatch.setattr(Path, "with_name", lambda self, name: script)
    for last in ("import os, signal\nos.kill(os.getpid(), 9)\n", "print('{\"arrays\": [1')\n"):
        script.write_text(last)
        with pytest.raises(LoopscopeError, match="the HDF5 library cannot read it"):
            checking.checked(path)


def mutated(raw: bytes, rng: random.Random) -> bytes:
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 5, 40))):
        place = rng.randrange(len(data))
        kind = rng.randrange(5)
        if kind == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[place : place + 8] = rng.choice((b"\xff" * 8, b"\0" * 8, rng.randbytes(8)))
        elif kind == 2:
            del data[place : place + rng.randrange(1, 64)]
        elif kind == 3:
            data[place:place] = rng.randbytes(rng.randrange(1, 64))
        else:
            del data[place:]
        if not data:
            return b""
    return bytes(data)


def opened_or_refused(path: Path) -> bool:
    """Whether it opens: then every row is read; else in one line that names the file."""
    try:
        file = open_recording(path)
    except LoopscopeError as error:
        assert "\n" not in str(error)
        assert "run.h5" in str(error)
        return False
    for run in file.runs:
        run.info.provenance()
        for rows in run.kept.values():
            rows.first(len(rows))
    return True


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where very many files are looked into, load the HDF5 library once rather than for each."""
    if MUTATIONS < 1000 or not hasattr(os, "fork"):
        yield
        return
    tests = Path(__file__).parents[1]
    index = Path(checking.__file__).with_name("index.py")
    server = subprocess.Popen(
        [sys.executable, "-P", str(tests / "index_server.py"), str(index)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        print(command[-1], file=server.stdin, flush=True)
        said = json.loads(server.stdout.readline())  # type: ignore[union-attr]
        out = said["stdout"].encode()
        return subprocess.CompletedProcess(command, said["returncode"], out)

    with monkeypatch.context() as patched:
        patched.setattr(checking.subprocess, "run", run)
        yield
    server.stdin.close()
    server.wait()
    server.stdout.close()


@pytest.mark.slow
@pytest.mark.timeout(36_000)
def test_mutated_files(tmp_path: Path, many: None) -> None:
    raw, rng = FIRST.read_bytes(), random.Random(7)
    path, kept = tmp_path / "run.h5", 0
    # Half of the bytes are numbers, which may be any; where they lie is in the first part.
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(raw, rng))
        kept += opened_or_refused(path)
    assert kept < MUTATIONS


def left_over(path: Path) -> bytes:
    """What a killed process leaves of the runs of the first version's file."""
    writer = RecordingWriter(path)
    for run in open_recording(FIRST).runs:
        writer.add(run)
    writer.flush()
    raw = segments_of(path).read_bytes()
    writer.close()
    return raw


@pytest.mark.slow
@pytest.mark.timeout(36_000)
def test_mutated_segments(tmp_path: Path, many: None) -> None:
    path = tmp_path / "run.h5"
    raw, rng, kept = left_over(path), random.Random(8), 0
    for _ in range(MUTATIONS // 2):
        path.unlink(missing_ok=True)
        segments_of(path).write_bytes(mutated(raw, rng))
        kept += opened_or_refused(path)
    assert kept > 0


def test_segments_end_where_they_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    raw = left_over(path)
    left = segments_of(path)
    left.write_bytes(raw)
    whole = list(read_segments(left))
    ends = [s.offset + s.nbytes for s in whole]
    for n in (len(MAGIC), ends[3], ends[3] - 1, ends[3] + 1, ends[-1] - 1, ends[-1]):
        left.write_bytes(raw[:n])
        assert len(list(read_segments(left))) == sum(end <= n for end in ends)
    left.write_bytes(raw[: ends[3] - 1] + bytes([raw[ends[3] - 1] ^ 1]) + raw[ends[3] :])
    assert len(list(read_segments(left))) == 3
    left.write_bytes(b"another")
    with pytest.raises(LoopscopeError, match="is no file of recorded segments"):
        list(read_segments(left))
