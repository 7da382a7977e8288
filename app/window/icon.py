"""The icon of the window and of the program in the task bar."""

from __future__ import annotations

from importlib.resources import files

from PySide6.QtGui import QIcon


def app_icon() -> QIcon:
    """Return the icon in all its sizes; a file is read when its size is shown."""
    icon = QIcon()
    for file in (files("loopscope.resources") / "app").iterdir():
        if file.name.endswith(".png"):
            icon.addFile(str(file))
    return icon
