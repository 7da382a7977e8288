"""The commands that run over a prompt file."""

from __future__ import annotations

import math
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from loopscope.app.cli.terminal import (
    Bar,
    about_model,
    interventions_of,
    load_request,
    output_file,
    warn,
    warn_lines,
    write_json,
)

if TYPE_CHECKING:
    from loopscope.core.checkpoint.loading import Loaded
    from loopscope.core.measures.base import Measure
    from loopscope.core.measures.over_prompts import HowRun
    from loopscope.core.measures.quality import Quality
    from loopscope.core.prompts.answers import Convention
    from loopscope.core.prompts.prompt_set import PromptSet


def measured(options: Namespace, measures: list[Measure]) -> dict[str, Any]:
    """Measure every prompt of ``--prompts``; means with intervals and every prompt's values."""
    from loopscope.core.measures.over_prompts import HowRun
    from loopscope.core.over_prompts.measuring import measure_over
    from loopscope.core.run.run_warnings import WarningsOverRuns

    how = HowRun(options.recurrences, options.seed, interventions=interventions_of(options))
    prompts, loaded = _opened(options)
    warnings = WarningsOverRuns()
    with Bar("prompts") as bar:
        results = measure_over(loaded, prompts, measures, how, bar.show, warnings.see)
    warn_lines(warnings.lines())
    return about(loaded, prompts, how) | {
        "measures": {key: one.as_json() for key, one in results.items()}
    }


def quality(options: Namespace) -> None:
    """Score every prompt of ``--prompts`` after each recurrence, in one pass."""
    from loopscope.core.measures.over_prompts import HowRun
    from loopscope.core.over_prompts.quality import not_finite_line, quality_over
    from loopscope.core.run.requests import check_recurrences
    from loopscope.core.run.run_warnings import WarningsOverRuns

    check_recurrences(options.recurrences)
    how = HowRun(options.recurrences, options.seed, interventions=interventions_of(options))
    output = output_file(options.output, ".json") if options.output else None
    prompts, loaded = _opened(options)
    conventions: dict[str, Convention | None] = {
        "auto": None, "in-place": "in place", "next": "next",
    }  # fmt: skip
    convention = conventions[options.answers]
    warnings = WarningsOverRuns()
    with Bar("prompts") as bar:
        result = quality_over(
            loaded, prompts, how, convention, options.join, bar.show, warnings.see
        )
    diverged = not_finite_line(result, loaded.dtype)
    warn_lines([*([diverged] if diverged else []), *warnings.idle_lines()])
    if output is not None or options.json:
        write_json(about(loaded, prompts, how) | result.as_json(), output)
    else:
        print(quality_table(result))


def quality_table(result: Quality) -> str:
    """Write both curves as an aligned text table, a row for each recurrence."""
    columns = []
    if not result.why_no_accuracy:
        columns.append((result.formula("accuracy"), result.accuracy))
    if not result.why_nothing:
        columns.append((result.formula("perplexity"), result.perplexity))
    notes = dict.fromkeys(why for why in (result.why_no_accuracy, result.why_nothing) if why)
    lines = []
    if columns:
        lines.append("R     " + "".join(f.name.ljust(34) for f, _ in columns).rstrip())
        for r in range(result.how.recurrences):
            cells = (_cell(e.value[r], e.low[r], e.high[r]).ljust(34) for _, e in columns)
            lines.append(f"{r + 1:<6d}{''.join(cells)}".rstrip())
        n = int(columns[0][1].n.max())
        lines += [f"{f.name} = {f.formula}; {f.source}" for f, _ in columns]
        answers = f", answers {result.convention}" if result.scored == "answers" else ""
        lines.append(f"{n} of {len(result.prompts)} prompts of {result.prompts.name}{answers}")
        lines += ["one prompt has no interval"] if n == 1 else []
    return "\n".join([*lines, *notes])


def _cell(value: float, low: float, high: float) -> str:
    interval = "" if math.isnan(low) else f"  {low:.4g} to {high:.4g}"
    return f"{value:.4g}{interval}"


def about(loaded: Loaded, prompts: PromptSet, how: HowRun) -> dict[str, Any]:
    """Where the numbers of a document come from."""
    from loopscope.core.interventions.registry import as_json
    from loopscope.core.measures.intervals import MEAN_METHOD

    return {
        **about_model(loaded),
        "prompt file": prompts.name,
        "n_prompts": len(prompts),
        "recurrences": how.recurrences,
        "seed": how.seed,
        "interventions": as_json(how.interventions),
        "interval": MEAN_METHOD,
    }


def _opened(options: Namespace) -> tuple[PromptSet, Loaded]:
    from loopscope.core.checkpoint.loading import load_model
    from loopscope.core.prompts.prompt_set import read_prompts

    prompts = read_prompts(options.prompts)
    loaded = load_model(load_request(options))
    warn(loaded)
    return prompts, loaded
