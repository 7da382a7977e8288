"""Numbers of the command line, each with the bounds within which it makes sense.

Beyond them nothing is computed that anybody could wait for: a slip of the finger is told at once
rather than by the memory running out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

# Threads beyond this fail to start, which ends the process; numpy and torch take seeds up to this.
MOST_THREADS, LARGEST_SEED = 256, (1 << 63) - 1


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from ``low`` to ``high``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text[:40]}' is not a whole number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text[:40]} is not between {low} and {high:,}")
        return value

    return parse


def fraction(above: float, most: float) -> Callable[[str], float]:
    """Return a parser of numbers above ``above`` and up to ``most``."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text[:40]}' is not a number") from None
        if not above < value <= most or math.isnan(value):
            raise argparse.ArgumentTypeError(
                f"{text[:40]} is not above {above:g} and at most {most:g}"
            )
        return value

    return parse


seed = whole(0, LARGEST_SEED)
threads = whole(1, MOST_THREADS)
examples = whole(1, 1_000_000)
small = whole(1, 10_000)
steps = whole(1, 10**9)


def span(text: str) -> tuple[int, int]:
    """Parse a span of layers such as 4:8.

    Raises `ArgumentTypeError` for anything else.
    """
    first, _, last = text.partition(":")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in (first, last)):
        raise argparse.ArgumentTypeError(f"'{text[:40]}' is not a span of layers such as 4:8")
    return int(first), int(last)


def recurrences(text: str) -> tuple[int, int | None]:
    """Parse a range of recurrences such as 0:40, or 100: for all from there on.

    Raises `ArgumentTypeError` for anything else.
    """
    first, colon, last = text.partition(":")
    parts = (first, last) if last else (first,)
    if not colon or not all(p.isascii() and p.isdigit() and len(p) < 10 for p in parts):
        raise argparse.ArgumentTypeError(f"'{text[:40]}' is not a range such as 0:40 or 100:")
    if last and int(last) <= int(first):
        raise argparse.ArgumentTypeError(f"{text} is not a range: {last} is not after {first}")
    return int(first), int(last) if last else None


def window_size(text: str) -> tuple[int, int]:
    """Parse the size of a window such as 1280x800.

    Raises `ArgumentTypeError` for anything else, and beyond 400x300 to 10000x10000.
    """
    width, _, height = text.lower().partition("x")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in (width, height)):
        raise argparse.ArgumentTypeError(f"'{text[:40]}' is not a size such as 1280x800")
    size = int(width), int(height)
    if not (400 <= size[0] <= 10000 and 300 <= size[1] <= 10000):
        raise argparse.ArgumentTypeError(f"{text} is not between 400x300 and 10000x10000")
    return size
