"""What the computation graph says about a node, a fold and a cut."""

from __future__ import annotations

from loopscope.core.labels import count
from loopscope.core.views.graph.cuts import CutMark, cuts_at
from loopscope.core.views.graph.data import FLOPS, WRITE, Data
from loopscope.core.views.graph.layout import Box

BETWEEN = "   ·   "


def words_of(data: Data, box: Box, recurrence: int, name: str = "") -> str:
    """A node's shape, weights, parameters, operations and formula, and the cuts that act on it.

    ``recurrence`` is the cursor's, whose norms the loop's opened layers show; ``name`` is that of
    the run where there are two.
    """
    node = box.node
    where = f" at recurrence {box.recurrence}" if box.recurrence is not None else ""
    if box.times > 1 and box.recurrence is not None:
        where = f" at recurrences {box.recurrence} to {box.recurrence + box.times - 1}, all alike"
    if data.deep:
        where = ""
    of = f"{name}: " if name else ""
    parts = [
        f"{of}{node.label}{where}",
        *(c.text() for c in cuts_at(data.cuts, node, box.recurrence)),
    ]
    if box.branch is not None and node.part == "block":
        r = recurrence if box.recurrence is None else box.recurrence
        norm = data.norm(r, node.layer or 0, box.branch)
        return BETWEEN.join(
            [*parts, f"{box.label} wrote {norm:.3g}, {data.norms_of}", WRITE.text()]
        )
    parts += [node.shape, node.formula]
    if node.parameters:
        weights = f"weights {node.weights}"
        digest = data.digest(node.weights)
        if digest is not None:
            weights += f" ({digest.removeprefix('sampled:')[:8]})"
        flops = f", {count(node.flops)} FLOPs/token" if node.flops else ""
        parts.append(f"{weights}, {count(node.parameters)} params{flops}")
    if node.flops:
        parts.append(f"FLOPs = {FLOPS.formula}")
    return BETWEEN.join(p for p in parts if p)


def words_of_cuts(cuts: tuple[CutMark, ...]) -> str:
    """What the cuts at one mark do."""
    return BETWEEN.join(c.text() for c in cuts)
