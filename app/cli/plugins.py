"""`loopscope plugins`: what other packages add, and what of it is left out."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from dataclasses import asdict

from loopscope.app.plugins import every
from loopscope.core.plugins import GROUPS, NONE, SWITCH


def run_plugins(options: Namespace) -> None:
    """Load everything that other packages add and print one line for each."""
    found = every()
    if options.json:
        print(json.dumps([asdict(plugin) for plugin in found], indent=1))
        return
    for plugin in found:
        origin = f"{plugin.package} {plugin.version}"
        state = f"left out: {plugin.problem}" if plugin.problem else "in use"
        print(f"{GROUPS[plugin.group]:14s}{plugin.name:24s}{origin:32s}{state}")
    if os.environ.get(SWITCH) == "off":
        print(f"None is looked for: {SWITCH} is off")
    elif not found:
        print(NONE)
