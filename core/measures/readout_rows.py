"""The readout as live measures: how sure each recurrence's answer is and how much it changed."""

from __future__ import annotations

import numpy as np

from loopscope.core.arrays import F32, F64
from loopscope.core.formula import Formula
from loopscope.core.measures.base import NO_GATE, NO_READOUTS, Measure
from loopscope.core.measures.exit_gate import HAZARD
from loopscope.core.run.recording import Recording

_EXIT = "arXiv 2502.05171"


def _needs_readouts(recording: Recording) -> str:
    return NO_READOUTS if recording.coda_entropy is None else ""


def _needs_gate(recording: Recording) -> str:
    if recording.info.architecture.exit_gate and recording.hazards is None:
        return NO_READOUTS
    return NO_GATE if recording.hazards is None else ""


def _cut(rows: F32 | None, first: int, last: int) -> F64:
    assert rows is not None
    return np.asarray(rows[first - 1 : last], dtype=np.float64)


def _top_probability(recording: Recording, first: int, last: int) -> F64:
    answers = recording.answers("coda")
    assert answers is not None
    return _cut(answers.probabilities[..., 0], first, last)


# fmt: off
READOUT_ENTROPY = Measure("readout_entropy", Formula("readout entropy", "H(p_r), p_r = softmax(head(coda(s_r)))", "nats", _EXIT), ("token",), lambda run, a, b: _cut(run.coda_entropy, a, b), missing=_needs_readouts)
READOUT_CHANGE = Measure("readout_change", Formula("readout change", "KL(p_r ‖ p_{r−1})", "nats", _EXIT), ("token",), lambda run, a, b: _cut(run.coda_kl, a, b), first=2, missing=_needs_readouts, log=True, average="median")
TOP_PROBABILITY = Measure("top_probability", Formula("top probability", "max p_r", "probability", "coda lens, " + _EXIT), ("token",), _top_probability, missing=_needs_readouts)
EXIT_HAZARD = Measure("exit_hazard", HAZARD, ("token",), lambda run, a, b: _cut(run.hazards, a, b), missing=_needs_gate)
# fmt: on
