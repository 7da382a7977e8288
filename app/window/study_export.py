"""Export what is drawn of a study: asked, drawn and written as a view is."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopscope.app.bench.bench import Bench
from loopscope.app.figures import PREVIEW_DPI, WRITTEN, describe_files
from loopscope.app.window.exporting import Exporter, result_text
from loopscope.core.sweeps.picture import table
from loopscope.core.sweeps.watching import Seen
from loopscope.widgets.kit.export_names import slug, stem

if TYPE_CHECKING:
    from loopscope.widgets.figures.export import ExportItem, ExportReport
    from loopscope.widgets.kit.export_choice import ExportChoice
    from loopscope.widgets.kit.export_dialog import ExportDialog

KEY, TITLE = "study", "Study"


def study_item(seen: Seen) -> ExportItem:
    """What is drawn, as a figure with its numbers and caption. Imports matplotlib."""
    from loopscope.core.views.captions import caption
    from loopscope.widgets.figures.export import ExportItem
    from loopscope.widgets.figures.study import draw

    data = seen.picture
    return ExportItem(
        KEY, TITLE, draw, table, data, provenance=seen.provenance,
        caption=lambda about: caption(TITLE, data, seen.choice, about),
    )  # fmt: skip


def name_of(seen: Seen, choice: ExportChoice) -> str:
    """The files' name, as the pattern says; raises `LoopscopeError` for one that gives none."""
    fields = {"view": f"{KEY}-{slug(seen.choice.measure)}", "size": slug(choice.preset)}
    return stem(choice.name, fields)


def ask(
    bench: Bench, exporter: Exporter, seen: Callable[[], Seen | None], say: Callable[[str], None]
) -> ExportDialog | None:
    """Open the dialog for what is drawn; ``seen`` is asked again when it is written."""
    now = seen()
    if now is None or not now.there.measures:
        say("There is nothing to export yet: the study has no rows")
        return None
    from loopscope.widgets.kit.export_dialog import ExportDialog

    def describe(choice: ExportChoice) -> str:
        own = seen()
        return "" if own is None else describe_files([(name_of(own, choice), WRITTEN)], choice)

    dialog = ExportDialog(
        "the study", exporter.last_choice(), exporter.parent, (), describe, (TITLE,)
    )
    dialog.set_theme(exporter.theme)
    dialog.preview_wanted.connect(lambda choice, _: _preview(bench, dialog, seen(), choice))
    dialog.chosen.connect(lambda choice: _write(bench, exporter, dialog, seen(), choice, say))
    dialog.show()
    return dialog


def _preview(bench: Bench, dialog: ExportDialog, seen: Seen | None, choice: ExportChoice) -> None:
    if seen is None:
        return
    closed, closing = threading.Event(), bench.closing
    dialog.destroyed.connect(closed.set)

    def work() -> bytes:
        if closed.is_set() or closing.is_set():
            return b""
        from loopscope.widgets.figures.export import draw_figure
        from loopscope.widgets.figures.style import Page

        file = io.BytesIO()
        figure = draw_figure(study_item(seen), Page(choice.preset))
        figure.savefig(file, format="png", dpi=PREVIEW_DPI)
        return file.getvalue()

    def finished(future: Future[bytes]) -> None:
        if closed.is_set() or dialog.is_asking:
            return
        if future.exception() is not None:
            dialog.preview.show_words(str(future.exception()))
        else:
            dialog.preview.show_page(future.result())

    bench.in_background(work, finished)


def _write(
    bench: Bench, exporter: Exporter, dialog: ExportDialog, seen: Seen | None,
    choice: ExportChoice, say: Callable[[str], None],
) -> None:  # fmt: skip
    exporter.remember(choice)
    if seen is None:
        dialog.show_result("There is nothing to export any more", failed=True)
        return
    closed, closing = threading.Event(), bench.closing
    dialog.destroyed.connect(closed.set)

    def work() -> ExportReport:
        from dataclasses import replace

        from loopscope.widgets.figures.export import export_all
        from loopscope.widgets.figures.style import Page

        item = replace(study_item(seen), name=name_of(seen, choice))
        return export_all(
            [item], Path(choice.folder).expanduser(), choice.formats, page=Page(choice.preset),
            dpi=choice.dpi, provenance=seen.provenance, cancelled=closing.is_set,
            replace_files=choice.replace,
        )  # fmt: skip

    def finished(future: Future[Any]) -> None:
        text, failed = result_text(future, choice.folder)
        say(text)
        if not closed.is_set():
            dialog.show_result(text, failed=failed)

    bench.in_background(work, finished)
