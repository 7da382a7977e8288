"""The window without anybody before it: screenshots and the demo of a machine without a display."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtWidgets import QApplication

from loopscope.app.cli.view_options import changed
from loopscope.app.views import BY_KEY
from loopscope.app.window.window import Window
from loopscope.core.errors import LoopscopeError

DEMO_FOLDER = "loopscope-demo"
# A run in a script that has not ended by then never will.
LONGEST_WAIT = 3600.0


def take_pictures(
    window: Window, options: Namespace, recurrences: int, screenshot: Path | None, *, demo: bool
) -> None:
    """Wait for the run, measure and maximise as the command line says, and write the picture."""
    wait(window, recurrences)
    if options.view:
        _maximise(window, options.view, options.set, options.measure)
    if demo:
        _write_demo(window)
    elif screenshot is not None:
        _save_picture(window, screenshot)


def wait(window: Window, recurrences: int) -> None:
    """Let the event loop turn until the run is made and every visible view shows it.

    Raises `LoopscopeError` with what the runner said when the run cannot be made.
    """
    bench = window.bench
    deadline = time.monotonic() + LONGEST_WAIT
    calm = 0
    while calm < 3:
        QApplication.processEvents()
        time.sleep(0.01)
        status, recording = bench.runner.status, bench.session.recording
        if status.error:
            raise LoopscopeError(status.error)
        done = recording is not None and recording.n_recurrences >= recurrences
        if recording is not None and status.notice and not done and bench.runner.idle:
            raise LoopscopeError(status.notice)
        calm = calm + 1 if done and bench.settled_down else 0
        if time.monotonic() > deadline:
            raise LoopscopeError("the run did not end within an hour")


def _maximise(
    window: Window, key: str, settings: Sequence[str], measure: Sequence[str] | None
) -> None:
    """Show a view alone with these settings, after the measurements that are asked for."""
    wanted = [] if measure is None else measure or [key]
    for name in (key, *wanted):
        if name not in BY_KEY:
            raise LoopscopeError(f"there is no view '{name}'; there are {', '.join(BY_KEY)}")
    window.docks.maximise(key)
    window.views.set_options(key, changed(window.bench.displays[key].options, settings))
    for name in wanted:
        window.views.measure(name)
    wait(window, 0)


def screenshot_path(text: str | None) -> Path | None:
    """The path of a picture, after checking what can be known beforehand.

    Raises `LoopscopeError` for another ending than .png and a folder that is not there.
    """
    if text is None:
        return None
    path = Path(text)
    if path.suffix.lower() != ".png":
        raise LoopscopeError(f"cannot write '{text}'; a screenshot's name must end in .png")
    if not path.absolute().parent.is_dir():
        raise LoopscopeError(f"cannot write {path}: the folder {path.parent} does not exist")
    return path


def _save_picture(window: Window, path: Path) -> None:
    part = path.with_name(f".{path.name}.part.png")
    try:
        if not window.grab().save(str(part), "PNG"):
            raise LoopscopeError(f"cannot write {path}")
        os.replace(part, path)
    except OSError as error:
        raise LoopscopeError(f"cannot write {path}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def make_demo_folder() -> None:
    """Make the folder of the demo in the working directory, before anything takes long.

    Raises `LoopscopeError` where that cannot be.
    """
    try:
        Path(DEMO_FOLDER).mkdir(exist_ok=True)
    except OSError as error:
        raise LoopscopeError(f"cannot make {DEMO_FOLDER}/: {error.strerror}") from None


def _write_demo(window: Window) -> None:
    """Write a picture of the bench and the figures into `DEMO_FOLDER`."""
    from loopscope.app.figures import drawable, write_figures
    from loopscope.widgets.kit.export_choice import ExportChoice

    folder = Path(DEMO_FOLDER)
    _save_picture(window, folder / "window.png")
    recording = window.bench.session.recording
    assert recording is not None
    choice = ExportChoice(("pdf", "svg", "png", "csv"), folder=str(folder), replace=True)
    specs = drawable(recording)
    report = write_figures(recording, window.bench.session.selection, specs, {}, choice)
    if report.failures:
        raise LoopscopeError("; ".join(report.failures))
    print(
        f"There is no display, so the bench ran without one: {recording.info.checkpoint}, "
        f"prompt '{recording.info.prompt}', {recording.n_recurrences} recurrences.\n"
        f"Its window and {len(report.written)} figure files are in {DEMO_FOLDER}/"
    )
