"""What core asks of the system it runs on, and does without where that cannot answer."""

from __future__ import annotations

import contextlib
import os
import sys
import threading


def host_free_bytes() -> int | None:
    """Free main memory in bytes; None where the system does not say (only Linux does)."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def yield_to_the_screen(niceness: int = 5) -> None:
    """Lower the calling thread's priority, so that a busy machine draws first.

    Linux keeps a niceness for each thread; elsewhere this does nothing.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
