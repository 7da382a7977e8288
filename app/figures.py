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
from loopscope.core.files import expanded
from loopscope.core.run.pairing import STEP_PAIRINGS
from loopscope.core.run.recording import Recording
from loopscope.core.selection import RecurrenceRange, Selection
from loopscope.core.views.base import ViewData
from loopscope.core.views.second_run import SecondRun
from loopscope.widgets.kit.export_names import free_stem, slug, stem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from loopscope.widgets.figures.export import ExportItem, ExportReport
    from loopscope.widgets.figures.style import Page
    from loopscope.widgets.kit.export_choice import ExportChoice

WHOLE = RecurrenceRange()

# Views whose page is of the cursor's recurrence, though what is computed is of all.
AT_ONE_RECURRENCE = frozenset({"pattern"})
# Formats that every view can be written in; those of pages and of numbers.
WRITTEN = ("pdf", "svg", "png", "csv", "txt")
# Of the page in the dialog.
PREVIEW_DPI = 110
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
        parts.append(f"the second drawing goes below the first, or to {files}")
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

    names = namer(recording, selection, choice)
    items = [
        replace(item, name=names(spec, item.key))
        for spec in specs
        if not cancelled()
        for item in joined(
            items_of(spec, recording, selection, options.get(spec.key), second_run, shown),
            choice.together,
        )
    ]
    return export_all(
        items,
        expanded(choice.folder),
        choice.formats,
        page=Page(choice.preset),
        dpi=choice.dpi,
        provenance=provenance_of(recording, selection),
        progress=lambda *step: progress(step),
        cancelled=cancelled,
        replace_files=choice.replace,
    )


def joined(items: Iterator[ExportItem], together: bool) -> list[ExportItem]:
    """The drawings of one view; those of two runs in one figure, if they are to be ``together``."""
    drawn = list(items)
    if not together or len(drawn) < 2:
        return drawn
    first, second, *more = drawn
    about = (first.provenance or {}) | {"drawn": "both runs, the second one below"}
    return [
        replace(first, beside=second, page_provenance=about), replace(second, pages=False), *more
    ]  # fmt: skip


def any_twice(recording: Recording, specs: tuple[ViewSpec, ...], second_run: SecondRun) -> bool:
    """Whether any view has a drawing for each run."""
    return any(
        has_something(spec, recording) and _has_second_drawing(spec, recording, second_run)
        for spec in specs
    )


def page_png(
    recording: Recording,
    selection: Selection,
    spec: ViewSpec,
    options: Any,
    choice: ExportChoice,
    second_run: SecondRun | None = None,
    shown: RecurrenceRange = WHOLE,
) -> bytes:
    """Draw the page that ``choice`` would write of one view, as a PNG for the screen."""
    import io

    from loopscope.widgets.figures.export import draw_figure
    from loopscope.widgets.figures.style import Page

    items = joined(
        items_of(spec, recording, selection, options, second_run, shown), choice.together
    )
    figure = draw_figure(items[0], Page(choice.preset))
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=PREVIEW_DPI)
    return file.getvalue()


def drawings(
    recording: Recording,
    selection: Selection,
    specs: tuple[ViewSpec, ...],
    choice: ExportChoice,
    second_run: SecondRun | None,
) -> list[tuple[str, tuple[str, ...]]]:
    """Name and formats of each drawing that ``choice`` would write.

    Raises `LoopscopeError` for a pattern that gives no name.
    """
    names, out = namer(recording, selection, choice), []
    for spec in specs:
        every = (*WRITTEN, *spec.exports)
        out.append((names(spec, spec.key), every))
        if second_run is not None and _has_second_drawing(spec, recording, second_run):
            only = ("csv", *spec.exports) if choice.together else every
            out.append((names(spec, spec.key + SECOND_SUFFIX), only))
            if spec.has_difference and has_something(spec, recording):
                out.append((names(spec, spec.key + DIFFERENCE_SUFFIX), WRITTEN))
    return out


def describe_files(named: list[tuple[str, tuple[str, ...]]], choice: ExportChoice) -> str:
    """Say what a choice writes: ``named`` are names without suffix, and the formats of each.

    It looks into the folder, and says what becomes of files that are there.
    """
    folder = expanded(choice.folder)
    taken: set[str] = set()
    names, there = [], 0
    for wanted, own in named:
        suffixes = [s for s in choice.formats if s in own]
        name = free_stem(folder, wanted, () if choice.replace else suffixes, taken)
        taken.add(name)
        there += sum((folder / f"{wanted}.{s}").exists() for s in suffixes)
        names += [f"{name}.{s}" for s in suffixes]
    if not names:
        return ""
    text = f"Writes {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    if not there:
        return text
    files = "1 file is" if there == 1 else f"{there} files are"
    what = "written over" if choice.replace else "kept, and the new ones get a number"
    return f"{text}. {files} there already: {what}"


def namer(
    recording: Recording, selection: Selection, choice: ExportChoice
) -> Callable[[ViewSpec, str], str]:
    """Return what names the files of a view's drawing ``key`` as ``choice`` says.

    It raises `LoopscopeError` for a pattern that gives no name.
    """
    info = recording.info
    fixed = {
        "prompt": slug(info.prompt), "size": slug(choice.preset), "seed": str(info.seed),
        "model": slug(Path(info.checkpoint).name),
    }  # fmt: skip
    head = f"layer{selection.layer}-head{selection.head}"

    def name(spec: ViewSpec, key: str) -> str:
        fields = fixed | {"view": key}
        if "head" in spec.reads:
            fields["head"] = head
        if "recurrence" in spec.reads or spec.key in AT_ONE_RECURRENCE:
            fields["recurrence"] = f"r{selection.recurrence}"
        return stem(choice.name, fields)

    return name


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
    options = options or spec.options()

    def item(data: ViewData, provenance: dict[str, str] | None = None) -> ExportItem:
        return _item(spec, spec.key, spec.title, data, options, provenance, selection)

    if second_run is None:
        yield item(spec.compute(recording, selection, options))
        return
    there = second_run.recording
    if spec.compute_second is not None and spec.draws_both(recording, there):
        data = spec.compute_second(recording, second_run, selection, options)
        yield item(data, _provenance_of_two(recording, selection, second_run, "both runs"))
        return
    yield from _items_of_two(spec, recording, selection, options, second_run)


def _item(
    spec: ViewSpec, key: str, title: str, data: ViewData, options: Any,
    provenance: dict[str, str] | None, at: Selection,
) -> ExportItem:  # fmt: skip
    """One drawing of a view, with the caption that goes under it."""
    # Not for the window: what a figure needs is imported when one is drawn.
    from loopscope.core.views.captions import caption
    from loopscope.widgets.figures.export import ExportItem

    return ExportItem(
        key, title, spec.draw, spec.table, data, spec.exports, provenance, at.recurrence,
        caption=lambda about: caption(title, data, options, about), heading="the run shown",
    )  # fmt: skip


def _items_of_two(
    spec: ViewSpec, recording: Recording, selection: Selection, options: Any, second_run: SecondRun
) -> Iterator[ExportItem]:
    """A drawing of each run, alike in scale and order, and of what is different between them."""
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
        heading = second_run.name if at is second_run.selection else "the run shown"
        return replace(_item(spec, key, title, data, options, two, at), heading=heading)

    if first is not None:
        yield item(first, spec.key, spec.title, "the run shown", selection)
    if second is not None:
        title, at = f"{spec.title}, {second_run.name}", second_run.selection
        yield item(second, spec.key + SECOND_SUFFIX, title, "the second run", at)
    if spec.has_difference and first is not None and second is not None:
        yield difference_item(spec, recording, selection, options, second_run)


def difference_item(
    spec: ViewSpec, recording: Recording, selection: Selection, options: Any, second_run: SecondRun
) -> ExportItem:
    """The drawing of what is different between two runs."""
    from loopscope.core.views.difference import table
    from loopscope.widgets.figures.difference import draw

    data = spec.difference(recording, second_run, selection, options)
    provenance = _provenance_of_two(recording, selection, second_run, "the run shown − second run")
    title = f"{spec.title}, this run − {second_run.name}"
    key = spec.key + DIFFERENCE_SUFFIX
    return replace(
        _item(spec, key, title, data, options, provenance, selection), draw=draw, table=table,
        exports={},
    )  # fmt: skip


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
