"""What the window asks of the system: Qt's libraries, and signals that end a process."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable

from loopscope.core.errors import LoopscopeError

# Packages of Debian and Ubuntu that hold what PySide6 links to and a bare system lacks.
PACKAGES = "libegl1 libgl1 libxkbcommon-x11-0 libxcb-cursor0 libdbus-1-3 libfontconfig1"


def check_qt() -> None:
    """Raise `LoopscopeError` naming the library and the packages where Qt cannot be imported."""
    try:
        import PySide6.QtGui
        import PySide6.QtWidgets  # noqa: F401
    except ImportError as error:
        library = re.match(r"(\S+\.so[.\d]*): cannot open shared object", str(error))
        lacks = f"its library {library[1]}" if library else f"something ({error})"
        raise LoopscopeError(
            f"the window needs Qt, which lacks {lacks}; on Debian and Ubuntu install {PACKAGES}. "
            f"Commands without a window run as they are (see: loopscope --help)"
        ) from None


def handle_qt_messages(*, quiet: bool) -> Callable[[], None]:
    """Make one line and exit code 2 of Qt's abort when it can show no window.

    Call what is returned when the application is there: what Qt said until then is printed, and
    from then on it speaks for itself. ``quiet`` leaves out what a platform without a screen says
    at every window that it cannot do.
    """
    from PySide6.QtCore import QtMsgType, qInstallMessageHandler

    held: list[str] | None = []

    def show(kind: QtMsgType, context: object, text: str) -> None:
        if kind == QtMsgType.QtFatalMsg and held is not None:
            print(f"loopscope: error: {no_window(held)}", file=sys.stderr, flush=True)
            os._exit(2)
        if held is not None:
            held.append(text)
        elif not (quiet and text.startswith("This plugin does not support")):
            print(text, file=sys.stderr)

    def ready() -> None:
        nonlocal held
        # A display that was tried before another one answered is nothing to speak of.
        held = None
        if not quiet:
            qInstallMessageHandler(None)

    qInstallMessageHandler(show)
    return ready


def no_window(messages: list[str]) -> str:
    """Say in one line why Qt could not show a window, by what it said before it gave up."""
    if any("could not connect" in m or "Failed to create wl_display" in m for m in messages):
        names = [name for name in ("WAYLAND_DISPLAY", "DISPLAY") if os.environ.get(name)]
        where = ", ".join(f"{name}={os.environ[name]}" for name in names)
        return (
            f"no display answers at {where or 'the one that was asked for'}; start one, or unset "
            f"{' and '.join(names) or 'QT_QPA_PLATFORM'} to run without a display"
        )
    why = next((m for m in messages if m.startswith("Could not")), "no platform plugin works")
    return (
        f"Qt can show no window: {why.rstrip('.')}; on Debian and Ubuntu install {PACKAGES}, or "
        f"set QT_QPA_PLATFORM=offscreen to run without a display"
    )


def on_termination(end: Callable[[int], None]) -> None:
    """Call ``end(exit code)`` when the process is told to end; a second time ends it at once.

    SIGINT is Ctrl-C in the terminal, SIGHUP the terminal that closes, SIGTERM the system that
    shuts down. Python runs this between two of its own instructions: an event loop has to come
    back to Python now and then, as the bench's timer makes it.
    """

    def handle(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        end(128 + number)

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), handle)
