"""Forms in which states are compared, and tokens whose states are far larger than the others'.

Most models read a state through a norm, so that its length says little; and one token of massive
norm, mostly the first, takes nearly all of the variance of a real model's states. Axis names:
``S`` states along a path, ``T`` tokens, ``d`` d_model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import F64, Bools
from loopscope.core.formula import Formula
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.layer_shape import NormKind

States = npt.NDArray[np.floating[Any]]
Form = Literal["raw", "normalised", "centred"]
# Where the mean of a token's path cancels, or a measure takes it off by itself.
Read = Literal["raw", "normalised"]
FORM_LABELS = {
    "raw": "raw: s",
    "normalised": "as the next norm reads them: s / rms(s)",
    "centred": "centred per token: s − its mean",
}
READ_LABELS = {form: FORM_LABELS[form] for form in ("raw", "normalised")}
# A token's norm over the median one from which on it is massive. Between 1 and 3 are usual.
MASSIVE = 5.0
# Tokens below which a median says nothing of the others.
LEAST_TOKENS = 3

RMS = Formula(
    "state as the next norm reads it", "s / √(mean_i s_i² + ε), without the norm's weights", "1",
    "RMSNorm (arXiv 1910.07467)",
)  # fmt: skip
LAYER = Formula(
    "state as the next norm reads it",
    "(s − mean_i s_i) / √(var_i s_i + ε), without the norm's weights", "1",
    "LayerNorm (arXiv 1607.06450)",
)  # fmt: skip
CENTRED = Formula(
    "state centred per token", "s_r − mean_r′ s_r′, r′ over the recurrences of the fit",
    "state units", "",
)  # fmt: skip
NORM_RATIO = Formula(
    "norm over the median norm", "max_s ‖x[s,t]‖ / median_t′ ‖x[s,t′]‖", "1",
    "massive activations, arXiv 2402.17762",
)  # fmt: skip


def as_read(arch: Architecture, states: States, form: Form = "normalised") -> States:
    """``states [..., d]`` as the next norm of ``arch`` reads them; as they are where so asked."""
    if form != "normalised":
        return states
    return normalised(states, arch.layer.norm_kind, arch.norm_eps)


def form_formulas(arch: Architecture, form: Form) -> tuple[Formula, ...]:
    """What `as_read` does, for a list of formulas; () for nothing."""
    formula = StateForm(form, arch.layer.norm_kind).formula
    return () if formula is None else (formula,)


@dataclass(frozen=True, slots=True, eq=False)
class StateForm:
    """One form of the states of a run, for any states of the same tokens.

    kind, eps : of the model's norms.  centres : float64 ``[T, d]``, what is subtracted from each
    token's states; only where the form is "centred".
    """

    form: Form
    kind: NormKind = "rms"
    eps: float = 0.0
    centres: F64 | None = None

    def of(self, states: States, tokens: tuple[int, ...]) -> States:
        """``states [..., N, S, d]`` of ``N`` tokens in this form, in their dtype."""
        if self.form == "normalised":
            return normalised(states, self.kind, self.eps)
        if self.form == "centred" and self.centres is not None:
            centres = self.centres[list(tokens), None].astype(states.dtype)
            return np.asarray(states - centres)
        return states

    @property
    def formula(self) -> Formula | None:
        """What is done to a state, or None."""
        if self.form == "normalised":
            return LAYER if self.kind == "layer" else RMS
        return CENTRED if self.form == "centred" else None


def normalised(states: States, kind: NormKind, eps: float) -> States:
    """``states [..., d]`` as a norm of ``kind`` hands them on, without its weights."""
    if kind == "layer":
        states = states - states.mean(-1, keepdims=True)
    square = np.square(states, dtype=np.float64).mean(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1.0 / np.sqrt(square + eps)
    return np.asarray(states * np.where(square > 0, scale, 1.0).astype(states.dtype))


def norm_ratios(states: States) -> F64:
    """Largest norm of each token over the median norm at the same place, float64 ``[T]``.

    ``states [S, T, d]``. Zeros where there is nothing to compare: too few tokens, no finite
    state, or a median of 0.
    """
    ratios = _ratios_at(states)
    return ratios.max(0) if len(ratios) else np.zeros(states.shape[1])


def _ratios_at(states: States) -> F64:
    """Norm of each token over the median norm at each place, float64 ``[S, T]``; 0 for none."""
    n_places, n_tokens = states.shape[:2]
    ratios = np.zeros((n_places, n_tokens))
    if n_tokens < LEAST_TOKENS:
        return ratios
    norms = np.sqrt(np.einsum("std,std->st", states, states, dtype=np.float64))
    norms = np.where(np.isfinite(norms), norms, np.nan)
    usable = np.isfinite(norms).any(1)
    norms = norms[usable]
    if len(norms):
        median = np.nanmedian(norms, axis=1, keepdims=True)
        known = (median > 0) & np.isfinite(norms)
        ratios[usable] = np.where(known, norms / np.where(median > 0, median, 1), 0)
    return ratios


def massive_at(states: States) -> Bools:
    """Tokens whose norm at a place is at least `MASSIVE` times the median there, bool ``[S, T]``.

    ``states [S, T, d]``.
    """
    return _ratios_at(states) >= MASSIVE


def massive_tokens(states: States) -> tuple[int, ...]:
    """Tokens whose norm is at least `MASSIVE` times the median at some place of the path."""
    return tuple(int(t) for t in np.flatnonzero(norm_ratios(states) >= MASSIVE))
