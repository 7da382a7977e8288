"""The colour of each set of weights, on screen and page. No Qt."""

from __future__ import annotations

from loopscope.core.model.graph import Node
from loopscope.core.views.graph.data import Data
from loopscope.widgets.palette import WEIGHT_HUES


def weights_colour(data: Data, node: Node) -> str | None:
    """Colour of a node's set of weights, "#RRGGBB"; None when it has no weights.

    After the last of the hues they come again darker, then lighter.
    """
    index = data.hues.get(node.weights)
    if index is None:
        return None
    cycle, place = divmod(index, len(WEIGHT_HUES))
    towards, share = ((0, 0.0), (0, 0.35), (255, 0.35))[cycle % 3]
    parts = [int(WEIGHT_HUES[place][i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(p + share * (towards - p)):02X}" for p in parts)
