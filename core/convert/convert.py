"""`loopscope convert`: a source that is no checkpoint folder, to a folder that is one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from loopscope.core.checkpoint.folder import Checkpoint, open_checkpoint
from loopscope.core.checkpoint.foreign import has_safetensors, is_adapter
from loopscope.core.checkpoint.places import resolve
from loopscope.core.convert.rewritten import ADAPTER_WEIGHTS, write_dequantised, write_merged
from loopscope.core.convert.roles import by_role, read_map
from loopscope.core.errors import LoopscopeError
from loopscope.core.families.native import config_of
from loopscope.core.files import check_regular, make_folder, read_bytes, reason, shortened

PICKLES = (".bin", ".pt", ".pth", ".ckpt")
GGUF = ".gguf"
MOST_JSON = 256 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be converted.

    path : a folder with config.json and pickled weights, or a file of weights.
    config : the config.json of a supported family, of a file of weights.
    roles : the TOML map of a model of one's own.
    tokenizer : the tokenizer.json that goes with it.
    base : the folder of the model that an adapter (LoRA) changes.
    """

    path: Path
    config: Path | None = None
    roles: Path | None = None
    tokenizer: Path | None = None
    base: Path | None = None


def convert(source: Source, folder: Path) -> Checkpoint:
    """Write ``folder`` and return it, opened: what is missing or left over is told by then.

    Raises `LoopscopeError`; then ``folder`` is not there.
    """
    if os.path.lexists(folder):
        raise LoopscopeError(f"{shortened(folder)} is there already; choose another folder")
    make_folder(folder.absolute().parent)
    with tempfile.TemporaryDirectory(prefix=".loopscope-", dir=folder.absolute().parent) as made:
        work = Path(made) / "checkpoint"
        work.mkdir()
        try:
            _write(source, work)
            open_checkpoint(str(work))
        except (OSError, SafetensorError) as error:
            raise LoopscopeError(f"cannot write {shortened(folder)}: {reason(error)}") from None
        except LoopscopeError as error:
            raise type(error)(str(error).replace(str(work), str(source.path))) from None
        os.replace(work, folder)
    return open_checkpoint(str(folder))


def _write(source: Source, work: Path) -> None:
    if not os.path.lexists(source.path):
        raise LoopscopeError(f"{shortened(source.path)} does not exist")
    _refuse_unused(source)
    if source.path.is_dir():
        _from_folder(source, work)
    elif source.path.suffix.lower() == GGUF:
        _in_child("gguf_file", [source.path], work)
    elif source.path.suffix.lower() in (*PICKLES, ".safetensors"):
        check_regular(source.path)
        _from_file(source, work)
    else:
        known = ", ".join((GGUF, *PICKLES, ".safetensors"))
        raise LoopscopeError(
            f"{shortened(source.path)}: cannot be converted; a folder or a file that ends in "
            f"{known} can"
        )
    if source.tokenizer is not None:
        _copy(source.tokenizer, work / "tokenizer.json")


def _refuse_unused(source: Source) -> None:
    """Refuse what is given and says nothing of a source of this kind."""
    folder, gguf = source.path.is_dir(), source.path.suffix.lower() == GGUF
    if source.base is not None and not (folder and is_adapter(source.path)):
        raise LoopscopeError(f"--base is for a folder with an adapter, {source.path} has none")
    if source.roles is not None and (folder or gguf):
        raise LoopscopeError("--map is for a file of weights (.pt, .bin, .safetensors)")
    if source.config is not None and gguf:
        raise LoopscopeError("--config is not for a GGUF file, which says itself what it is")


def _from_folder(source: Source, work: Path) -> None:
    """Config and tokenizer as they are, and the weights as floating point in safetensors."""
    if is_adapter(source.path):
        _from_adapter(source, work)
        return
    if has_safetensors(source.path):
        config = source.config or source.path / "config.json"
        write_dequantised(source.path, config, work)
        _copy_tokenizer(source.path, work)
        return
    pickles = sorted(p for p in source.path.iterdir() if p.suffix.lower() in PICKLES)
    # Beside the weights a trainer keeps its arguments and its optimiser's state.
    named = [p for p in pickles if p.name.startswith("pytorch_model")]
    if not pickles:
        gguf = sorted(source.path.glob(f"*{GGUF}"))
        raise LoopscopeError(
            f"{shortened(source.path)} has no weights that end in {', '.join(PICKLES)}"
            + (f"; name the file {gguf[0].name}" if gguf else "")
        )
    if not named and len(pickles) > 1:
        raise LoopscopeError(f"{source.path}: has several files of weights; name one of them")
    _copy(source.config or source.path / "config.json", work / "config.json")
    _copy_tokenizer(source.path, work)
    unpickled(named or pickles, work / "model.safetensors")


def _from_adapter(source: Source, work: Path) -> None:
    """The base model with a LoRA adapter in it, and the adapter's tokenizer if it has one."""
    weights = source.path / ADAPTER_WEIGHTS
    pickle = weights.with_suffix(".bin")
    if not weights.exists() and pickle.exists():
        weights = work.parent / ADAPTER_WEIGHTS
        unpickled([pickle], weights)
    write_merged(source.path, weights, source.base, work)
    assert source.base is not None
    _copy_tokenizer(resolve(str(source.base))[0], work)
    _copy_tokenizer(source.path, work)


def _copy_tokenizer(folder: Path, work: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            _copy(folder / name, work / name)


def _from_file(source: Source, work: Path) -> None:
    """A file of weights: of a supported family with its config, or of a model of one's own."""
    if (source.config is None) == (source.roles is None):
        raise LoopscopeError(
            "a file of weights needs either --config with the config.json of a supported family, "
            "or --map with the roles of its tensors (docs/convert.md)"
        )
    weights = work / "model.safetensors"
    if source.path.suffix.lower() == ".safetensors":
        shutil.copyfile(source.path, weights)
    else:
        unpickled([source.path], weights)
    if source.config is not None:
        _copy(source.config, work / "config.json")
        return
    assert source.roles is not None
    roles = read_map(source.roles)
    tensors = load_file(weights)
    save_file(by_role(roles, tensors), weights, metadata={"format": "pt"})
    config = json.dumps(config_of(roles.architecture), indent=2) + "\n"
    (work / "config.json").write_text(config, encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    target.write_bytes(read_bytes(source, MOST_JSON))


def unpickled(sources: list[Path], target: Path) -> None:
    """Write the tensors of pickled files into one safetensors file, in a process of its own.

    Raises `LoopscopeError` for files that hold anything but weights.
    """
    _in_child("unpickle", sources, target)


def _in_child(module: str, sources: list[Path], target: Path) -> None:
    """Run a module of this room on files of a stranger; raises `LoopscopeError` with its line."""
    for path in sources:
        check_regular(path)
    # -P: nothing is imported from the folder that the user happens to be in.
    command = [sys.executable, "-P", "-m", f"loopscope.core.convert.{module}"]
    done = subprocess.run(
        [*command, *(str(path.absolute()) for path in sources), str(target)],
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
        raise LoopscopeError(f"{shortened(sources[0])}: cannot be converted: {lines[-1]}")
