"""A map from the roles of a native model's parameters to the tensors of a state dict of one's own.

A TOML file: ``[config]`` holds what `config.json` of a native checkpoint holds, ``[tensors]`` a
line for each parameter (`loopscope.core.model.architecture.parameter_shapes`). ``{i}`` stands for a
layer's number. A list of names is put below each other (q, k and v).
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from loopscope.core.errors import LoopscopeError
from loopscope.core.families import native
from loopscope.core.families.family import Config
from loopscope.core.files import read_text
from loopscope.core.model.architecture import Architecture, parameter_shapes

MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RoleMap:
    """A parsed map.

    tensors : role to the names of the tensors it is made of.
    ignored : patterns of names that are no weights, such as rotary tables.
    """

    path: Path
    architecture: Architecture
    tensors: dict[str, list[str]]
    ignored: tuple[str, ...]


def read_map(path: Path) -> RoleMap:
    """Read a map; raises `LoopscopeError` that names the file and the key."""
    try:
        values = tomllib.loads(read_text(path, MOST_BYTES))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise LoopscopeError(f"{path}: cannot be read as TOML: {error}") from None
    if unknown := set(values) - {"config", "tensors", "ignore"}:
        raise LoopscopeError(f"{path}: there is no '{min(unknown)}'; config, tensors, ignore")
    config, named = values.get("config"), values.get("tensors")
    if not isinstance(config, dict) or not isinstance(named, dict):
        raise LoopscopeError(f"{path}: needs a table [config] and a table [tensors]")
    ignored = values.get("ignore", [])
    if not _are_names(ignored):
        raise LoopscopeError(f"{path}: 'ignore' is a list of names")
    tensors = {}
    for role, names in named.items():
        names = [names] if isinstance(names, str) else names
        if not _are_names(names):
            raise LoopscopeError(f"{path}: '{role}' is a tensor's name, or a list of them")
        tensors[role] = names
    return RoleMap(path, native.architecture(Config(config, path)), tensors, tuple(ignored))


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def by_role(roles: RoleMap, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a native model's parameters, made of a state dict.

    Raises `LoopscopeError` for a role without a tensor, a tensor without a role, and shapes that
    do not fit.
    """
    made, used = {}, set()
    for role, shape in parameter_shapes(roles.architecture).items():
        names = _names(roles, role, shape)
        if missing := [name for name in names if name not in tensors]:
            raise LoopscopeError(
                f"{roles.path}: '{role}' is made of '{missing[0]}', which the state dict has not"
            )
        used.update(names)
        parts = [tensors[name] for name in names]
        if len({part.shape[1:] for part in parts}) > 1:
            raise LoopscopeError(f"{roles.path}: '{role}': its parts are of different widths")
        whole = torch.cat(parts) if len(parts) > 1 else parts[0].clone()
        if tuple(whole.shape) != shape:
            raise LoopscopeError(
                f"{roles.path}: '{role}' has shape {list(whole.shape)}, the sizes of [config] ask "
                f"for {list(shape)}"
            )
        made[role] = whole.float().contiguous()
    _check_rest(roles, set(tensors) - used)
    return made


def _names(roles: RoleMap, role: str, shape: tuple[int, ...]) -> list[str]:
    """The tensors that a role is made of, each with the layer's number in its place."""
    if role in roles.tensors:
        return roles.tensors[role]
    number = re.search(r"\.(\d+)\.", role)
    pattern = role if number is None else role.replace(number.group(), ".{i}.", 1)
    if number is None or pattern not in roles.tensors:
        raise LoopscopeError(f"{roles.path}: [tensors] has no '{pattern}', of shape {list(shape)}")
    return [name.replace("{i}", number.group(1)) for name in roles.tensors[pattern]]


def _check_rest(roles: RoleMap, rest: set[str]) -> None:
    left = sorted(n for n in rest if not any(fnmatch.fnmatch(n, p) for p in roles.ignored))
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        raise LoopscopeError(
            f"{roles.path}: no role takes {', '.join(left[:3])}{more}; a model of this form has no "
            "such weights; name them under 'ignore' if they are none"
        )
