"""Write the figures of a run: what the window's export and `loopscope figures` share. No Qt.

With a second run, what is written is what is drawn: a view that draws both runs on its axes is
written with both, one that is drawn twice is written twice, the second time to
``KEY-second.*``. Every such file names both runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopscope.app.view_spec import ViewSpec
from loopscope.app.views import VIEW_SPECS
from loopscope.core.run.pairing import STEP_PAIRINGS
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import ViewData
from loopscope.core.views.second_run import SecondRun
from loopscope.widgets.kit.export_choice import ExportChoice

if TYPE_CHECKING:
    from loopscope.widgets.figures.export import ExportItem, ExportReport

# What is added to the name of a file that holds the second run alone.
SECOND_SUFFIX = "-second"


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
) -> ExportReport:
    """Compute and write the figures of ``specs``; runs on any thread, imports matplotlib.

    ``second_run`` is written as it is drawn.
    """
    from loopscope.widgets.figures.export import export_all
    from loopscope.widgets.figures.style import Page

    items = [
        item
        for spec in specs
        if not cancelled()
        for item in items_of(spec, recording, selection, options.get(spec.key), second_run)
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
) -> Iterator[ExportItem]:
    """The drawings of one view: one, or one for each run."""
    from loopscope.widgets.figures.export import ExportItem

    options = options or spec.options()

    def item(
        data: ViewData, provenance: dict[str, str] | None = None, of_second: SecondRun | None = None
    ) -> ExportItem:
        key, title, at = spec.key, spec.title, selection
        if of_second is not None:
            key, title, at = key + SECOND_SUFFIX, f"{title}, {of_second.name}", of_second.selection
        return ExportItem(
            key, title, spec.draw, spec.table, data, spec.exports, provenance, at.recurrence
        )

    if second_run is None:
        yield item(spec.compute(recording, selection, options))
        return
    there = second_run.recording
    twice = spec.drawn_twice(recording, there)
    if spec.compute_second is not None and spec.draws_both(recording, there):
        data = spec.compute_second(recording, second_run, selection, options)
        yield item(data, _provenance_of_two(recording, selection, second_run, "both runs"))
    elif has_something(spec, recording) or not twice:
        data = spec.compute(recording, selection, options)
        # What is of the model is of no run.
        two = (
            _provenance_of_two(recording, selection, second_run, "the run shown") if twice else None
        )
        yield item(data, two)
    if _has_second_drawing(spec, recording, second_run):
        yield item(
            spec.compute(there, second_run.selection, options),
            _provenance_of_two(recording, selection, second_run, "the second run"),
            second_run,
        )


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
