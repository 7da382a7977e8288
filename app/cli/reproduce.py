"""`loopscope reproduce`: train what is missing, measure all of it, write figures and the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loopscope.app.cli.reproduce_cycle import cycle_figure, cycle_words, final_token_cycle
from loopscope.app.cli.terminal import save_figures
from loopscope.core.checkpoint.loading import load
from loopscope.core.experiments.ablations import VARIANTS
from loopscope.core.experiments.reproduction import study
from loopscope.core.experiments.small_models import SmallModel, folder_of
from loopscope.core.experiments.study import STAGES, Interval, Study
from loopscope.core.experiments.training_plan import HopsData
from loopscope.core.files import make_folder, write_text
from loopscope.core.labels import counted
from loopscope.core.sweeps.small import Measuring, measure_models
from loopscope.core.views.state_space.data import Data

if TYPE_CHECKING:
    from distributed import Client

Report = Callable[[float, str], None]
# What was claimed on this page before, and what of it holds.
CORRECTION = (
    "**Corrected.** Three of the claims below were called found that could hardly have failed; "
    "they are withdrawn as evidence. The numbers stand.",
    "",
    "- *Heads stabilise as the state settles.* Two curves that both decay correlate, and the n "
    "counts recurrences of one trajectory as if they were independent. There is no null: no "
    "shifted curve, no layers paired wrongly, no comparison with the bound of Proposition 4.2, "
    "which says that it must be so where the state converges.",
    "- *Stages repeat.* Once the state has settled, successive recurrences are the same state, and "
    "the correlation goes to 1 whatever a stage is. It would have to be asked before settling, "
    "and beside a block of random weights and curves with their layers shuffled.",
    "- *The trajectory is a cycle.* A block of two layers that has reached a fixed point has two "
    "points (Proposition 4.1); it would have one only if a layer did nothing. What can fail is "
    "that the points are farther apart than prompts are.",
    "- *Ablations.* Three seeds, equal steps but not equal compute. The accuracy without injection "
    "at four times the trained recurrences mixes drift with another start (the embedded prompt).",
    "- *Spectral radius.* Of the whole state, on a few prompts, to about 0.01; which token is "
    "unstable it does not say.",
    "",
    "What holds: in `bundled:anytime` and in the two-layer variants with injection the state "
    "settles, to the rounding floor, and keeps its answers; without injection it drifts, in every "
    "seed. That it *walks* is taught. Heads and the cycle beside their nulls are a view and a "
    "command now, [Held to nulls](nulls.md); what it says of the bundled models stands in [Where "
    "does capability live?](capability.md#heads-stages-and-cycles).",
)
TRAINED_TIMES = 4
RESULTS = "results.json"
# Its target is that of the ablations.
MODEL = "bundled:anytime"


def measure_all(
    variants: Sequence[SmallModel],
    root: Path,
    seeds: Sequence[int],
    n_prompts: int,
    report: Report,
    n_examples: int = 400,
    client: Client | None = None,
) -> list[Study]:
    """Measure `MODEL` and every variant to four times its trained recurrences."""
    trained = load(MODEL, "cpu").architecture.trained_recurrences
    measured = partial(study, n_prompts=n_prompts, n_examples=n_examples)
    todo = [
        Measuring.of(
            partial(
                measured, seed=0, name=MODEL, hops=3, n_letters=8,
                recurrences=TRAINED_TIMES * trained,
            ),
            MODEL,
        )
    ]  # fmt: skip
    for own in variants:
        hops, letters = _asked(own)
        recurrences = TRAINED_TIMES * own.arch.trained_recurrences
        for seed in seeds:
            work = partial(
                measured, seed=seed, name=own.key, hops=hops, n_letters=letters,
                recurrences=recurrences,
            )  # fmt: skip
            todo.append(Measuring.of(work, str(folder_of(own, seed, root))))

    def told(done: int) -> None:
        report(done / len(todo), f"{done} of {len(todo)} models measured")

    return measure_models(todo, client, told)


def _asked(variant: SmallModel) -> tuple[int, int]:
    """Hops and letters that a variant is trained and measured on."""
    data = variant.plan.data
    assert isinstance(data, HopsData)
    return data.max_hops, data.n_letters


def bundled_cycle() -> Data:
    """The final token's cycle in `MODEL`, run to its trained recurrences."""
    bundled = load(MODEL, "cpu")
    return final_token_cycle(bundled, bundled.architecture.trained_recurrences)


def write_page(
    all_studies: list[Study],
    cycle: Data,
    folder: Path,
    variants: Sequence[SmallModel] = VARIANTS,
) -> Path:
    """Write the figures, the numbers and the page into ``folder``."""
    from loopscope.widgets.figures import reproduction as draw

    bundled, rest = all_studies[0], all_studies[1:]
    groups = [(v, [s for s in rest if s.name == v.key]) for v in variants]
    groups = [(v, studies) for v, studies in groups if studies]
    deepest = max(rest, key=lambda s: (s.n_layers, -s.seed))
    figures = {
        "settling": draw.settling_figure(bundled),
        "cycle": cycle_figure(cycle),
        "stages": draw.stages_figure(deepest) if deepest.repeats else None,
        "ablations": draw.ablations_figure([(v.name, studies) for v, studies in groups]),
    }
    drawn = {f"reproduce-{name}": figure for name, figure in figures.items() if figure is not None}
    save_figures(drawn, make_folder(folder / "images"))
    text = json.dumps([s.as_json() for s in all_studies], indent=1)
    write_text(folder / RESULTS, text + "\n")
    page = folder / "does-a-small-loop.md"
    write_text(page, page_text(bundled, groups, deepest, cycle))
    return page


def page_text(
    bundled: Study, groups: list[tuple[SmallModel, list[Study]]], deepest: Study, cycle: Data
) -> str:
    """The page: what was expected, what was found and over how many seeds."""
    by = {v.key: studies for v, studies in groups}
    n_seeds, first = max(len(s) for s in by.values()), groups[0][1][0]
    last, trained = bundled.recurrences, bundled.trained
    lines = [
        "# Does a small loop act like a deep model?",
        "",
        *_quick_words(groups),
        *CORRECTION,
        "",
        "Made by `loopscope reproduce -o DIR`. It asks of the models that come with Loopscope what "
        "arXiv 2604.11791 reports of large ones. These are models of 0.1 to 0.2 million parameters "
        "on one synthetic task (pointer chasing); what holds here need not hold there, and the "
        "other way round. Their training target is an anytime one (one hop a recurrence), so that "
        "they *walk* is taught; whether they *settle* is not.",
        "",
        "## Each layer of the cycle reaches its own fixed point",
        "",
        "**Expected:** the step of every layer falls to the rounding floor, and the layers' ends "
        "are different points.",
        "",
        f"**Found** (`{MODEL}`, 1 seed, {bundled.n_prompts} prompts, {bundled.hops} hops, run "
        f"to {last} = {TRAINED_TIMES} × the trained {trained} recurrences): the median relative "
        f"step of layers 0 to {bundled.n_layers - 1} is {_steps(bundled, 8)} at r = 8, "
        f"{_steps(bundled, trained)} at r = {trained} and {_steps(bundled, last)} at r = {last}. "
        f"{bundled.settled:.1%} ({_ends(bundled.settled_interval, '.1%')}) of tokens are settled "
        "(relative step < 1e-3 three times running). The ends of different layers are "
        f"{bundled.separation:.2f} ({_ends(bundled.separation_interval, '.2f')}) of the state "
        f"norm apart: a cycle of {bundled.n_layers} points, not one. Spectral radius at the end "
        f"{_range(bundled.radius)} over {len(bundled.radius)} prompts. "
        f"Accuracy at r = {last}: {bundled.accuracy[-1]:.4f} "
        f"({_ends(bundled.accuracy_interval[-1], '.4f')}, {bundled.n_examples} examples). "
        f"In brackets: 95 % intervals over the prompts, bootstrap-t; Wilson's for shares. "
        + _verdict(bundled.settled > 0.95 and bundled.separation > 0.1, "Holds here"),
        "",
        "![Steps of each layer and head change by recurrence](images/reproduce-settling.png)",
        "",
        *cycle_words(cycle),
        "## Attention heads stabilise as the state settles",
        "",
        "**Expected:** a head's pattern changes less in the recurrences in which its layer moves "
        "less (it must, where the state converges: Proposition 4.2 of the paper).",
        "",
        f"**Found:** Pearson's r of log head change and log relative step over (layer, recurrence) "
        f"is {bundled.head_settling:.3f} on `{MODEL}` (n = {bundled.head_settling_n}, "
        f"rounding noise left out); over the ablations, seed by seed:",
        "",
        *_head_table(groups),
        "",
        "Withdrawn as evidence: see above." + _loosest(groups),
        "",
        "## Stages repeat in each recurrence",
        "",
        "**Expected:** curves of stage measures over the layers of the block look the same in each "
        "recurrence. Two layers have no curve, so this is asked of a block of four.",
        "",
        *_stages(by.get("block-4", []), deepest),
        "",
        "## Block size, injection and the state norm",
        "",
        f"**Expected:** with input injection a stable cycle; without it drift, or one degenerate "
        f"point for all layers. {counted(n_seeds, 'seed')} of each, "
        f"{counted(first.hops, 'hop')} over {first.n_letters} letters, run to "
        f"{TRAINED_TIMES} × the trained recurrences. Means over prompts; ranges are over seeds. "
        + _widest(groups),
        "",
        *_ablation_table(groups),
        "",
        "![Relative step and accuracy of each variant and seed](images/reproduce-ablations.png)",
        "",
        *_ablation_words(by),
        "",
        "## Limits",
        "",
        f"One task, one width for the ablations, {counted(n_seeds, 'seed')}; intervals over seeds "
        "are ranges, not confidence intervals. The settling classes are Loopscope's own, at the "
        "tolerance said. "
        "Ablations get the same number of steps, not of FLOPs: the four-layer block sees twice the "
        "compute of the base. Spectral radii are of the whole prompt's state (all tokens together) "
        f"on {len(bundled.radius)} prompts. All numbers are in `results.json`.",
        "",
        "The ablations are not shipped: the command trains them again, about 70 minutes for all "
        "eighteen, two at a time, on a two-core machine; it goes on where it was stopped. With "
        "`--quick` it makes a small version of this page in a few minutes.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _quick_words(groups: list[tuple[SmallModel, list[Study]]]) -> list[str]:
    """Say so where what was trained is less than the study."""
    if all(variant in VARIANTS for variant, _ in groups):
        return []
    variant, first = groups[0][0], groups[0][1][0]
    names = " and ".join(f"*{v.name}*" for v, _ in groups)
    return [
        f"**A quick version** (`--quick`): {names} of {len(VARIANTS)} variants, trained for "
        f"{counted(first.hops, 'hop')} over {first.n_letters} letters by {variant.plan.steps:,} "
        f"steps, and {counted(first.n_prompts, 'prompt')}. It shows that the command works from "
        "end to end; as evidence it is worth little.",
        "",
    ]


def _verdict(holds: bool, words: str) -> str:
    return f"**{words}.**" if holds else "**Does not hold here.**"


def _steps(study: Study, r: int) -> str:
    """Relative steps of the layers at recurrence ``r`` with their intervals."""
    values, ends = study.layer_relative_step[r - 1], study.layer_relative_step_interval[r - 1]
    return " and ".join(f"{v:.1e} ({_ends(e, '.1e')})" for v, e in zip(values, ends, strict=True))


def _ends(interval: Interval, form: str) -> str:
    low, high = interval
    return f"{low:{form}}–{high:{form}}" if np.isfinite(low) else "no interval"


def _widest(groups: list[tuple[SmallModel, list[Study]]]) -> str:
    """Say how far one model's means are uncertain: the widest intervals of all models."""
    studies = [s for _, of_variant in groups for s in of_variant]

    def widest(ends: list[Interval]) -> str:
        widths = [(high - low) / 2 for low, high in ends if np.isfinite(low)]
        return f"±{max(widths):.2g}" if widths else "none"

    first = studies[0]
    return (
        "The widest 95 % interval of one model: share settled "
        f"{widest([s.settled_interval for s in studies])} and layers' ends "
        f"{widest([s.separation_interval for s in studies])} over {first.n_prompts} prompts, "
        f"accuracy {widest([e for s in studies for e in s.accuracy_interval])} over "
        f"{first.n_examples} examples."
    )


def _range(values: Sequence[float]) -> str:
    known = [v for v in values if np.isfinite(v)]
    if not known:
        return "–"
    return f"{min(known):.2f}–{max(known):.2f}" if len(known) > 1 else f"{known[0]:.2f}"


def _head_table(groups: list[tuple[SmallModel, list[Study]]]) -> list[str]:
    rows = ["| variant | r of each seed |", "|---|---|"]
    for variant, studies in groups:
        values = ", ".join(f"{s.head_settling:.2f} (n = {s.head_settling_n})" for s in studies)
        rows.append(f"| {variant.name} | {values} |")
    return rows


def _loosest(groups: list[tuple[SmallModel, list[Study]]]) -> str:
    """Name the seed in which heads and state are tied least."""
    every = [(s.head_settling, v.name, s.seed) for v, studies in groups for s in studies]
    known = [e for e in every if np.isfinite(e[0])]
    if not known:
        return ""
    r, name, seed = min(known)
    return f" The lowest of the ablations is {r:.2f} ({name}, seed {seed})."


def _stages(studies: list[Study], drawn: Study) -> list[str]:
    if not studies:
        return ["No block of four layers was measured."]
    rows = [
        f"**Found** ({len(studies)} seeds): mean correlation of each recurrence's curve with the "
        "next one's, and of earlier ones with the last:",
        "",
        "| measure | with the next, by seed | with the last, by seed |",
        "|---|---|---|",
    ]
    lowest = 1.0
    for key in STAGES:
        pairs = [s.repeats[key] for s in studies if key in s.repeats]
        lowest = min([lowest, *(p[0] for p in pairs)])
        following, last = (", ".join(f"{p[i]:.3f}" for p in pairs) for i in (0, 1))
        rows.append(f"| {key.replace('_', ' ')} | {following} | {last} |")
    rows += [
        "",
        f"The lowest with the next is {lowest:.3f}. Withdrawn as evidence: see above.",
        "",
        f"![Stage measures over the block's layers, a line a recurrence, seed {drawn.seed}]"
        "(images/reproduce-stages.png)",
        "",
        "Dark lines are early recurrences, yellow ones late. A high repeat correlation says that "
        "recurrences are alike, not that they are like a deep "
        "model: what the deep twin does is asked in [Looped, deep and shallow]"
        "(looped-deep-shallow.md) and in the view *Correspondence*.",
    ]
    return rows


def _ablation_table(groups: list[tuple[SmallModel, list[Study]]]) -> list[str]:
    first = groups[0][1][0]
    early, late = first.trained, first.recurrences
    rows = [
        f"| variant | accuracy at r = {early} | at r = {late} | relative step at {early} | "
        f"at {late} | tokens settled | layers' ends apart | spectral radius |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for variant, studies in groups:
        t, n = studies[0].trained - 1, studies[0].recurrences - 1
        radii = [r for s in studies for r in s.radius]
        steps = [[s.relative_step[i] for s in studies] for i in (t, n)]
        small = [f"{min(v):.0e}–{max(v):.0e}" for v in steps]
        rows.append(
            f"| {variant.name} | {_range([s.accuracy[t] for s in studies])} "
            f"| {_range([s.accuracy[n] for s in studies])} | {small[0]} | {small[1]} "
            f"| {_range([s.settled for s in studies])} | {_range([s.separation for s in studies])} "
            f"| {_range(radii)} |"
        )
    return rows


def _ablation_words(by: dict[str, list[Study]]) -> list[str]:
    """Say of each claim whether it held, from the numbers alone."""
    words = []
    with_injection = [*by.get("base", []), *by.get("no-norm", [])]
    without = [*by.get("no-injection", []), *by.get("neither", [])]
    if with_injection and without:
        settled, drift = min(s.settled for s in with_injection), max(s.settled for s in without)
        kept = min(s.accuracy[-1] for s in with_injection)
        lost = max(s.accuracy[-1] for s in without)
        words.append(
            f"- **Injection.** With it (two layers) at least {settled:.0%} of tokens settle and "
            f"accuracy at four times the trained recurrences is at least {kept:.3f}; without it at "
            f"most {drift:.0%} settle and accuracy is at most {lost:.3f}. "
            + _verdict(settled > drift and kept > lost, "Holds in every seed")
        )
    if without and by.get("base"):
        base = min(s.separation for s in by["base"])
        most = max(s.separation for s in without)
        words.append(
            f"- **Degenerate point.** Without injection the layers' ends are at most {most:.2f} of "
            f"the norm apart, with it at least {base:.2f}: the layers do less and less, though "
            "the state still drifts. " + _verdict(most < base, "Holds in every seed")
        )
    if by.get("base") and by.get("no-norm"):
        base_step = max(s.relative_step[-1] for s in by["base"])
        free = [s.relative_step[-1] for s in by["no-norm"]]
        words.append(
            f"- **State norm.** With it the last step is at most {base_step:.0e}; without it "
            f"{min(free):.0e} to {max(free):.0e}; "
            f"{_range([s.settled for s in by['no-norm']])} of tokens settle against "
            f"{_range([s.settled for s in by['base']])}. The cycle forms without it too, later."
            if min(free) > base_step
            else "- **State norm.** No difference in the last step that holds in every seed."
        )
    if by.get("base") and by.get("block-1") and by.get("block-4"):
        parts = [
            f"{k} layer{'s' if k > 1 else ''}: {_range([s.settled for s in by[name]])} settled, "
            f"accuracy {_range([s.accuracy[-1] for s in by[name]])}"
            for k, name in ((1, "block-1"), (2, "base"), (4, "block-4"))
        ]
        words.append(
            f"- **Block size** (at the last recurrence). {'; '.join(parts)}. "
            + (
                "The ranges of one and four layers overlap: three seeds do not order them."
                if _overlap(by["block-1"], by["block-4"])
                else "The ranges of one and four layers do not overlap."
            )
        )
    return words


def _overlap(a: list[Study], b: list[Study]) -> bool:
    """Whether the ranges of accuracy at the end overlap."""
    x, y = ([s.accuracy[-1] for s in studies] for studies in (a, b))
    return max(min(x), min(y)) <= min(max(x), max(y))
