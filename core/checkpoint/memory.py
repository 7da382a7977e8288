"""How much main memory can still be taken; no torch, so that `inspect` may ask."""

from __future__ import annotations


def host_free_bytes() -> int | None:
    """Free main memory in bytes; None where the system does not say (only Linux does)."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
