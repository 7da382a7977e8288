"""The map of all places of a run against one another, kept while the run grows.

A new recurrence adds rows and columns; what was compared before is not compared again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from loopscope.core.arrays import F64, Floats
from loopscope.core.measures.base import NO_PATTERNS
from loopscope.core.measures.heads import Patterns
from loopscope.core.measures.places import Places, shown_places
from loopscope.core.measures.similarity import (
    LEAST_TOKENS,
    PLACE_MEASURES,
    Kernels,
    Key,
    attention_distances,
    cka_of,
    cosine_matrix,
    holds_grams,
    kernels,
)
from loopscope.core.measures.state_forms import Read, as_read
from loopscope.core.run.recording import Recording

# Places of a map: more are finer than a screen.
MOST_PLACES = 512
# Products of entries of all pairs of a map, some seconds: of matrices, and of patterns by hand.
MOST_PRODUCTS = 2e10
MOST_DIFFERENCES = 2e9
# Bytes of what CKA keeps of the places shown.
MOST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """What was compared: the recurrences, the map, and for CKA what the next rows need."""

    recurrences: tuple[int, ...]
    values: F64
    kernels: Kernels | None = None


# Of the tokens last asked for only: each choice of tokens has maps of its own.
_Maps = dict[tuple[str, Read], _Kept]
_kept: WeakKeyDictionary[Recording, tuple[tuple[int, ...], _Maps]] = WeakKeyDictionary()
_lock = threading.Lock()


def missing_reason(recording: Recording, key: Key, tokens: tuple[int, ...]) -> str:
    """Why the map of a run does not exist, or ""."""
    if key == "attention":
        return "" if recording.capture.patterns else NO_PATTERNS
    least = LEAST_TOKENS[key]
    if len(tokens) >= least:
        return ""
    name = PLACE_MEASURES[key].label
    n = "1 token is" if len(tokens) == 1 else f"{len(tokens)} tokens are"
    return f"{name} needs {least} tokens, because it compares how they lie; {n} shown."


def places_of(recording: Recording, key: Key, tokens: tuple[int, ...]) -> Places:
    """The places whose map stays quick and small: every one, or every k-th recurrence."""
    arch, t, d = recording.info.architecture, len(tokens), recording.state(0).shape[-1]
    most = float(MOST_PLACES)
    if key == "attention":
        entries = arch.layer.n_heads * recording.n_tokens**2 / 2
        most = min(most, (MOST_DIFFERENCES / entries) ** 0.5)
    elif key == "cosine":
        most = min(most, (MOST_PRODUCTS / (t * d)) ** 0.5)
    else:
        entries, products = (t * (t + 1) / 2,) * 2 if holds_grams(t, d) else (t * d, t * d**2)
        most = min(most, (MOST_PRODUCTS / products) ** 0.5, MOST_BYTES / (8 * entries))
    marks = tuple(map(arch.layer_mark, range(arch.n_block)))
    return shown_places(recording.n_recurrences, marks, int(most))


def similarity_map(
    recording: Recording,
    key: Key,
    tokens: tuple[int, ...],
    places: Places,
    form: Read = "raw",
) -> F64:
    """Compare all places with one another: symmetric float64 ``[N, N]``.

    States are ``x[r,l]`` as the layer left them, before the closing norm, of ``tokens``, or in
    ``form`` as the next norm reads them; attention is of all tokens. NaN as
    `cka_matrix`, `cosine_matrix` and `attention_distances` say.
    """
    # Both forms of CKA share their products.
    kind = "cka" if key == "cka_debiased" else key
    with _lock:
        of_tokens, kept = _kept.get(recording, ((), {}))
        before = kept.get((kind, form)) if of_tokens == tokens else None
    made = _grown(recording, kind, tokens, places, before, form)
    with _lock:
        of_tokens, kept = _kept.get(recording, ((), {}))
        _kept[recording] = (tokens, (kept if of_tokens == tokens else {}) | {(kind, form): made})
    if made.kernels is None:
        return made.values
    return cka_of(made.kernels, made.kernels, made.values, key == "cka_debiased")


def _grown(
    recording: Recording, kind: str, tokens: tuple[int, ...], places: Places,
    before: _Kept | None, form: Read,
) -> _Kept:  # fmt: skip
    """Keep what is still shown and compare what is new with everything."""
    recurrences = places.recurrences
    known_before = () if before is None else before.recurrences
    old = [i for i, r in enumerate(known_before) if r in recurrences]
    if before is None or tuple(before.recurrences[i] for i in old) != recurrences[: len(old)]:
        before, old = None, []
    if before is not None and before.recurrences == recurrences:
        return before
    n = places.n_layers
    index = np.array([i * n + layer for i in old for layer in range(n)], dtype=np.intp)
    known = len(index)
    values = np.empty((len(places), len(places)))
    kept = None
    if before is not None:
        values[:known, :known] = before.values[np.ix_(index, index)]
        kept = None if before.kernels is None else before.kernels.take(index)
    if known < len(places):
        rows, kept = _rows(recording, kind, tokens, recurrences, known, kept, form)
        # A matrix product is symmetric only up to rounding.
        rows[:, known:] = (rows[:, known:] + rows[:, known:].T) / 2
        values[known:], values[:, known:] = rows, rows.T
    return _Kept(recurrences, values, kept)


def _rows(
    recording: Recording,
    kind: str,
    tokens: tuple[int, ...],
    recurrences: tuple[int, ...],
    known: int,
    kept: Kernels | None,
    form: Read,
) -> tuple[F64, Kernels | None]:
    """Compare the places from ``known`` on with all of them; kernels of all, for CKA."""
    if kind == "attention":
        patterns = _patterns(recording, recurrences)
        causal = recording.info.architecture.layer.causal
        return attention_distances(patterns[known:], patterns, causal), None
    states = _states(recording, recurrences, tokens, form)
    if kind == "cosine":
        return cosine_matrix(states[known:], states), None
    new = kernels(states[known:])
    kept = new if kept is None else kept.joined(new)
    return new.dots(kept), kept


def _states(
    recording: Recording, recurrences: tuple[int, ...], tokens: tuple[int, ...], form: Read
) -> list[Floats]:
    every = len(tokens) == recording.n_tokens
    picked = slice(None) if every else list(tokens)
    places = np.ndindex(len(recurrences), recording.n_layers)
    arch = recording.info.architecture
    return [
        as_read(arch, recording.layer(recurrences[i], layer).state[picked], form)
        for i, layer in places
    ]


def _patterns(recording: Recording, recurrences: tuple[int, ...]) -> list[Patterns]:
    return [layer for r in recurrences for layer in recording.patterns_of(r, r)[0]]
