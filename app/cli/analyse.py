"""``loopscope analyse``: a measurement of a view without a window, with formula, unit and n."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from loopscope.app.cli.one_run import run_of, second_run_of
from loopscope.app.cli.terminal import Bar, about_model, output_file, write_json
from loopscope.app.cli.view_options import changed
from loopscope.core.errors import LoopscopeError
from loopscope.core.files import write_text
from loopscope.core.run.jobs import Job

if TYPE_CHECKING:
    from loopscope.app.view_spec import ViewSpec
    from loopscope.core.checkpoint.loading import Loaded
    from loopscope.core.run.stepper import Stepper
    from loopscope.core.selection import Selection
    from loopscope.core.views.base import Table, ViewData
    from loopscope.core.views.second_run import SecondRun


class _Shown(Job[Any]):
    """A job whose progress is drawn at the terminal."""

    def __init__(self, name: str, show: Callable[[float], None]) -> None:
        super().__init__(name)
        self._show = show

    @override
    def report(self, share: float) -> None:
        super().report(share)
        self._show(self.progress)


def analyse(options: Namespace) -> None:
    """Make the measurement of one view and print its statement, formulas and table.

    Raises `LoopscopeError` for a view without a measurement, and for one that cannot be made.
    """
    from loopscope.core.prompts.prompt_set import read_prompts
    from loopscope.core.selection import Selection

    spec = _view(options.view)
    settings = changed(spec.options(), options.set)
    suffix = ".csv" if str(options.output).endswith(".csv") else ".json"
    output = output_file(options.output, suffix) if options.output else None
    prompts = read_prompts(options.prompts) if options.prompts else None
    if options.prompt is None and options.token_ids is None:
        options.prompt = prompts.items[0].text if prompts else _task_prompt()
    stepper, recording = run_of(options)
    if stepper is None:
        raise LoopscopeError(f"{options.path} is a recording; a measurement needs its checkpoint")
    recording.shared.prompts = prompts
    at = Selection(recurrence=recording.n_recurrences, token=recording.n_tokens - 1)
    second, both = second_run_of(options, recording, at)
    data = _measured(spec, settings, stepper, at, second, both)
    if output is not None and suffix == ".csv":
        write_text(output, _csv(spec.table(data)))
    elif output is not None or options.json:
        write_json(_document(options, spec, settings, stepper.loaded, data), output)
    else:
        print("\n".join([data.statement, *(f"  {formula.text()}" for formula in data.formulas)]))


def _view(key: str) -> ViewSpec:
    from loopscope.app.views import BY_KEY, VIEW_SPECS

    if key not in BY_KEY or BY_KEY[key].request is None:
        known = ", ".join(spec.key for spec in VIEW_SPECS if spec.request is not None)
        raise LoopscopeError(f"there is no measurement '{key}'; there are {known}")
    return BY_KEY[key]


def _task_prompt() -> str:
    """A prompt of the task that small models are trained on; others need one of their own."""
    from loopscope.core.experiments.hops import prompt_lines

    return prompt_lines(1)[0]["prompt"]


def _measured(
    spec: ViewSpec, settings: Any, stepper: Stepper, at: Selection, second: Stepper | None,
    both: SecondRun | None,
) -> ViewData:  # fmt: skip
    """Make the measurement and what the view shows of it."""
    request, recording = spec.request, stepper.recording
    assert request is not None
    alone = request.second_run if second is None else ""
    if why := request.missing(recording) or alone:
        raise LoopscopeError(f"{spec.title}: {why}")
    with Bar(spec.title.lower()) as bar:
        job = _Shown(spec.title, bar.show)
        job.second_run = second
        recording.keep(request.result, spec.measure(stepper, at, settings, job))
    data: ViewData
    if both is None or spec.compute_second is None:
        data = spec.compute(recording, at, settings)
    else:
        data = spec.compute_second(recording, both, at, settings)
    if data.lacks is not None:
        raise LoopscopeError(f"{spec.title}: {data.statement}")
    return data


def _document(
    options: Namespace, spec: ViewSpec, settings: Any, loaded: Loaded, data: ViewData
) -> dict[str, Any]:
    """Model, view, settings, statement, formulas and table, as JSON."""
    table = spec.table(data)
    return about_model(loaded) | {
        "view": spec.key,
        "settings": dataclasses.asdict(settings),
        "prompt file": options.prompts,
        "recurrences": options.recurrences,
        "beside": options.beside,
        "statement": data.statement,
        "formulas": [dataclasses.asdict(formula) for formula in data.formulas],
        "columns": list(table.columns),
        "rows": [[_plain(cell) for cell in row] for row in table.rows],
    }


def _plain(cell: object) -> object:
    """What JSON has of a cell: a number that is not finite is null."""
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _csv(table: Table) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([table.columns, *table.rows])
    return out.getvalue()
