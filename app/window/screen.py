"""A window on its screen: no larger than that, and wholly on it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QMainWindow, QStyle

from loopscope.app.window.docks import Docks

TITLE_BAR = QStyle.PixelMetric.PM_TitleBarHeight
# The preset whose views need least room.
SMALL = "State space"


def fit_into_screen(window: QMainWindow, docks: Docks, say: Callable[[str], None]) -> None:
    """Make a window no larger than its screen, frame included, and move it wholly onto it.

    What the frame takes is not known before the window is shown; a title bar is counted then.
    Views that cannot be so small give way to the preset that needs least room, and ``say`` says so.
    """
    room, frame = window.screen().availableGeometry(), window.frameGeometry()
    across = frame.width() - window.width()
    down = max(frame.height() - window.height(), window.style().pixelMetric(TITLE_BAR))
    width, height = room.width() - across, room.height() - down
    least = window.minimumSizeHint()
    if least.width() > width or least.height() > height:
        docks.apply(SMALL)
        say(f"The views are larger than this screen; preset {SMALL} is shown instead")
        layout = window.layout()
        assert layout is not None
        layout.activate()
    window.resize(min(window.width(), width), min(window.height(), height))
    frame = window.frameGeometry()
    if not room.contains(frame):
        right = max(room.left(), min(frame.left(), room.right() + 1 - frame.width()))
        lower = max(room.top(), min(frame.top(), room.bottom() + 1 - frame.height()))
        window.move(right, lower)
