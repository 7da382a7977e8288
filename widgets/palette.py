"""Colours shared by screen and page. No Qt, no matplotlib.

Each colour means one thing: the accent is the cursor and nothing else; recurrence is viridis;
similarity 0..1 is cividis; distance is magma; signed values diverge around a neutral middle; tokens
and runs take the eight colour-blind-safe colours of Okabe and Ito.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Okabe & Ito, reordered so that neighbours differ in lightness; the cursor's orange is left out.
OKABE_ITO: tuple[str, ...] = (
    "#0072B2",
    "#56B4E9",
    "#009E73",
    "#CC79A7",
    "#F0E442",
    "#8C6BB1",
    "#999999",
    "#5B4A3A",
)
RECURRENCE_MAP = "viridis"
SIMILARITY_MAP = "cividis"
# Distances on a log scale.
DISTANCE_MAP = "magma"
# Anchors of the diverging map, low to high, middle neutral; blue to brown, never red to green.
DIVERGING: tuple[str, ...] = (
    "#2166AC",
    "#67A9CF",
    "#D1E5F0",
    "#F7F7F7",
    "#E8D2B0",
    "#BF812D",
    "#8C510A",
)
# One muted hue for each distinct set of weights in the graph, in order of first appearance.
WEIGHT_HUES: tuple[str, ...] = (
    "#7A8FA6",
    "#6C9A8B",
    "#A68A64",
    "#8E7CA6",
    "#9A9A5B",
    "#A67C8E",
    "#5F9EA0",
    "#8B8378",
    "#6E85C2",
    "#B0B0A0",
    "#B58A8A",
)


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of the window; `paper` is what figures are drawn with."""

    name: str
    dark: bool
    window: str
    panel: str
    text: str
    muted: str
    line: str
    accent: str
    hover: str
    warning: str
    button: str
    field: str


LIGHT = Theme(
    "light", False, window="#F3F3F1", panel="#FFFFFF", text="#1C1C1E", muted="#6A6A70",
    line="#D4D4D2", accent="#D95F02", hover="#B9B9B6", warning="#8A5A00", button="#E6E6E3",
    field="#FFFFFF",
)  # fmt: skip
DARK = Theme(
    "dark", True, window="#1B1C1F", panel="#232428", text="#E8E8EA", muted="#9A9AA2",
    line="#3A3B41", accent="#FF9F45", hover="#5A5B63", warning="#E0B050", button="#313238",
    field="#2C2D33",
)  # fmt: skip
THEMES = {"light": LIGHT, "dark": DARK}


def token_colour(index: int) -> str:
    """Colour of the ``index``-th shown token or run; repeats after eight (then line styles)."""
    return OKABE_ITO[index % len(OKABE_ITO)]


def black_is_legible(rgb: np.ndarray) -> np.ndarray:
    """Whether black is more legible than white on colours ``[..., 3]``, 0..1.

    Contrast as WCAG 2.1 defines it, ``(L1 + 0.05) / (L2 + 0.05)`` of relative luminances.
    """
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.asarray((luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05))
