"""Rotary position embedding (Su et al., arXiv 2104.09864) and the ways it is stretched.

A `Rope` says how fast each pair of a head's dimensions turns with position. A `Scaling` changes
these frequencies so that a model reaches further than it was trained; each is the rule of
`transformers` of that name. Numpy alone: `inspect` reads them before torch is imported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from typing_extensions import override

from loopscope.core.arrays import F64


@dataclass(frozen=True, slots=True)
class Scaling:
    """Not stretched: frequency ``i`` is ``theta^(-2 i / dims)``.

    kind : its name in a config.
    attention_factor : what cosines and sines are multiplied by.
    """

    kind: str = "default"
    attention_factor: float = 1.0

    def frequencies(self, theta: float, dims: int, n_positions: int) -> F64:
        """Angle per position of each pair, float64 ``[ceil(dims / 2)]``.

        ``n_positions`` is the length of the prompt, on which some of them depend.
        """
        return np.asarray(theta ** (-np.arange(0, dims, 2) / dims), dtype=np.float64)

    def reach(self, positions: int) -> int:
        """How long a prompt may be in a model of so many positions."""
        return positions


@dataclass(frozen=True, slots=True)
class Linear(Scaling):
    """Every frequency divided by ``factor``: positions are interpolated (arXiv 2306.15595)."""

    kind: str = "linear"
    factor: float = 1.0

    @override
    def frequencies(self, theta: float, dims: int, n_positions: int) -> F64:
        """See `Scaling.frequencies`."""
        return Scaling().frequencies(theta, dims, n_positions) / self.factor


@dataclass(frozen=True, slots=True)
class Dynamic(Scaling):
    """The base grows with the prompt beyond ``original_positions`` ("dynamic NTK").

    ``theta (factor n / original - (factor - 1))^(dims / (dims - 2))`` for a prompt of ``n``.
    """

    kind: str = "dynamic"
    factor: float = 1.0
    original_positions: int = 2048

    @override
    def frequencies(self, theta: float, dims: int, n_positions: int) -> F64:
        """See `Scaling.frequencies`."""
        n = max(n_positions, self.original_positions)
        stretch = self.factor * n / self.original_positions - (self.factor - 1)
        base = theta * stretch ** (dims / (dims - 2))
        return Scaling().frequencies(base, dims, n_positions)

    @override
    def reach(self, positions: int) -> int:
        """How long a prompt may be: that is what the factor says."""
        return max(positions, int(positions * self.factor))


@dataclass(frozen=True, slots=True)
class Yarn(Scaling):
    """YaRN (arXiv 2309.00071): slow pairs are interpolated, fast ones kept, a ramp between.

    beta_fast, beta_slow : turns over ``original_positions`` above which a pair is kept, and below
        which it is interpolated.
    truncate : whether the ends of the ramp are whole numbers.
    """

    kind: str = "yarn"
    factor: float = 1.0
    original_positions: int = 2048
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True

    @override
    def frequencies(self, theta: float, dims: int, n_positions: int) -> F64:
        """See `Scaling.frequencies`."""
        plain = Scaling().frequencies(theta, dims, n_positions)
        low, high = (self._pair(beta, theta, dims) for beta in (self.beta_fast, self.beta_slow))
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, dims - 1)
        if low == high:
            high += 0.001
        ramp = ((np.arange(dims // 2) - low) / (high - low)).clip(0, 1)
        blended: F64 = plain / self.factor * ramp + plain * (1 - ramp)
        return blended

    @staticmethod
    def attention(factor: float, scale: float, scale_all: float) -> float:
        """The factor of cosines and sines that `transformers` takes where none is given.

        ``m(scale) / m(scale_all)`` where both are given (not 0), else ``m(1)``; ``m(s)`` is
        ``0.1 s ln(factor) + 1``, and 1 for a factor of at most 1.
        """

        def m(scale: float) -> float:
            return 0.1 * scale * math.log(factor) + 1 if factor > 1 else 1.0

        return m(scale) / m(scale_all) if scale and scale_all else m(1.0)

    def _pair(self, turns: float, theta: float, dims: int) -> float:
        """Which pair makes so many turns, as a real number."""
        ratio = self.original_positions / (turns * 2 * math.pi)
        return dims * math.log(ratio) / (2 * math.log(theta))


@dataclass(frozen=True, slots=True)
class LongRope(Scaling):
    """LongRoPE (arXiv 2402.13753): a divisor for each pair, other ones for long prompts."""

    kind: str = "longrope"
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()
    original_positions: int = 2048

    @override
    def frequencies(self, theta: float, dims: int, n_positions: int) -> F64:
        """See `Scaling.frequencies`."""
        long = n_positions > self.original_positions
        divisors = np.array(self.long_factors if long else self.short_factors)
        divided: F64 = Scaling().frequencies(theta, dims, n_positions) / divisors
        return divided

    @staticmethod
    def attention(factor: float, original_positions: int) -> float:
        """The factor of cosines and sines where none is given: ``sqrt(1 + ln f / ln n)``."""
        return math.sqrt(1 + math.log(factor) / math.log(original_positions)) if factor > 1 else 1.0


@dataclass(frozen=True, slots=True)
class Llama3(Scaling):
    """Llama 3.1's rule: slow pairs are divided by ``factor``, with a blend to the fast ones."""

    kind: str = "llama3"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_positions: int = 8192

    @override
    def frequencies(self, theta: float, dims: int, n_positions: int) -> F64:
        """See `Scaling.frequencies`."""
        plain = Scaling().frequencies(theta, dims, n_positions)
        turns = self.original_positions * plain / (2 * math.pi)
        low, high = self.low_freq_factor, self.high_freq_factor
        scaled = np.where(turns < low, plain / self.factor, plain)
        if high <= low:
            return scaled
        blend = (turns - low) / (high - low)
        between = (1 - blend) * plain / self.factor + blend * plain
        return np.where((turns >= low) & (turns <= high), between, scaled)


@dataclass(frozen=True, slots=True)
class Proportional(Scaling):
    """A ``share`` of the pairs turns, with the frequencies of the whole head; the rest does not."""

    kind: str = "proportional"
    factor: float = 1.0
    share: float = 1.0

    @override
    def frequencies(self, theta: float, dims: int, n_positions: int) -> F64:
        """See `Scaling.frequencies`."""
        plain = Scaling().frequencies(theta, dims, n_positions)
        turning = int(self.share * dims // 2)
        return np.where(np.arange(len(plain)) < turning, plain, 0) / self.factor


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary position embedding.

    theta : base of the frequencies.
    dims : what the frequencies are divided over, None for the whole head. The first
        ``2 ceil(dims / 2)`` dimensions of a head are rotated.
    pairs : which of them rotate together: (i, i + half), (2i, 2i + 1), or no rotation.
    rounded : cosines and sines are kept in bfloat16 (nanochat); such a rope is never stretched.
    """

    theta: float = 10000.0
    dims: int | None = None
    pairs: Literal["half", "neighbour", "none"] = "half"
    scaling: Scaling = Scaling()
    rounded: bool = False

    def frequencies(self, d_head: int, n_positions: int) -> F64:
        """Angle per position of each rotated pair, float64 ``[ceil(dims / 2)]``."""
        dims = d_head if self.dims is None else self.dims
        return self.scaling.frequencies(self.theta, dims, n_positions)
