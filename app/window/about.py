"""What this program is, in a small window."""

from __future__ import annotations

import sys
from importlib.metadata import version

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from loopscope.core.version import package_version
from loopscope.widgets.kit.about_dialog import AboutDialog

NAME = "Loopscope"
# What numbers and pictures come from.
PARTS = {
    "PySide6-Essentials": "PySide6",
    "torch": "torch",
    "numpy": "numpy",
    "pyqtgraph": "pyqtgraph",
}


def about() -> list[str]:
    """Version, licence and what is installed, a line each; imports none of it."""
    parts = [f"Python {sys.version.split()[0]}"]
    parts += [f"{name} {version(package)}" for package, name in PARTS.items()]
    return [
        f"{NAME} {package_version()}",
        "Looped language models, watched while they run",
        "Licence: Apache-2.0",
        "Runs local checkpoints; no network but File > Run on…",
        "  ·  ".join(parts),
    ]


def show_about(parent: QWidget) -> AboutDialog:
    """Show it over the window; the bench goes on, and nothing of it is left when it is closed."""
    dialog = AboutDialog(NAME, about(), parent)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.show()
    return dialog
