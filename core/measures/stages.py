"""Stages of inference: what a feedforward model shows along its depth, at every recurrence.

Mixing (broad attention), compression (an entropy valley, sinks, a large first-token norm) and
refinement are looked for along effective depth. In a looped model they are said to repeat once a
recurrence (arXiv 2604.11791); `repeat_correlation` puts a number on that.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from loopscope.core.arrays import F64, Floats
from loopscope.core.formula import Formula
from loopscope.core.measures.base import Measure
from loopscope.core.measures.head_rows import needs_patterns, statistics_of
from loopscope.core.measures.heads import Patterns
from loopscope.core.measures.state_forms import MASSIVE, as_read, massive_at
from loopscope.core.run.recording import Recording
from loopscope.core.run.steps import state_norm

_CYCLE, _STAGES = "arXiv 2604.11791", "arXiv 2510.06477"
# A head is a sink when its mean attention to token 0 is at least this (arXiv 2510.06477).
SINK_THRESHOLD = 0.3


def spectrum_shares(states: Floats) -> F64:
    """Shares ``p_j = σ_j² / Σ σ²`` of the singular values of state matrices, largest first.

    Parameters
    ----------
    states
        ``[..., T, d]``.

    Returns
    -------
    float64 ``[..., min(T, d)]``, summing to 1; NaN where the matrix is 0 or not finite. Taken from
    the eigenvalues of the smaller Gram matrix, which are the ``σ²``; its rounding (about 1e-16 of
    the largest) is far below what the entropy shows.
    """
    *lead, t, d = states.shape
    flat = states.reshape(-1, t, d)
    out = np.full((len(flat), min(t, d)), np.nan)
    for i, state in enumerate(flat):
        x = np.asarray(state, dtype=np.float64)
        with np.errstate(invalid="ignore", over="ignore"):  # a diverged state has no spectrum
            gram = x @ x.T if t <= d else x.T @ x
        if np.isfinite(gram).all() and np.trace(gram) > 0:
            squares = np.clip(np.linalg.eigvalsh(gram)[::-1], 0, None)
            out[i] = squares / squares.sum()
    return out.reshape(*lead, min(t, d))


def matrix_entropy(states: Floats, normalised: bool = False) -> F64:
    """``-Σ p_j log p_j`` of `spectrum_shares`, nats; over ``log min(T, d)`` when normalised.

    ``[..., T, d]`` to float64 ``[...]``. One token has entropy 0 and no normalised one (NaN).
    Source: arXiv 2510.06477.
    """
    return _entropy(spectrum_shares(states), normalised)


def _entropy(p: F64, normalised: bool = False) -> F64:
    logs = np.log(np.where(p > 0, p, 1.0))
    # Adding 0 turns -0.0 into 0.
    entropy = np.asarray(-(p * logs).sum(-1) + 0.0)
    if not normalised:
        return entropy
    most = np.log(p.shape[-1])
    return entropy / most if most > 0 else np.full(entropy.shape, np.nan)


def matrix_entropy_without_massive(states: Floats) -> F64:
    """`matrix_entropy` of the tokens whose norm is below `MASSIVE` times the median one.

    ``[..., T, d]`` to float64 ``[...]``, nats; which tokens these are is asked at each place.
    """
    *lead, t, d = states.shape
    flat = states.reshape(-1, t, d)
    massive = massive_at(flat)
    entropies = [matrix_entropy(place[~out]) for place, out in zip(flat, massive, strict=True)]
    return np.array(entropies, dtype=np.float64).reshape(lead)


def anisotropy(states: Floats) -> F64:
    """Share of the largest singular value, ``p_1``, 0..1, of states ``[..., T, d]``: ``[...]``.

    Source: arXiv 2604.11791.
    """
    return np.asarray(spectrum_shares(states)[..., 0])


def column_concentration(patterns: Patterns) -> F64:
    """ColSum concentration ``1 + (1 / log T) Σ_j ĉ_j log ĉ_j``, ``ĉ_j = (1/T) Σ_i A_ij``.

    ``[..., T, T]`` to float64 ``[...]``: 0 when all tokens get equal attention, 1 when one gets
    all. NaN for one token.  Source: arXiv 2604.11791, with ĉ in the sum (as printed it leaves
    0..1).
    """
    t = patterns.shape[-1]
    if t < 2:
        return np.full(patterns.shape[:-2], np.nan)
    columns = patterns.mean(axis=-2, dtype=np.float64)
    logs = np.log(np.where(columns > 0, columns, 1.0))
    return np.asarray(1 + (columns * logs).sum(-1) / np.log(t))


@dataclass(frozen=True, slots=True)
class Repeat:
    """How alike the recurrences' curves over the layers are.

    consecutive : mean Pearson correlation of each recurrence's curve with the next one's.
    with_last : mean correlation of each earlier recurrence's curve with the last one's.
    n_layers, n_pairs : layers a curve has; consecutive pairs with a correlation.
    missing : why there is no number, or "".
    """

    consecutive: float
    with_last: float
    n_layers: int
    n_pairs: int
    missing: str = ""


def repeat_correlation(by_depth: F64) -> Repeat:
    """Correlate the curves over layers of different recurrences, ``[R, L]``.

    Rows that are not finite or do not vary have no correlation and are left out.
    """
    n, layers = by_depth.shape
    none = float("nan")
    if layers < 3:
        noun = "1 layer has" if layers == 1 else f"{layers} layers have"
        return Repeat(none, none, layers, 0, f"{noun} no curve to compare: 3 or more would")
    r = [i for i in range(n) if np.isfinite(by_depth[i]).all() and np.ptp(by_depth[i]) > 0]
    if len(r) < 2:
        return Repeat(none, none, layers, 0, "fewer than 2 recurrences have a curve that varies")
    matrix = np.atleast_2d(np.corrcoef(by_depth[r]))
    pairs = [matrix[i, i + 1] for i in range(len(r) - 1) if r[i + 1] == r[i] + 1]
    consecutive = float(np.mean(pairs)) if pairs else none
    return Repeat(consecutive, float(matrix[:-1, -1].mean()), layers, len(pairs))


def _layers(recording: Recording, first: int, last: int) -> Floats:
    return recording.layer_states_of(first, last)


# The shares of the rows last asked for: three measures share one decomposition.
_last: WeakKeyDictionary[Recording, tuple[int, int, F64]] = WeakKeyDictionary()


def _shares(recording: Recording, first: int, last: int) -> F64:
    kept = _last.get(recording)
    if kept is not None and kept[:2] == (first, last):
        return kept[2]
    shares = spectrum_shares(_layers(recording, first, last))
    _last[recording] = (first, last, shares)
    return shares


def _sink_rate(recording: Recording, first: int, last: int) -> F64:
    sinks = statistics_of(recording, first, last).sink
    return np.asarray(np.where(np.isfinite(sinks), sinks >= SINK_THRESHOLD, np.nan).mean(-1))


def _columns(recording: Recording, first: int, last: int) -> F64:
    parts = recording.pattern_parts(first, last)
    return np.concatenate([column_concentration(recording.patterns_of(a, b)) for a, b in parts])


# fmt: off
MATRIX_ENTROPY = Measure("matrix_entropy", Formula("matrix entropy", "−Σ p_j log p_j, p_j = σ_j² / Σ σ² of x[r,l], T × d", "nats, at most ln min(T, d)", _STAGES), ("layer",), lambda run, a, b: _entropy(_shares(run, a, b)))
MATRIX_ENTROPY_NORMALISED = Measure("matrix_entropy_normalised", Formula("normalised matrix entropy", "−Σ p_j log p_j / log min(T, d)", "0..1", _STAGES), ("layer",), lambda run, a, b: _entropy(_shares(run, a, b), normalised=True), missing=lambda run: "One token has no normalised matrix entropy." if run.n_tokens < 2 else "")
MATRIX_ENTROPY_AS_READ = Measure("matrix_entropy_as_read", Formula("matrix entropy of normalised states", "−Σ p_j log p_j, p_j = σ_j² / Σ σ² of x[r,l] as the next norm reads it: one token of massive norm does not decide it", "nats, at most ln min(T, d)", _STAGES), ("layer",), lambda run, a, b: matrix_entropy(as_read(run.info.architecture, run.layer_states_of(a, b))))
MATRIX_ENTROPY_WITHOUT_MASSIVE = Measure("matrix_entropy_without_massive", Formula("matrix entropy without massive tokens", f"−Σ p_j log p_j, p_j = σ_j² / Σ σ² of x[r,l, t], t with ‖x[r,l,t]‖ < {MASSIVE:g} median_t′ ‖x[r,l,t′]‖", "nats, at most ln min(T, d)", _STAGES + "; massive activations, arXiv 2402.17762"), ("layer",), lambda run, a, b: matrix_entropy_without_massive(_layers(run, a, b)))
ANISOTROPY = Measure("anisotropy", Formula("anisotropy", "p_1 = σ_1² / Σ σ² of x[r,l]", "0..1", _CYCLE), ("layer",), lambda run, a, b: _shares(run, a, b)[..., 0].copy())
SINK_RATE = Measure("sink_rate", Formula("sink rate", f"share of heads with (1/T) Σ_i A_i0 ≥ {SINK_THRESHOLD}", "0..1", _STAGES), ("layer",), _sink_rate, missing=needs_patterns)
COLUMN_CONCENTRATION = Measure("column_concentration", Formula("ColSum concentration", "1 + (1/log T) Σ_j ĉ_j log ĉ_j, ĉ_j = (1/T) Σ_i A_ij", "0..1, 0 = all tokens alike", _CYCLE), ("layer", "head"), _columns, missing=lambda run: needs_patterns(run) or ("One token has no ColSum concentration." if run.n_tokens < 2 else ""), null=lambda even: float(column_concentration(even)))
FIRST_TOKEN_NORM = Measure("first_token_norm", Formula("first-token norm", "‖x[r,l]‖ at token 0", "state units", _STAGES), ("layer",), lambda run, a, b: state_norm(_layers(run, a, b)[:, :, 0]))
RESIDUAL_NORM = Measure("residual_norm", Formula("residual norm", "‖x[r,l]‖", "state units", _CYCLE), ("layer", "token"), lambda run, a, b: state_norm(_layers(run, a, b)), average="median")
# fmt: on
