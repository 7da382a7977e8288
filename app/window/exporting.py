"""Export views in the background: ask, compute, draw, write, say what was written.

What that takes is imported when it is asked for: the first window does without.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QWidget

from loopscope.app.bench.bench import Bench
from loopscope.app.view_spec import ViewSpec
from loopscope.app.views import BY_KEY
from loopscope.app.window.settings import Settings, absolute
from loopscope.widgets.palette import LIGHT, Theme

if TYPE_CHECKING:
    from loopscope.widgets.figures.export import ExportReport
    from loopscope.widgets.kit.export_choice import ExportChoice
    from loopscope.widgets.kit.export_dialog import ExportDialog


class Exporter:
    """The window's exports. Files are drawn on the analysis thread; the window never waits.

    theme, parent : of its dialogs.
    """

    def __init__(
        self, bench: Bench, settings: Settings, say: Callable[[str], None], parent: QWidget
    ) -> None:
        self._bench, self._settings, self._say, self.parent = bench, settings, say, parent
        self.theme = LIGHT
        self.dialog: ExportDialog | None = None

    def set_theme(self, theme: Theme) -> None:
        """Take the theme of the next dialog."""
        self.theme = theme

    def ask(self, key: str | None) -> ExportDialog | None:
        """Open the dialog for one view, or for all of them (None)."""
        from loopscope.app.figures import drawable

        session = self._bench.session
        if session.recording is None or session.n_recurrences == 0:
            self._say("There is nothing to export yet: press Space to run a recurrence")
            return None
        specs = drawable(session.recording, session.second_run)
        if key is not None:
            specs = tuple(p for p in specs if p.key == key)
        if not specs and key is not None:
            request = BY_KEY[key].request
            assert request is not None
            self._say(f"There is nothing to export yet: press “{request.label}” in the view")
            return None
        from loopscope.widgets.kit.export_dialog import ExportDialog

        subject = "all views" if key is None else BY_KEY[key].title
        extra = tuple(name for spec in specs for name in spec.exports)
        dialog = ExportDialog(
            subject, self.last_choice(), self.parent, extra,
            lambda choice: self._describe(specs, choice), tuple(spec.title for spec in specs),
        )  # fmt: skip
        dialog.set_theme(self.theme)
        dialog.preview_wanted.connect(
            lambda choice, page: self._preview(dialog, specs[page], choice)
        )
        dialog.chosen.connect(lambda choice: self._start(dialog, specs, choice))
        self._name_second_run(dialog, specs)
        dialog.show()
        self.dialog = dialog
        return dialog

    def _name_second_run(self, dialog: ExportDialog, specs: tuple[ViewSpec[Any, Any], ...]) -> None:
        """Say in the dialog what of the second run will be written, for as long as it is open."""
        from loopscope.app.figures import any_twice, describe_second_run

        def describe() -> None:
            run, second_run = self._bench.session.recording, self._bench.session.second_run
            if run is None or second_run is None:
                dialog.show_second_run("")
                dialog.offer_together(False)
            else:
                dialog.show_second_run(describe_second_run(run, specs, second_run))
                dialog.offer_together(any_twice(run, specs, second_run))

        changed = self._bench.session.runs_changed
        changed.connect(describe)
        dialog.finished.connect(lambda: changed.disconnect(describe))
        describe()

    def last_choice(self) -> ExportChoice:
        """What was chosen the last time."""
        from loopscope.widgets.kit.export_choice import ExportChoice
        from loopscope.widgets.kit.export_names import DEFAULT_PATTERN

        saved = dict(self._settings.export)
        if "formats" in saved:
            saved["formats"] = tuple(saved["formats"])
        return ExportChoice(**({"name": DEFAULT_PATTERN} | saved))

    def remember(self, choice: ExportChoice) -> None:
        """Offer this the next time."""
        self._settings.export = asdict(replace(choice, folder=absolute(choice.folder))) | {
            "formats": list(choice.formats)
        }

    def _describe(self, specs: tuple[ViewSpec[Any, Any], ...], choice: ExportChoice) -> str:
        """Say what a choice writes, and what becomes of files that are there."""
        from loopscope.app.figures import describe_files, drawings

        session = self._bench.session
        if session.recording is None:
            return ""
        named = drawings(session.recording, session.selection, specs, choice, session.second_run)
        return describe_files(named, choice)

    def _preview(
        self, dialog: ExportDialog, spec: ViewSpec[Any, Any], choice: ExportChoice
    ) -> None:
        """Draw one page on the analysis thread and show it in the dialog."""
        from loopscope.app.figures import page_png

        session = self._bench.session
        recording, selection, second_run = session.recording, session.selection, session.second_run
        shown = session.shown_range
        if recording is None:
            return
        display = self._bench.displays.get(spec.key)
        options = spec.options() if display is None else display.options
        closed, closing = threading.Event(), self._bench.closing
        dialog.destroyed.connect(closed.set)

        def work() -> bytes:
            if closed.is_set() or closing.is_set():
                return b""
            return page_png(recording, selection, spec, options, choice, second_run, shown)

        def finished(future: Future[Any]) -> None:
            if closed.is_set() or dialog.is_asking:
                return
            if future.exception() is not None:
                dialog.preview.show_words(str(future.exception()))
            else:
                dialog.preview.show_page(future.result())

        self._bench.in_background(work, finished)

    def _start(
        self, dialog: ExportDialog, specs: tuple[ViewSpec[Any, Any], ...], choice: ExportChoice
    ) -> None:
        from loopscope.app.figures import drawable, write_figures

        self.remember(choice)
        recording, selection = self._bench.session.recording, self._bench.session.selection
        second_run = self._bench.session.second_run
        shown = self._bench.session.shown_range
        # The dialog stays open while another model is opened, whose run may have less to draw.
        there = () if recording is None else drawable(recording, second_run)
        specs = tuple(spec for spec in specs if spec in there)
        if recording is None or recording.n_recurrences == 0 or not specs:
            dialog.show_result("There is nothing to export any more: run it again", failed=True)
            return
        options = {key: display.options for key, display in self._bench.displays.items()}
        stop, closing = threading.Event(), self._bench.closing
        done: list[tuple[int, int, str]] = []
        dialog.cancel_requested.connect(stop.set)
        closed = threading.Event()
        dialog.destroyed.connect(closed.set)
        timer = QTimer(dialog)
        timer.timeout.connect(lambda: dialog.show_progress(*done[-1]) if done else None)
        timer.start(100)

        def work() -> ExportReport:
            return write_figures(
                recording, selection, specs, options, choice, done.append,
                lambda: stop.is_set() or closing.is_set(), second_run, shown,
            )  # fmt: skip

        def finished(future: Future[Any]) -> None:
            text, failed = result_text(future, choice.folder)
            self._say(text)
            if not closed.is_set():
                timer.stop()
                dialog.show_result(text, failed=failed)

        self._bench.in_background(work, finished)


def result_text(future: Future[Any], folder: str) -> tuple[str, bool]:
    """Say in one sentence how an export ended, and whether something failed."""
    from loopscope.app.figures import SECOND_SUFFIX

    error = future.exception()
    if error is not None:
        return str(error), True
    report = future.result()
    if report.failures:
        return "; ".join(report.failures), True
    if report.cancelled:
        return f"Stopped; {len(report.written)} files were written to {folder}", True
    note = f"; {report.note}" if report.note else ""
    names = ", ".join(path.name for path in report.written)
    if len(names) < 80:
        return f"Wrote {names} to {folder}{note}", False
    text = f"Wrote {len(report.written)} files to {folder}"
    second_run = sum(path.stem.endswith(SECOND_SUFFIX) for path in report.written)
    if second_run:
        text += f"; the {second_run} called NAME{SECOND_SUFFIX} are of the second run"
    return text + note, False
