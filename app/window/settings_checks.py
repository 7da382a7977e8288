"""What a value read from the file of settings may be: nothing of it is taken on trust."""

from __future__ import annotations

from collections.abc import Callable

from loopscope.core.interventions.registry import MOST_IN_A_FILE

SMALLEST, LARGEST = (400, 300), (10_000, 10_000)
LONGEST, DEEPEST, MOST_ENTRIES = 1_000_000, 20, 10_000

Check = Callable[[object], bool]


def is_flag(value: object) -> bool:
    """Yes or no."""
    return isinstance(value, bool)


def is_text(value: object) -> bool:
    """Text that can be shown, written and given to the system: no lone surrogate, no NUL."""
    if not isinstance(value, str) or len(value) > LONGEST or "\0" in value:
        return False
    return not any("\ud800" <= c <= "\udfff" for c in value)


def is_path(value: object) -> bool:
    """The name of a folder, or ``bundled:NAME``."""
    return is_text(value) and value != ""


def is_plain(value: object, depth: int = 0) -> bool:
    """Values of JSON, not nested deeper than anything we write."""
    if depth > DEEPEST:
        return False
    if isinstance(value, dict):
        return len(value) <= MOST_ENTRIES and all(
            is_text(k) and is_plain(v, depth + 1) for k, v in value.items()
        )
    if isinstance(value, list):
        return len(value) <= MOST_ENTRIES and all(is_plain(v, depth + 1) for v in value)
    number = isinstance(value, int | float) and abs(value) < 1e300  # refuses NaN as well
    return value is None or number or is_text(value)


def one_of(*names: str) -> Check:
    """One of these words."""
    return lambda value: isinstance(value, str) and value in names


def between(low: float, high: float, *, whole: bool = False) -> Check:
    """A number from ``low`` to ``high``, both included; no boolean, no NaN."""

    def fits(value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            return False
        return low <= value <= high

    return fits


def texts(most: int) -> Check:
    """A list of at most so many texts."""
    return lambda value: isinstance(value, list) and len(value) <= most and all(map(is_text, value))


def is_size(value: object) -> bool:
    """Width and height of a window, in pixels."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(
            type(n) is int and low <= n <= high
            for n, low, high in zip(value, SMALLEST, LARGEST, strict=True)
        )
    )


def is_hexadecimal(value: object) -> bool:
    """Bytes as Qt writes them."""
    return is_text(value) and all(c in "0123456789abcdef" for c in str(value))


def is_text_by_text(value: object) -> bool:
    """Texts by text."""
    return isinstance(value, dict) and is_plain(value) and all(map(is_text, value.values()))


def is_options(value: object) -> bool:
    """Options by view; whether a value suits its option is known where the view is made."""
    return (
        isinstance(value, dict)
        and is_plain(value)
        and all(isinstance(options, dict) for options in value.values())
    )


def is_export(value: object) -> bool:
    """What `widgets.kit.export_choice.ExportChoice` is made of."""
    checks: dict[str, Check] = {
        "formats": texts(20),
        "preset": is_text,
        "dpi": between(72, 1200, whole=True),
        "folder": is_text,
    }
    return isinstance(value, dict) and all(k in checks and checks[k](v) for k, v in value.items())


def is_interventions(value: object) -> bool:
    """A list of objects; `interventions.registry` reads them and says what is wrong."""
    return (
        isinstance(value, list)
        and len(value) <= MOST_IN_A_FILE
        and is_plain(value)
        and all(isinstance(entry, dict) for entry in value)
    )
