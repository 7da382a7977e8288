"""Whether a file's tensors are those that an architecture needs, in shape and dtype."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from loopscope.core.checkpoint.headers import FLOATS, TensorInfo
from loopscope.core.checkpoint.ties import Settled
from loopscope.core.errors import CheckpointError
from loopscope.core.families.family import Family, Source
from loopscope.core.model.architecture import parameter_shapes

Tensors = Mapping[str, TensorInfo]


def check_tensors(settled: Settled, tensors: Tensors, folder: Path, family: Family) -> None:
    """Raise `CheckpointError` for a tensor that is missing, of another shape or dtype, or unknown.

    Parameters
    ----------
    settled
        What the parameters are made of.
    tensors
        What the files hold.
    folder
        Named where a tensor is missing.
    family
        Says which tensors nothing is made of.
    """
    shapes = parameter_shapes(settled.architecture)
    for parameter, source in settled.sources.items():
        for name in source.names:
            if name not in tensors:
                raise CheckpointError(f"{folder}: tensor '{name}' is missing")
        _check_shape(source, shapes[parameter], tensors)
    used = {name for source in settled.sources.values() for name in source.names}
    _check_dtypes(used, tensors)
    _check_unknown(used | settled.known, tensors, family)


def _check_shape(source: Source, shape: tuple[int, ...], tensors: Tensors) -> None:
    """Compare what a parameter is made of with its shape."""
    first, parts = tensors[source.names[0]], [tensors[name].shape for name in source.names]
    if len({part[1:] for part in parts}) > 1:
        names = ", ".join(source.names)
        raise CheckpointError(f"{first.file}: tensors {names} do not fit together")
    got = (sum(p[0] for p in parts if p), *parts[0][1:]) if len(parts) > 1 else parts[0]
    if source.rows is not None:
        _, end, rows = source.rows
        shape = (rows or max(end, got[0] if got else 0), *shape[1:])
    if source.how == "transpose":
        got = got[::-1]
    if got != shape:
        raise CheckpointError(
            f"{first.file}: tensor '{first.name}' has shape {list(got)}, "
            f"config.json asks for {list(shape)}"
        )


def _check_dtypes(used: Iterable[str], tensors: Tensors) -> None:
    for name in sorted(used):
        if tensors[name].dtype not in FLOATS:
            raise CheckpointError(
                f"{tensors[name].file}: tensor '{name}' is {tensors[name].dtype}, "
                f"not one of {', '.join(FLOATS)}"
            )


def _check_unknown(known: set[str], tensors: Tensors, family: Family) -> None:
    extra = sorted(name for name in set(tensors) - known if not family.ignored(name))
    if extra:
        raise CheckpointError(
            f"{tensors[extra[0]].file}: tensor '{extra[0]}' is not one this family has "
            f"({len(extra)} such)"
        )
