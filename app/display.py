"""Whether there is a screen to show a window on; imports nothing of Qt."""

from __future__ import annotations

import os
import sys

WITHOUT_A_DISPLAY = ("offscreen", "minimal")


def has_display() -> bool:
    """Whether a window is to be shown: on Linux, whether a display is named at all."""
    if os.environ.get("QT_QPA_PLATFORM", "").split(":")[0] in WITHOUT_A_DISPLAY:
        return False
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY"))
