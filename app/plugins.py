"""What other packages add, of every kind."""

from __future__ import annotations

from collections.abc import Collection

from loopscope.app.views import VIEW_SPECS
from loopscope.core.plugins import NONE, PlugIn, asked


def every() -> tuple[PlugIn, ...]:
    """Have every registry look for plug-ins and return them; imports no torch of itself."""
    from loopscope.core.families import FAMILIES
    from loopscope.core.interventions.registry import KINDS
    from loopscope.core.measures.registry import MEASURES

    registries: tuple[Collection[object], ...] = (FAMILIES, MEASURES, VIEW_SPECS, KINDS)
    for registry in registries:
        len(registry)
    return asked()


def in_one_line() -> str:
    """Return all of them in one line, what is left out first."""
    found = sorted(every(), key=lambda plugin: not plugin.problem)
    return "; ".join(plugin.text() for plugin in found) or NONE
