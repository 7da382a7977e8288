"""How overlays of the state-space plotter look, on screen and on paper. No Qt, no matplotlib."""

from __future__ import annotations

from dataclasses import dataclass

from loopscope.core.views.state_space.overlay import Overlay
from loopscope.widgets.palette import Theme, token_colour

# Segments up to which those of a mode are drawn two pixels wide: many wide ones are slow.
FEW = 64


@dataclass(frozen=True, slots=True)
class Look:
    """Of one overlay. marker : "" for none, "x" for a cross.  hollow : only its outline."""

    colour: str
    marker: str = ""
    hollow: bool = False
    dashed: bool = False
    wide: bool = False


def look(overlay: Overlay, theme: Theme) -> Look:
    """Fixed points are diamonds, slow points crosses, modes segments.

    Runs from other starts are thin paths, the second run a dotted one.
    """
    role = overlay.role
    if role == "run":
        return Look(token_colour(overlay.index))
    if role == "second run":
        return Look(theme.text, dashed=True, wide=len(overlay.points) <= FEW)
    if overlay.kind == "segment":
        few = len(overlay.points) <= FEW
        return Look(theme.text, dashed=role == "mode, imaginary", wide=few)
    if role in ("slow point", "below resolution"):
        return Look(theme.muted, "x")
    if role == "marginal":
        return Look(theme.muted, "D")
    return Look(theme.text, "D", hollow=role == "unstable")


def legend_names(overlays: tuple[Overlay, ...]) -> list[tuple[Overlay, str]]:
    """One overlay for each entry of a legend, with its name and how many share it.

    Both parts of a mode are one entry.
    """
    first: dict[tuple[str, str], Overlay] = {}
    counts: dict[tuple[str, str], int] = {}
    key: tuple[str, str]
    for overlay in (o for o in overlays if o.role != "mode, imaginary"):
        key = (overlay.name, overlay.role)
        first.setdefault(key, overlay)
        counts[key] = counts.get(key, 0) + 1
    out = []
    for key, overlay in first.items():
        many = f" ({counts[key]})" if counts[key] > 1 and overlay.kind == "points" else ""
        out.append((overlay, f"{overlay.name}{many}"))
    return out
