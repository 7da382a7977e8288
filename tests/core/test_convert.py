"""Folders made of pickles and of models of one's own compute what their source computes."""

from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import write_checkpoint
from safetensors.torch import load_file

from loopscope.app.cli.main import main
from loopscope.core.checkpoint.loading import load
from loopscope.core.convert.convert import Source, convert
from loopscope.core.convert.unpickle import plain_names, state_dict_in
from loopscope.core.errors import LoopscopeError
from loopscope.core.run.stepper import Stepper

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "convert.md").read_text()


@pytest.fixture(autouse=True)
def this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that reads pickles is of this checkout too."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / ".dev"))


def block(name: str) -> str:
    match = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", PAGE, re.S)
    assert match
    return match[1]


@pytest.fixture
def own() -> torch.nn.Module:
    """The model of the page, with norms that are not all one."""
    space: dict[str, Any] = {}
    exec(block("own model"), space)
    torch.manual_seed(0)
    model: torch.nn.Module = space["Looped"]()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p) if p.ndim == 1 else 0)
    return model.eval()


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    path = tmp_path / "roles.toml"
    path.write_text(block("own map"))
    return path


def logits(folder: Path, ids: list[int], recurrences: int) -> list[torch.Tensor]:
    loaded = load(str(folder), "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.from_ids(tuple(ids)))
    for _ in range(recurrences):
        stepper.step()
    return [torch.from_numpy(stepper.readout(r)) for r in range(1, recurrences + 1)]


@pytest.mark.slow
def test_the_page_converts_a_model_of_ones_own(
    tmp_path: Path, own: torch.nn.Module, roles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrapped = {f"module._orig_mod.{k}": v for k, v in own.state_dict().items()}
    wrapped["module.rope.table"] = torch.zeros(3)
    torch.save({"model": wrapped, "step": 7}, tmp_path / "w.pt")
    out = tmp_path / "new"
    assert main(["convert", str(tmp_path / "w.pt"), "--map", str(roles), "-o", str(out)]) == 0
    assert "Loopscope native" in capsys.readouterr().out
    ids = [3, 1, 4, 1, 5, 9, 2, 6]
    for r, found in enumerate(logits(out, ids, 4), 1):
        with torch.inference_mode():
            truth = own(torch.tensor([ids]), r)[0]
        torch.testing.assert_close(found, truth, atol=2e-5, rtol=1e-5)
    # Once more onto the same folder, which stays.
    before = (out / "model.safetensors").read_bytes()
    assert main(["convert", str(tmp_path / "w.pt"), "--map", str(roles), "-o", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (out / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"adapter.weight" = "inject.weight"\n',
            "",
            r"has no 'adapter.weight', of shape \[32, 64\]",
        ),
        (
            '"core.{i}.o.weight"',
            '"core.{i}.p.weight"',
            r"made of 'core.0.p.weight', which .* has not",
        ),
        ('ignore = ["rope.*"]', "", "no role takes rope.table; .* name them under 'ignore'"),
        ("vocab_size = 50", "vocab_size = 51", r"\[50, 32\], the sizes of \[config\] ask for \[51"),
        ("[tensors]", "[tensor]", "there is no 'tensor'"),
        ("[config]", "config = 3\n[other]", "there is no 'other'"),
        ("hidden_size = 32", "hidden_size = 33", "'hidden_size': 33 is not divisible by 2"),
        ('= "inject.weight"', "= 3", "'adapter.weight' is a tensor's name, or a list"),
        ("[config]", "[config", "cannot be read as TOML"),
    ],
)
def test_a_map_that_does_not_fit_is_told(
    tmp_path: Path, own: torch.nn.Module, roles: Path, old: str, new: str, message: str
) -> None:
    from safetensors.torch import save_file

    assert old in roles.read_text()
    roles.write_text(roles.read_text().replace(old, new, 1))
    save_file(own.state_dict() | {"rope.table": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(LoopscopeError, match=message):
        convert(Source(tmp_path / "w.safetensors", roles=roles), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".loopscope-*"))


@pytest.mark.slow
def test_a_folder_with_pickled_weights_becomes_one_that_opens(tmp_path: Path) -> None:
    published = write_checkpoint(tmp_path / "llama", "llama")
    tensors = load_file(published / "model.safetensors")
    truth = logits(published, [1, 2, 3], 1)[0]
    (published / "model.safetensors").unlink()
    names = sorted(tensors)
    torch.save({n: tensors[n] for n in names[:5]}, published / "pytorch_model-00001-of-00002.bin")
    torch.save({n: tensors[n] for n in names[5:]}, published / "pytorch_model-00002-of-00002.bin")
    torch.save({"lr": 1}, published / "training_args.bin")
    checkpoint = convert(Source(published), tmp_path / "new")
    assert checkpoint.family.name == "llama"
    torch.testing.assert_close(logits(tmp_path / "new", [1, 2, 3], 1)[0], truth)
    # A part that is missing is told, by the source's name.
    (published / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(LoopscopeError, match="llama: tensor '.*' is missing"):
        convert(Source(published), tmp_path / "half")
    assert not (tmp_path / "half").exists()


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["EVIL"],)


@pytest.mark.slow
def test_nothing_of_a_pickle_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = write_checkpoint(tmp_path / "llama", "llama")
    config, file = published / "config.json", tmp_path / "w.pt"
    monkeypatch.setenv("EVIL", str(tmp_path / "evil"))
    (tmp_path / "torch.py").write_text("import os; os.mkdir(os.environ['EVIL'])")
    monkeypatch.chdir(tmp_path)
    for content in (pickle.dumps(Evil()), b"", b"PK\x03\x04" + b"\0" * 90):
        file.write_bytes(content)
        with pytest.raises(LoopscopeError, match="w.pt: cannot be converted: .+"):
            convert(Source(file, config=config), tmp_path / "new")
    torch.save({"state_dict": {"a": Evil()}}, file)
    with pytest.raises(LoopscopeError, match="cannot be converted"):
        convert(Source(file, config=config), tmp_path / "new")
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_converted_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "w.zip").write_text("")
    (tmp_path / "w.pt").write_text("")
    for source, message in (
        (tmp_path / "empty", "has no weights"),
        (tmp_path / "w.zip", "cannot be converted"),
        (tmp_path / "w.pt", "needs either --config .* or --map"),
        (tmp_path / "nowhere.pt", "nowhere.pt does not exist"),
    ):
        with pytest.raises(LoopscopeError, match=message):
            convert(Source(source), tmp_path / "new")
    (tmp_path / "w.safetensors").write_bytes(b"\0" * 20)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(LoopscopeError, match="w.safetensors"):
        convert(Source(tmp_path / "w.safetensors", tmp_path / "config.json"), tmp_path / "new")
    (tmp_path / "w.safetensors").rename(tmp_path / "empty" / "model.safetensors")
    with pytest.raises(LoopscopeError, match=r"config.json is missing"):
        convert(Source(tmp_path / "empty"), tmp_path / "new")


def test_names_without_their_wrappers() -> None:
    t = torch.zeros(1)
    assert set(plain_names({"module.a": t, "module.module.b": t})) == {"a", "module.b"}
    assert set(plain_names({"module.a": t, "b": t})) == {"module.a", "b"}
    assert set(plain_names({"layers.0._orig_mod.w": t})) == {"layers.0.w"}
    with pytest.raises(ValueError, match="two tensors are called 'w'"):
        plain_names({"_orig_mod.w": t, "w": t})
    assert set(state_dict_in({"model": {"state_dict": {"w": t, "n": 3}}})) == {"w"}
    for nothing in ([1], {}, {"model": 3}, {"a": {"w": t}}):
        with pytest.raises(ValueError, match="no state dict"):
            state_dict_in(nothing)
