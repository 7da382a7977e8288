"""Whether the arrays of a result that a file holds go together; a file may hold anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from loopscope.core.measures.correspondence import Correspondence, ModelCorrespondence
from loopscope.core.measures.exits_over_prompts import Swept
from loopscope.core.measures.fixed_points import FixedPoints
from loopscope.core.measures.intervals import Estimate
from loopscope.core.measures.lens import Reading
from loopscope.core.measures.over_prompts import OverPrompts
from loopscope.core.measures.path_independence import Paths
from loopscope.core.measures.places import Places
from loopscope.core.measures.probe import Outcome, Probe
from loopscope.core.measures.quality import Quality
from loopscope.core.measures.stability import Spectrum, Stability, TokenSpectrum

# The length of each axis as a letter: a capital is the same everywhere in one result, a small one
# in one object of it, "*" is any number of axes that are alike in all of the object's. Of a run
# "T" are its tokens, "L" the layers of its block and "W" the numbers in a state.
SHAPES: dict[type, dict[str, str]] = {
    Paths: {"states": "n r T W", "names": "n"},
    Spectrum: {"values": "k", "vectors": "k n", "residuals": "k"},
    TokenSpectrum: {"values": "T w", "errors": "T w"},
    Stability: {"cycles": "P L T W", "radii": "P", "margins": "P", "lyapunov": "n"},
    FixedPoints: {
        "points": "P n", "q": "P", "residual": "P", "found_by": "P", "iterations": "P",
    },
    Reading: {
        "ids": "r L T k", "probabilities": "r L T k", "entropy": "r L T", "divergence": "r L T",
        "kept": "c", "chances": "r L T c", "ranks": "r L T c", "final_chances": "r L T",
        "final_ranks": "r L T",
    },
    Estimate: {"value": "*", "low": "*", "high": "*", "n": "*"},
    Quality: {"right": "p r", "nll": "p r", "tokens": "p", "opens": "p", "missing": "p"},
    OverPrompts: {"values": "p r l", "missing": "p"},
    Correspondence: {"values": "N M", "path": "N", "baseline": "p", "level": "M"},
    ModelCorrespondence: {
        "places": "N", "second_places": "M", "depths": "N", "second_depths": "M",
        "heads": "N H M K", "heads_null": "N H M K",
    },
    Swept: {"thresholds": "g", "used": "p g", "agree": "p g", "n": "p"},
    Probe: {"baseline": "R B", "longer": "q B"},
    Outcome: {"scores": "d R B", "donor": "d R B", "displacement": "d B"},
}  # fmt: skip
# Arrays of indices, and the axis that they are places of.
INDICES = {Correspondence: {"path": "M"}}


def misshapen(result: Any, sizes: Mapping[str, int] | None = None) -> str:
    """Say which array of a result is not of its shape, or "".

    ``sizes`` are lengths that are known, such as those of the run that it is of.
    """
    shared = dict(sizes or {})
    for owner in _objects(result):
        known: dict[str, Any] = {}
        for name, axes in SHAPES.get(type(owner), {}).items():
            value = getattr(owner, name)
            # A model without a place has nothing to compare.
            empty = isinstance(value, Places) and not len(value)
            if empty or (value is not None and not _fits(_shape(value), axes, shared, known)):
                shape = list(_shape(value))
                return f"'{name}' of its {type(owner).__name__} has the shape {shape}"
    for owner in _objects(result):
        for name, axis in INDICES.get(type(owner), {}).items():
            indices = getattr(owner, name)
            if indices.size and not 0 <= indices.min() <= indices.max() < shared.get(axis, 0):
                return f"'{name}' of its {type(owner).__name__} is of places that there are not"
    return ""


def _shape(value: Any) -> tuple[int, ...]:
    return (len(value),) if isinstance(value, Places) else np.shape(value)


def _objects(value: Any) -> Iterator[Any]:
    """Every dataclass in a result, itself first."""
    if dataclasses.is_dataclass(value):
        yield value
        for field in dataclasses.fields(value):
            yield from _objects(getattr(value, field.name))
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _objects(one)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _objects(one)


def _fits(shape: tuple[int, ...], axes: str, shared: dict[str, int], known: dict[str, Any]) -> bool:
    """Whether a shape is as expected; letters that are new are noted."""
    if axes == "*":
        return bool(known.setdefault("*", shape) == shape)
    letters = axes.split()
    if len(letters) != len(shape):
        return False
    pairs = zip(letters, shape, strict=True)
    return all((shared if a.isupper() else known).setdefault(a, n) == n for a, n in pairs)
