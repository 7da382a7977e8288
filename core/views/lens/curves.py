"""What the lens read, as curves over depth: averages over tokens of what `Lens over depth` maps.

They change when more recurrences are read (the last readout is another), so they are no live
measures: a row of them does not stay.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.formula import Formula
from loopscope.core.measures.base import Measure, Measured
from loopscope.core.measures.lens import CHANCE, DIVERGENCE, ENTROPY, READ, READINGS, Lens, Reading
from loopscope.core.measures.readout import NO_ANSWER
from loopscope.core.run.recording import Recording
from loopscope.core.views.base import Lack
from loopscope.core.views.lens.token import LABEL

# What these curves lack, in whichever view shows them.
LACKS = Lack("measurement", LABEL, "Lens over depth")
Values = Callable[[Reading], F64]


def _agreement(reading: Reading) -> F64:
    """1 where the top answer is that of the last readout, 0 where not, ``[R, L, T]``."""
    top, final = reading.top, reading.top[-1, -1]
    known = (top != NO_ANSWER) & (final != NO_ANSWER)
    return np.where(known, (top == final).astype(np.float64), np.nan)


_KINDS: dict[str, tuple[str, str, str, str, Values]] = {
    "entropy": ("entropy", "H(p)", "nats", ENTROPY.source, lambda reading: _wide(reading.entropy)),
    "divergence": (
        "KL to the last",
        DIVERGENCE.formula.split(",")[0],
        "nats",
        DIVERGENCE.source,
        lambda reading: _wide(reading.divergence),
    ),
    "final_chance": (
        "probability of the final answer",
        "p[top answer of the last readout]",
        "probability",
        CHANCE.source,
        lambda reading: _wide(reading.final_chances),
    ),
    "final_share": (
        "share of final answers",
        "share of tokens whose top answer is that of the last readout",
        "share, 0..1",
        "Loopscope",
        _agreement,
    ),
}


def _wide(values: object) -> F64:
    return np.asarray(values, dtype=np.float64)


def _reading(recording: Recording, lens: Lens) -> Reading | None:
    readings = recording.result(READINGS)
    return None if readings is None else readings.of(lens)


def _curve(lens: Lens, key: str) -> Measure:
    name, formula, unit, source, values = _KINDS[key]

    def rows(recording: Recording, first: int, last: int) -> F64:
        reading = _reading(recording, lens)
        assert reading is not None
        return values(reading)[first - 1 : last]

    def missing(recording: Recording) -> str:
        if _reading(recording, lens) is not None:
            return ""
        return f"The {lens} lens has not read this run."

    words = Formula(f"{lens} lens: {name}", f"{formula}, p = {READ[lens]}", unit, source)
    return Measure(f"{lens}_{key}", words, ("layer", "token"), rows, missing=missing)


_LENSES: tuple[Lens, ...] = ("coda", "logit")
# The lens that has to read a run before a curve can be drawn.
LENS_OF: dict[str, Lens] = {f"{lens}_{key}": lens for lens in _LENSES for key in _KINDS}
LENS_CURVES: dict[str, Measure] = {
    curve.key: curve for lens in _LENSES for curve in (_curve(lens, key) for key in _KINDS)
}


def read_curve(recording: Recording, curve: Measure) -> Measured:
    """Everything that a lens has read of a run, for one of `LENS_CURVES`."""
    if why := curve.missing(recording):
        return Measured(curve, np.zeros((0, 0, 0)), why)
    return Measured(curve, curve.rows(recording, 1, recording.n_recurrences))
