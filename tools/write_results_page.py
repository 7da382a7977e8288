"""Write docs/results.md: what the experiments have found so far, from docs/*.json.

    python tools/write_results_page.py

The rows are made by `python -m loopscope.app.cli.measure_arms FOLDER docs/results.json` and by
`python -m loopscope.app.cli.measure_cycles docs/cycles.json bundled:looped ...`.
A test holds the page to what this writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from loopscope.core.experiments.arm_results import ArmResult, Sizes, read_results
from loopscope.core.experiments.arms import ARMS, GROUPS
from loopscope.core.experiments.cycles import HOPS as CYCLE_HOPS
from loopscope.core.experiments.cycles import PASSES, PROMPTS, CycleRow, read_cycles
from loopscope.core.experiments.studies.seeds import bootstrap_t
from loopscope.core.experiments.training_plan import HopsData

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, RESULTS, CYCLES = DOCS / "results.md", DOCS / "results.json", DOCS / "cycles.json"
SIZES = Sizes()
HEAD = f"""# What the experiments have found so far

Written by `tools/write_results_page.py` from `docs/results.json`, which
`python -m loopscope.app.cli.measure_arms` makes of trained arms.
[The experiments](experiments.md) says what the arms are, how many seeds each is planned with and
what was predicted before. A row is one training: what is not in the table has not been run. With so
few seeds no comparison between arms can be significant, and none is made.

Accuracy of k hops after pass k: {SIZES.accuracy:,} prompts of each hop count, one cycle of 8
letters, guessing 0.143. Long runs: {SIZES.long} prompts; interchanges: {SIZES.interchange}.
Shares are over all queries; the unit between trainings is the seed.
"""


def page() -> str:
    """The whole page."""
    results = read_results(RESULTS)
    parts = [HEAD]
    for group in GROUPS:
        rows = [r for r in results if r.arm in group.seeds]
        if rows:
            parts.append(_table(group.question, rows))
    parts.append(_cycles(read_cycles(CYCLES)))
    parts.append(_planned(results))
    parts.append(_outcomes(results))
    return "\n".join(parts)


def _table(question: str, rows: Sequence[ArmResult]) -> str:
    heads = (
        "arm", "seed", "CPU min", "1 to 6 hops at R = k, lowest", "hop r read after r < 6, lowest",
        "from R = k to 64, lowest", "64th hop at R = 64", "largest median step at R = 20",
        "pointer exchanged after 1 .. 6, lowest", "edges exchanged: as before, lowest",
    )  # fmt: skip
    names = {arm.key: arm.name for arm in ARMS}
    lines = [f"## {question}", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for r in rows:
        cells = (
            names[r.arm], str(r.seed), f"{r.cpu_minutes:.1f}", f"{min(r.at_k):.3f}",
            f"{min(r.walked):.3f}", f"{min(r.lowest):.3f}", f"{r.far[-1]:.3f}", f"{r.step:.1e}",
            f"{min(r.exchanged):.3f}", f"{min(r.edges_kept):.3f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += [_mean(name, rows) for name in dict.fromkeys(r.arm for r in rows)]
    return "\n".join(line for line in lines if line is not None) + "\n"


def _mean(key: str, rows: Sequence[ArmResult]) -> str | None:
    """The mean over seeds with its bootstrap-t interval, from three seeds on."""
    values = np.array([np.mean(r.at_k) for r in rows if r.arm == key])
    if len(values) < 3:
        return None
    low, high = bootstrap_t(values)
    ends = f"bootstrap-t {low:.4f} to {high:.4f}"
    if not np.isfinite([low, high]).all():
        ends = "too few seeds for a bootstrap-t interval"
    return (
        f"\n{key}, mean accuracy at R = k over {len(values)} seeds: {values.mean():.4f} ({ends})."
    )


def _planned(results: Sequence[ArmResult]) -> str:
    """Which arms have all their seeds, some or none."""
    lines = ["## Run and planned", "", "| arm | seeds run | planned |", "|---|---|---|"]
    hops = {arm.key: arm.name for arm in ARMS if isinstance(arm.plan.data, HopsData)}
    for group in GROUPS:
        for key, planned in group.seeds.items():
            if key in hops:
                run = [str(r.seed) for r in results if r.arm == key]
                lines.append(f"| {hops[key]} | {', '.join(run) or 'none'} | {planned} |")
    return "\n".join(lines) + "\n"


# Each prediction of docs/experiments.md that a row can speak to: arm, words, what is counted.
PREDICTIONS: tuple[tuple[str, str, str, Callable[[ArmResult], bool]], ...] = (
    ("1a", "walker", "R = k reaches six hops (0.95)", lambda r: min(r.at_k) >= 0.95),
    ("1b", "walker", "hop r is read after r < 6 with 0.9", lambda r: min(r.walked) >= 0.9),
    ("1c, 3a", "walker", "the 64th hop after 64 with 0.9", lambda r: r.far[-1] >= 0.9),
    ("1d", "walker", "5 to 8 letters hold (0.9 at hop 16)", lambda r: min(r.letters[:4]) >= 0.9),
    ("1d", "walker", "12 letters fail (below 0.3)", lambda r: r.letters[-1] < 0.3),
    ("1e", "slack", "R in k .. k + 3 reaches six hops", lambda r: min(r.at_k) >= 0.95),
    ("1f", "fixed", "R = 6 reaches six hops", lambda r: min(r.after_all) >= 0.95),
    ("1g", "anytime", "anytime reaches six hops", lambda r: min(r.at_k) >= 0.95),
    ("halting c", "halting", "6 hops below 0.9 at R = 64", lambda r: r.held[-1] < 0.9),
    ("halting a", "settling", "0.99 from R = k to 64", lambda r: min(r.lowest) >= 0.99),
    ("halting b", "settling", "hop r after r < 6 with 0.95", lambda r: min(r.walked) >= 0.95),
    ("2b", "untied", "the untied loop reaches six hops", lambda r: min(r.at_k) >= 0.95),
    ("4a", "walker", "the answer follows the pointer (0.85)", lambda r: min(r.exchanged) >= 0.85),
    ("4a", "walker", "other edges leave 0.9 as before", lambda r: min(r.edges_kept) >= 0.9),
)


def _cycles(rows: Sequence[CycleRow]) -> str:
    loose = sum(row.within == 1 and row.bound[0] >= 10 for row in rows)
    wide = sum(row.between_layers > row.between_prompts for row in rows)
    lines = [
        "## Heads and cycles", "",
        f"Of the looped models that come with Loopscope, on {PROMPTS} prompts of {CYCLE_HOPS} hops "
        f"run for {PASSES} passes: the change of every head's pattern from one pass to the next "
        "beside its bound (Proposition 4.2, arXiv 2604.11791), and how far the points of the last "
        "cycle lie apart, root mean squares in state units. From `docs/cycles.json`, which "
        "`python -m loopscope.app.cli.measure_cycles` makes.", "",
        "| model | changes within the bound | bound / change, smallest | median | "
        "between the layers | between prompts |", "|---|---|---|---|---|---|",
        *(
            f"| {r.model} | {r.within:.3f} of {r.changes:,} | {r.bound[0]:.0f} | {r.bound[1]:.0f} "
            f"| {r.between_layers:.1f} | {r.between_prompts:.1f} |"
            for r in rows
        ), "",
        f"Prediction 7a (within the bound, which is loose by ten or more) is seen in {loose} of "
        f"{len(rows)} models, 7c (layers farther apart than prompts) in {wide}. 7b cannot be "
        "asked: stages need blocks of three layers, and these have two. The unit of the "
        "predictions is the seed, and these models are of several recipes.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _outcomes(results: Sequence[ArmResult]) -> str:
    lines = [
        "## Predictions and what has been seen of them", "",
        "Numbered as [the predictions](experiments.md#predictions), which say in how many of the "
        "planned seeds each was expected.", "",
        "| prediction | asked | seen in |", "|---|---|---|",
    ]  # fmt: skip
    for number, key, words, asked in PREDICTIONS:
        rows = [r for r in results if r.arm == key]
        seen = f"{sum(map(asked, rows))} of {len(rows)} seeds" if rows else "not run"
        lines.append(f"| {number} | {words} | {seen} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
