"""What a study may measure: measures, lens curves, quality, exits, the probe; by one spelling."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from loopscope.core.errors import LoopscopeError
from loopscope.core.formula import Formula
from loopscope.core.measures.exits import AGREEMENT as AGREED
from loopscope.core.measures.exits import BY_KEY, USED, Rule
from loopscope.core.measures.probe import LOST, Condition
from loopscope.core.views.depth import OFFERED

Part = Literal["accuracy", "nll", "tokens"]
_SCORED = "Loopscope; a prompt's part in quality"
# Of quality: what is scored of a prompt.
QUALITY: dict[str, Formula] = {
    "quality:accuracy": Formula(
        "accuracy", "share of answer tokens a with argmax p_R = a", "share", _SCORED
    ),
    "quality:nll": Formula(
        "surprise", "−(1/n) Σ_i log p_R(a_i) over the n scored tokens", "nats a token", _SCORED
    ),
    "quality:tokens": Formula("scored tokens", "n", "tokens scored", _SCORED),
}
EXIT, AGREEMENT, PROBE = "exit:", "exit-agreement:", "probe:"


@dataclass(frozen=True, slots=True)
class ExitQuantity:
    """An exit rule at a threshold; ``used`` is the mean exit recurrence, else the agreement."""

    rule: Rule
    threshold: float
    used: bool

    @property
    def formula(self) -> Formula:
        """Of its values: the rule's, or that of the agreement."""
        own = USED if self.used else AGREED
        rule = f"{self.rule.name} {self.rule.sign[0]} {self.threshold:g}"
        return replace(own, name=f"{own.name}, {rule}")


def exit_quantity(key: str) -> ExitQuantity:
    """Read ``exit:RULE@THRESHOLD`` or ``exit-agreement:RULE@THRESHOLD``.

    Raises `LoopscopeError` for another form, an unknown rule and a threshold that is no number.
    """
    name, _, rest = key.partition(":")
    rule, _, threshold = rest.partition("@")
    if rule not in BY_KEY:
        raise LoopscopeError(f"there is no exit rule '{rule[:40]}'; {', '.join(BY_KEY)}")
    try:
        value = float(threshold)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LoopscopeError(f"'{key[:60]}' needs a threshold, as in {name}:{rule}@0.001")
    return ExitQuantity(BY_KEY[rule], value, name == "exit")


def probed(key: str) -> tuple[str, float]:
    """Read ``probe:CURVE`` or ``probe:CURVE@DOSE``: the curve, and NaN for its largest dose.

    Raises `LoopscopeError` for a dose that is no number.
    """
    curve, at, dose = key.removeprefix(PROBE).rpartition("@")
    if not at:
        curve, dose = dose, "nan"
    try:
        value = float(dose)
    except ValueError:
        raise LoopscopeError(
            f"'{key[:60]}': '{dose[:20]}' is no dose, as in {PROBE}{curve}@0.1"
        ) from None
    if not curve.strip():
        raise LoopscopeError(
            f"'{key[:60]}' names no curve, as in {PROBE}weights, the same noise@0.1"
        )
    return curve, value


def condition_of(key: str, known: Sequence[Condition]) -> Condition:
    """The condition of a probe that a measure names.

    Raises `LoopscopeError` that names the nearest curves or doses.
    """
    curve, dose = probed(key)
    own = [c for c in known if c.group == curve]
    if not own:
        groups = list(dict.fromkeys(c.group for c in known))
        near = difflib.get_close_matches(curve, groups, 3) or groups[:3]
        raise LoopscopeError(f"the probe has no curve '{curve[:60]}'; perhaps {'; '.join(near)}")
    if math.isnan(dose):
        return max(own, key=lambda c: -math.inf if math.isnan(c.size) else c.size)
    for one in own:
        if math.isclose(one.size, dose, rel_tol=1e-6):
            return one
    doses = ", ".join(f"{c.size:g}" for c in own if not math.isnan(c.size)) or "none"
    raise LoopscopeError(f"the probe's curve '{curve}' has no dose {dose:g}; it has {doses}")


def check_quantity(key: str) -> None:
    """Raise `LoopscopeError` naming the nearest ones where there is no such measure."""
    if key.startswith((EXIT, AGREEMENT)):
        exit_quantity(key)
    elif key.startswith(PROBE):
        probed(key)
    elif key not in OFFERED and key not in QUALITY:
        known = [*OFFERED, *QUALITY, *(f"exit:{rule}@0.001" for rule in BY_KEY)]
        near = difflib.get_close_matches(key, known, 3) or known[:3]
        raise LoopscopeError(f"there is no measure '{key[:60]}'; perhaps {', '.join(near)}")


def formula_of(key: str) -> Formula:
    """What a measure that `check_quantity` accepts is, with its unit."""
    if key.startswith((EXIT, AGREEMENT)):
        return exit_quantity(key).formula
    if key.startswith(PROBE):
        return replace(LOST, name=f"{LOST.name}, {key.removeprefix(PROBE)}")
    return QUALITY[key] if key in QUALITY else OFFERED[key].formula
