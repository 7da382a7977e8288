"""How much work a piece of code does, in calls: the same on a busy machine as on an idle one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


class TooMuchWork(Exception):
    """More calls than allowed."""


def calls(work: Callable[[], object], limit: int | None = None) -> int:
    """Number of functions of Python and C that ``work`` calls; stops it by `TooMuchWork` at ``limit``.

    A generator counts each time it goes on, so that a loop over one counts its rounds.
    """
    n = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal n
        if event in ("call", "c_call"):
            n += 1
            if limit is not None and n > limit:
                sys.setprofile(None)
                raise TooMuchWork(f"more than {limit} calls")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return n
