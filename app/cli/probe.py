"""`loopscope probe`: cut a model in every way, write the numbers, the pictures and a page."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loopscope.app.cli.terminal import load_request, save_figures, warn, warn_lines
from loopscope.core.checkpoint.loading import load_model
from loopscope.core.experiments.probe.running import hops_batch, probe
from loopscope.core.files import make_folder, write_text
from loopscope.core.measures.probe import WITHIN, Outcome, Probe
from loopscope.core.views import probe as view
from loopscope.core.views.curves_data import Curves

if TYPE_CHECKING:
    from loopscope.core.checkpoint.request import LoadRequest
    from loopscope.core.sweeps.probing import Asked

PAGE, RESULTS = "where-does-it-live.md", "results.json"
# What a cut of each kind can show, and what it cannot.
SHOWS = {
    "parameters": "Noise on the weights asks how exact they have to be. Drawn anew at each "
    "recurrence the weights are as far off on average but no longer shared: that asks what noise "
    "does that averages out, not what sharing is worth (a model trained without sharing would say "
    "that). It does not say where in the weights a skill is: every matrix is disturbed.",
    "graph": "Only a cut that lasts asks whether wiring is needed. One that is made for a while "
    "leaves nothing behind but the state, as the loop has no other memory: what it loses for good "
    "is lost by the trajectory, and the wiring is there again. A model was trained with its wiring "
    "and may fail without it for that reason alone.",
    "trajectory": "Moving or exchanging the state asks what has to be carried from one recurrence "
    "to the next. What comes back by itself was not stored there. A state that no run ever visits "
    "(noise, a random one) may fail because it is foreign, not because of what it lacks; the state "
    "of another prompt and the end of another start are states that runs do visit. The start state "
    "put in is the loop's back edge cut once.",
}


def probed(options: Namespace, report: Callable[[float], None]) -> Probe:
    """Probe a model on fresh prompts of the task hops, in this process or by workers.

    Raises `LoopscopeError` for what cannot be probed.
    """
    from loopscope.core.sweeps.probing import Asked

    asked = Asked(
        tuple(range(1, options.hops + 1)), options.prompts, options.recurrences or 0, options.mid,
        options.late, options.draws,
    )  # fmt: skip
    request = load_request(options)
    if options.on or options.jobs:
        return _probed_there(request, asked, options.on, options.jobs, report)
    loaded = load_model(request)
    warn(loaded)
    batch = hops_batch(loaded, asked.prompts, asked.hops)
    return probe(loaded, batch, asked.plan(loaded.architecture), report)


def _probed_there(
    request: LoadRequest, asked: Asked, address: str | None, jobs: int,
    report: Callable[[float], None],
) -> Probe:  # fmt: skip
    from loopscope.core.remote.cluster import check_workers, connected
    from loopscope.core.sweeps.probing import probe_there, subject_there

    with connected(address, jobs or 1 << 30) as client:
        check_workers(client, ((request.path, request.family),))
        subject = subject_there(request, client)
        warn_lines(subject.notes)
        return probe_there(request, subject, asked, client, report)


def write_page(result: Probe, folder: Path) -> Path:
    """Write numbers, pictures and the page into ``folder``."""
    from loopscope.widgets.figures.probe_summary import recovery_figure, summary_figure

    figures = {
        "probe-lost": summary_figure(_picture(result, "sizes"), _picture(result, "displacement")),
        "probe-recovery": recovery_figure(
            [
                (f"cut after recurrence {r}", _recovery_at(result, r))
                for r in (result.mid, result.late)
            ]
        ),
    }
    save_figures(figures, make_folder(folder / "images"))
    result.write(folder / RESULTS)
    page = folder / PAGE
    write_text(page, page_text(result))
    return page


def _picture(result: Probe, which: view.Picture) -> Curves:
    return view.picture(result, which)


def _recovery_at(result: Probe, recurrence: int) -> Curves:
    """Only the cuts made after one recurrence."""
    return view.picture(result, "recovery", "early" if recurrence == result.mid else "late")


def page_text(result: Probe) -> str:
    """What was cut, what was lost, and what that does and does not show."""
    uncut, longer = result.baseline[-1].mean(), result.longer[-1].mean()
    lines = [
        f"# Where does it live? The probe of {result.checkpoint}",
        "",
        f"Made by `loopscope probe {result.checkpoint} --task hops -o DIR`: {result.n_prompts} "
        f"fresh prompts ({result.task}), runs of {result.recurrences} recurrences, the trajectory "
        f"cut after recurrence {result.mid}, while answers are still found, and after "
        f"{result.late}, "
        f"when they have been. Uncut accuracy {uncut:.3f} after {result.recurrences} "
        f"recurrences, {longer:.3f} after {2 * result.recurrences}; guessing {result.chance:.3f}. "
        f"Intervals (95 %) are over {result.n_prompts} prompts and {_draws(result)} draws of what "
        "is random (Satterthwaite), of one model: they say nothing about other trainings.",
        "",
        "![Accuracy lost by each cut](images/probe-lost.png)",
        "",
        "*Displacement* is how far a cut moves the whole state in the first recurrence in which "
        "it acts, relative to its norm. A cut that lasts moves it in every later recurrence as "
        "well: compare cuts made once with each other, and lasting ones with each other.",
        "",
        "![Accuracy after each cut](images/probe-recovery.png)",
        "",
    ]
    for lives in view.LIVES:
        outcomes = [o for o in result.outcomes if o.condition.lives == lives]
        lines += [f"## {lives.capitalize()}", "", SHOWS[lives], ""]
        if lives == "graph":
            lasting = [o for o in outcomes if o.condition.lasting]
            brief = [o for o in outcomes if not o.condition.lasting]
            lines += [*_rows(result, lasting), "", "For a while, for comparison:", ""]
            outcomes = brief
        lines += [*_rows(result, outcomes), ""]
    lines += [
        "## Fewer and more recurrences",
        "",
        "| R | " + " | ".join(str(r) for r in _some(result)) + " |",
        "|---" * (1 + len(_some(result))) + "|",
        "| accuracy | "
        + " | ".join(f"{result.longer[r - 1].mean():.3f}" for r in _some(result))
        + " |",
        "",
        "“Recovers in k” means: from k recurrences after the last cut one on, accuracy is within "
        f"{WITHIN} of the uncut runs' to the end of the run; lasting cuts have no recovery. All "
        f"numbers are in `{RESULTS}`.",
    ]
    return "\n".join(lines) + "\n"


def _draws(result: Probe) -> int:
    """Draws of what is random."""
    return max((len(o.condition.draws) for o in result.outcomes), default=0)


def _some(result: Probe) -> list[int]:
    """Recurrences worth a column."""
    n = len(result.longer)
    return [r for r in (1, 2, 3, 4, 5, 6, 8, 12, 16, 20, 24, 32, 40, 64) if r <= n]


def _rows(result: Probe, outcomes: list[Outcome]) -> list[str]:
    rows = [
        "| cut | displacement | accuracy lost (95 % interval) | prompts × draws | recovers in |",
        "|---|---|---|---|---|",
    ]
    for o in outcomes:
        back = result.recovery(o)
        words = "–" if np.isnan(back) else "never in this run" if np.isinf(back) else f"{back:.0f}"
        rows.append(
            f"| {o.condition.name} | {o.moved:.2g} | {o.lost.mean:.3f} "
            f"({o.lost.low:.3f} to {o.lost.high:.3f}) | {o.lost.n_prompts} × {o.lost.n_draws} "
            f"| {words} |"
        )
    return rows
