"""How a layer is run where interventions act on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from loopscope.core.model.layers import DecoderLayer, LayerEdit


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """How one layer is run.

    layer : the weights.  edit : what is done to its heads and branches.
    times : how often in a row; 0 skips it.  factor : of its whole write.
    """

    layer: DecoderLayer
    edit: LayerEdit = field(default_factory=LayerEdit)
    times: int = 1
    factor: float = 1.0
