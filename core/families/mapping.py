"""From our parameters' names to the tensors of a file whose layers are numbered in one stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from loopscope.core.families.family import Arrangement, Source
from loopscope.core.model.architecture import Architecture, parameter_shapes


def mapped(
    arch: Architecture,
    named: Mapping[str, str],
    inside: Mapping[str, tuple[str, ...]],
    layers: str,
    how: Callable[[str], Arrangement] = lambda ours: "stack",
) -> dict[str, Source]:
    """Map every parameter: by its own name, or by its place in layer ``i`` of the whole stack.

    Parameters
    ----------
    named
        Our names to the file's, of what is in no layer.
    inside
        Our modules of a layer to the file's, which are stacked on axis 0 where there are several.
    layers
        What the names of a layer's tensors begin with, before its number.
    how
        How the tensors of one parameter of a layer are put together.
    """
    first = {"prelude_layers": 0, "block": arch.n_prelude}
    first["coda_layers"] = arch.n_prelude + arch.n_block
    sources = {}
    for ours in parameter_shapes(arch):
        if ours in named:
            sources[ours] = Source((named[ours],))
            continue
        stack, index, rest = ours.split(".", 2)
        place, kind = rest.rsplit(".", 1)
        layer = first[stack] + int(index)
        parts = tuple(f"{layers}.{layer}.{name}.{kind}" for name in inside[place])
        sources[ours] = Source(parts, how(rest))
    return sources


def prefix_of(names: frozenset[str], prefix: str) -> str:
    """``prefix``, or nothing where a file is of the model without its head and has none."""
    return prefix if any(name.startswith(prefix) for name in names) or not names else ""
