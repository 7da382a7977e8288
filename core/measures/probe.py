"""What the probe found: of each condition scores, displacement, intervals and recovery."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import F64
from loopscope.core.files import write_text
from loopscope.core.formula import Formula
from loopscope.core.interventions.base import FOREVER, Intervention
from loopscope.core.measures.intervals import TWO_WAY_METHOD, Interval
from loopscope.core.results import ResultKey

LOST = Formula(
    "accuracy lost",
    "accuracy of the uncut run − accuracy of the cut one, both after the last recurrence",
    "share of answers",
    TWO_WAY_METHOD,
)
DISPLACEMENT = Formula(
    "displacement",
    "‖s′ − s‖ / ‖s‖ of the whole state at the end of the first recurrence that the cut acts at, "
    "mean over draws and the prompts that are scored",
    "relative",
    "Loopscope",
)
RECOVERY = Formula(
    "recovers in",
    "least k such that from k recurrences after the last cut one on accuracy is within 0.02 of the "
    "uncut run's, to the end of the run",
    "recurrences",
    "Loopscope",
)
WITHIN = 0.02
Lives = Literal["parameters", "graph", "trajectory"]
Cuts = tuple[Intervention, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """One way to cut.

    lives : which of the three is cut.
    group : the curve it belongs to: the same cut in other doses.  name : in words.
    size, unit : its dose; NaN where it has none of its own.
    draws : its interventions, once for each draw of what is random.
    recurrence : the first at which it acts (the end of which, for a cut into the state).
    lasting : whether it goes on to the end of the run.
    donor : whether the state of another prompt was put in, whose answers are scored too.
    """

    lives: Lives
    group: str
    name: str
    size: float
    unit: str
    draws: tuple[Cuts, ...]
    recurrence: int
    lasting: bool = False
    donor: bool = False

    @property
    def last(self) -> int:
        """The last recurrence at which it acts; `FOREVER` for a lasting cut."""
        if self.lasting:
            return FOREVER
        return max((cut.last for cuts in self.draws for cut in cuts), default=self.recurrence)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of one condition.

    scores : float64 ``[draws, R, B]``, share of a prompt's answers that are right after each
        recurrence; NaN for a prompt that this cut could not be made on.
    donor : the same against the answers of the prompt whose state was put in, or None.
    displacement : float64 ``[draws, B]``; see `DISPLACEMENT`.
    lost : `LOST`, with its interval.
    """

    condition: Condition
    scores: F64
    donor: F64 | None
    displacement: F64
    lost: Interval

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        """Which prompts have a score in every draw, ``[B]``."""
        return np.asarray(np.isfinite(self.scores).all((0, 1)))

    @property
    def moved(self) -> float:
        """`DISPLACEMENT` over the prompts that are scored; NaN without any."""
        return float(self.displacement[:, self.scored].mean()) if self.scored.any() else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """The whole probe of one model.

    checkpoint, weights_hash, task : what was probed and on what.
    trained, recurrences : R of its training, and of the runs.
    mid, late : the recurrences at which the trajectory was cut.
    chance : score of guessing, NaN where there is no such thing.
    baseline : float64 ``[R, B]``, scores of the uncut runs; ``longer`` the same as far as twice R.
    """

    checkpoint: str
    weights_hash: str
    task: str
    trained: int
    recurrences: int
    mid: int
    late: int
    chance: float
    baseline: F64
    longer: F64
    outcomes: tuple[Outcome, ...]

    @property
    def n_prompts(self) -> int:
        """Prompts in the batch."""
        return int(self.baseline.shape[1])

    def of(self, group: str) -> list[Outcome]:
        """Outcomes of one curve, the smallest dose first."""
        outcomes = [o for o in self.outcomes if o.condition.group == group]
        return sorted(outcomes, key=lambda o: o.condition.size)

    @property
    def groups(self) -> list[str]:
        """Names of the curves, in order."""
        return list(dict.fromkeys(o.condition.group for o in self.outcomes))

    def accuracy(self, outcome: Outcome) -> F64:
        """Mean accuracy after each recurrence, ``[R]``."""
        return _mean(outcome.scores)

    def recovery(self, outcome: Outcome) -> float:
        """`RECOVERY`; infinity when it does not recover in this run, NaN for a lasting cut."""
        c = outcome.condition
        if c.lasting:
            return math.nan
        known = outcome.scored
        if not known.any():
            return math.nan
        # Means of shares that differ by just as much must not differ by rounding.
        good = self.accuracy(outcome) >= self.baseline[:, known].mean(1) - WITHIN - 1e-9
        bad = np.flatnonzero(~good[c.last - 1 :])
        if not len(bad):
            return 0.0
        k = int(bad[-1]) + 1
        return math.inf if c.last - 1 + k >= len(good) else float(k)

    def as_json(self) -> dict[str, Any]:
        """Every number that the page and the panel show, and the scores they are made of."""
        rows = []
        for o in self.outcomes:
            c, lost = o.condition, o.lost
            rows.append(
                {
                    "lives": c.lives,
                    "group": c.group,
                    "name": c.name,
                    "size": _number(c.size),
                    "unit": c.unit,
                    "recurrence": c.recurrence,
                    "lasting": c.lasting,
                    "draws": len(o.scores),
                    "prompts": int(o.scored.sum()),
                    "displacement": _number(o.moved),
                    "lost": {k: _number(v) for k, v in asdict(lost).items()},
                    "recovers_in": _number(self.recovery(o)),
                    "accuracy": [_number(v) for v in self.accuracy(o).tolist()],
                    "donor_accuracy": None
                    if o.donor is None
                    else [_number(v) for v in _mean(o.donor).tolist()],
                }
            )
        return {
            "checkpoint": self.checkpoint,
            "weights sha256": self.weights_hash,
            "task": self.task,
            "trained": self.trained,
            "recurrences": self.recurrences,
            "mid": self.mid,
            "late": self.late,
            "prompts": self.n_prompts,
            "chance": _number(self.chance),
            "baseline": self.baseline.mean(1).tolist(),
            "longer": self.longer.mean(1).tolist(),
            "conditions": rows,
        }

    def write(self, path: Path) -> None:
        """Write `as_json` to a file."""
        text = json.dumps(self.as_json(), indent=1, allow_nan=False)
        write_text(path, text + "\n")


PROBE = ResultKey("probe", Probe, "model")


def _mean(scores: F64) -> F64:
    """Over draws and the prompts that there is a score for, ``[R]``; NaN without any."""
    known = np.isfinite(scores).all((0, 1))
    if not known.any():
        return np.full(scores.shape[1], math.nan)
    return np.asarray(scores[..., known].mean((0, 2)))


def _number(value: float) -> float | str | None:
    """JSON has no NaN and no infinity."""
    if math.isnan(value):
        return None
    return "never" if math.isinf(value) else value
