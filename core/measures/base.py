"""What a live measure is: rows of numbers, one for each recurrence, computed as they arrive.

A measure's rows depend on recurrences up to their own only, so a row once computed never changes:
stepping on costs the new rows, not the whole run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.errors import LoopscopeError
from loopscope.core.formula import Formula
from loopscope.core.run.recording import Recording

Axis = Literal["layer", "head", "token"]

NO_PATTERNS = (
    "This run did not keep attention patterns. Run, Keep attention patterns makes it again with "
    "them (in a script: `keep`)."
)
NO_READOUTS = "This run did not keep its readouts: its `Capture` leaves them out."
NO_GATE = "This model has no exit gate."
NO_RUN = "No recurrence has been run."
# Ends a sentence on what needs another recurrence.
RUNS_ONCE = "a deep model runs once"


def has_run_once(recording: Recording) -> bool:
    """Whether this is a deep model's run, and done: there is no further recurrence."""
    return recording.info.architecture.runs_once and recording.n_recurrences >= 1


def _have_been_run(n: int) -> str:
    return f"{n} {'has' if n == 1 else 'have'} been run"


def no_reason(recording: Recording) -> str:
    """Nothing stands in the way."""
    return ""


@dataclass(frozen=True, slots=True)
class Measure:
    """One live measure.

    key : what the command line and the notebook call it.
    formula : name, formula, unit and source.
    axes : of one row, in order; every measure has the recurrence as its first axis.
    rows : ``rows(recording, first, last)`` gives recurrences ``first .. last`` (from 1, both
        included) as float64 ``[last - first + 1, *axes]``, accumulated in float64; NaN where a
        number does not exist.
    first : the first recurrence that can have a number (2 for a change between recurrences).
    missing : why this run has no number at all, or "".
    log : whether it is read on a log axis.
    average : how tokens, heads or prompts are put together.
    null : value of a layer's `heads.even_attention`, ``[T, T]``, or None where that means nothing.
    """

    key: str
    formula: Formula
    axes: tuple[Axis, ...]
    rows: Callable[[Recording, int, int], F64]
    first: int = 1
    missing: Callable[[Recording], str] = no_reason
    log: bool = False
    average: Literal["mean", "median"] = "mean"
    null: Callable[[F64], float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A measure of one run.

    values : float64 ``[R, *axes]``; row 0 is recurrence 1. NaN where there is no number.
    missing : why there is none at all, or "".
    """

    measure: Measure
    values: F64
    missing: str = ""

    def as_json(self) -> dict[str, Any]:
        """Formula, axes and plain values; a number that does not exist is null."""
        f = self.measure.formula
        values = self.values.astype(object)
        values[~np.isfinite(self.values)] = None
        return {
            "name": f.name,
            "formula": f.formula,
            "unit": f.unit,
            "source": f.source,
            "axes": ["recurrence", *self.measure.axes],
            "missing": self.missing or None,
            "values": values.tolist(),
        }

    def by_recurrence(self) -> F64:
        """Average of each recurrence over all other axes, ``[R]``."""
        return averaged(self.values, tuple(range(1, self.values.ndim)), self.measure.average)

    def by_depth(self) -> F64:
        """Average over heads and tokens: ``[R, L]``, or ``[R, 1]`` without a layer axis."""
        values = self.values
        if "layer" not in self.measure.axes:
            values = values[:, None]
        return averaged(values, tuple(range(2, values.ndim)), self.measure.average)


def averaged(values: F64, axes: tuple[int, ...], how: str) -> F64:
    """Mean or median over ``axes`` of an array of any shape; the other axes are left.

    NaN is left out, and stands where there is nothing else.
    """
    if not axes:
        return values
    known = np.isfinite(values)
    shape = np.delete(values.shape, axes)
    if not known.any():
        return np.full(shape, np.nan)
    some = known.any(axes, keepdims=True)
    # Filled where there is nothing, so that numpy does not warn; made NaN again below.
    filled = np.where(some, np.where(known, values, np.nan), 0.0)
    result = np.nanmean(filled, axis=axes) if how == "mean" else np.nanmedian(filled, axis=axes)
    return np.asarray(np.where(some.reshape(shape), result, np.nan), dtype=np.float64)


_kept: WeakKeyDictionary[Recording, dict[str, F64]] = WeakKeyDictionary()
_lock = threading.Lock()


def measure(recording: Recording, quantity: Measure) -> Measured:
    """Measure every recurrence run so far; rows that were measured before are not again.

    Raises `LoopscopeError` for a measure, a plug-in's perhaps, whose rows have another shape than
    it says.
    """
    n = recording.n_recurrences
    why = (NO_RUN if n < 1 else "") or quantity.missing(recording)
    if not why and n < quantity.first:
        why = (
            f"{quantity.formula.name.capitalize()} needs {quantity.first} recurrences; "
            f"{RUNS_ONCE if has_run_once(recording) else _have_been_run(n)}."
        )
    if why:
        return Measured(quantity, np.zeros((0, *(0 for _ in quantity.axes))), why)
    with _lock:
        kept = _kept.setdefault(recording, {})
        done = kept.get(quantity.key)
    start = 0 if done is None else len(done)
    if start < n:
        fresh = np.asarray(quantity.rows(recording, start + 1, n), dtype=np.float64)
        if fresh.ndim != 1 + len(quantity.axes) or len(fresh) != n - start:
            axes = ", ".join((f"{n - start} recurrences", *quantity.axes))
            raise LoopscopeError(
                f"the measure '{quantity.key}' gave an array of shape {list(fresh.shape)}, "
                f"expected [{axes}]"
            )
        done = fresh if done is None else np.concatenate([done, fresh])
        with _lock:
            kept[quantity.key] = done
    assert done is not None
    return Measured(quantity, done[:n])
