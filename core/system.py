"""What core asks of the system it runs on, and does without where that cannot answer."""

from __future__ import annotations

import contextlib
import ctypes
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


def host_bytes() -> int | None:
    """Main memory in bytes, or what a container has of it; None where the system does not say."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return _windows_bytes()
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/memory.max") as file:
        total = min(total, int(file.read()))
    return total


def _windows_bytes() -> int | None:
    """Main memory as Windows tells it."""
    if sys.platform != "win32":
        return None
    kilobytes = ctypes.c_ulonglong()
    known = ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
    return kilobytes.value * 1024 if known else None


def yield_to_the_screen(niceness: int = 5) -> None:
    """Lower the calling thread's priority, so that a busy machine draws first.

    Linux keeps a niceness for each thread; elsewhere this does nothing.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


def share_arenas(most: int = 2) -> bool:
    """Let all threads allocate from at most ``most`` arenas; whether the C library was told so.

    glibc makes one for each thread, up to eight a core, and what one thread freed stays in its
    arena where no other can use it: a program whose threads come and go grows without holding
    more. To be called before there are other threads. Does nothing on other systems.
    """
    if sys.platform != "linux":
        return False
    m_arena_max = -8  # of glibc's malloc.h
    try:
        return bool(ctypes.CDLL(None).mallopt(m_arena_max, most))
    except (OSError, AttributeError):
        return False


def give_back_memory() -> bool:
    """Give memory that was freed back to the system; whether there was any to give.

    glibc keeps freed pages between those in use, in an arena for each thread, so that a program
    that opened and closed a hundred models seems to hold them. Takes milliseconds and holds up
    whoever allocates meanwhile: not for the screen's thread. Does nothing where the C library has
    no ``malloc_trim`` (macOS, Windows and musl have none).
    """
    if sys.platform != "linux":
        return False
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError):
        return False
