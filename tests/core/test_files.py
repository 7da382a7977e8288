"""Files are read only where they are files, and written whole or not at all."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from models import tiny_checkpoint

from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.text import read_corpus
from loopscope.core.files import check_regular, make_folder, read_bytes, write_text, written
from loopscope.core.interventions.registry import load_interventions
from loopscope.core.prompts.prompt_set import read_prompts
from loopscope.core.prompts.tokenizer import PromptTokenizer
from loopscope.core.run.card import card
from loopscope.core.run.trace import load_state, save_arrays

resource = pytest.importorskip("resource")  # pipes, devices and limits of the system


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def unix_socket(path: Path) -> None:
    # Its name has to be short: bound where it lies.
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as own:
            own.bind(path.name)
    finally:
        os.chdir(here)


def loop(path: Path) -> None:
    path.symlink_to(path)


def folder(path: Path) -> None:
    path.mkdir()


NO_FILES = {
    "pipe": (pipe, "is a pipe, not a file"),
    "device": (device, "is a device, not a file"),
    "socket": (unix_socket, "is a socket, not a file"),
    "loop": (loop, "cannot be read: Too many levels|cannot be read: Symlink loop"),
    "folder": (folder, "is a folder"),
}
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "config": ("config.json", lambda path: open_checkpoint(str(path.parent))),
    "weights": ("model.safetensors", lambda path: open_checkpoint(str(path.parent))),
    "interventions": ("cuts.json", load_interventions),
    "prompts": ("prompts.txt", lambda path: read_prompts(str(path))),
    "initial state": ("state.npy", load_state),
    "corpus": ("corpus.txt", lambda path: read_corpus(path, 300)),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("what", NO_FILES)
def test_what_is_no_file_is_refused_before_it_is_opened(
    tmp_path: Path, reader: str, what: str
) -> None:
    """A pipe would be waited for, a device read for ever."""
    name, read = READERS[reader]
    tiny_checkpoint(tmp_path / "m")
    path = tmp_path / "m" / name
    path.unlink(missing_ok=True)
    make, message = NO_FILES[what]
    make(path)
    with pytest.raises(LoopscopeError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("what", NO_FILES)
def test_a_tokenizer_or_its_config_that_is_no_file(tmp_path: Path, what: str) -> None:
    tiny_checkpoint(tmp_path / "m")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "m" / name).unlink(missing_ok=True)
        NO_FILES[what][0](tmp_path / "m" / name)
    checkpoint = open_checkpoint(str(tmp_path / "m"))
    assert card(checkpoint)["d_model"] == 16
    tokenizer = PromptTokenizer(tmp_path / "m" / "tokenizer.json", 39, 256)
    assert tokenizer.problem
    assert tokenizer.from_ids((1,)).labels == ("1",)


def test_a_folder_that_is_a_loop_of_links_or_no_name(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for path in (str(tmp_path / "a"), "~nobody-of-that-name/x", "x" * 5000):
        with pytest.raises(LoopscopeError) as error:
            open_checkpoint(path)
        assert len(str(error.value)) < 1000


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert check_regular(path) == 5
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(LoopscopeError, match="is larger than 4 bytes"):
        read_bytes(path, 4)
    with pytest.raises(LoopscopeError, match="cannot be read: No such file"):
        read_bytes(tmp_path / "y", 4)


def header(shape: tuple[int, ...]) -> bytes:
    text = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [b"", b"abc", header((10**20,)), header((1 << 40, 16)), header((12, 16)) + b"\0" * 100,
     header((-3,)), header((True,)), b"\x93NUMPY\x07\x00" + b"\0" * 90, header((2,))[:40]],
)  # fmt: skip
def test_a_state_cut_short_or_of_absurd_shape(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.npy"
    path.write_bytes(content)
    with pytest.raises(LoopscopeError, match=r"s.npy: cannot be read as .npy"):
        load_state(path)
    np.save(path, np.ones((3, 2), np.float32))
    assert load_state(path).shape == (3, 2)


def source(depth: int) -> dict[str, object]:
    inner = [source(depth - 1)] if depth > 1 else []
    return {"kind": "replace", "source": {"token_ids": [1], "interventions": inner}}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (source(300), "nested too deeply|lie 300 deep; at most 8"),
        (source(9), "lie 9 deep; at most 8"),
        ({"kind": "replace", "source": {"token_ids": [1], "recurrence": 10**9}},
         "source's recurrence 1000000000 is not 0 to 100,000"),
        ({"kind": "replace", "source": {"token_ids": [1], "seed": -1}}, "source's seed -1"),
        ({"kind": "replace", "source": {"token_ids": [1], "start": "x"}}, "start 'x' is not one"),
        ({"kind": "replace", "source": {"token_ids": []}}, "no token ids"),
    ],
)  # fmt: skip
def test_interventions_that_no_run_could_make(
    tmp_path: Path, entry: dict[str, object], message: str
) -> None:
    path = tmp_path / "cuts.json"
    path.write_text(json.dumps([entry]))
    with pytest.raises(LoopscopeError, match=message):
        load_interventions(path)
    path.write_text(json.dumps([source(8)]))
    assert load_interventions(path)[0].source_depth == 8


# ---- writing ----
@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file may grow beyond ``limit`` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_array(path: Path) -> None:
    save_arrays(path, {"a": np.zeros(100_000)})


@pytest.mark.parametrize("write", [lambda p: write_text(p, "x" * 100_000), write_array])
def test_a_full_disk_leaves_the_older_file(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "out.npz"
    path.write_text("older")
    with full_disk(1000), pytest.raises(LoopscopeError, match=r"cannot write .*out.npz: File too"):
        write(path)
    assert path.read_text() == "older"
    assert [p.name for p in tmp_path.iterdir()] == ["out.npz"]


@pytest.mark.parametrize("what", ["pipe", "device", "socket", "loop", "folder"])
def test_what_is_no_file_is_not_written_over(tmp_path: Path, what: str) -> None:
    path = tmp_path / "out.json"
    NO_FILES[what][0](path)
    with pytest.raises(LoopscopeError, match=r"out.json"):
        write_text(path, "x")
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]
    assert not path.is_file()


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x.json", tmp_path / "no" / "x.json", tmp_path / ("n" * 300)):
        with pytest.raises(LoopscopeError, match="cannot write"):
            write_text(path, "x")
    with pytest.raises(LoopscopeError, match="cannot make .*file/x: Not a directory"):
        make_folder(tmp_path / "file" / "x")


def test_a_link_and_the_rights_of_the_file_stay(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("older")
    target.chmod(0o600)
    link.symlink_to(target)
    write_text(link, "new \udcff")
    assert link.is_symlink()
    assert target.read_text() == "new \\udcff"
    assert target.stat().st_mode & 0o777 == 0o600


def test_an_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), written(tmp_path / "x") as part:
        part.write_text("half")
        1 / 0  # noqa: B018
    assert not list(tmp_path.iterdir())
    with (
        pytest.raises(LoopscopeError, match="cannot write .*: a library's own"),
        written(tmp_path / "x", (RuntimeError,)) as part,
    ):
        raise RuntimeError("a library's own")
