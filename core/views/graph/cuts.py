"""Where the interventions of a run act in its computation graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loopscope.core.interventions.base import END, FOREVER, Intervention
from loopscope.core.model.graph import Node
from loopscope.core.run.effects import effect_words
from loopscope.core.run.recording import Recording

Site = Literal["layer", "injection", "start", "end"]


@dataclass(frozen=True, slots=True)
class CutMark:
    """One intervention as the graph marks it.

    words : what is done and where.  effect : what it did, or that it did nothing.
    run : of which run, "" for the one shown and the name of a branch beside it.
    """

    cut: Intervention
    words: str
    effect: str
    run: str = ""

    def text(self) -> str:
        """One line for a tooltip."""
        of = f"in {self.run}: " if self.run else ""
        return f"{of}{self.words} ({self.effect})"

    def at(self, site: Site, recurrence: int | None, layer: int | None = None) -> bool:
        """Whether it acts at a place; without a recurrence, at any of them."""
        cut = self.cut
        if site == "start":
            return cut.layer == END and cut.acts_at(0)
        if recurrence is not None and not cut.acts_at(recurrence):
            return False
        if site == "injection":
            return not cut.sites
        if site == "end":
            return cut.layer == END and (cut.last == FOREVER or cut.last > 0)
        return bool(cut.sites) and cut.layer == layer

    def breaks(self) -> set[int]:
        """Recurrences at which it begins to act, and at which it no longer does."""
        last = () if self.cut.last == FOREVER else (self.cut.last + 1,)
        return {self.cut.recurrence, *last}


def cuts_of(recording: Recording, run: str = "") -> tuple[CutMark, ...]:
    """Every intervention of a run, with what it did so far."""
    info = recording.info
    name = info.architecture.layer_name
    return tuple(
        CutMark(cut, cut.describe(name), effect_words(recording, i), run)
        for i, cut in enumerate(info.interventions)
    )


def site_of(node: Node) -> Site | None:
    """At which site a node's own mark stands; the end of a recurrence is a wire, not a node."""
    if node.part == "block":
        return "layer"
    if node.kind in ("start", "injection"):
        return "start" if node.kind == "start" else "injection"
    return None


def cuts_at(cuts: tuple[CutMark, ...], node: Node, recurrence: int | None) -> tuple[CutMark, ...]:
    """Return the cuts that act at a node's copy at ``recurrence`` (None: at any)."""
    site = site_of(node)
    if site is None:
        return ()
    return tuple(c for c in cuts if c.at(site, recurrence, node.layer))
