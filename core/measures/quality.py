"""Quality against recurrences: how often the answer is right, how surprising the right one is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from loopscope.core.arrays import F64, I64
from loopscope.core.formula import Formula
from loopscope.core.measures.intervals import (
    MEAN_METHOD,
    SHARE_METHOD,
    Estimate,
    bootstrap_ratio,
)
from loopscope.core.measures.over_prompts import HowRun, of_item
from loopscope.core.prompts.answers import Convention, Joining
from loopscope.core.prompts.prompt_set import PromptSet
from loopscope.core.results import ResultKey

Scored = Literal["answers", "text"]
Metric = Literal["accuracy", "perplexity"]

_SOURCE = f"mean over prompts; {SHARE_METHOD}"
ACCURACY = {
    "in place": Formula(
        "accuracy",
        "(1/P) Σ_p share of answer tokens a_i with argmax p_r(· | prompt) at place i = a_i",
        "share",
        _SOURCE,
    ),
    "next": Formula(
        "accuracy",
        "(1/P) Σ_p [argmax p_r(· | prompt, a_<i) = a_i for every answer token i]",
        "share",
        _SOURCE,
    ),
}
PERPLEXITY = {
    "in place": Formula(
        "perplexity of the answers",
        "exp(Σ_p Σ_i −log p_r(a_i | prompt) at place i / Σ_p number of answer tokens)",
        "1",
        MEAN_METHOD,
    ),
    "next": Formula(
        "perplexity of the answers",
        "exp(Σ_p Σ_i −log p_r(a_i | prompt, a_<i) / Σ_p number of answer tokens)",
        "1",
        MEAN_METHOD,
    ),
    "text": Formula(
        "next-token perplexity",
        "exp(Σ_p Σ_t −log p_r(x_t | x_<t) / Σ_p number of tokens after the first)",
        "1",
        MEAN_METHOD,
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Quality:
    """What was found over a prompt set; row ``r - 1`` is the readout after recurrence ``r``.

    right : float64 ``[P, R]``, each prompt's part in the accuracy, 0..1, 0 where the readout is not
        finite; NaN without an answer.
    nll : float64 ``[P, R]``, ``Σ −log p`` over the prompt's scored tokens, nats; NaN for none and
        where the readout is not finite.
    tokens : float64 ``[P]``, scored tokens.
    opens, missing : of `core.answers.Asked`.
    accuracy, perplexity : over prompts ``[R]``, with intervals.
    """

    prompts: PromptSet
    how: HowRun
    convention: Convention
    joining: Joining
    scored: Scored
    right: F64
    nll: F64
    tokens: F64
    opens: tuple[str, ...]
    missing: tuple[str, ...]
    accuracy: Estimate
    perplexity: Estimate

    @property
    def why_nothing(self) -> str:
        """Why no prompt was scored, or ""."""
        if np.isfinite(self.nll).any():
            return ""
        return next((w for w in self.missing if w), "The readout is not finite in any of the runs.")

    @property
    def why_no_accuracy(self) -> str:
        """Why there is no accuracy, or ""."""
        if self.scored == "text":
            return f"{self.prompts.name} gives no answers: there is no accuracy."
        return "" if np.isfinite(self.right).any() else self.why_nothing

    @property
    def diverged(self) -> I64:
        """Scored prompts whose readout is not finite after each recurrence, int64 ``[R]``."""
        return np.asarray((~np.isfinite(self.nll[self.tokens > 0])).sum(0), dtype=np.int64)

    def formula(self, metric: Metric) -> Formula:
        """Where a number comes from."""
        if metric == "accuracy":
            return ACCURACY[self.convention]
        return PERPLEXITY["text" if self.scored == "text" else self.convention]

    def of_prompts(self, metric: Metric) -> F64:
        """Each prompt's own number, ``[P, R]``."""
        if metric == "accuracy":
            return self.right
        mean = self.nll / np.where(self.tokens > 0, self.tokens, np.nan)[:, None]
        return np.asarray(np.exp(mean))

    def as_json(self) -> dict[str, Any]:
        """Formulas, curves with intervals and every prompt's values; NaN is null."""

        def estimate(metric: Metric, interval: Estimate, why: str) -> dict[str, Any]:
            f = self.formula(metric)
            return {
                "name": f.name, "formula": f.formula, "unit": f.unit, "source": f.source,
                "missing": why or None,
                "value": _plain(interval.value), "low": _plain(interval.low),
                "high": _plain(interval.high), "n_prompts": interval.n.tolist(),
            }  # fmt: skip

        return {
            "convention": self.convention,
            "joined_by": self.joining if self.convention == "next" else None,
            "scored": self.scored,
            "n_diverged": self.diverged.tolist(),
            "accuracy": estimate("accuracy", self.accuracy, self.why_no_accuracy),
            "perplexity": estimate("perplexity", self.perplexity, self.why_nothing),
            "prompts": [
                of_item(item)
                | {
                    "missing": why or None,
                    "scored_tokens": int(n),
                    "right": _plain(right),
                    "negative_log_likelihood": _plain(nll),
                }
                for item, why, n, right, nll in zip(
                    self.prompts.items, self.missing, self.tokens, self.right, self.nll, strict=True
                )
            ],
        }


QUALITY = ResultKey("quality", Quality, "model")


def perplexity_of(nll: F64, tokens: F64) -> Estimate:
    """``exp(Σ nll / Σ tokens)`` over prompts, ``[P, R]`` and ``[P]``, with its interval."""
    log = bootstrap_ratio(nll, tokens[:, None])
    return Estimate(np.exp(log.value), np.exp(log.low), np.exp(log.high), log.n)


def _plain(values: F64) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
