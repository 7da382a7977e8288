"""Every live measure: one line each. Views, the command line and the notebook follow from it.

Those of other packages come after ours.
"""

from __future__ import annotations

from typing import get_args

from loopscope.core.errors import LoopscopeError
from loopscope.core.measures import head_rows, readout_rows, settling_rows, stages
from loopscope.core.measures.base import Axis, Measure
from loopscope.core.plugins import MEASURE, Registry, fits

OURS: tuple[Measure, ...] = (
    settling_rows.RELATIVE_STEP,
    settling_rows.STEP_SIZE,
    settling_rows.STEP_ANGLE,
    settling_rows.ACCELERATION,
    settling_rows.RELATIVE_ACCELERATION,
    settling_rows.STATE_NORM,
    settling_rows.LAYER_RELATIVE_STEP,
    settling_rows.LAYER_STEP_SIZE,
    settling_rows.LAYER_COSINE,
    settling_rows.LAYER_STEP_ANGLE,
    settling_rows.LAYER_ACCELERATION,
    head_rows.ENTROPY,
    head_rows.NORMALISED_ENTROPY,
    head_rows.SINK,
    head_rows.PREVIOUS,
    head_rows.OWN,
    head_rows.INDUCTION,
    head_rows.HEAD_CHANGE,
    head_rows.HEAD_COSINE,
    head_rows.HEAD_DIVERGENCE,
    head_rows.HEAD_VARIATION,
    stages.MATRIX_ENTROPY,
    stages.MATRIX_ENTROPY_NORMALISED,
    stages.MATRIX_ENTROPY_AS_READ,
    stages.MATRIX_ENTROPY_WITHOUT_MASSIVE,
    stages.ANISOTROPY,
    stages.SINK_RATE,
    stages.COLUMN_CONCENTRATION,
    stages.FIRST_TOKEN_NORM,
    stages.RESIDUAL_NORM,
    readout_rows.READOUT_ENTROPY,
    readout_rows.READOUT_CHANGE,
    readout_rows.TOP_PROBABILITY,
    readout_rows.EXIT_HAZARD,
)


def _checked(value: object) -> Measure:
    """Return what another package brings as a measure; raises where it is none."""
    measure = fits(value, Measure)
    if unknown := set(measure.axes) - set(get_args(Axis)):
        raise LoopscopeError(f"there is no axis '{min(unknown)}'; {', '.join(get_args(Axis))}")
    return measure


MEASURES = Registry(MEASURE, OURS, lambda measure: measure.key, _checked)


def find(key: str) -> Measure:
    """Return the measure ``key``; raises `LoopscopeError` that names the nearest ones."""
    import difflib

    if key in MEASURES:
        return MEASURES[key]
    near = difflib.get_close_matches(key, MEASURES, 3) or sorted(MEASURES)
    raise LoopscopeError(f"there is no measure '{key}'; perhaps {', '.join(near)}")
