"""The readout as live measures: how sure each recurrence's answer is and how much it changed."""

from __future__ import annotations

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.formula import Formula
from loopscope.core.measures.base import NO_GATE, NO_READOUTS, Measure
from loopscope.core.measures.exit_gate import HAZARD
from loopscope.core.run.recording import Recording

_EXIT = "arXiv 2502.05171"


def _needs_readouts(recording: Recording) -> str:
    return "" if recording.capture.readout else NO_READOUTS


def _needs_gate(recording: Recording) -> str:
    if not recording.info.architecture.exit_gate:
        return NO_GATE
    return _needs_readouts(recording)


def _rows(recording: Recording, name: str, first: int, last: int) -> F64:
    return np.asarray(recording.readouts.of(name, first, last), dtype=np.float64)


# fmt: off
READOUT_ENTROPY = Measure("readout_entropy", Formula("readout entropy", "H(p_r), p_r = softmax(head(coda(s_r)))", "nats", _EXIT), ("token",), lambda run, a, b: _rows(run, "spread", a, b)[..., 0], missing=_needs_readouts)
READOUT_CHANGE = Measure("readout_change", Formula("readout change", "KL(p_r ‖ p_{r−1})", "nats", _EXIT), ("token",), lambda run, a, b: _rows(run, "spread", a, b)[..., 1], first=2, missing=_needs_readouts, log=True, average="median")
TOP_PROBABILITY = Measure("top_probability", Formula("top probability", "max p_r", "probability", "coda lens, " + _EXIT), ("token",), lambda run, a, b: _rows(run, "coda_probabilities", a, b)[..., 0], missing=_needs_readouts)
EXIT_HAZARD = Measure("exit_hazard", HAZARD, ("token",), lambda run, a, b: _rows(run, "hazards", a, b), missing=_needs_gate)
# fmt: on
