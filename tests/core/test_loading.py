"""Weights on their way to the device: exact, refused in one line, and let go of again."""

from __future__ import annotations

import shutil
import struct
import time
from pathlib import Path

import pytest
import torch
from checkpoints import write_checkpoint
from models import tiny_checkpoint
from safetensors import safe_open
from safetensors.torch import save_file

from loopscope.core.checkpoint import hashing, loading
from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.checkpoint.hashing import weights_hash
from loopscope.core.checkpoint.loading import load, load_model
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import Cancelled, CheckpointError, LoopscopeError
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.runner import Runner
from loopscope.core.run.status import RunnerState


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    with safe_open(folder / "model.safetensors", "pt") as opened:
        return {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118


@pytest.mark.parametrize("stored", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_bad_value_anywhere_is_named(stored: torch.dtype, value: float, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", "llama", dtype=stored)
    tensors = tensors_of(folder)
    name = "model.layers.2.mlp.up_proj.weight"
    tensors[name].view(-1)[-1] = value
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"'{name}' holds NaN or infinite values"):
        load(str(folder), "cpu")


def test_values_that_a_dtype_cannot_hold_are_refused_in_it_only(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", "llama")
    tensors = tensors_of(folder)
    tensors["lm_head.weight"][0, 0] = 1e5
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="'lm_head.weight' holds 1e.05, more than float16"):
        load(str(folder), "cpu", "float16")
    assert load(str(folder), "cpu", "bfloat16").model.unembed.weight[0, 0] > 9e4


def test_a_header_that_leaves_the_data_unaligned_is_read_all_the_same(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", "gpt2")
    file = folder / "model.safetensors"
    whole = load(str(folder), "cpu").model.state_dict()
    raw = file.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    file.write_bytes(
        struct.pack("<Q", length + 3) + raw[8 : 8 + length] + b"   " + raw[8 + length :]
    )
    for name, value in load(str(folder), "cpu").model.state_dict().items():
        assert torch.equal(value, whole[name]), name


def test_integer_weights_are_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", "llama")
    tensors = tensors_of(folder)
    tensors["lm_head.weight"] = tensors["lm_head.weight"].to(torch.int32)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="'lm_head.weight' is I32, not one of F64"):
        open_checkpoint(str(folder))


def test_large_weights_are_known_by_samples_of_every_tensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkpoint(tmp_path / "m", "llama")
    whole = weights_hash(open_checkpoint(str(folder)))
    monkeypatch.setattr(hashing, "HASH_WHOLE", 1000)
    monkeypatch.setattr(hashing, "SAMPLE", 16)
    before = weights_hash(open_checkpoint(str(folder)))
    assert before.startswith("sampled:")
    assert before != whole
    assert weights_hash(open_checkpoint(str(folder))) == before
    names = sorted(tensors_of(folder))
    for name in names:  # a change at the head of any tensor is seen
        tensors = tensors_of(folder)
        kept = tensors[name].view(-1)[0].clone()
        tensors[name].view(-1)[0] += 1
        save_file(tensors, folder / "model.safetensors")
        assert weights_hash(open_checkpoint(str(folder))) != before, name
        tensors[name].view(-1)[0] = kept
        save_file(tensors, folder / "model.safetensors")


def test_cancelling_stops_between_two_pieces(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", "llama")
    seen: list[float] = []
    with pytest.raises(Cancelled):
        load_model(
            LoadRequest(str(folder), "cpu"), lambda s, w: seen.append(s), lambda: len(seen) > 3
        )
    assert len(seen) == 4
    assert seen == sorted(seen)


def test_a_folder_that_vanishes_while_it_is_read_is_one_error(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", "llama")

    def vanish(share: float, what: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    with pytest.raises(LoopscopeError) as raised:
        load_model(LoadRequest(str(folder), "cpu"), vanish)
    assert str(folder) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_shrinks_after_its_header_was_read_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkpoint(tmp_path / "m", "llama")
    file = folder / "model.safetensors"
    opened = open_checkpoint(str(folder))
    file.write_bytes(file.read_bytes()[:-4000])
    monkeypatch.setattr(loading, "open_checkpoint", lambda path, family="": opened)
    with pytest.raises(CheckpointError, match="model.safetensors: tensor .* become shorter"):
        load(str(folder), "cpu")


def wait(runner: Runner, state: RunnerState) -> None:
    deadline = time.monotonic() + 60
    while not (runner.idle and runner.status.state is state):
        assert time.monotonic() < deadline, runner.status
        time.sleep(0.01)


def test_a_second_checkpoint_frees_the_first(tmp_path: Path) -> None:
    runner = Runner()
    try:
        runner.open(LoadRequest(str(tiny_checkpoint(tmp_path / "a")), "cpu"))
        wait(runner, RunnerState.READY)
        runner.begin(RunRequest("#1,2,3", recurrences=2))
        wait(runner, RunnerState.READY)
        first, run = runner.loaded, runner.stepper
        assert first is not None
        assert first.nbytes > 0
        runner.open(LoadRequest(str(tiny_checkpoint(tmp_path / "b", seed=1)), "cpu"))
        wait(runner, RunnerState.READY)
        assert runner.loaded is not first
        assert first.nbytes == 0  # although the old run still refers to it
        assert run is not None
        runner.resume(run)
        assert runner.stepper is not run
        assert run.recording.n_recurrences == 2  # and what it kept can still be looked at
    finally:
        runner.close()


def test_what_does_not_fit_is_refused_and_the_running_model_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner()
    try:
        runner.open(LoadRequest(str(tiny_checkpoint(tmp_path / "a")), "cpu"))
        wait(runner, RunnerState.READY)
        first = runner.loaded
        assert first is not None
        # Room comes only when the first model goes: sound headers, so it goes.
        monkeypatch.setattr(
            loading, "free_bytes", lambda device: (1 << 30) if first.nbytes == 0 else 100
        )
        runner.open(LoadRequest(str(tiny_checkpoint(tmp_path / "b", seed=1)), "cpu"))
        wait(runner, RunnerState.READY)
        second = runner.loaded
        assert second is not None
        assert second is not first
        runner.open(
            LoadRequest(str(tmp_path / "nothing"), "cpu")
        )  # unsound: nothing is let go of for it
        wait(runner, RunnerState.READY)
        assert "does not exist" in (runner.status.error or "")
        assert runner.loaded is second
        monkeypatch.setattr(loading, "free_bytes", lambda device: 100)
        with pytest.raises(LoopscopeError, match=r"not enough memory: the weights take .* float32"):
            load(str(tmp_path / "a"), "cpu")
    finally:
        runner.close()


def test_an_allocation_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr(loading, "read_weights", fail)
    with pytest.raises(LoopscopeError, match="not enough memory: the weights take .*try bfloat16"):
        load(str(tiny_checkpoint(tmp_path / "a")), "cpu")
