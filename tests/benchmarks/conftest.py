"""Benchmarks print one JSON line each; run them with `pytest tests/benchmarks -s -q`."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable

import pytest


@pytest.fixture
def say() -> Callable[..., None]:
    """Print one JSON line: the benchmark's name, its figures, the machine."""

    def say(name: str, **figures: object) -> None:
        machine = f"{platform.machine()}, Python {platform.python_version()}"
        print("\n" + json.dumps({"benchmark": name, **figures, "machine": machine}))

    return say
