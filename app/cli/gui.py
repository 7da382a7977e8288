"""`loopscope-gui`: the same program started without a console, from a menu or by a file."""

from __future__ import annotations

from loopscope.app.cli import main as command
from loopscope.app.cli.leaving import leave


def main() -> int:
    """Run the command line; an error is shown in a window. Returns the exit code."""
    return command.main(tell=show_error)


def run() -> None:
    """Run the command line and end the process."""
    leave(main())


def show_error(text: str) -> None:
    """Show an error, and print it where there is somewhere to print to."""
    command.print_error(text)
    from loopscope.app.display import has_display

    if not has_display():
        return
    from PySide6.QtCore import Qt
    from PySide6.QtWidgets import QApplication, QMessageBox

    # Kept until the box is closed: without an application there are no windows.
    application = QApplication.instance() or QApplication(["loopscope"])
    box = QMessageBox(QMessageBox.Icon.Critical, "Loopscope", text)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.exec()
    del application


if __name__ == "__main__":
    run()
