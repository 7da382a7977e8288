"""Names beside points on a page, where they lie on as little as can be."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, Stroke
from matplotlib.transforms import Bbox

from loopscope.widgets.figures.words import width_of

# Directions in which a name is tried, the first ones preferred, and points away from its point.
_TURNS = np.radians([0, 35, -35, 70, -70, 110, -110, 145, -145, 180])
_AWAY = (5.0, 9.0, 14.0, 20.0)


def name_points(
    ax: Axes, points: np.ndarray, names: list[str], others: np.ndarray, size: float, colour: str
) -> None:
    """Write ``names`` beside ``points [n, 2]``, off one another and off ``others [m, 2]``.

    To be called when all else is drawn: the page is laid out here, as places are in points.
    """
    root = ax.get_figure(root=True)
    assert root is not None
    root.draw_without_rendering()
    scale = 72.0 / root.dpi
    at = ax.transData.transform(points) * scale
    crowd = ax.transData.transform(others) * scale
    room = Bbox(ax.get_window_extent().get_points() * scale)
    middle = at.mean(0)
    taken: list[Bbox] = []
    for i in np.argsort(-np.hypot(*(at - middle).T)):
        outward = at[i] - middle
        start = float(np.arctan2(outward[1], outward[0])) if outward.any() else 0.0
        box, (dx, dy) = _best(at[i], start, width_of(names[i], size), size, taken, crowd, room)
        taken.append(box)
        text = ax.annotate(
            names[i], points[i], (dx, dy), textcoords="offset points", fontsize=size,
            ha="center", va="center", color=colour, zorder=6, annotation_clip=False,
        )  # fmt: skip
        text.set_path_effects([Stroke(linewidth=1.4, foreground="white"), Normal()])
        text.set_in_layout(False)


def _best(
    at: np.ndarray, start: float, width: float, size: float, taken: list[Bbox], crowd: np.ndarray,
    room: Bbox,
) -> tuple[Bbox, tuple[float, float]]:  # fmt: skip
    """The place inside ``room`` that lies on the fewest names, then on the fewest points."""
    best: tuple[float, Bbox, tuple[float, float]] | None = None
    half = np.array([width / 2, 0.55 * size])
    for away in _AWAY:
        for rank, turn in enumerate(_TURNS):
            direction = np.array([np.cos(start + turn), np.sin(start + turn)])
            offset = direction * (away + half * np.abs(direction))
            centre = at + offset
            box = Bbox([centre - half, centre + half])
            names = sum(box.overlaps(other) for other in taken)
            points = int(((crowd > centre - half) & (crowd < centre + half)).all(1).sum())
            outside = not (room.contains(*box.min) and room.contains(*box.max))
            cost = 1e4 * (names + outside) + 10 * points + away + 0.5 * rank
            if best is None or cost < best[0]:
                best = cost, box, (float(offset[0]), float(offset[1]))
    assert best is not None
    return best[1], best[2]
