"""Round values for ticks, on the screen and on paper. No Qt, no matplotlib."""

from __future__ import annotations

import math

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def nice_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not below ``least`` (> 0)."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= least * 0.999)


def whole_step(least: float) -> int:
    """Return the smallest of 1, 2, 5, 10, 20, ... that is not below ``least``."""
    return round(nice_step(max(least, 1.0)))


def count_ticks(n: int, most: int = 16) -> list[int]:
    """Return 1 and the multiples of a round step up to ``n``, about ``most`` in all."""
    step = whole_step(n / most)
    return list(range(1, n + 1)) if step == 1 else [1, *range(step, n + 1, step)]


def decade_text(value: float, powers: bool) -> str:
    """Text of a tick: 10⁻³ where ticks are decades, else plain digits."""
    exponent = round(math.log10(value))
    if powers and not -1 <= exponent <= 2:
        return "10" + str(exponent).translate(_SUPERSCRIPTS)
    if 1e-4 < value < 1e5:
        return f"{value:.12g}"
    mantissa = value / 10.0 ** math.floor(math.log10(value) + 1e-9)
    base = "10" + str(math.floor(math.log10(value) + 1e-9)).translate(_SUPERSCRIPTS)
    return base if abs(mantissa - 1) < 1e-9 else f"{mantissa:.3g}·{base}"


def log_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Return at most about ``most`` round values in ``low .. high``, each with its text.

    Decades, or every second, third ... of them; digits 1, 2, 5 within a decade where the range
    holds fewer than two decades; evenly spaced round numbers where it holds hardly any.
    """
    if not (0 < low <= high and math.isfinite(high)):
        return []
    most = max(most, 2)
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first >= 1:
        step = next(s for s in range(1, 1000) if (last - first) // s + 1 <= most)
        # Whole multiples, so that ticks stay where they are while the range grows.
        start = -(-first // step) * step
        decades = [10.0**e for e in range(start, last + 1, step)]
        if len(decades) > 1:
            return [(v, decade_text(v, True)) for v in decades]
    values = [m * 10.0**e for e in range(first - 1, last + 1) for m in (1, 2, 5)]
    values = [v for v in values if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
    if len(values) < 2:
        values = _even(low, high, most)
    return [(v, decade_text(v, False)) for v in values]


def _even(low: float, high: float, most: int) -> list[float]:
    """Round numbers at even distances; the ends themselves when they are (nearly) equal."""
    if high / low < 1 + 1e-6:
        return [float(f"{low:.3g}")]
    step = nice_step((high - low) / most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]
