"""Options of the soak: `python -m pytest tests/soak --minutes 120 --seed 7`."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--minutes", type=float, default=None, help="how long to soak (3)")
    parser.addoption("--seed", type=int, default=None, help="what the random user does (7)")
