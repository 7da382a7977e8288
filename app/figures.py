"""Write the figures of a run: what the window's export and `loopscope figures` share. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopscope.app.panels import PANELS, Panel
from loopscope.core.recording import Recording
from loopscope.core.selection import Selection
from loopscope.widgets.figures.choice import ExportChoice

if TYPE_CHECKING:
    from loopscope.widgets.figures.export import ExportReport


def drawable(recording: Recording) -> tuple[Panel, ...]:
    """Views with something to draw: those that are measured on request only when they were."""
    return tuple(
        p
        for p in PANELS
        if p.request is None or p.request.live or p.key in recording.findings_of(p.request.whose)
    )


def write_figures(
    recording: Recording,
    selection: Selection,
    panels: tuple[Panel, ...],
    options: dict[str, Any],
    choice: ExportChoice,
    progress: Callable[[tuple[int, int, str]], None] = lambda step: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> ExportReport:
    """Compute and write the figures of ``panels``; runs on any thread, imports matplotlib."""
    from loopscope.widgets.figures.export import ExportItem, export_all
    from loopscope.widgets.figures.style import Page

    items = (
        ExportItem(
            panel.key,
            panel.title,
            panel.draw,
            panel.table,
            panel.compute(recording, selection, options.get(panel.key) or panel.options()),
            panel.exports,
        )
        for panel in panels
    )
    provenance = recording.info.provenance() | {"recurrence": str(selection.recurrence)}
    if recording.shared.prompts is not None:
        provenance["prompt file"] = recording.shared.prompts.name
    return export_all(
        list(items),
        Path(choice.folder).expanduser(),
        choice.formats,
        page=Page(choice.preset),
        dpi=choice.dpi,
        provenance=provenance,
        progress=lambda *step: progress(step),
        cancelled=cancelled,
    )
