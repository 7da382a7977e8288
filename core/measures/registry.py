"""Every live measure: one line each. Views, the command line and the notebook follow from it."""

from __future__ import annotations

from loopscope.core.errors import LoopscopeError
from loopscope.core.measures.base import Measure

# fmt: off
_ALL: tuple[Measure, ...] = ()
# fmt: on
MEASURES: dict[str, Measure] = {m.key: m for m in _ALL}


def find(key: str) -> Measure:
    """Return the measure ``key``; an error names the nearest ones."""
    import difflib

    if key in MEASURES:
        return MEASURES[key]
    near = difflib.get_close_matches(key, MEASURES, 3) or sorted(MEASURES)
    raise LoopscopeError(f"there is no measure '{key}'; perhaps {', '.join(near)}")
