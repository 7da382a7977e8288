"""Start the window, on a screen or off it; the screenshot and the demo without a screen."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loopscope.core.errors import LoopscopeError

if TYPE_CHECKING:
    from loopscope.app.window.window import Window

DEMO_FOLDER = "loopscope-demo"
DEMO_RECURRENCES = 8
# A run in a script that has not ended by then never will.
LONGEST_WAIT = 3600.0


def has_display() -> bool:
    """Whether a window can be shown: asked before Qt is, which aborts when it cannot."""
    if os.environ.get("QT_QPA_PLATFORM", "").split(":")[0] in ("offscreen", "minimal"):
        return False
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("WAYLAND_DISPLAY")) or _answers(os.environ.get("DISPLAY", ""))


def _answers(display: str) -> bool:
    """Whether an X server answers at ``display``; only local ones (``:N``) are tried."""
    host, _, number = display.rpartition(":")
    if not number:
        return False
    if host not in ("", "unix"):
        return True
    path = f"/tmp/.X11-unix/X{number.split('.')[0]}"
    for address in (path, "\0" + path):
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(2)
                probe.connect(address)
                return True
        except OSError:
            continue
    return False


def run_desktop(options: Namespace) -> int:
    """Open the window as the command line says; returns the exit code."""
    from loopscope.app.cli.main import DEFAULT_MODEL
    from loopscope.app.cli.terminal import loop_of
    from loopscope.core.checkpoint.folder import looped_checkpoint, open_checkpoint
    from loopscope.core.interventions.registry import load_interventions
    from loopscope.core.prompts.prompt_set import read_prompts
    from loopscope.core.run.requests import check_recurrences

    if options.recurrences is not None:
        check_recurrences(options.recurrences)
    if options.interventions is not None:
        load_interventions(Path(options.interventions))
    screenshot = _screenshot_path(options.screenshot)
    on_screen = has_display()
    _check_view(options, pictured=not on_screen or screenshot is not None or options.exit)
    if not on_screen:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    if options.prompts is not None:
        read_prompts(options.prompts)
    demo = not on_screen and screenshot is None and not options.exit
    scripted = demo or options.exit
    if options.path is not None or scripted:
        # A bad path or span is told before a window opens.
        checkpoint = open_checkpoint(options.path or DEFAULT_MODEL)
        if (loop := loop_of(options)) is not None:
            looped_checkpoint(checkpoint, *loop)
    if demo:
        _make_demo_folder()

    if scripted:
        _quieten_qt()
    window = make_window(options, remember=not scripted)
    app = window.application
    if scripted or screenshot is not None:
        wanted = _wanted_recurrences(options, demo)
        _open_first(window, options, wanted, scripted=True)
        window.show()
        try:
            _wait(window, wanted)
            if options.view:
                _maximise(window, options.view, options.set, measure=options.measure)
            if demo:
                _write_demo(window)
            elif screenshot is not None:
                _save_picture(window, screenshot)
        finally:
            if scripted:
                window.close()
        if scripted:
            return 0
    else:
        window.when_painted(
            lambda: _open_first(window, options, options.recurrences, scripted=False)
        )
        window.show()
    signal.signal(signal.SIGINT, lambda *_: window.interrupt())
    app.exec()
    return 130 if window.interrupted else 0


def _quieten_qt() -> None:
    """Leave standard error to us: without a screen Qt says at every window what it cannot do."""
    from PySide6.QtCore import QtMsgType, qInstallMessageHandler

    def show(kind: QtMsgType, context: object, text: str) -> None:
        if not text.startswith("This plugin does not support"):
            print(text, file=sys.stderr)

    qInstallMessageHandler(show)


def _check_view(options: Namespace, *, pictured: bool) -> None:
    """Refuse what would have no effect: settings without a view, a view without a picture."""
    given = {"--set": options.set, "--measure": options.measure is not None}
    for name in (name for name, there in given.items() if there):
        if not options.view:
            raise LoopscopeError(f"{name} needs --view KEY, the view that it is about")
        if not pictured:
            raise LoopscopeError(f"{name} is for --screenshot or --exit; here the view has a form")
    if options.view and not pictured:
        raise LoopscopeError("--view is for --screenshot or --exit; here the menu View has all")


def make_window(options: Namespace, *, remember: bool) -> Window:
    """Make the application and its window; nothing heavy is imported before the first paint."""
    from PySide6.QtCore import Qt
    from PySide6.QtWidgets import QApplication

    from loopscope.app.bench.bench import Bench
    from loopscope.app.window.settings import Settings
    from loopscope.app.window.window import Window
    from loopscope.widgets.palette import THEMES

    app = QApplication.instance() or QApplication(["loopscope"])
    assert isinstance(app, QApplication)
    app.setApplicationName("loopscope")
    app.setApplicationDisplayName("Loopscope")
    settings = Settings.load() if remember else Settings()
    if options.size:
        settings.size, settings.geometry = list(options.size), ""
    name = options.theme or settings.theme
    if name not in THEMES:
        dark = app.styleHints().colorScheme() == Qt.ColorScheme.Dark
        name = "dark" if dark else "light"
    elif options.theme is None:
        settings.theme = name
    window = Window(Bench(), settings, THEMES[name], remember=remember)
    window.application = app
    return window


def _open_first(
    window: Window, options: Namespace, recurrences: int | None, *, scripted: bool
) -> None:
    from loopscope.app.cli.terminal import interventions_of, loop_of

    prompt = options.prompt
    if options.token_ids is not None:
        prompt = "#" + options.token_ids
    if scripted or options.seed:
        window.settings.seed = options.seed
    if options.prompts is not None:
        window.prompt_files.open(options.prompts)
    else:
        window.prompt_files.restore()
    window.open_checkpoint(
        options.path or window.settings.checkpoint,
        prompt=prompt,
        recurrences=recurrences,
        device=options.device if options.device != "auto" else None,
        dtype=options.dtype if options.dtype != "float32" else None,
        loop=loop_of(options),
        interventions=interventions_of(options) or None,
    )


def _wanted_recurrences(options: Namespace, demo: bool) -> int:
    if options.recurrences is not None:
        return int(options.recurrences)
    if demo:
        return DEMO_RECURRENCES
    from loopscope.app.cli.main import DEFAULT_MODEL
    from loopscope.core.checkpoint.folder import open_checkpoint

    return open_checkpoint(options.path or DEFAULT_MODEL).architecture.trained_recurrences


def _wait(window: Window, recurrences: int) -> None:
    """Let the event loop turn until the run is made and every visible view shows it."""
    bench, app = window.bench, window.application
    deadline = time.monotonic() + LONGEST_WAIT
    calm = 0
    while calm < 3:
        app.processEvents()
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
    window: Window, key: str, settings: Sequence[str], *, measure: Sequence[str] | None = None
) -> None:
    from loopscope.app.cli.view_options import changed
    from loopscope.app.views import BY_KEY

    wanted = [] if measure is None else measure or [key]
    for name in (key, *wanted):
        if name not in BY_KEY:
            raise LoopscopeError(f"there is no view '{name}'; there are {', '.join(BY_KEY)}")
    window.maximise(key)
    options = changed(window.bench.displays[key].options, settings)
    window.bench.analysis.set_options(key, options)
    window.frames[key].set_options(options)
    recording = window.bench.session.recording
    assert recording is not None
    for name in wanted:
        window.measure(name)
    _wait(window, recording.n_recurrences)


def _screenshot_path(text: str | None) -> Path | None:
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


def _make_demo_folder() -> None:
    try:
        Path(DEMO_FOLDER).mkdir(exist_ok=True)
    except OSError as error:
        raise LoopscopeError(f"cannot make {DEMO_FOLDER}/: {error.strerror}") from None


def _write_demo(window: Window) -> None:
    """Without a display: a picture of the bench and the figures, into `loopscope-demo/`."""
    from loopscope.app.figures import drawable, write_figures
    from loopscope.widgets.kit.export_choice import ExportChoice

    folder = Path(DEMO_FOLDER)
    _save_picture(window, folder / "window.png")
    recording = window.bench.session.recording
    assert recording is not None
    choice = ExportChoice(("pdf", "svg", "png", "csv"), folder=str(folder))
    specs = drawable(recording)
    report = write_figures(recording, window.bench.session.selection, specs, {}, choice)
    if report.failures:
        raise LoopscopeError("; ".join(report.failures))
    print(
        f"There is no display, so the bench ran without one: {recording.info.checkpoint}, "
        f"prompt '{recording.info.prompt}', {recording.n_recurrences} recurrences.\n"
        f"Its window and {len(report.written)} figure files are in {DEMO_FOLDER}/"
    )
