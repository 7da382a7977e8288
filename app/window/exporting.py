"""Export views in the background: ask, compute, draw, write, say what was written."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer

from loopscope.app.figures import BESIDE, drawable, words_beside, write_figures
from loopscope.app.view_spec import ViewSpec
from loopscope.app.views import BY_KEY
from loopscope.widgets.kit.export_choice import ExportChoice
from loopscope.widgets.kit.export_dialog import ExportDialog

if TYPE_CHECKING:
    from loopscope.app.bench.bench import Bench
    from loopscope.app.window.window import Window
    from loopscope.widgets.figures.export import ExportReport


class Exporter:
    """The window's exports. Files are drawn on the analysis thread; the window never waits."""

    def __init__(self, bench: Bench, window: Window) -> None:
        self.bench, self.window = bench, window
        self.dialog: ExportDialog | None = None

    def ask(self, key: str | None) -> ExportDialog | None:
        """Open the dialog for one view, or for all of them (None)."""
        if self.bench.session.recording is None or self.bench.session.recording.n_recurrences == 0:
            self.window.statusBar().showMessage(
                "There is nothing to export yet: press Space to run a recurrence", 6000
            )
            return None
        specs = drawable(self.bench.session.recording, self.bench.session.second_run)
        if key is not None:
            specs = tuple(p for p in specs if p.key == key)
        if not specs and key is not None:
            request = BY_KEY[key].request
            assert request is not None
            self.window.statusBar().showMessage(
                f"There is nothing to export yet: press “{request.label}” in the view", 6000
            )
            return None
        what = "all views" if key is None else BY_KEY[key].title
        extra = tuple(name for spec in specs for name in spec.exports)
        dialog = ExportDialog(what, self._last_choice(), self.window, extra)
        dialog.set_theme(self.window.theme)
        dialog.chosen.connect(lambda choice: self._start(dialog, specs, choice))
        self._tell_of_beside(dialog, specs)
        dialog.show()
        self.dialog = dialog
        return dialog

    def _tell_of_beside(self, dialog: ExportDialog, specs: tuple[ViewSpec, ...]) -> None:
        """Say in the dialog what of the run beside will be written, for as long as it is open."""

        def tell() -> None:
            run, second_run = self.bench.session.recording, self.bench.session.second_run
            both = run is not None and second_run is not None
            dialog.show_beside(words_beside(run, specs, second_run) if both else "")  # type: ignore[arg-type]

        session = self.bench.session
        session.runs_changed.connect(tell)
        dialog.finished.connect(lambda: session.runs_changed.disconnect(tell))
        tell()

    def _last_choice(self) -> ExportChoice:
        saved = self.window.settings.export
        try:
            choice = ExportChoice(**saved)
            return ExportChoice(
                tuple(str(f) for f in choice.formats),
                str(choice.preset),
                int(choice.dpi),
                str(choice.folder),
            )
        except (TypeError, ValueError):
            return ExportChoice()

    def _start(
        self, dialog: ExportDialog, specs: tuple[ViewSpec, ...], choice: ExportChoice
    ) -> None:
        self.window.settings.export = asdict(choice)
        recording, selection = self.bench.session.recording, self.bench.session.selection
        second_run = self.bench.session.second_run
        assert recording is not None
        options = {key: display.options for key, display in self.bench.displays.items()}
        stop = threading.Event()
        done: list[tuple[int, int, str]] = []
        dialog.cancel_requested.connect(stop.set)
        closed = threading.Event()
        dialog.destroyed.connect(closed.set)
        timer = QTimer(dialog)
        timer.timeout.connect(lambda: done and dialog.show_progress(*done[-1]))
        timer.start(100)

        def work() -> ExportReport:
            return write_figures(
                recording, selection, specs, options, choice, done.append, stop.is_set, second_run
            )

        def finished(future: Future[Any]) -> None:
            text, failed = result_text(future, choice.folder)
            self.window.statusBar().showMessage(text, 15000)
            if not closed.is_set():
                timer.stop()
                dialog.show_result(text, failed=failed)

        self.bench.in_background(work, finished)


def result_text(future: Future[Any], folder: str) -> tuple[str, bool]:
    """Say in one sentence how an export ended, and whether something failed."""
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
    second_run = sum(path.stem.endswith(BESIDE) for path in report.written)
    if second_run:
        text += f"; the {second_run} called NAME{BESIDE} are of the run beside"
    return text + note, False
