"""Of what a recording has rows, and how many; the names are those in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loopscope.core.model.architecture import Architecture
from loopscope.core.run.rows import Rows
from loopscope.core.run.states import TOP_K

# What has a row for each layer; all else has one for each recurrence.
BY_LAYER = ("layer_states", "patterns", "writes")


@dataclass(frozen=True, slots=True)
class Capture:
    """What is kept besides the states: attention patterns, layer writes and readouts."""

    patterns: bool = True
    writes: bool = True
    readout: bool = True


def kept_rows(
    arch: Architecture, state: tuple[int, ...], capture: Capture
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of one row of everything that a recording with this capture keeps.

    ``state`` is the shape of a state, ``[T, d]``.
    A row of `BY_LAYER` for each layer that was run, of "states" for each recurrence and the
    initial state, of the others for each recurrence.
    """
    (t, d), heads = state, arch.layer.n_heads
    answers = (t, min(TOP_K, arch.vocab_size))
    kept: dict[str, tuple[tuple[int, ...], str]] = {
        "states": ((t, d), "<f4"),
        "layer_states": ((t, d), "<f4"),
    }
    if capture.patterns:
        kept["patterns"] = ((heads, t, t), "<f4")
    if capture.writes:
        kept["writes"] = ((t, 2), "<f4")
    if capture.readout:
        if arch.exit_gate:
            kept["hazards"] = ((t,), "<f4")
        kept["spread"] = ((t, 2), "<f4")
        for lens in ("coda", "logit"):
            kept[f"{lens}_ids"] = (answers, "<i8")
            kept[f"{lens}_probabilities"] = (answers, "<f4")
    return kept


def count_of(name: str, layers: int, complete: int) -> int:
    """Rows of ``name`` after so many layers and complete recurrences."""
    return layers if name in BY_LAYER else complete + (name == "states")


def first_rows(rows: Mapping[str, Rows], layers: int, complete: int) -> dict[str, Rows]:
    """The rows of the first ``layers`` layers and ``complete`` recurrences, which may go on."""
    return {name: own.begun(count_of(name, layers, complete)) for name, own in rows.items()}


def whole_rows(rows: Mapping[str, Rows], n_layers: int) -> tuple[int, int]:
    """Layers and recurrences of which every part has its rows."""
    layers = min(len(rows[name]) for name in BY_LAYER if name in rows)
    ends = [len(own) - (name == "states") for name, own in rows.items() if name not in BY_LAYER]
    complete = min(*ends, layers // n_layers)
    return min(layers, (complete + 1) * n_layers - 1), complete
