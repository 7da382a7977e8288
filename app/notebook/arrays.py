"""The arrays of a run as a script takes them away: measured, by hook name, and as one file.

Hook names are those of TransformerLens with the recurrence before the name: ``r`` from 1, the
layer ``l`` of the recurrent block from 0. docs/notebook.md lists them, and a test holds it to
`arrays_by_hook`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from loopscope.core.arrays import F64
from loopscope.core.errors import LoopscopeError
from loopscope.core.formula import Formula
from loopscope.core.measures.base import measure
from loopscope.core.measures.registry import find
from loopscope.core.run.recording import Recording

if TYPE_CHECKING:
    from xarray import DataArray

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredArray:
    """A measure of one run: numbers with their axes and where they come from.

    ``numpy.asarray(measured)`` gives the values.

    key : the measure, as `Run.measure` takes it.
    values : float64, one axis for each of ``axes``; NaN where a number does not exist.
    axes : their names: "recurrence" first, then some of "layer", "head" and "token".
    coordinates : by axis, what its places are called: recurrences from 1, the others from 0.
    formula : name, formula, unit and source.
    token_texts : the text of each token.
    provenance : what was run, as in every exported file.
    """

    key: str
    values: F64
    axes: tuple[str, ...]
    coordinates: dict[str, npt.NDArray[np.int64]]
    formula: Formula
    token_texts: tuple[str, ...] = ()
    provenance: dict[str, str] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """The unit of the values."""
        return self.formula.unit

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        values = self.values if dtype is None else self.values.astype(dtype)
        return values.copy() if copy else values

    @override
    def __repr__(self) -> str:
        shape = ", ".join(f"{a} {n}" for a, n in zip(self.axes, self.values.shape, strict=True))
        return f"<{self.formula.text()}; {shape}>"

    def to_xarray(self) -> DataArray:
        """Return the values as an `xarray.DataArray`, with coordinates, unit and provenance.

        Raises `LoopscopeError` where xarray is not installed.
        """
        try:
            from xarray import DataArray
        except ImportError:
            raise LoopscopeError("xarray is not installed: pip install xarray") from None
        coordinates: dict[str, Any] = dict(self.coordinates)
        if "token" in self.axes:
            coordinates["text"] = ("token", list(self.token_texts))
        f = self.formula
        about = {"long_name": f.name, "units": f.unit, "formula": f.formula, "source": f.source}
        return DataArray(self.values, coordinates, self.axes, self.key, about | self.provenance)


def measured_array(recording: Recording, key: str) -> MeasuredArray:
    """Measure a run. Raises `LoopscopeError` for an unknown measure and for one without numbers."""
    quantity = find(key)
    found = measure(recording, quantity)
    if found.missing:
        raise LoopscopeError(found.missing)
    axes = ("recurrence", *quantity.axes)
    coordinates = {
        axis: np.arange(axis == "recurrence", n + (axis == "recurrence"))
        for axis, n in zip(axes, found.values.shape, strict=True)
    }
    info = recording.info
    return MeasuredArray(
        key, found.values, axes, coordinates, quantity.formula, info.token_labels, info.provenance()
    )


def arrays_by_hook(recording: Recording) -> dict[str, Array]:
    """Return what a run kept by hook name, nothing copied.

    Layers of a recurrence under way are there; what is of its end is not.
    """
    arrays: dict[str, Array] = {"hook_tokens": np.array(recording.info.token_ids, np.int64)}
    arrays["recurrence.0.hook_state"] = recording.states[0]
    for i in range(recording.layers_done):
        arrays |= _of_layer(recording, *divmod(i, recording.n_layers))
    for r in range(1, recording.n_recurrences + 1):
        arrays |= _of_recurrence(recording, r)
    return arrays


def _of_layer(recording: Recording, before: int, layer: int) -> Iterator[tuple[str, Array]]:
    done, name = recording.layer(before + 1, layer), f"recurrence.{before + 1}.blocks.{layer}"
    yield f"{name}.hook_resid_post", done.state
    if done.pattern is not None:
        yield f"{name}.attn.hook_pattern", done.pattern
    if done.writes is not None:
        yield f"{name}.hook_attn_out_norm", done.writes[:, 0]
        yield f"{name}.hook_mlp_out_norm", done.writes[:, 1]


def _of_recurrence(recording: Recording, recurrence: int) -> Iterator[tuple[str, Array]]:
    name = f"recurrence.{recurrence}"
    yield f"{name}.hook_state", recording.states[recurrence]
    if recording.hazards is not None:
        yield f"{name}.hook_hazard", recording.hazards[recurrence - 1]
    for lens in ("coda", "logit"):
        answers = recording.answers(lens)
        if answers is not None:
            yield f"{name}.{lens}_lens.hook_ids", answers.ids[recurrence - 1]
            yield f"{name}.{lens}_lens.hook_probabilities", answers.probabilities[recurrence - 1]


def arrays_of_run(recording: Recording) -> dict[str, Array]:
    """Return the complete recurrences of a run as few large arrays, as ``Run.to_npz`` writes them.

    ``token_ids`` int64 [T]; ``states`` [R + 1, T, d]; ``layer_states`` [R, L, T, d]; ``patterns``
    [R, L, H, T, T]; ``writes`` [R, L, T, 2] (attention, MLP); ``hazards`` [R, T];
    ``coda_lens_ids``, ``coda_lens_probabilities``, ``logit_lens_ids`` and
    ``logit_lens_probabilities`` [R, T, k]; ``provenance``, JSON text. What was not kept is left
    out.
    """
    arrays: dict[str, Array | None] = {
        "token_ids": np.array(recording.info.token_ids, np.int64),
        "states": recording.states,
        "layer_states": recording.layer_states,
        "patterns": recording.patterns,
        "writes": recording.writes,
        "hazards": recording.hazards,
        "provenance": np.array(json.dumps(recording.info.provenance())),
    }
    for lens in ("coda", "logit"):
        answers = recording.answers(lens)
        if answers is not None:
            arrays[f"{lens}_lens_ids"] = answers.ids
            arrays[f"{lens}_lens_probabilities"] = answers.probabilities
    return {name: np.asarray(array) for name, array in arrays.items() if array is not None}
