"""The version that exports and the command line name."""

from __future__ import annotations

from functools import cache


@cache
def package_version() -> str:
    """Return Loopscope's version; "unknown" when it runs from a tree that is not installed."""
    # Late: reading a package's metadata imports the email library, which no start-up needs.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("loopscope")
    except PackageNotFoundError:
        return "unknown"
