"""`loopscope plugins`: what other packages add, and what of it is left out."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict

from loopscope.core.plugins import GROUPS, NONE, SWITCH, asked


def run_plugins(options: Namespace) -> None:
    """Load everything that other packages add and print one line for each."""
    ask_all()
    if options.json:
        print(json.dumps([asdict(plugin) for plugin in asked()], indent=1))
        return
    for plugin in asked():
        origin = f"{plugin.package} {plugin.version}"
        state = f"left out: {plugin.problem}" if plugin.problem else "in use"
        print(f"{GROUPS[plugin.group]:14s}{plugin.name:24s}{origin:32s}{state}")
    if os.environ.get(SWITCH) == "off":
        print(f"None is looked for: {SWITCH} is off")
    elif not asked():
        print(NONE)


def ask_all() -> None:
    """Have every registry look for plug-ins; imports no torch of itself."""
    from loopscope.app.views import BY_KEY
    from loopscope.core.families import FAMILIES
    from loopscope.core.interventions.registry import KINDS
    from loopscope.core.measures.registry import MEASURES

    registries: tuple[Mapping[str, object], ...] = (MEASURES, BY_KEY, KINDS)
    for registry in (FAMILIES, *registries):
        len(registry)
