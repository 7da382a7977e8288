"""What the paper expects of each figure and what was found, in words, with n and intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from loopscope.core.measures.intervals import MEAN_KIND, SHARE_KIND, Estimate, with_n
from loopscope.core.measures.limiting_behaviour import Behaviour
from loopscope.core.measures.stages import SINK_THRESHOLD
from loopscope.core.paper.findings import CLASSES, SERIES, Findings, Stage

# What a cycle is called closed below, and its points apart above; both relative to their norms.
CLOSED, APART = 0.01, 0.05
# Cosine from which on a state is where it ends (tau of Algorithm 1), correlation from which on
# curves repeat, change below which they stay, and share of tokens that settle.
THERE, ALIKE, STAYS, MOST = 0.95, 0.5, 0.05, 0.97


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the page.

    key : of its figures.  of : figures of the paper.  criterion : what "as expected" asks for, ""
        where nothing is judged.  holds : None where the interval leaves it open.
    """

    key: str
    title: str
    of: str
    expected: str
    found: tuple[str, ...]
    criterion: str = ""
    holds: bool | None = None
    captions: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """As expected or not, in words; "" where nothing is judged."""
        if not self.criterion:
            return ""
        return {True: "As expected", False: "Not as expected", None: "Left open"}[self.holds]


def sections(found: Findings) -> list[Section]:
    """Every section, in the order of the page."""
    makers: tuple[Callable[[Findings], Section], ...] = (
        _trajectory, _maps, _steps, _ends, _stages, _deep, _limits, _floorplan,
    )  # fmt: skip
    return [make(found) for make in makers]


def quoted(estimate: Estimate, at: tuple[int, ...] = ()) -> str:
    """A number with its interval, such as "0.93 (0.91 to 0.95)"."""
    value, low, high = (float(x[at]) for x in (estimate.value, estimate.low, estimate.high))
    if not math.isfinite(value):
        return "no number"
    interval = f" ({low:.3g} to {high:.3g})" if math.isfinite(low) else ""
    return f"{value:.3g}{interval}"


def intervals(found: Findings) -> str:
    """Of which kind the intervals of the page are."""
    return with_n(MEAN_KIND, found.n)


def _above(estimate: Estimate, limit: float, at: tuple[int, ...] = ()) -> bool | None:
    """Whether all of the interval is above, or none of it; None where it holds the limit."""
    low, high = float(estimate.low[at]), float(estimate.high[at])
    return True if low > limit else False if high <= limit else None


def _below(estimate: Estimate, limit: float, at: tuple[int, ...] = ()) -> bool | None:
    above = _above(estimate, limit, at)
    return None if above is None else not above


def _all(verdicts: Iterator[bool | None]) -> bool | None:
    """Whether all hold; None where one is left open and none fails."""
    known = list(verdicts)
    if any(own is False for own in known):
        return False
    return None if not known or any(own is None for own in known) else True


def _trajectory(found: Findings) -> Section:
    plane, n, layers = found.plane, found.plan.long, found.arch.n_block
    said = [
        f"Recurrence {n} repeats the one before to {quoted(plane, (1,))} of the state's norm (the "
        "layer that moves most).",
        f"The two components drawn hold {quoted(plane, (0,))} of the variance.",
    ]
    holds = _below(plane, CLOSED, (1,))
    if layers > 1:
        said.insert(
            1,
            f"Its {layers} points are {quoted(plane, (2,))} to {quoted(plane, (3,))} of their norm "
            "apart (the nearest two and the farthest two).",
        )
        holds = _all(iter((holds, _above(plane, APART, (2,)))))
    return Section(
        "trajectory",
        "The trajectory is a cycle",
        "Figures 1 and 5",
        "On two joint principal components of the final token's states after every layer of every "
        "recurrence, each layer comes to a point of its own, and the state visits these in turn.",
        tuple(said),
        f"closing below {CLOSED:g}"
        + (f" and the nearest two layers more than {APART:g} apart" if layers > 1 else ""),
        holds,
        (
            f"The final token of the first prompts, recurrences 1 to {n} in four panels; a marker "
            "for each layer, dark to light by recurrence, the whole way in grey.",
        ),
    )


def _maps(found: Findings) -> Section:
    shown, attention, cosine = found.plan.shown, found.cycles["attention"], found.cycles["cosine"]
    words: tuple[str, ...] = ("The block has one layer: there is no cycle to see.",)
    holds = None
    if found.arch.n_block > 1:
        words = (
            f"Attention: equal layers of different recurrences are {quoted(attention, (0,))} "
            f"apart, different layers {quoted(attention, (1,))}; contrast "
            f"{quoted(attention, (2,))}.",
            f"Residual stream: cosine {quoted(cosine, (0,))} and {quoted(cosine, (1,))}; contrast "
            f"{quoted(cosine, (2,))}.",
        )
        holds = _all(iter(_above(one, 0.0, (2,)) for one in (attention, cosine)))
    return Section(
        "maps",
        "Equal layers attend alike at every recurrence",
        "Figures 2 and 19 to 21",
        "The Frobenius distance between attention patterns, averaged over heads and prompts, is "
        "small between recurrences of one layer and large between layers, and the residual "
        "stream's cosine repeats in the same way; prelude and coda stand apart.",
        words,
        f"both contrasts of the first {shown} recurrences above 0",
        holds,
        (
            f"Every place along depth against every other, {shown} and {found.plan.long} "
            "recurrences, prelude first and coda last; lines part the recurrences."
            + _thinned(found),
        ),
    )


def _thinned(found: Findings) -> str:
    """Which recurrences the maps leave out, or ""."""
    left = {
        length: own.recurrences
        for (by, length), own in found.maps.items()
        if by == "attention" and len(own.recurrences) < getattr(found.plan, length)
    }
    if not left:
        return ""
    kept = "; ".join(", ".join(map(str, recurrences)) for recurrences in left.values())
    return f" Patterns are large: the longer map has recurrences {kept}."


def _steps(found: Findings) -> Section:
    relative = _relative_steps(found)
    last, layer = found.plan.deep, int(np.nanargmax(relative)) if np.isfinite(relative).any() else 0
    step = found.steps["step_size"]
    at = (last - 1, layer)
    norm = found.stages["residual_norm"].curve.value[at]
    limit = CLOSED * norm
    return Section(
        "steps",
        "Steps shrink, each layer by itself",
        "Figure 3",
        "The difference between a layer's states at successive recurrences goes to zero, and their "
        "cosine to one: every layer of the block comes to a fixed point of its own. (Of the "
        "paper's models Ouro's never quite does.)",
        (
            f"At recurrence {last} the layer that moves most, {found.arch.layer_name(layer)}, "
            f"still steps by {quoted(step, at)} (its norm is {norm:.3g}); at recurrence 2 by "
            f"{quoted(step, (1, layer))}.",
            f"Its cosine with the recurrence before is {quoted(found.steps['step_cosine'], at)}.",
        ),
        f"that step below {CLOSED:g} of the norm",
        _below(step, limit, at),
        (
            f"‖x[r,l] − x[r−1,l]‖, median over tokens, and cos(x[r,l], x[r−1,l]), mean over "
            f"tokens; means over prompts, a line for each layer, bands: {intervals(found)}. "
            f"Dotted: what rounding in {found.dtype} leaves of a step.",
        ),
    )


def _relative_steps(found: Findings) -> np.ndarray:
    """Last step of each layer over its norm, ``[L]``."""
    norms = found.stages["residual_norm"].curve.value[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(found.steps["step_size"].value[-1] / norms)


def _ends(found: Findings) -> Section:
    shown, deep = found.plan.shown, found.plan.deep
    cosine = found.ends["distance_cosine"]
    row = cosine.value[shown - 1]
    layer = int(np.nanargmin(row)) if np.isfinite(row).any() else 0
    at = (shown - 1, layer)
    return Section(
        "ends",
        f"The way to the state at recurrence {deep}",
        "Figure 4",
        f"With the state at recurrence {deep} taken for the fixed point, every layer comes near "
        "its own within a few recurrences.",
        (
            f"At recurrence {shown} the layer that is farthest, {found.arch.layer_name(layer)}, "
            f"has a cosine of {quoted(cosine, at)} with its state at recurrence {deep}, and is "
            f"{quoted(found.ends['distance'], at)} away.",
            f"At recurrence 1 the same layer has {quoted(cosine, (0, layer))}.",
        ),
        f"that cosine above {THERE:g}",
        _above(cosine, THERE, at),
        (
            f"‖x[r,l] − x[{deep},l]‖, median over tokens, and the cosine of the two, mean over "
            f"tokens; means over prompts, bands: {intervals(found)}.",
        ),
    )


def _stages(found: Findings) -> Section:
    layers, shown = found.arch.n_block, found.plan.shown
    judged = {key: own for key, own in found.stages.items() if np.isfinite(own.repeat.value)}
    words = tuple(
        f"{_name(own)}: {quoted(own.repeat)} between successive recurrences."
        for own in judged.values()
    )
    if not judged:
        noun = "1 layer has" if layers == 1 else f"{layers} layers have"
        words = (f"{noun} no curve to correlate; 3 or more would." if layers < 3
                 else "No measure has curves that vary.",)  # fmt: skip
    return Section(
        "stages",
        "Stages of inference repeat in every recurrence",
        "Figures 7 to 9",
        "Column concentration, mixing, sink rate, norms and matrix entropy run through the same "
        "curve over the layers of the block in every recurrence, as they do once through a "
        "feedforward model. (Huginn shows no clear stages.)",
        words,
        f"every correlation of curves over layers, recurrences 1 to {shown}, above {ALIKE:g}",
        _all(_above(own.repeat, ALIKE) for own in judged.values()),
        (
            "By effective depth with prelude and coda, by recurrence (a line for each, over the "
            "layers of the block) and by layer (a line for each, over recurrences). Dashed: even "
            f"attention. A head is a sink from {SINK_THRESHOLD:g} on. Bands: {intervals(found)}.",
        ),
    )


def _name(own: Stage) -> str:
    return own.name[0].upper() + own.name[1:]


def _deep(found: Findings) -> Section:
    shown, deep = found.plan.shown, found.plan.deep
    words = []
    for own in found.stages.values():
        if np.isfinite(own.drift.value):
            alike = f"; correlation of the curves {quoted(own.kept)}" if np.isfinite(
                own.kept.value) else ""  # fmt: skip
            words.append(f"{_name(own)}: changed by {quoted(own.drift)} of itself{alike}.")
    drifts = [own.drift for own in found.stages.values() if np.isfinite(own.drift.value)]
    return Section(
        "deep",
        f"Stages at recurrence {deep}",
        "Figures 11 and 12",
        "A model that comes to fixed points keeps its stages however often it loops; one that "
        "does not (Ouro) drifts.",
        tuple(words) or ("No measure has a number.",),
        f"every change from recurrence {shown} to {deep} below {STAYS:g}",
        _all(_below(own, STAYS) for own in drifts),
        (
            f"Each layer over {deep} recurrences, and the layers of the block at some of them. "
            f"Dashed: even attention. Bands: {intervals(found)}.",
        ),
    )


def _limits(found: Findings) -> Section:
    fixed, unresolved = (CLASSES.index(k) for k in (Behaviour.FIXED_POINT, Behaviour.UNRESOLVED))
    words = []
    for i, series in enumerate(SERIES):
        words.append(
            f"By {series}: {_percent(found.token_shares, (i, fixed))} of {found.n_tokens} tokens "
            "end in a fixed point"
            + (
                f", {_percent(found.token_shares, (i, unresolved))} are below what "
                f"{found.dtype} resolves"
                if found.token_shares.value[i, unresolved] > 0
                else ""
            )
            + "."
        )
    return Section(
        "limits",
        "Limiting behaviour",
        "Algorithm 1, Tables 3 and 4",
        "Almost every token ends in a fixed point: of Huginn's 0.01 to 0.14 % do not, of the "
        "retrofitted Llama's none.",
        tuple(words),
        f"more than {MOST:.0%} of the tokens, by cosine",
        _above(found.token_shares, MOST, (0, fixed)),
        (f"Shares with {with_n(SHARE_KIND, found.n)}; classes as Algorithm 1 has them.",),
    )


def _percent(estimate: Estimate, at: tuple[int, ...]) -> str:
    value, low, high = (100 * float(x[at]) for x in (estimate.value, estimate.low, estimate.high))
    interval = f" ({low:.2f} to {high:.2f})" if math.isfinite(low) else ""
    return f"{value:.2f} %{interval}"


def limit_rows(found: Findings) -> list[tuple[str, ...]]:
    """The table: series, class, share of tokens, share of prompts with such a token."""
    return [
        (
            series,
            kind.value,
            _percent(found.token_shares, (i, k)),
            _percent(found.prompt_shares, (i, k)),
        )
        for i, series in enumerate(SERIES)
        for k, kind in enumerate(CLASSES)
        if kind in (Behaviour.FIXED_POINT, Behaviour.ORBIT, Behaviour.SLIDER, Behaviour.UNKNOWN)
        or found.token_shares.value[i, k] > 0
    ]


def _floorplan(found: Findings) -> Section:
    return Section(
        "floorplan",
        "Looped floorplan",
        "Figure 63",
        "Every attention pattern at once: a row of heads for each layer, upward by depth; the same "
        "row comes again in every recurrence.",
        (f"The first prompt, {found.plan.shown} recurrences.",),
        captions=(
            "Blue: prelude. Grey: the block, a gap between recurrences. Red: coda. Darker is more "
            "attention (on a square-root scale).",
        ),
    )
