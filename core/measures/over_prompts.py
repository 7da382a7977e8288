"""A live measure over a prompt set: its mean over prompts, and what every prompt gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.interventions.base import Intervention
from loopscope.core.measures.base import Measure
from loopscope.core.measures.intervals import Estimate, bootstrap_mean
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.results import ResultKey
from loopscope.core.run.recording import Recording

Start = Literal["default", "zeros", "random"]


@dataclass(frozen=True, slots=True)
class HowRun:
    """How every prompt of a set is run: any of them run alone in this way gives its numbers again.

    The seed of a random start is the same for every prompt, as it is when they are typed in turn.
    The cuts ``interventions`` are made in every prompt's run.
    """

    recurrences: int
    seed: int = 0
    start: Start = "default"
    start_scale: float = 1.0
    interventions: tuple[Intervention, ...] = ()

    @classmethod
    def like(cls, recording: Recording, recurrences: int = 0) -> HowRun:
        """As this run was, to as many recurrences (or to ``recurrences`` of them).

        Not its cuts: what is measured over a prompt set is kept for the model, whatever run of it
        is shown.
        """
        info = recording.info
        start: Start = "default"
        if info.start == "zeros":
            start = "zeros"
        elif info.start == "random":
            start = "random"
        return cls(recurrences or recording.n_recurrences, info.seed, start, info.start_scale)

    def run_of(self, text: str) -> dict[str, Any]:
        """Fields of the `RunRequest` that runs ``text`` alone."""
        return {
            "prompt": text,
            "seed": self.seed,
            "start": self.start,
            "start_scale": self.start_scale,
            "recurrences": self.recurrences,
            "interventions": self.interventions,
        }


@dataclass(frozen=True, slots=True, eq=False)
class OverPrompts:
    """One measure of every prompt of a set.

    values : float64 ``[P, R, L]`` (``L`` = 1 for a measure without a layer axis), each prompt's
        tokens and heads averaged first (`Measured.by_depth`), so that a long prompt counts as much
        as a short one; NaN where there is no number.
    missing : for each prompt why it has no number at all, or "".
    mean : over prompts, ``[R, L]``, with its bootstrap interval.
    """

    measure: Measure
    prompts: PromptSet
    how: HowRun
    values: F64
    missing: tuple[str, ...]
    mean: Estimate

    @classmethod
    def of(
        cls, measure: Measure, prompts: PromptSet, how: HowRun, values: F64, missing: list[str]
    ) -> OverPrompts:
        """Take the mean of ``values``, ``[P, R, L]``, over prompts, with its interval."""
        return cls(measure, prompts, how, values, tuple(missing), bootstrap_mean(values))

    @property
    def has_layers(self) -> bool:
        """Whether the last axis is the layer."""
        return "layer" in self.measure.axes

    def why_nothing(self) -> str:
        """Why no prompt has a number, or ""."""
        if np.isfinite(self.values).any():
            return ""
        name = self.measure.formula.name
        return next(
            (why for why in self.missing if why),
            f"{name[0].upper()}{name[1:]} is not a finite number anywhere in these runs.",
        )

    def as_json(self) -> dict[str, Any]:
        """Formula, means with intervals and the values of every prompt; NaN is null."""
        f = self.measure.formula

        def plain(values: F64) -> Any:
            squeezed = values if self.has_layers else values[..., 0]
            known = squeezed.astype(object)
            known[~np.isfinite(squeezed)] = None
            return known.tolist()

        n = self.mean.n if self.has_layers else self.mean.n[..., 0]
        return {
            "name": f.name,
            "formula": f.formula,
            "unit": f.unit,
            "source": f.source,
            "axes": ["recurrence", "layer"] if self.has_layers else ["recurrence"],
            "within_a_prompt": f"{self.measure.average} over {_averaged(self.measure)}",
            "missing": self.why_nothing() or None,
            "mean": plain(self.mean.value),
            "low": plain(self.mean.low),
            "high": plain(self.mean.high),
            "n_prompts": n.tolist(),
            "prompts": [
                of_item(item) | {"missing": why or None, "values": plain(row)}
                for item, why, row in zip(
                    self.prompts.items, self.missing, self.values, strict=True
                )
            ],
        }


@dataclass(frozen=True, slots=True, eq=False)
class PromptMeasures:
    """Measures of a prompt set, by their keys."""

    by_key: Mapping[str, OverPrompts] = field(default_factory=dict)

    def of(self, key: str) -> OverPrompts | None:
        """Return one measure over the prompts, or None when it has not been taken."""
        return self.by_key.get(key)

    def with_measures(self, measured: Mapping[str, OverPrompts]) -> PromptMeasures:
        """Return these and others; one that was taken again replaces the former."""
        return PromptMeasures({**self.by_key, **measured})


PROMPT_MEASURES = ResultKey("prompts", PromptMeasures, "model")


def of_item(item: Item) -> dict[str, Any]:
    """What identifies one prompt in a file that is written."""
    answer = {} if item.answer is None else {"answer": item.answer}
    return {"line": item.line, "prompt": item.text} | answer


def _averaged(measure: Measure) -> str:
    names = {"token": "tokens", "head": "heads"}
    over = [names[axis] for axis in measure.axes if axis in names]
    return " and ".join(over) or "nothing"
