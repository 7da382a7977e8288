"""Which axes a run is drawn on: given, fitted by the number of recurrences, or of what was chosen.

PCA is fitted on the first recurrences by their number, never on whatever had been run when
somebody looked, so that one prompt and seed have one set of axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from loopscope.core.arrays import F32
from loopscope.core.labels import visible
from loopscope.core.measures import projection
from loopscope.core.measures.projection import Basis
from loopscope.core.measures.state_forms import MASSIVE, StateForm, norm_ratios
from loopscope.core.run.recording import Recording
from loopscope.core.views.state_space.data import MassiveToken, Options, fit_recurrences
from loopscope.core.views.state_space.words import count


@dataclass(frozen=True, slots=True, eq=False)
class FitSet:
    """The states of a run that axes are fitted on.

    states : ``[S, T, d]`` of the recurrences by number, all tokens.  recurrences : how many of
    those asked for there are yet.  wanted : how many are asked for.  massive : tokens of massive
    norm.  left_out : those of them that count for nothing.  form : what is done to states.
    """

    states: F32
    recurrences: int
    wanted: int
    massive: tuple[MassiveToken, ...]
    left_out: tuple[int, ...]
    form: StateForm

    @classmethod
    def of(
        cls, recording: Recording, options: Options, run: str, states: F32, complete: int
    ) -> FitSet:
        """Take from the ``states`` along the path those that count.

        ``states`` are float32 ``[S, T, d]``: of recurrences, or of every layer; ``complete``
        recurrences are whole.
        """
        pinned = options.refit is not None and options.refit.run == run
        follows = options.fit_over == "all" and not pinned
        wanted = max(complete, 1) if follows else fit_recurrences(options, run)
        n = min(wanted, complete)
        first = states[: n * recording.n_layers if options.states == "layers" else n + 1]
        if not len(first):
            first = states  # layers of the first recurrence, under way
        massive = _massive(recording, first)
        left_out = tuple(m.position for m in massive) if options.massive == "left out" else ()
        if len(left_out) == states.shape[1]:
            left_out = ()
        arch = recording.info.architecture
        centres = _centres(first) if options.form == "centred" else None
        form = StateForm(options.form, arch.layer.norm_kind, arch.norm_eps, centres)
        return cls(first, n, wanted, massive, left_out, form)


def _massive(recording: Recording, states: F32) -> tuple[MassiveToken, ...]:
    ratios, labels = norm_ratios(states), recording.info.token_labels
    return tuple(
        MassiveToken(int(t), visible(labels[t]), float(ratios[t]))
        for t in np.flatnonzero(ratios >= MASSIVE)
    )


def _centres(states: F32) -> np.ndarray:
    """Mean of each token's finite states, float64 ``[T, d]``; zeros without any."""
    wide = states.astype(np.float64)
    finite = np.isfinite(wide).all(-1, keepdims=True)
    n = np.maximum(finite.sum(0), 1)
    return np.asarray(np.where(finite, wide, 0.0).sum(0) / n)


def choose_basis(
    directions: Mapping[int, np.ndarray],
    options: Options,
    run: str,
    fit: FitSet,
    tokens: tuple[int, ...],
) -> tuple[Basis | None, bool, tuple[int, ...]]:
    """Axes to project on: (basis or None, whether it was given, directions that are missing).

    ``directions`` are the readout directions read so far, ``[d]`` by token id; ``tokens`` those
    positions that are shown.
    """
    d = fit.states.shape[-1]
    nowhere = np.zeros(d)
    if not len(fit.states):
        return None, False, _missing(directions, options)
    if options.axes == "random":
        pair = projection.random_pair(d, options.random_seed)
        return Basis(nowhere, pair, np.zeros(2), 0.0), False, ()
    if options.axes == "readout":
        if missing := _missing(directions, options):
            return None, False, missing
        wanted = (options.readout_x, options.readout_y)
        pair = projection.unit_rows(np.stack([directions[i] for i in wanted]))
        return Basis(nowhere, pair, np.zeros(2), 0.0), False, ()
    if options.basis is not None and _serves(options.basis, options, run, fit):
        return options.basis, True, ()
    return _fitted(options, run, fit, tokens), False, ()


def _missing(directions: Mapping[int, np.ndarray], options: Options) -> tuple[int, ...]:
    if options.axes != "readout":
        return ()
    wanted = (options.readout_x, options.readout_y)
    return tuple(dict.fromkeys(i for i in wanted if i not in directions))


def _serves(basis: Basis, options: Options, run: str, fit: FitSet) -> bool:
    """Whether a basis that was fitted before is the one to draw on."""
    if basis.width != fit.states.shape[-1] or basis.form != options.form:
        return False
    if basis.run != run:
        return options.keep_basis
    return basis.n_recurrences == fit.wanted and not set(basis.tokens) & set(fit.left_out)


def _fitted(options: Options, run: str, fit: FitSet, tokens: tuple[int, ...]) -> Basis:
    n_tokens = fit.states.shape[1]
    every = tuple(t for t in range(n_tokens) if t not in fit.left_out)
    on = {"all": every, "selected": tokens, "final": (n_tokens - 1,)}[options.fit_on]
    paths = fit.states[:, list(on)].transpose(1, 0, 2)
    flat = fit.form.of(paths, on).reshape(-1, paths.shape[-1])
    basis = projection.fit_pca(flat[np.isfinite(flat).all(1)])
    return replace(
        basis,
        fitted_on=_words(options, fit.recurrences, on, n_tokens),
        run=run,
        n_recurrences=fit.recurrences,
        states=options.states,
        tokens=on,
        form=options.form,
    )


def _words(options: Options, recurrences: int, on: tuple[int, ...], n_tokens: int) -> str:
    """Such as "the ends of recurrences 0 to 8, all 27 tokens"."""
    if options.states == "layers":
        span = f"recurrences 1 to {recurrences}" if recurrences > 1 else "recurrence 1"
        places = f"every layer of {span}"
    else:
        places = f"the ends of recurrences 0 to {recurrences}"
    if on == (n_tokens - 1,) and options.fit_on == "final":
        return f"{places}, the final token"
    if len(on) == n_tokens:
        return f"{places}, " + (f"all {n_tokens} tokens" if n_tokens > 1 else "1 token")
    return f"{places}, {count(len(on), 'token')}"


def elsewhere(basis: Basis | None, options: Options, tokens: tuple[int, ...], given: bool) -> str:
    """Say in a sentence that axes were fitted on other states than are shown; else ""."""
    if basis is None or options.axes != "pca" or not basis.states:
        return ""
    other_states = given and basis.states != options.states
    other_tokens = not set(tokens) <= set(basis.tokens) and not _kept_over(basis, options, given)
    if not other_states and not other_tokens:
        return ""
    shown = "every layer" if options.states == "layers" else "the ends of recurrences"
    parts = [shown] if other_states else []
    if other_tokens or not parts:
        parts.append(count(len(tokens), "token") if len(tokens) > 1 else f"token {tokens[0]}")
    return f"These axes are of {basis.fitted_on}; shown is {', '.join(parts)}"


def _kept_over(basis: Basis, options: Options, given: bool) -> bool:
    """Whether the tokens of the basis are another run's, which it is kept for by choice."""
    return given and options.keep_basis
