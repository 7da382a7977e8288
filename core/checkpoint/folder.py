"""Checkpoint folders, from headers alone: no weights are read and torch is not imported.

A folder holds `config.json`, `model.safetensors` (or shards with an index) and perhaps
`tokenizer.json`. Nothing of it is ever executed. Whatever is wrong with it ends in one
`CheckpointError` line that names the file and the key or tensor.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from os.path import lexists
from pathlib import Path
from typing import Any

from loopscope.core.checkpoint.foreign import refuse_foreign, refuse_quantised
from loopscope.core.checkpoint.headers import TensorInfo, read_header
from loopscope.core.checkpoint.places import resolve
from loopscope.core.checkpoint.request import Loop
from loopscope.core.checkpoint.shapes import check_tensors
from loopscope.core.checkpoint.ties import settle_ties
from loopscope.core.errors import CheckpointError, ForeignError
from loopscope.core.families import FAMILIES, recognise
from loopscope.core.families.family import Config, Family, Source
from loopscope.core.families.foreign import foreign
from loopscope.core.files import mistaken_for, read_bytes, reason, unique_keys
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.loop_span import renamed_by_loop, with_loop

MAX_JSON = 64 << 20
ASKED_FOR = "asked for"
LOOPED = " looped "  # between a deep checkpoint's name and the span of it that is looped


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that was recognised, with every tensor its family needs present and in shape.

    notes : what it is that its config does not say, a line each.
    """

    path: Path
    name: str
    family: Family
    recognised_by: str
    architecture: Architecture
    config: dict[str, Any]
    tensors: dict[str, TensorInfo]
    sources: dict[str, Source]
    tokenizer_file: Path | None
    notes: tuple[str, ...] = ()

    @property
    def asked_for(self) -> bool:
        """Whether it is read as a family that it may not be, because that was asked for."""
        return self.recognised_by == ASKED_FOR

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """Files the weights are in, in name order."""
        return tuple(sorted({t.file for t in self.tensors.values()}))

    @property
    def dtype(self) -> str:
        """The dtype that most parameters are stored in, in safetensors' spelling."""
        counts: dict[str, int] = {}
        for t in self.tensors.values():
            counts[t.dtype] = counts.get(t.dtype, 0) + math.prod(t.shape)
        return max(counts, key=lambda k: counts[k])


def open_checkpoint(path: str, as_family: str = "") -> Checkpoint:
    """Recognise a folder and check every header in it.

    Reads no weights but those that a config ties, where the file holds them twice. ``as_family``
    is the name of the family that the folder is read as, whatever it says of itself.
    """
    folder, name = resolve(path)
    refuse_foreign(folder)
    values = read_json(folder / "config.json")
    tensors = read_tensors(folder)
    config = Config(values, folder / "config.json", frozenset(tensors))
    refuse_quantised(folder, config.values, {n: t.dtype for n, t in tensors.items()})
    family, how, notes = _family_of(config, frozenset(tensors), as_family)
    arch = family.architecture(config)
    _refuse_oversized(config, arch, tensors)
    settled = settle_ties(family, arch, tensors)
    check_tensors(settled, tensors, folder, family)
    tokenizer = folder / "tokenizer.json"
    return Checkpoint(
        folder, name, family, how, settled.architecture, config.values, tensors, settled.sources,
        tokenizer if lexists(tokenizer) else None, (*notes, *settled.notes),
    )  # fmt: skip


def _family_of(
    config: Config, tensors: frozenset[str], wish: str
) -> tuple[Family, str, tuple[str, ...]]:
    """The family, how it was recognised, and what is to be said of that; refuses foreign code."""
    recognised = recognise(config, tensors)
    if wish:
        known = {family.name: family for family in FAMILIES}
        if wish not in known:
            raise CheckpointError(f"there is no family '{wish}'; there are {', '.join(known)}")
        family = known[wish]
        same = recognised is not None and recognised[0] is family
        problem = foreign(config, family) if same else f"model_type '{config.model_type}'"
        how = ASKED_FOR if problem else (recognised[1] if recognised else "")
        note = f"read as {family.title} because that was asked for: {problem}"
        return family, how, (note,) if problem else ()
    if recognised is None:
        known_titles = ", ".join(family.title for family in FAMILIES)
        raise CheckpointError(
            f"{config.path}: model_type '{config.model_type}' is not supported; "
            f"supported: {known_titles} (docs/adding-a-family.md says how to add one)"
        )
    family, how = recognised
    if problem := foreign(config, family):
        raise ForeignError(
            f"{config.path}: {problem}; it may compute something else than {family.title}, "
            f"--as {family.name} reads it as that all the same",
            family.name,
        )
    return family, how, ()


def looped_checkpoint(checkpoint: Checkpoint, loop: Loop) -> Checkpoint:
    """Return a deep checkpoint with the layers that ``loop`` names as its recurrent block.

    Raises what `loop_span.with_loop` does.
    """
    first, last, damping = loop
    arch = with_loop(checkpoint.architecture, first, last, damping)
    # Not asked of the family: what a file calls its layers does not change with what is looped.
    names = renamed_by_loop(checkpoint.architecture, arch)
    sources = {names[ours]: source for ours, source in checkpoint.sources.items()}
    name = folder_name(checkpoint.name)
    if arch.looped_span:
        name += f"{LOOPED}{first}:{last}" + (f" β = {damping:g}" if damping != 1 else "")
    return replace(checkpoint, architecture=arch, sources=sources, name=name)


def folder_name(name: str) -> str:
    """Return what the folder of a checkpoint is called, of the name that `Checkpoint` gives it."""
    return name.split(LOOPED)[0]


def _refuse_oversized(config: Config, arch: Architecture, tensors: dict[str, TensorInfo]) -> None:
    """Refuse a config that claims more layers than the file has tensors, before listing them."""
    if arch.unique_depth > len(tensors):
        raise CheckpointError(
            f"{config.path}: says {arch.unique_depth} layers, "
            f"but the weights hold only {len(tensors)} tensors"
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a checkpoint folder; raises `CheckpointError`."""
    if not lexists(path):
        raise CheckpointError(f"{path.parent} is not a checkpoint folder: {path.name} is missing")
    raw = read_bytes(path, MAX_JSON, CheckpointError)
    try:
        values = json.loads(raw, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        why = mistaken_for(raw[:64]) or f"cannot be read as JSON: {reason(error)}"
        raise CheckpointError(f"{path}: {why}") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


def read_tensors(folder: Path) -> dict[str, TensorInfo]:
    """Read every header of a folder's safetensors files: each tensor's dtype, shape and place.

    Raises `CheckpointError`, one line that names the file, for a folder that has none, for a part
    that is missing and for what a header must not say.
    """
    index = folder / "model.safetensors.index.json"
    single = folder / "model.safetensors"
    if lexists(single):
        return read_header(single)
    if not lexists(index):
        problem = f"neither {single.name} nor {index.name} is there"
        pickles = sorted(p.name for p in folder.glob("*.bin")) + sorted(
            p.name for p in folder.glob("*.pt*")
        )
        if pickles:
            problem += f"; {pickles[0]} is a pickle, which could run anything and is never loaded"
            problem += f"; `loopscope convert {folder} -o FOLDER` makes a folder of it"
        raise CheckpointError(f"{folder} is not a checkpoint folder: {problem}")
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: key 'weight_map' is missing or empty")
    tensors: dict[str, TensorInfo] = {}
    headers: dict[str, dict[str, TensorInfo]] = {}
    for name, file_name in weight_map.items():
        if not isinstance(file_name, str):
            raise CheckpointError(f"{index}: tensor '{name}': the shard's name is not text")
        if file_name not in headers:
            headers[file_name] = read_header(_inside(folder, file_name, index))
        if name not in headers[file_name]:
            raise CheckpointError(f"{folder / file_name}: tensor '{name}' is missing")
        tensors[name] = headers[file_name][name]
    return tensors


def _inside(folder: Path, file_name: str, index: Path) -> Path:
    """Return a shard's path, whose name must not lead out of the folder.

    Where a link leads is up to whoever made the link: shards are linked into other places by the
    Hugging Face cache and by hand. Only the index is the stranger's.
    """
    shard = file_name[:80]
    parts = file_name.replace("\\", "/").split("/")
    if ".." in parts or "" in parts or ":" in parts[0]:
        raise CheckpointError(f"{index}: shard '{shard}' is outside the folder")
    path = folder / file_name
    try:
        missing = not path.exists()
    except (OSError, ValueError) as error:  # a name too long, or one with a zero byte
        raise CheckpointError(f"{index}: shard '{shard}': {reason(error)}") from None
    if missing:
        raise CheckpointError(f"{index}: shard '{shard}' is missing")
    return path
