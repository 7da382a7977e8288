"""Linear probes: what a linear map reads of a label from the states at every place of a run."""

from __future__ import annotations

from dataclasses import dataclass

from loopscope.core.arrays import F64, I64
from loopscope.core.formula import Formula
from loopscope.core.measures.intervals import Estimate
from loopscope.core.measures.linear_maps import RIDGE
from loopscope.core.measures.places import Places
from loopscope.core.results import ResultKey

READ = Formula(
    "label read linearly",
    "share of a prompt's labelled tokens whose label is argmax_c (w_c · z + b_c), z the "
    "standardised x[r,l] of the token, w_c and b_c by ridge regression (penalty "
    f"{RIDGE:g} n) on other prompts; mean over prompts",
    "share of tokens",
    "linear probes, Alain & Bengio arXiv 1610.01644",
)
PERMUTED = Formula(
    "labels permuted",
    "the same with the labels of the fitted tokens permuted among prompts, positions kept; 95th "
    "percentile over permutations",
    "share of tokens",
    "permutation test; after the control tasks of Hewitt & Liang arXiv 1909.03368",
)


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbes:
    """What is read of each of ``K`` labels at each of ``N`` places; place 0 is the initial state.

    model : its name.  places : the others, along effective depth.  labels : their names.
    accuracy : ``[K, N + 1]`` with intervals over the prompts that were tested.
    null : float64 ``[K, N + 1]``, 95th percentile with labels permuted.
    commonest : float64 ``[K]``, share of the tested tokens with the commonest label of the fitted.
    classes : int64 ``[K]``, different labels that are told apart.
    left_out : float64 ``[K]``, share of labelled tokens whose label is too rare to be among them.
    fitted, tested : prompts.  fitted_tokens, tested_tokens : int64 ``[K]``.
    permutations : of the null.  prompts : what they are, in words.
    """

    model: str
    places: Places
    labels: tuple[str, ...]
    accuracy: Estimate
    null: F64
    commonest: F64
    classes: I64
    left_out: F64
    fitted: int
    tested: int
    fitted_tokens: I64
    tested_tokens: I64
    permutations: int
    prompts: str


LINEAR_PROBES = ResultKey("linear_probes", LinearProbes, "model")
