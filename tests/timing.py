"""Timing for benchmarks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def median_ms(work: Callable[[], object], n: int = 15, warm_up: int = 3) -> float:
    """Median milliseconds of ``work``."""
    times = []
    for i in range(n + warm_up):
        started = time.perf_counter()
        work()
        if i >= warm_up:
            times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def median_cpu_ms(work: Callable[[], object], n: int = 15, warm_up: int = 3) -> float:
    """Median milliseconds of this thread's processor time that ``work`` takes."""
    times = []
    for i in range(n + warm_up):
        started = time.thread_time()
        work()
        if i >= warm_up:
            times.append((time.thread_time() - started) * 1e3)
    return statistics.median(times)
