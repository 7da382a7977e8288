"""`loopscope figures`: a run's views as files, with the measurements that they take."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from loopscope.app.cli.one_run import run_of, second_run_of
from loopscope.core.errors import LoopscopeError

if TYPE_CHECKING:
    from loopscope.app.view_spec import ViewSpec
    from loopscope.core.run.stepper import Stepper
    from loopscope.core.selection import Selection


def run_figures(options: Namespace) -> None:
    """Run a prompt, or take a recording, and write the figure of every view.

    Raises `LoopscopeError` for input that cannot be used, and at the end for the figures that
    failed.
    """
    from loopscope.app.figures import drawable, write_figures
    from loopscope.core.prompts.prompt_set import read_prompts
    from loopscope.core.selection import RecurrenceRange, Selection
    from loopscope.widgets.kit.export_choice import ExportChoice

    formats = _formats(options.format)
    prompts = read_prompts(options.prompts) if options.prompts else None
    wanted = _measured(options.measure)
    stepper, recording = run_of(options)
    recording.shared.prompts = prompts
    last = Selection(recurrence=recording.n_recurrences, token=recording.n_tokens - 1)
    second, beside = second_run_of(options, recording, last)
    for spec in wanted:
        _measure(spec, stepper, last, second)
        if second is not None and beside is not None and _is_of_each(spec):
            _measure(spec, second, beside.selection, None)
    choice = ExportChoice(
        formats, options.page.replace("-", " "), options.dpi, str(options.output), options.name,
        options.replace,
    )  # fmt: skip
    specs = drawable(recording, beside)
    first, final = options.range or (0, None)
    shown = RecurrenceRange(first, final, options.log_r)
    report = write_figures(recording, last, specs, {}, choice, second_run=beside, shown=shown)
    for path in report.written:
        print(path)
    if report.note:
        print(f"loopscope: {report.note}", file=sys.stderr)
    if report.failures:
        raise LoopscopeError("; ".join(report.failures))


def _measured(keys: list[str] | None) -> tuple[ViewSpec, ...]:
    """Views whose measurement is asked for: none, those named, or all that take one."""
    from loopscope.app.views import BY_KEY, VIEW_SPECS

    if keys is None:
        return ()
    for key in keys:
        if key not in BY_KEY or BY_KEY[key].request is None:
            known = ", ".join(p.key for p in VIEW_SPECS if p.request is not None)
            raise LoopscopeError(f"there is no measurement '{key}'; there are {known}")
    return tuple(p for p in VIEW_SPECS if p.request is not None and (p.key in keys or not keys))


def _measure(
    spec: ViewSpec, stepper: Stepper | None, selection: Selection, second: Stepper | None
) -> None:
    """Make a view's measurement where it takes one; say why where it cannot be made.

    ``second`` is for what compares two runs.
    """
    from loopscope.core.run.jobs import Job

    assert spec.request is not None
    if stepper is None:
        why = "a recording is measured so with its model: give --checkpoint PATH"
        print(f"loopscope: {spec.title}: {why}", file=sys.stderr)
        return
    alone = spec.request.second_run if second is None else ""
    if why := spec.request.missing(stepper.recording) or alone:
        print(f"loopscope: {spec.title}: {why}", file=sys.stderr)
        return
    job: Job[object] = Job(spec.title)
    job.second_run = second
    try:
        result = spec.measure(stepper, selection, spec.options(), job)
    except LoopscopeError as error:  # the other views can be drawn all the same
        print(f"loopscope: {spec.title}: {error}", file=sys.stderr)
        return
    stepper.recording.keep(spec.request.result, result)


def _is_of_each(spec: ViewSpec) -> bool:
    """Whether a view's measurement is made of each of two runs, not of the model or of both."""
    request = spec.request
    return request is not None and request.scope == "run" and not request.second_run


def _formats(text: str) -> tuple[str, ...]:
    formats = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    from loopscope.app.views import VIEW_SPECS

    known = (
        "pdf",
        "svg",
        "png",
        "csv",
        "txt",
        *(name for spec in VIEW_SPECS for name in spec.exports),
    )
    for name in formats:
        if name not in known:
            raise LoopscopeError(f"cannot write '{name}'; --format takes {', '.join(known)}")
    if not formats:
        raise LoopscopeError(f"--format is empty; it takes {', '.join(known)}")
    return formats
