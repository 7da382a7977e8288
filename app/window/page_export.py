"""Export the runs shown as one page for any browser: ask where, write in the background, say so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QFileDialog, QWidget

from loopscope.app.bench.bench import Bench
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.run.recording import Recording

FILTER = "Web page (*.html)"


class PageExport:
    """The window's page export."""

    def __init__(self, bench: Bench, say: Callable[[str], None], parent: QWidget) -> None:
        self._bench, self._say, self._parent = bench, say, parent

    def ask(self) -> None:
        """Ask for a file name and write the page."""
        recording = self._bench.session.recording
        if recording is None or not recording.n_recurrences:
            self._say("There is nothing to export yet: press Space to run a recurrence")
            return
        path, _ = QFileDialog.getSaveFileName(
            self._parent, "Export a page", proposed_name(recording), FILTER
        )
        if path:
            self.write(Path(path))

    def write(self, path: Path) -> None:
        """Write the runs shown to ``path``; says how it ended."""
        # Late: the window appears before what writes a page is imported.
        from loopscope.app.report.content import Shown

        path = path if path.suffix else path.with_suffix(".html")
        recording, second = self._bench.session.recording, self._bench.session.second_run
        assert recording is not None
        runs = [Shown(recording.info.checkpoint, recording)]
        left_out = ""
        if second is not None and second.recording.n_recurrences:
            runs.append(Shown(second.name, second.recording))
        elif second is not None:
            left_out = f"; {second.name} has no recurrence yet and is left out"
        loaded = self._bench.session.status.loaded
        command = command_of(recording, path, LoadRequest("") if loaded is None else loaded.request)
        self._say(f"Writing {path.name} …")

        def work() -> Path:
            from loopscope.app.report.page import write_page

            return write_page(runs, path, command)

        def finished(future: Future[Any]) -> None:
            error = future.exception()
            self._say(str(error) if error is not None else f"Wrote {path}{left_out}")

        self._bench.in_background(work, finished)


def proposed_name(recording: Recording) -> str:
    """Such as ``bundled-looped-24.html``: the checkpoint and how far it was run."""
    name = re.sub(r"[^\w.-]+", "-", Path(recording.info.checkpoint).name).strip("-.") or "run"
    return f"{name}-{recording.n_recurrences}.html"


def command_of(recording: Recording, path: Path, request: LoadRequest) -> str:
    """The command that makes the page of this run again.

    It names the model, not where it lies here; interventions need a file of their own.
    """
    # Late: the window appears before the families are imported.
    from loopscope.core.checkpoint.folder import folder_name

    info = recording.info
    words = ["loopscope", "report", folder_name(info.checkpoint)]
    if request.loop is not None:
        first, end, damping = request.loop
        words += ["--loop", f"{first}:{end}", "--damping", f"{damping:g}"]
    if request.family:
        words += ["--as", request.family]
    words += ["--token-ids", ",".join(map(str, info.token_ids)), "--seed", str(info.seed)]
    words += ["--recurrences", str(recording.n_recurrences), "--dtype", info.dtype]
    if info.interventions:
        words += ["--interventions", "interventions.json"]
    return shlex.join([*words, "-o", path.name])
