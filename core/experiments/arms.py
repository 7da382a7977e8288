"""The arms of the experiments: every model that is trained for them, and for how many seeds.

Arms of one group have the same length, examples and order of examples; they differ in what their
name says. `docs/experiments.md` says what is asked of them and what was expected.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from loopscope.core.experiments.architectures import comparison_architecture, default_architecture
from loopscope.core.experiments.small_models import SmallModel
from loopscope.core.experiments.training_plan import (
    RECIPES,
    HopsData,
    ModelKind,
    Recurrences,
    TextData,
    TrainingPlan,
    plan_of,
)
from loopscope.core.model.architecture import Architecture

STEPS = 4000
# Graphs of the arms with a quarter of the data: those of the first quarter of the steps.
QUARTER = 64 * STEPS // 4
# The harder size: more letters than the looped model keeps apart at the ceiling.
HARD_LETTERS = 12
TEXT_WIDTH, TEXT_PASSES = 128, 6


@dataclass(frozen=True, slots=True)
class Group:
    """Arms that are compared with each other, and how many seeds each has."""

    key: str
    question: str
    seeds: dict[str, int]


def _hops_arm(
    key: str,
    name: str,
    plan: TrainingPlan,
    kind: ModelKind = "looped",
    looped: Architecture | None = None,
    start: str = "",
) -> SmallModel:
    """An arm on pointer chasing; ``looped`` is what its model is derived from."""
    assert isinstance(plan.data, HopsData)
    passes = plan.data.max_hops
    looped = looped or default_architecture(trained_recurrences=plan.longest)
    if kind != "looped":
        plan = replace(plan, passes=1 if kind.startswith("shallow") else passes)
    return SmallModel(key, name, comparison_architecture(kind, looped, passes), plan, start)


_WALKER, _WHOLE = plan_of("walker", steps=STEPS), plan_of("fixed", steps=STEPS)
_ANYTIME = plan_of(
    "anytime", steps=STEPS, learning_rate=_WALKER.learning_rate, finishing_steps=500,
    finish_when_learnt=False,
)  # fmt: skip
_FOUND = (
    _hops_arm("walker", "R = k", _WALKER),
    _hops_arm("slack", "R in k .. k + 3", plan_of("slack", steps=STEPS)),
    _hops_arm("fixed", "R = 6", _WHOLE),
    _hops_arm("anytime", "anytime", _ANYTIME),
)
_TYING = (
    _hops_arm("untied", "untied loop", _WALKER, "untied"),
    _hops_arm("deep", "deep, read after pass k", _WALKER, "deep"),
    _hops_arm("deep-whole", "deep, run whole", _WHOLE, "deep"),
    _hops_arm("deep-narrow", "deep, equal parameters", _WALKER, "deep-narrow"),
    _hops_arm("shallow-wide", "shallow, equal FLOPs", _WALKER, "shallow-wide"),
    _hops_arm(
        "no-injection", "loop without injection", _WALKER,
        looped=default_architecture(injection="none", trained_recurrences=_WALKER.longest),
    ),
)  # fmt: skip
# What the looped, the untied and the deep model are asked under harder conditions.
_HARDER: dict[str, tuple[str, HopsData]] = {
    "quarter": ("a quarter of the data", HopsData(examples=QUARTER)),
    "hard": (f"{HARD_LETTERS} letters", HopsData(n_letters=HARD_LETTERS)),
}
_HARDER_ARMS = tuple(
    _hops_arm(f"{kind}-{key}", f"{kind}, {words}", replace(_WALKER, data=data), kind)
    for key, (words, data) in _HARDER.items()
    for kind in ("looped", "untied", "deep")
)


def _kept(
    recipe: str, steps: int, finishing: int, pace: int, kept: float = 0.5, slack: int = 0
) -> TrainingPlan:
    """A widening in which a share of the batches stays at R = k; ``slack`` 0 is the recipe's."""
    plan = RECIPES[recipe].plan
    rule = replace(plan.recurrences, pace=pace, kept=kept, slack=slack or plan.recurrences.slack)
    return replace(plan, steps=steps, finishing_steps=finishing, recurrences=rule)


_STAGES = (
    _hops_arm("halting", "halting", RECIPES["halting"].plan, start="walker"),
    _hops_arm("settling", "settling", RECIPES["settling"].plan, start="halting"),
    _hops_arm(
        "halting-kept", "halting, half at R = k", _kept("halting", 5000, 500, 100), start="walker"
    ),
    _hops_arm(
        "settling-kept", "settling, half at R = k", _kept("settling", 2800, 400, 30),
        start="halting-kept",
    ),
    _hops_arm(
        "settling-more-kept", "settling, 0.7 at R = k", _kept("settling", 2800, 400, 30, 0.7),
        start="halting-kept",
    ),
    _hops_arm(
        "holding", "holding, u up to 40",
        replace(_kept("settling", 900, 600, 1, 0.5, 40), learning_rate=3e-4),
        start="settling-more-kept",
    ),
)  # fmt: skip


def _text_arm(key: str, name: str, kind: ModelKind, recurrences: Recurrences) -> SmallModel:
    plan = plan_of("text", recurrences=recurrences)
    assert isinstance(plan.data, TextData)
    looped = default_architecture(
        d_model=TEXT_WIDTH, vocab_size=plan.data.vocabulary, rope_theta=10_000.0,
        trained_recurrences=recurrences.longest(0), task="",
    )  # fmt: skip
    passes = {"looped": 0, "shallow": 1}.get(kind, TEXT_PASSES)
    arch = comparison_architecture(kind, looped, TEXT_PASSES)
    return SmallModel(key, name, arch, replace(plan, passes=passes))


_DRAWN, _ALL = Recurrences("drawn", most=TEXT_PASSES), Recurrences("fixed", most=TEXT_PASSES)
_TEXT = (
    _text_arm("text-looped", "looped", "looped", _DRAWN),
    _text_arm("text-untied", "untied loop", "untied", _DRAWN),
    _text_arm("text-deep", "deep, run whole", "deep", _ALL),
    _text_arm("text-shallow", "shallow", "shallow", _ALL),
)

ARMS: tuple[SmallModel, ...] = (*_FOUND, *_STAGES, *_TYING, *_HARDER_ARMS, *_TEXT)
GROUPS: tuple[Group, ...] = (
    Group(
        "found", "Is the walk found?", {"walker": 10} | {arm.key: 5 for arm in _FOUND[1:]}
    ),
    Group("recipe", "Does it halt and settle?", {arm.key: 3 for arm in _STAGES}),
    Group("tying", "What is tying worth?", {arm.key: 5 for arm in _TYING}),
    Group("harder", "And off the ceiling?", {arm.key: 5 for arm in _HARDER_ARMS}),
    Group("text", "And on text? (exploratory)", {arm.key: 3 for arm in _TEXT}),
)  # fmt: skip


def arm(key: str) -> SmallModel:
    """Return one arm; raises KeyError for a name that none has."""
    for model in ARMS:
        if model.key == key:
            return model
    raise KeyError(key)
