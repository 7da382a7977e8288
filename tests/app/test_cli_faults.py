"""What goes wrong at the command line ends in one line and exit code 2, and leaves older files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from models import tiny_checkpoint

from loopscope.app.cli.main import main
from loopscope.core.experiments.training import STATE_FILE

ROOT = Path(__file__).parents[2]
PROMPT = ("--prompt", "ab ba ? 1 : a b", "--recurrences", "2")
TRAIN = ("train", "hops", "--steps", "2", "--d-model", "16", "--hops", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_checkpoint(tmp_path / "tiny")


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that is refused; returns its line."""
    assert main([str(a) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("loopscope: error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trace", "F", *PROMPT, "-o", "t.npz", "--seed", "-1"), "--seed: -1 is not between 0 and"),
        (("trace", "F", *PROMPT, "-o", "t.npz", "--seed", str(1 << 64)), "is not between 0 and"),
        (("trace", "F", *PROMPT, "-o", "t.npz", "--seed", "9" * 5000), "is not a whole number"),
        ((*TRAIN, "-o", "m", "--seed", "-1"), "--seed: -1 is not between 0"),
        ((*TRAIN, "-o", "m", "--threads", "99999"), "--threads: 99999 is not between 1 and 256"),
        ((*TRAIN[:4], "-o", "m", "--d-model", "100000000"), "is not between 1 and 65,536"),
        ((*TRAIN[:4], "-o", "m", "--d-model", "65536"), "not enough memory: training"),
        (("train", "hops", "-o", "m", "--d-model", "8", "--model", "deep-narrow", "--hops", "9"),
         "no width makes a model that is compared with one of width 8"),
        ((*TRAIN, "-o", "m", "--learning-rate", "nan"), "nan is not above 0 and at most 10"),
        ((*TRAIN, "-o", "m", "--block", "1000000000"), "is not between 1 and 1,000"),
        (("train", "text", "-o", "m", "--vocabulary", "99999"), "not between 257 and 65,536"),
        (("figures", "F", *PROMPT, "-o", "d", "--dpi", "1000000"), "is not between 10 and 2,400"),
        (("trace", "F", *PROMPT, "-o", "t.npz", "--loop", "²:3"), "is not a span of layers"),
        (("trace", "F", *PROMPT, "-o", "t.npz", "--damping", "nan"), "nan is not above 0"),
        (("trace", "F", *PROMPT, "-o", "t.npz", "--damping", "0.5"), "give --loop A:B with it"),
    ],
)  # fmt: skip
def test_numbers_out_of_bounds_are_told_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder.parent)
    assert message in refused(capsys, *(str(folder) if a == "F" else a for a in arguments))
    assert {p.name for p in folder.parent.iterdir()} <= {"tiny", "m"}


def test_outputs_to_a_folder_or_where_nothing_can_be_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("ab ba ? 1 : a b\n")
    for name in ("x.json", "x.npz"):
        (tmp_path / name).mkdir()
    measure = ("measure", folder, *PROMPT, "-o")
    quality = ("quality", folder, "--prompts", prompts, "--recurrences", "2", "-o")
    assert "x.json: it is a folder" in refused(capsys, *measure, tmp_path / "x.json")
    assert "x.json: it is a folder" in refused(capsys, *quality, tmp_path / "x.json")
    trace = ("trace", folder, *PROMPT, "-o")
    assert "x.npz: it is a folder" in refused(capsys, *trace, tmp_path / "x.npz")
    (tmp_path / "full.json").symlink_to("/dev/full")
    assert "full.json: is a device, not a file" in refused(capsys, *measure, tmp_path / "full.json")
    for command in (
        (*TRAIN, "-o", prompts),
        ("probe", folder, "--task", "hops", "-o", prompts / "x"),
        ("reproduce", "-o", prompts),
        ("twins", "-o", prompts),
        ("figures", folder, *PROMPT, "-o", prompts),
    ):
        assert str(prompts) in refused(capsys, *command)
    assert prompts.read_text() == "ab ba ? 1 : a b\n"


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file may grow beyond ``limit`` bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_older_files(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    out.write_text("older")
    with full_disk(500):
        line = refused(capsys, "measure", folder, *PROMPT, "-o", out)
    assert "cannot write" in line
    assert out.read_text() == "older"
    assert main([*TRAIN, "-o", str(tmp_path / "m")]) == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()}
    capsys.readouterr()
    with full_disk(5000):
        assert main([*TRAIN, "-o", str(tmp_path / "m")]) == 2
    resumed, line = capsys.readouterr().err.splitlines()
    assert resumed == "resuming at step 2"
    assert "training-state.pt: File too large" in line
    assert {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()} == before


@pytest.mark.slow
def test_a_probe_on_a_full_disk_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probe = ("probe", folder, "--task", "hops", "--prompts", "8", "--hops", "1", "--draws", "2",
             "-o", tmp_path / "p")  # fmt: skip
    with full_disk(5000):
        assert "cannot write" in refused(capsys, *probe)


def test_a_damaged_training_state_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TRAIN, "-o", str(tmp_path / "m")]) == 0
    capsys.readouterr()
    file = tmp_path / "m" / STATE_FILE
    good = file.read_bytes()
    state = torch.load(file, weights_only=True)

    def saved(**changes: object) -> bytes:
        torch.save(state | changes, file)
        return file.read_bytes()

    progress = state["progress"]
    for content in (
        b"", b"x", good[: len(good) // 2], good[:1000] + b"\0" * 400 + good[1400:],
        saved(model=3), saved(model={}), saved(optimizer={}), saved(optimizer=None),
        saved(plan=[1]), saved(progress={}), saved(progress=progress | {"step": "x"}),
        saved(progress=progress | {"history": None}), saved(progress=progress | {"more": 1}),
    ):  # fmt: skip
        file.write_bytes(content)
        assert STATE_FILE in refused(capsys, *TRAIN, "-o", tmp_path / "m")
    torch.save([1, 2], file)
    assert "holds no dictionary" in refused(capsys, *TRAIN, "-o", tmp_path / "m")


def test_memory_that_runs_out_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: object) -> None:
        torch.empty(1 << 60)  # torch's own error, a RuntimeError

    monkeypatch.setattr("loopscope.core.experiments.training.Training.step", fail)
    assert "there is not enough memory" in refused(capsys, *TRAIN, "-o", folder.parent / "m")


# ---- standard output and arguments, as the system hands them over ----
def run(
    arguments: list[str | bytes], *, stdout: int | None = None, encoding: str = "utf-8"
) -> subprocess.CompletedProcess[bytes]:
    env = os.environ | {"PYTHONPATH": str(ROOT / ".dev"), "PYTHONIOENCODING": encoding}
    return subprocess.run(
        [sys.executable, "-m", "loopscope.app", *arguments], env=env, stderr=subprocess.PIPE,
        stdout=subprocess.PIPE if stdout is None else stdout,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_output_in_an_encoding_that_lacks_characters(
    folder: Path, tmp_path: Path, encoding: str
) -> None:
    for arguments in (["measure", "--list"], ["inspect", str(folder)], ["--help"]):
        done = run([*arguments], encoding=encoding)
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode(encoding)
    assert b"\\u2016" in run(["measure", "--list"], encoding=encoding).stdout  # a norm's bars


@pytest.mark.slow
def test_output_to_a_full_device_is_told(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        for arguments in (["inspect", str(folder)], ["measure", "--list"]):
            done = run([*arguments], stdout=full.fileno())
            assert done.returncode == 2
            assert done.stderr == b"loopscope: error: No space left on device\n"


@pytest.mark.slow
def test_arguments_that_are_not_utf_8(folder: Path, tmp_path: Path) -> None:
    for arguments in (
        [b"trace", os.fsencode(folder), b"--prompt", b"ab \xff", b"--recurrences", b"1",
         b"-o", os.fsencode(tmp_path / "t.npz")],
        [b"inspect", b"no\xffwhere"],
        [b"inspect", os.fsencode(folder), b"--\xff"],
        [b"trace", os.fsencode(folder), b"--token-ids", b"\xff", b"--recurrences", b"1", b"-o",
         b"t.npz"],
    ):  # fmt: skip
        done = run(arguments)
        assert done.returncode == 2
        assert done.stderr.startswith(b"loopscope: error: ")
        assert done.stderr.count(b"\n") == 1
    # A name that is not UTF-8 is a name all the same.
    odd = os.fsencode(tmp_path) + b"/od\xffd"
    os.rename(os.fsencode(folder), odd)
    done = run([b"inspect", odd, b"--json"])
    assert done.returncode == 0
    assert "od" in json.loads(done.stdout)["name"]


@pytest.mark.parametrize("here", [".", "./", "./.", "../tiny"])
def test_the_current_folder_is_a_checkpoint_as_any_other(
    folder: Path, here: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert main(["inspect", here, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "tiny"
    assert main(["measure", here, *PROMPT, "--measures", "step_size"]) == 0
    assert "tiny" in capsys.readouterr().out
    assert sorted(f.name for f in folder.iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip


def test_the_root_of_all_folders_is_no_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not a checkpoint folder" in refused(capsys, "inspect", "/")


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", ""),
        ("open", "F", ""),
        ("trace", "F", *PROMPT, "-o", ""),
        ("trace", "F", *PROMPT, "-o", "t.npz", "--initial-state", ""),
        ("trace", "F", *PROMPT, "-o", "t.npz", "--interventions", ""),
        ("measure", "F", *PROMPT, "-o", ""),
        ("quality", "F", "--prompts", "", "--recurrences", "1"),
        ("open", "F", "--screenshot", ""),
        ("convert", "F", "-o", "c", "--base", ""),
        ("train", "hops", "-o", "m", "--from", ""),
    ],
)
def test_an_empty_name_is_refused(
    folder: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """As an unset variable gives it: it would be the current folder, or nothing at all."""
    monkeypatch.chdir(tmp_path)
    given = [str(folder) if a == "F" else a for a in arguments]
    assert "an empty name is no file or folder" in refused(capsys, *given)
    assert [f.name for f in tmp_path.iterdir()] == ["tiny"]


def test_a_home_that_is_not_there_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "figures", folder, *PROMPT, "-o", "~nosuchuser/figures")
    assert "~nosuchuser/figures: " in said


def test_of_a_file_that_is_too_large_nothing_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terabyte of nothing, which takes no room on the disk."""
    corpus = tmp_path / "corpus.txt"
    with corpus.open("wb") as file:
        file.truncate(1 << 40)
    tracemalloc.start()
    try:
        said = refused(
            capsys, "train", "text", "--corpus", corpus, "-o", tmp_path / "m", "--steps", "1"
        )
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
    assert "is larger than" in said
