"""The version that exports and the command line name."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """Return Loopscope's version; "unknown" when it runs from a tree that is not installed."""
    try:
        return version("loopscope")
    except PackageNotFoundError:
        return "unknown"
