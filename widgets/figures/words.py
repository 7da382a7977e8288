"""Words on paper: how wide they are, and how they are made to fit."""

from __future__ import annotations

from functools import cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath


@cache
def width_of(text: str, size: float) -> float:
    """Width in points."""
    if not text.strip():
        return 0.0
    path = TextPath((0, 0), text.replace("$", "S"), size=size, prop=FontProperties())
    return float(path.get_extents().width)


@cache
def fit(text: str, size: float, width: float) -> str:
    """As much of ``text`` as fits ``width`` points; nothing when that is not even one letter."""
    if width_of(text, size) <= width:
        return text
    for n in range(len(text) - 1, 0, -1):
        short = text[:n] + "…"
        if width_of(short, size) <= width:
            return short
    return ""


def in_two_lines(text: str, size: float, width: float) -> str:
    """``text``, broken at the space that leaves both lines shortest where one is too wide."""
    words = text.split(" ")
    if width_of(text, size) <= width or len(words) < 2:
        return text
    halves = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
    return "\n".join(min(halves, key=lambda pair: max(width_of(half, size) for half in pair)))
