"""Write docs/capability.md, "Where does capability live?", from three JSON files there.

    python tools/write_capability_page.py

Rows of parts.json and results.json are made by `python -m loopscope.app.cli.measure_parts` and
`python -m loopscope.app.cli.measure_arms`, analyses.json by `loopscope analyse` and
`tools/collect_analyses.py`, the figures by `tools/draw_capability.py`. A test holds the page to
what this writes, so every number in it is of these files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from loopscope.app.cli.pages import filled
from loopscope.core.experiments.arm_results import ArmResult, read_results
from loopscope.core.experiments.parts import (
    AFTER,
    AT,
    DELAY,
    NOISE,
    OVERWRITTEN,
    Amounts,
    Parts,
    read_parts,
)

DOCS = Path(__file__).resolve().parents[1] / "docs"
ANALYSES = DOCS / "analyses.json"
PAGE, PARTS, RESULTS = DOCS / "capability.md", DOCS / "parts.json", DOCS / "results.json"
AMOUNTS = Amounts()
# The seed of which a walker, an untied loop and a deep model have been trained.
TWIN_SEED = 2
NAMES = {
    "walker": "walker", "halting": "halting", "halting-kept": "halting, half at R = k",
    "settling": "settled", "settling-kept": "settled, half at R = k",
    "settling-more-kept": "settled, 0.7 at R = k", "holding": "held (`bundled:looped`)",
    "anytime": "taught to walk",
    "deep": "deep, taught",
}  # fmt: skip


def page() -> str:
    """The whole page."""
    parts, arms = read_parts(PARTS), read_results(RESULTS)
    analyses = json.loads(ANALYSES.read_text("utf-8"))
    walkers = [p for p in parts if p.kind == "walker"]
    sections = (
        _question(walkers), _walk(arms), _parameters(parts, walkers, arms), _graph(parts, walkers),
        _trajectory(parts, walkers), _depth(parts, walkers), _pairs(analyses), _nulls(analyses),
        _answer(walkers), _predictions(parts), _limits(parts),
    )  # fmt: skip
    return "\n".join(map(filled, sections))


# ---- words ----
def _span(values: Sequence[float], digits: int = 2) -> str:
    """Lowest to highest, or one number where they are alike."""
    low, high = (f"{v + 0.0:.{digits}f}" for v in (min(values), max(values)))
    low, high = (v.removeprefix("-") if float(v) == 0 else v for v in (low, high))
    return low if low == high else f"{low} to {high}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _name(p: Parts) -> str:
    return f"{NAMES[p.kind]}, seed {p.seed}"


def _of(parts: Sequence[Parts], kind: str) -> list[Parts]:
    return [p for p in parts if p.kind == kind]


def _layers_gone(p: Parts) -> list[float]:
    return [lost for name, lost in p.lasting.items() if name.startswith("layer ")]


def _once(p: Parts, how: str) -> list[float]:
    at = AFTER.index(how)  # type: ignore[arg-type]
    return [lost[at] for lost in p.once.values()]


# ---- sections ----
def _question(walkers: Sequence[Parts]) -> str:
    seeds = ", ".join(str(p.seed) for p in walkers)
    return f"""# Where does capability live?

Written by `tools/write_capability_page.py` from `docs/parts.json`, `docs/results.json` and
`docs/analyses.json`.

A small loop of two layers follows a chain of pointers: `ab bc ca ? 2 : a` asks for the letter two
edges on from a. What is it in the model that can do this? Three answers are on offer. The
**parameters**: the numbers in the matrices, shared by all recurrences. The **graph**: which layer
feeds which, and the prompt that is put in again at every recurrence. The **trajectory**: the state
that is carried from one recurrence to the next. Take something away from each, and see what is
lost.

All models but those called *taught* were asked for nothing but the final answer. A **walker** was
trained with as many recurrences R as hops k; {len(walkers)} training seeds of it are measured here
({seeds}). The predictions were written before, on the page of
[the experiments](experiments.md#predictions); their outcome stands below.

An answer is right where the readout after R = k + δ is, with one delay δ of at most {DELAY} for all
prompts: a walker that has been set back answers later, which is not a loss. Each number is a share
of the answers to {AMOUNTS.prompts} prompts of 1 to 6 hops over one cycle of 8 letters; guessing
gives 0.14, so that a loss can be no more than about 0.86 unless answers are worse than guesses.
The unit is the training seed. With {len(walkers)} of them a range says more than an interval, and a
range is what is given.
"""


def _walk(arms: Sequence[ArmResult]) -> str:
    rows = [
        (
            NAMES[r.arm], str(r.seed), f"{min(r.at_k):.3f}", f"{min(r.walked):.3f}",
            f"{r.far[-1]:.3f}", f"{min(r.lowest):.3f}", f"{r.step:.0e}",
        )
        for r in arms if r.arm in NAMES and r.arm != "deep"  # not the shipped one
    ]  # fmt: skip
    walkers = [r for r in arms if r.arm == "walker"]
    return f"""## The walk is found

Nothing asks a walker for the letters on the way. It passes through them: on prompts of 6 hops, hop
r
is what is read out after recurrence r = 1 to 5 in {_span([min(r.walked) for r in walkers], 3)} of
cases
(the lowest r of each seed), and run on to R = 64 it reads the 64th hop in
{_span([r.far[-1] for r in walkers], 3)}. It does not stop: k hops are answered after k recurrences
and
then no more. Trained on with R = k + u it learns to stop.

![Hop read out after each recurrence](images/capability-walk.png)

""" + _table(
        (
            "model", "seed", "k hops at R = k, lowest of 1 to 6", "hop r read after r < 6, lowest",
            "64th hop at R = 64", "lowest from R = k to 64", "median step at R = 20",
        ),
        rows,
    )  # fmt: skip


def _untied(arms: Sequence[ArmResult]) -> str:
    """What the twins without shared weights learnt in as many steps."""
    told = []
    for kind, words in (
        ("walker", "the walker"), ("untied", "the same with weights of its own in every pass"),
        ("deep", "a deep model, without injection and norm as well"),
    ):  # fmt: skip
        rows = [r for r in arms if r.arm == kind and r.seed == TWIN_SEED]
        told += [f"{words} {', '.join(f'{v:.2f}' for v in r.at_k)}" for r in rows]
    return (
        f"**With the same steps, examples and rate** (4,000 steps, seed {TWIN_SEED} alone, so no "
        f"comparison of arms): 1 to 6 hops are answered after as many passes by {'; '.join(told)}. "
        "A hop count is added when the newest is learnt, so a model that learns slowly has seen "
        "fewer of the long ones; the rate is that of the walker. It is speed of learning that is "
        "seen here, not what more training would reach."
    )


def _parameters(parts: Sequence[Parts], walkers: Sequence[Parts], arms: Sequence[ArmResult]) -> str:
    i = NOISE.index(0.3)
    apart = [p.anew[i] - p.shared[i] for p in walkers]
    rows = [
        (_name(p), *(f"{p.shared[j]:.3f} / {p.anew[j]:.3f}" for j in range(len(NOISE))))
        for p in parts
    ]
    worth = (
        "In every walker noise that is new at each recurrence loses more than noise that all share"
        if min(apart) > 0
        else "In no walker does noise that is new at each recurrence lose more than noise that "
        "all share: what it does averages out over the recurrences instead of adding up"
        if max(apart) < 0
        else "Noise that is new at each recurrence does not lose more in every walker than noise "
        "that all share"
    )
    return f"""## Parameters: roughly right is enough

Every matrix of the block gets noise of ε times its norm. A walker loses
{_span([p.shared[i] for p in walkers], 3)} of its answers at ε = 0.3 and
{_span([p.shared[-1] for p in walkers], 3)} at {NOISE[-1]}, where half of each matrix is noise.
{worth}
(anew minus shared at ε = 0.3: {_span(apart, 3)}). What exact sharing is worth at training is
another
question, which needs a model trained without it.

{_untied(arms)}

![Answers lost to noise on the weights](images/capability-noise.png)

Lost with the same noise in all passes / with noise of its own in each, means of {AMOUNTS.draws}
draws:

""" + _table(("model", *(f"ε = {size}" for size in NOISE)), rows)


def _graph(parts: Sequence[Parts], walkers: Sequence[Parts]) -> str:
    zero = [lost for p in walkers for lost in _once(p, "zero state")]
    stays = [lost for p in walkers for lost in _once(p, "as it is")]
    gone = [lost for p in walkers for lost in _layers_gone(p)]
    heads = ("model", "layers left out for good", "injection for good", "as it is", "clean", "zero")
    rows = [
        (
            _name(p), _span(_layers_gone(p)),
            f"{p.lasting['injection gone']:.2f}" if "injection gone" in p.lasting else "none",
            *(_span(_once(p, how)) for how in AFTER),
        )
        for p in parts
    ]  # fmt: skip
    return f"""## Graph: needed for good, and never missed for once

Take a layer out **for good**, and walkers lose {_span(gone)}. Take it out **once**, in recurrence
{AT}, and what is lost depends on what comes after. Left as it is, {_span(stays)} is lost, by cut
and seed. Put back the state of an undisturbed run: nothing is lost, a check and no finding.
Put in the *zero* state, and {_span(zero)} is lost: the answers are all there, {AT} recurrences
late. That is so by construction too, as a loop that starts at zero has no memory but its state; it
says what the first number is a number of. A gap in the wiring made once costs nothing by itself.
What costs is the state that it leaves behind, and the block does not put that right.

![A cut made once, followed in three ways](images/capability-once.png)

Lost by lasting cuts, and by cuts made once (layers left out, layers swapped, injection left out,
window narrowed; lowest to highest of these) followed by three states:

""" + _table(heads, rows)


def _trajectory(parts: Sequence[Parts], walkers: Sequence[Parts]) -> str:
    pointer = [min(p.exchanged) for p in walkers]
    edges = [min(p.edges_kept) for p in walkers]
    zero, noise, other = (
        [p.overwritten[OVERWRITTEN.index(how)] for p in walkers] for how in OVERWRITTEN
    )
    taught = _of(parts, "anytime")
    contrast = (
        f"In the model that was *taught* to walk the readout walks as well, but after the first "
        f"recurrence only {taught[0].exchanged[0]:.2f} of the answers follow, and "
        f"{taught[0].edges_kept[0]:.2f} stay when the edges are exchanged: its readout says hop 1 "
        "and its state does not hold it. **A readout that walks is no proof of a pointer that "
        "walks.**"
        if taught
        else ""
    )
    rows = [
        (
            _name(p), " ".join(f"{v:.2f}" for v in p.exchanged),
            " ".join(f"{v:.2f}" for v in p.edges_kept), *(f"{v:.2f}" for v in p.overwritten),
        )
        for p in parts
    ]  # fmt: skip
    return f"""## Trajectory: the state of a query is the pointer

Give a query the state of another query of the same graph, and in walkers the answer becomes the
other's in {_span(pointer)} of cases at the least favourable recurrence. Give all edges the states
of
another prompt's edges, and {_span(edges)} of the answers stay as they were: the edges are read from
the prompt that is put in again, not from the state. {contrast}

Erasing and overwriting differ. With the whole state set to zero after recurrence {AT},
{_span(zero)} is
lost: the walk begins again. With the state of another prompt {_span(other)}, with noise of the same
norm {_span(noise)}: nothing tells the model that its pointer is a wrong one.

![Pointer and edges exchanged after each recurrence](images/capability-exchange.png)

After recurrence 1 to 6 in turn; overwritten after {AT}, on prompts of 6 hops:

""" + _table(
        ("model", "answers that follow the pointer", "as before with other edges", *OVERWRITTEN),
        rows,
    )


def _depth(parts: Sequence[Parts], walkers: Sequence[Parts]) -> str:
    own = [p.probe[r][r] for p in walkers for r in range(1, 7)]
    ahead = [p.probe[r][r + 1] for p in walkers for r in range(1, 6)]
    text = f"""## Loop and depth

A linear map reads hop r from the state of a query after recurrence r in {_span(own)} of cases, hop
r + 1 in {_span(ahead)}: a walker's state is where the walk has come to, and not ahead of it.
"""
    if deep := _of(parts, "deep"):
        p = deep[0]
        own = [p.probe[r][r] for r in range(1, 7)]
        ahead = [p.probe[r][r + 1] for r in range(1, 6)]
        text += f"""
`bundled:deep`, with weights of its own in each of 12 layers and taught one hop for two of them, has
hop r after layer 2r in {_span(own)} and hop r + 1 already in {_span(ahead)}. That deep model was
trained for another target than the walkers, so this compares two models and not loop with depth.
"""
    return (
        text
        + """
![Which hop a linear map reads after each pass](images/capability-probe.png)
"""
    )


# ---- what `loopscope analyse` said ----
Entries = Sequence[dict[str, Any]]


def _said(entries: Entries, view: str) -> str:
    """What was said of each model, word for word, as a list."""
    return "\n".join(f"- {e['statement']}." for e in entries if e["view"] == view)


def _found(pattern: str, text: str) -> list[float]:
    return [float(number) for number in re.findall(pattern, text)]


def _more_alike(compared: Entries, on_the_way: bool) -> str:
    """In how many comparisons two loops are more alike than a loop and a deep model."""
    found = []
    for text in (e["statement"] for e in compared if bool(e["prompt file"]) == on_the_way):
        (own,) = _found(r"aligned debiased CKA (\S+) over", text)
        found += [other > own for other in _found(r"two of a kind, \S+ and \S+, ([\d.]*\d)", text)]
    return f"{sum(found)} of {len(found)}"


def _pairs(entries: Entries) -> str:
    """Correspondence and stitching of the shipped pairs, and what was predicted of them."""
    compared = [e for e in entries if e["view"] == "correspondence"]
    alike = [e["statement"] for e in compared]
    above = sum("not above permuted" not in text for text in alike)
    more = {on_the_way: _more_alike(compared, on_the_way) for on_the_way in (True, False)}
    mapped = [e["statement"] for e in entries if e["view"] == "stitching"]
    gains = [
        (_found(r"by ridge (\S+)", text)[0], _found(r"; trained (\S+) and", text))
        for text in mapped
    ]
    better = sum(bool(trained) and trained[0] > ridge + 0.1 for ridge, trained in gains)
    return f"""## Does a pass do a layer's work?

As [Correspondence](correspondence.md) and [Stitching](stitching.md) say it, of models that come
with Loopscope; intervals are over prompts, one model of each kind. `bundled:deep` was trained for
another target than the looped ones, `bundled:orbit` and `bundled:creeping` are the walker and the
halting model of another training seed: two stages of one recipe, so *two of a kind* is said of
their layers, not of their training. On prompts of 1 to 6 hops models differ in what they do after
the answer; on prompts of 6 hops (`tools/six_hops.py`) every state is on the way.

{_said(entries, "correspondence")}
{_said(entries, "stitching")}

Predicted was that correspondence is above permuted prompts (5a: in {above} of {len(alike)} pairs),
that two loops of different seeds are more alike than a loop and a deep model (5b: on
prompts of 6 hops in {more[True]} comparisons, on those of 1 to 6 in {more[False]}), and that a map
trained on the task beats ridge by ten points at the best place (5c: in {better} of
{len(gains)} directions).
"""  # fmt: skip


def _nulls(entries: Entries) -> str:
    """Heads, stages and cycles."""
    said = [e["statement"] for e in entries if e["view"] == "nulls"]
    within = sum("are within their bound" in text for text in said)
    far = sum("layers are farther apart" in text for text in said)
    return f"""## Heads, stages and cycles

As [Held to nulls](nulls.md) says it, `bundled:glosses` being the model of text. [The results](
results.md#heads-and-cycles) have the same by other code and other prompts for more models.

{_said(entries, "nulls")}

Predicted was that head changes are within the bound of Proposition 4.2 (7a: in {within} of
{len(said)} models) and that layers are farther apart than prompts (7c: in {far} of {len(said)}).
Whether stages repeat (7b) cannot be asked of these models, whose blocks have two layers.
"""


def _answer(walkers: Sequence[Parts]) -> str:
    i = NOISE.index(0.3)
    return f"""## The answer, for this task

![Parameters, graph and trajectory in one picture](images/capability-parts.png)

In a walker **what can be done lives in parameters and wiring, and they may be coarse; what is being
done lives in the trajectory.** Blurring the weights by 0.3 of their norm loses
{_span([p.shared[i] for p in walkers])}. A layer missing for good loses
{_span([v for p in walkers for v in _layers_gone(p)])}, so it needs its wiring; missing
once and begun again it loses {_span([v for p in walkers for v in _once(p, "zero state")])}, so no
single use of
it is. And of the problem under way nothing is kept but the state: exchange it, and
{_span([min(p.exchanged) for p in walkers])} of the answers or more go with it; erase it, and the
walk starts
over.

**What would change the answer.** Models that need their weights exactly (noise that loses answers
at
a tenth of the norm); a cut made once whose loss stays when the state is erased after it; a state
whose exchange does not carry the answer. The model that was taught to walk meets the last in its
first recurrence.
"""


# Prediction, words, of which models, whether it holds of one.
CHECKS: tuple[tuple[str, str, str, Callable[[Parts], bool]], ...] = (
    ("4a", "walkers: the answer follows the pointer after 1 to 5 (0.85)", "walker",
     lambda p: min(p.exchanged[:5]) >= 0.85),
    ("4a", "walkers: other edges leave 0.9 as before", "walker",
     lambda p: min(p.edges_kept[:5]) >= 0.9),
    ("4b", "taught: it does not follow after 1 (below 0.1), it does from 2 on (0.85)", "anytime",
     lambda p: p.exchanged[0] < 0.1 and min(p.exchanged[1:5]) >= 0.85),
    ("4c", "deep: it follows throughout (0.9)", "deep", lambda p: min(p.exchanged[:5]) >= 0.9),
    ("4d", "noise anew loses more than shared at ε = 0.3, by less than 5 points", "walker",
     lambda p: 0 < p.anew[NOISE.index(0.3)] - p.shared[NOISE.index(0.3)] < 0.05),
    ("4e", "layer gone, injection gone, layers swapped, for good: each loses 0.5", "walker",
     lambda p: min([*_layers_gone(p), p.lasting["injection gone"], p.lasting["layers swapped"]])
     >= 0.5),
    ("4f", "of what a layer left out once loses, 0.8 is the state it leaves", "walker",
     lambda p: all(lost[2] <= 0.2 * lost[0]
                   for name, lost in p.once.items() if name.startswith("layer "))),
    ("5d", "walkers: hop r + 1 is not readable after r (below 0.2)", "walker",
     lambda p: max(p.probe[r][r + 1] for r in range(1, 6)) < 0.2),
    ("5d", "deep: hop 3 is readable after layer 4 (0.9)", "deep", lambda p: p.probe[2][3] >= 0.9),
)  # fmt: skip


def _predictions(parts: Sequence[Parts]) -> str:
    rows = []
    for number, words, kind, holds in CHECKS:
        of = _of(parts, kind)
        outcome = f"{sum(map(holds, of))} of {len(of)} seeds" if of else "not run"
        rows.append((number, words, outcome))
    return "## Predictions\n\n" + _table(("prediction", "what was expected", "holds in"), rows)


def _limits(parts: Sequence[Parts]) -> str:
    seeds = {kind: len({p.seed for p in _of(parts, kind)}) for kind in NAMES}
    halting, settled = (seeds[k] + seeds[f"{k}-kept"] for k in ("halting", "settling"))
    return f"""## Limits

Models measured: walkers {seeds["walker"]}, halting {halting}, settled {settled}, taught
{seeds["anytime"]}, deep {seeds["deep"]}; five seeds of each were planned. One task and one size,
with letters as
pointers: nothing here is about language. R = k tells the model how many steps to take, so that the
pace
of one hop a recurrence is told, though not where to be on the way. *Taught* models
are shipped ones of an older training. The noise is Gaussian, of one relative size in all matrices.
Means of
noise over {AMOUNTS.draws} draws have an error of their own, which is not shown; so has each share
(standard error of a share
of 0.5 over {AMOUNTS.prompts} prompts: {0.5 / np.sqrt(AMOUNTS.prompts):.2f}, less where answers of
a prompt differ). The delay δ is the
best of {DELAY + 1}, which flatters answers that are guessed.

Not measured: more than one seed of untied and deep twins of the walkers, shallow ones, noise and
cuts in them; stitching and correspondence between more than one seed of a kind; twins of the model
of text. They are planned in
[the experiments](experiments.md), and [what has been found so far](results.md) lists every
training. The
older pages [Does a small loop act like a deep model?](does-a-small-loop.md),
[Looped, deep and shallow](looped-deep-shallow.md) and [Where does it live?](where-does-it-live.md)
are of
models that were taught to walk.
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
