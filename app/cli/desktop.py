"""Start the window as the command line says, on a screen or off it."""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loopscope.app.cli.terminal import interventions_of, loop_of
from loopscope.app.display import has_display
from loopscope.app.window.system import check_qt, handle_qt_messages, on_termination
from loopscope.core.errors import LoopscopeError
from loopscope.core.run.requests import check_recurrences
from loopscope.core.sessions.file import is_session_file

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from loopscope.app.window.settings import Settings
    from loopscope.app.window.window import Window

DEFAULT_MODEL = "bundled:looped"
DEMO_RECURRENCES = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """How the window is shown: to somebody, or in a script for its pictures.

    demo : without a display and without a picture asked for, a picture and the figures are written.
    leave : the process ends when the run is done.
    """

    on_screen: bool
    screenshot: Path | None
    leave: bool

    @property
    def demo(self) -> bool:
        """Whether the pictures of the demo are written."""
        return not self.on_screen and self.screenshot is None and not self.leave

    @property
    def scripted(self) -> bool:
        """Whether nobody works in the window: nothing is remembered of it."""
        return self.demo or self.leave

    @property
    def pictured(self) -> bool:
        """Whether the run is awaited and a picture may be taken."""
        return self.scripted or self.screenshot is not None


def run_desktop(options: Namespace) -> int:
    """Open the window as the command line says; returns the exit code.

    Raises `LoopscopeError` for what cannot be opened or run, before a window is there.
    """
    check_qt()
    from loopscope.app.cli import pictures

    plan = Plan(has_display(), pictures.screenshot_path(options.screenshot), options.exit)
    _check_view(options, plan)
    _check_series(options)
    _check_inputs(options, plan)
    if not plan.on_screen:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    if plan.demo:
        pictures.make_demo_folder()
    ready = handle_qt_messages(quiet=plan.scripted)
    attended = plan.on_screen and not plan.pictured
    window = make_window(options, remember=not plan.scripted, attended=attended)
    ready()
    if not plan.pictured:
        _show(window, options)
        return run_events(window)
    recurrences = _wanted_recurrences(options, plan)
    open_first(window, options, recurrences, scripted=True)
    window.show()
    try:
        pictures.take_pictures(window, options, recurrences, plan.screenshot, demo=plan.demo)
    finally:
        if plan.scripted:
            window.close()
            window.deleteLater()
    return 0 if plan.scripted else run_events(window)


def _show(window: Window, options: Namespace) -> None:
    """Show the window on a screen, which may be small; a size that is asked for is not touched.

    Its views are made when it has been painted.
    """
    from loopscope.app.window.screen import fit_into_screen

    make_views = window.docks.hold()

    def fit() -> None:
        if not options.size:
            fit_into_screen(window, window.docks, window.say)

    def painted() -> None:
        make_views()
        fit()  # again, with what its frame takes
        open_first(window, options, options.recurrences, scripted=False)
        window.recovery.offer()

    fit()
    window.when_painted(painted)
    window.show()


def run_events(window: Window) -> int:
    """Serve the window until it is closed; returns the exit code."""
    from loopscope.app.window.error_reports import ErrorReports

    reports = ErrorReports(window.provenance, parent=window)
    reports.reported.connect(window.show_error)
    codes = [0]

    def end(code: int) -> None:
        codes.append(code)
        window.end()

    on_termination(end)
    reports.install()
    try:
        _application().exec()
    finally:
        reports.remove()
    return codes[-1]


def _check_view(options: Namespace, plan: Plan) -> None:
    """Refuse what would have no effect: settings without a view, a view without a picture."""
    pictured = plan.pictured or not plan.on_screen
    given = {"--set": options.set, "--measure": options.measure is not None}
    for name in (name for name, there in given.items() if there):
        if not options.view:
            raise LoopscopeError(f"{name} needs --view KEY, the view that it is about")
        if not pictured:
            raise LoopscopeError(f"{name} is for --screenshot or --exit; here the view has a form")
    if options.view and not pictured:
        raise LoopscopeError("--view is for --screenshot or --exit; here the menu View has all")


def _check_inputs(options: Namespace, plan: Plan) -> None:
    """Tell a bad file, path or span before a window opens."""
    from loopscope.core.checkpoint.folder import looped_checkpoint, open_checkpoint
    from loopscope.core.prompts.prompt_set import read_prompts

    if options.recurrences is not None:
        check_recurrences(options.recurrences)
    interventions_of(options)
    if options.prompts is not None:
        read_prompts(options.prompts)
    if options.beside is not None:
        from loopscope.app.cli.beside import check_beside

        if options.on is not None:
            raise LoopscopeError("--beside is for a run on this machine; leave out --on")
        check_beside(options)
    if options.on is not None:
        _check_elsewhere(options)
    elif _names_recording(options):
        _check_recording(options)
    elif options.path is not None and is_session_file(options.path):
        from loopscope.app.cli.session_options import check_session

        check_session(options)
    elif options.path is not None or plan.scripted:
        checkpoint = open_checkpoint(checkpoint_path(options), options.family)
        if (loop := loop_of(options)) is not None:
            looped_checkpoint(checkpoint, loop)


def checkpoint_path(options: Namespace) -> str:
    """The checkpoint that is opened first: of a folder that holds a series the last one."""
    from loopscope.app.window.opening import checkpoint_in

    return checkpoint_in(options.path or DEFAULT_MODEL)


def _check_series(options: Namespace) -> None:
    """Tell what makes several folders no series; the last of it is opened first."""
    if len(options.paths) < 2:
        return
    from loopscope.core.checkpoint.series import series_of

    if options.on is not None:
        raise LoopscopeError("--on opens one checkpoint; give one path with it")
    options.path = series_of(options.paths)[-1].path


def _check_elsewhere(options: Namespace) -> None:
    """Tell what no worker could open, and that nothing is installed to reach one."""
    from loopscope.core.remote.address import check_address

    check_address(options.on)
    if options.path is None:
        raise LoopscopeError("--on needs the path of a checkpoint, as the other machine sees it")
    if is_session_file(options.path) or options.path.endswith(".h5"):
        raise LoopscopeError("--on opens a checkpoint; sessions and recordings are opened here")


def _names_recording(options: Namespace) -> bool:
    """Whether what is opened is a recording; what reads one is not imported to open nothing."""
    if options.path is None:
        return False
    from loopscope.core.recordings.reader import is_recording

    return is_recording(Path(options.path))


def _check_recording(options: Namespace) -> None:
    """Tell what a recording cannot be asked, and a bad file that nothing is writing."""
    from loopscope.app.cli.recorded import check_options
    from loopscope.core.recordings.reader import open_recording
    from loopscope.core.recordings.segments import segments_of

    check_options(options, ("prompts", "device"))
    if options.recurrences is not None:
        raise LoopscopeError("--recurrences is for a checkpoint; a recording has its own")
    if not segments_of(Path(options.path)).is_file():
        open_recording(Path(options.path))


def _wanted_recurrences(options: Namespace, plan: Plan) -> int:
    if options.recurrences is not None:
        return int(options.recurrences)
    if options.on is not None:
        return DEMO_RECURRENCES
    if _names_recording(options):
        return 0
    if options.path is not None and is_session_file(options.path):
        from loopscope.app.cli.session_options import session_recurrences

        return session_recurrences(options.path)
    if plan.demo:
        return DEMO_RECURRENCES
    from loopscope.core.checkpoint.folder import open_checkpoint

    checkpoint = open_checkpoint(checkpoint_path(options), options.family)
    return checkpoint.architecture.trained_recurrences


def make_window(options: Namespace, *, remember: bool, attended: bool = False) -> Window:
    """Make the application and its window; nothing heavy is imported before the first paint."""
    from PySide6.QtWidgets import QApplication

    from loopscope.app.bench.bench import Bench
    from loopscope.app.window.icon import app_icon
    from loopscope.app.window.settings import Settings
    from loopscope.app.window.window import Window
    from loopscope.widgets.palette import THEMES

    app = QApplication.instance() or QApplication(["loopscope"])
    assert isinstance(app, QApplication)
    app.setApplicationName("loopscope")
    app.setApplicationDisplayName("Loopscope")
    app.setDesktopFileName("loopscope")  # by which Wayland finds the icon
    app.setWindowIcon(app_icon())
    settings = Settings.load() if remember else Settings()
    if options.size:
        settings.size, settings.geometry = list(options.size), ""
    theme = THEMES[_theme_name(options.theme, settings, app)]
    return Window(Bench(), settings, theme, remember=remember, attended=attended)


def _theme_name(chosen: str | None, settings: Settings, app: QApplication) -> str:
    """The colours asked for, those of the last time, or those of the system."""
    from PySide6.QtCore import Qt

    if chosen is not None:
        return chosen
    if settings.theme != "system":
        return settings.theme
    dark = app.styleHints().colorScheme() == Qt.ColorScheme.Dark
    return "dark" if dark else "light"


def open_first(
    window: Window, options: Namespace, recurrences: int | None, *, scripted: bool
) -> None:
    """Open what the command line names, or what was open the last time if it is still there."""
    from loopscope.app.window.opening import FirstRun
    from loopscope.app.window.settings import is_there

    if options.on is None and options.path is not None and is_session_file(options.path):
        window.sessions.open(Path(options.path))
        return
    prompt = options.prompt if options.token_ids is None else "#" + options.token_ids
    if scripted or options.seed:
        window.settings.seed = options.seed
    if options.beside is not None:
        from loopscope.app.cli.beside import put_beside

        put_beside(window, options)
    if options.prompts is not None:
        window.prompt_files.open(options.prompts)
    else:
        window.prompt_files.restore()
    if options.on is not None:
        window.opening.open_on(
            options.on,
            options.path,
            FirstRun(prompt, recurrences, interventions_of(options) or None),
            device=options.device,
            dtype=options.dtype,
            loop=loop_of(options),
            family=options.family,
        )
        return
    if _names_recording(options):
        window.recordings.open(Path(options.path))
        return
    path = options.path or window.settings.checkpoint
    if options.path is None and not is_there(path):
        window.say(f"{path} is not there any more; the bundled model is open instead")
        path = DEFAULT_MODEL
    if len(options.paths) > 1:
        window.series.take(options.paths)
    window.opening.open(
        path,
        FirstRun(prompt, recurrences, interventions_of(options) or None),
        device=options.device if options.device != "auto" else None,
        dtype=options.dtype if options.dtype != "float32" else None,
        loop=loop_of(options),
        # Not asked for, it is read as the last time.
        family=options.family or None,
    )


def _application() -> QApplication:
    from PySide6.QtWidgets import QApplication

    app = QApplication.instance()
    assert isinstance(app, QApplication)
    return app
