"""Write the figures of a run: what the window's export and `loopscope figures` share. No Qt.

With a second run, what is written is what is drawn: a view that draws both runs on its axes is
written with both, one that is drawn twice is written twice, the second time to
``KEY-second.*``, on one colour scale. A heat map's difference goes to ``KEY-difference.*``. Every
such file names both runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopscope.app.view_spec import ViewSpec
from loopscope.app.views import VIEW_SPECS
from loopscope.core.run.pairing import STEP_PAIRINGS
from loopscope.core.run.recording import Recording
from loopscope.core.selection import RecurrenceRange, Selection
from loopscope.core.views.base import ViewData
from loopscope.core.views.second_run import SecondRun
from loopscope.widgets.kit.export_choice import ExportChoice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from loopscope.widgets.figures.export import ExportItem, ExportReport
    from loopscope.widgets.figures.style import Page

WHOLE = RecurrenceRange()

# What is added to the name of a file that holds the second run alone.
SECOND_SUFFIX = "-second"
# And of one that holds what is different between the two.
DIFFERENCE_SUFFIX = "-difference"


def drawable(recording: Recording, second_run: SecondRun | None = None) -> tuple[ViewSpec, ...]:
    """Views with something to draw: those that are measured on request only when they were.

    With a run ``second_run``, also those that were measured of that run alone.
    """
    return tuple(
        spec
        for spec in VIEW_SPECS
        if has_something(spec, recording)
        or (second_run is not None and _has_second_drawing(spec, recording, second_run))
    )


def has_something(spec: ViewSpec, recording: Recording) -> bool:
    """Whether a view has something to draw of a run."""
    request = spec.request
    return request is None or request.live or recording.result(request.result) is not None


def _has_second_drawing(spec: ViewSpec, recording: Recording, second_run: SecondRun) -> bool:
    """Whether the second run has a drawing of its own, with something in it."""
    there = second_run.recording
    return (
        spec.drawn_twice(recording, there) and there.layers_done > 0 and has_something(spec, there)
    )


def describe_second_run(
    recording: Recording, specs: tuple[ViewSpec, ...], second_run: SecondRun
) -> str:
    """Say what of the second run goes into which files; "" for nothing."""
    both = [spec for spec in specs if spec.draws_both(recording, second_run.recording)]
    twice = [spec for spec in specs if _has_second_drawing(spec, recording, second_run)]
    parts = []
    if both:
        parts.append(f"{_named(both, 'draws', 'draw')} both runs")
    if twice:
        files = f"{twice[0].key}{SECOND_SUFFIX}.*" if len(twice) == 1 else f"NAME{SECOND_SUFFIX}.*"
        parts.append(f"the second drawing goes to {files}")
    if any(spec.has_difference for spec in specs):
        name = specs[0].key if len(specs) == 1 else "NAME"
        parts.append(f"what is different to {name}{DIFFERENCE_SUFFIX}.*")
    return f"The second run is {second_run.name}: {'; '.join(parts)}." if parts else ""


def _named(specs: list[ViewSpec], one: str, more: str) -> str:
    names = [f"“{spec.title}”" for spec in specs]
    if len(names) == 1:
        return f"{names[0]} {one}"
    return f"{', '.join(names[:-1])} and {names[-1]} {more}"


def write_figures(
    recording: Recording,
    selection: Selection,
    specs: tuple[ViewSpec, ...],
    options: dict[str, Any],
    choice: ExportChoice,
    progress: Callable[[tuple[int, int, str]], None] = lambda step: None,
    cancelled: Callable[[], bool] = lambda: False,
    second_run: SecondRun | None = None,
    shown: RecurrenceRange = WHOLE,
) -> ExportReport:
    """Compute and write the figures of ``specs``; runs on any thread, imports matplotlib.

    ``second_run`` is written as it is drawn. Pictures are of the recurrences ``shown``, numbers of
    all of them.
    """
    from loopscope.widgets.figures.export import export_all
    from loopscope.widgets.figures.style import Page

    items = [
        item
        for spec in specs
        if not cancelled()
        for item in items_of(spec, recording, selection, options.get(spec.key), second_run, shown)
    ]
    return export_all(
        items,
        Path(choice.folder).expanduser(),
        choice.formats,
        page=Page(choice.preset),
        dpi=choice.dpi,
        provenance=provenance_of(recording, selection),
        progress=lambda *step: progress(step),
        cancelled=cancelled,
    )


def items_of(
    spec: ViewSpec,
    recording: Recording,
    selection: Selection,
    options: Any,
    second_run: SecondRun | None,
    shown: RecurrenceRange = WHOLE,
) -> Iterator[ExportItem]:
    """The drawings of one view: one, or one for each run, of the recurrences ``shown``."""
    for item in _whole_items(spec, recording, selection, options, second_run):
        latest = recording.n_recurrences
        if shown == WHOLE:
            yield item
            continue
        said = shown.said(latest) or "all"
        own = item.provenance or provenance_of(recording, selection)
        about = {"recurrences shown": f"{said}, log axis" if shown.log else said}
        yield replace(item, draw=partial(_draw_within, spec, item.draw, shown),
                      provenance=own | about)  # fmt: skip


def _draw_within(
    spec: ViewSpec, draw: Callable[..., None], shown: RecurrenceRange, data: ViewData,
    figure: Figure, page: Page,
) -> None:  # fmt: skip
    """Draw the part of the data that is of a range of recurrences."""
    draw(spec.within(data, shown), figure, page)


def _whole_items(
    spec: ViewSpec,
    recording: Recording,
    selection: Selection,
    options: Any,
    second_run: SecondRun | None,
) -> Iterator[ExportItem]:
    """The drawings of one view, of every recurrence."""
    from loopscope.widgets.figures.export import ExportItem

    options = options or spec.options()

    def item(data: ViewData, provenance: dict[str, str] | None = None) -> ExportItem:
        return ExportItem(
            spec.key, spec.title, spec.draw, spec.table, data, spec.exports, provenance,
            selection.recurrence,
        )  # fmt: skip

    if second_run is None:
        yield item(spec.compute(recording, selection, options))
        return
    there = second_run.recording
    if spec.compute_second is not None and spec.draws_both(recording, there):
        data = spec.compute_second(recording, second_run, selection, options)
        yield item(data, _provenance_of_two(recording, selection, second_run, "both runs"))
        return
    yield from _items_of_two(spec, recording, selection, options, second_run)


def _items_of_two(
    spec: ViewSpec, recording: Recording, selection: Selection, options: Any, second_run: SecondRun
) -> Iterator[ExportItem]:
    """A drawing of each run, alike in scale and order, and of what is different between them."""
    from loopscope.widgets.figures.export import ExportItem

    there = second_run.recording
    twice = spec.drawn_twice(recording, there)
    first = second = None
    if has_something(spec, recording) or not twice:
        first = spec.compute(recording, selection, options)
    if _has_second_drawing(spec, recording, second_run):
        second = spec.compute(there, second_run.selection, options)
    if first is not None and second is not None:
        first, second = spec.alike(first, second)

    def item(data: ViewData, key: str, title: str, drawn: str, at: Selection) -> ExportItem:
        # What is of the model is of no run.
        two = _provenance_of_two(recording, selection, second_run, drawn) if twice else None
        return ExportItem(key, title, spec.draw, spec.table, data, spec.exports, two, at.recurrence)

    if first is not None:
        yield item(first, spec.key, spec.title, "the run shown", selection)
    if second is not None:
        title, at = f"{spec.title}, {second_run.name}", second_run.selection
        yield item(second, spec.key + SECOND_SUFFIX, title, "the second run", at)
    if spec.has_difference and first is not None and second is not None:
        yield _difference_item(spec, recording, selection, options, second_run)


def _difference_item(
    spec: ViewSpec, recording: Recording, selection: Selection, options: Any, second_run: SecondRun
) -> ExportItem:
    """The drawing of what is different between two runs."""
    from loopscope.core.views.difference import table
    from loopscope.widgets.figures.difference import draw
    from loopscope.widgets.figures.export import ExportItem

    data = spec.difference(recording, second_run, selection, options)
    provenance = _provenance_of_two(recording, selection, second_run, "the run shown − second run")
    title = f"{spec.title}, this run − {second_run.name}"
    key = spec.key + DIFFERENCE_SUFFIX
    return ExportItem(key, title, draw, table, data, {}, provenance, selection.recurrence)


def provenance_of(recording: Recording, selection: Selection) -> dict[str, str]:
    """What was run and where the cursor is, for a file's metadata."""
    provenance = recording.info.provenance() | {"recurrence": str(selection.recurrence)}
    if recording.shared.prompts is not None:
        provenance["prompt file"] = recording.shared.prompts.name
    return provenance


def _provenance_of_two(
    recording: Recording, selection: Selection, second_run: SecondRun, drawn: str
) -> dict[str, str]:
    """Both runs: first the one whose numbers they are, then the other under its own names."""
    none = {"interventions": "[]"}
    own = none | provenance_of(recording, selection)
    of_second = none | provenance_of(second_run.recording, second_run.selection)
    first, second, word = own, of_second, "second run"
    if drawn == "the second run":
        first, second, word = of_second, own, "shown"
    about = {
        "drawn": drawn,
        "second run": f"{second_run.name}, {STEP_PAIRINGS[second_run.pairing.step_pairing]}",
    }
    return first | about | {f"{word} {k}": v for k, v in second.items() if k != "loopscope"}
