"""Errors that nothing caught: reported with what was being done and what was shown, and kept."""

from __future__ import annotations

import logging
import platform
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import PySide6
from platformdirs import user_log_dir
from PySide6.QtCore import QObject, Signal
from typing_extensions import override

from loopscope.core.errors import LOG, one_line
from loopscope.core.version import package_version

FILE, MOST_BYTES = "errors.log", 1 << 20
# An error that comes with each frame would fill the disk: each is reported once, and so many.
MOST_REPORTS = 50


class ErrorReports(QObject):
    """Hears of errors in every thread once it is installed.

    Parameters
    ----------
    provenance
        What is shown, in words.
    folder
        Of the file; the system's folder for logs by default.

    Signals
    -------
    reported(str, str, str)
        In one line; in full; the file it was written to, or "". Emitted in the thread of the error.
    """

    reported = Signal(str, str, str)

    def __init__(
        self,
        provenance: Callable[[], dict[str, str]],
        folder: Path | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._provenance = provenance
        self._file = (folder or Path(user_log_dir("loopscope"))) / FILE
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self._handler = _Handler(self.report)
        self._hooks = sys.excepthook, threading.excepthook

    def install(self) -> None:
        """Hear of what reaches the interpreter's hooks and of what is logged as unforeseen."""
        self._hooks = sys.excepthook, threading.excepthook
        sys.excepthook, threading.excepthook = self._on_uncaught, self._on_uncaught_in_thread
        LOG.addHandler(self._handler)

    def remove(self) -> None:
        """Leave the hooks as they were."""
        sys.excepthook, threading.excepthook = self._hooks
        LOG.removeHandler(self._handler)

    def _on_uncaught(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            self.report("; ".join(getattr(error, "__notes__", ())) or "the window", error)
            _forget_last()

    def _on_uncaught_in_thread(self, caught: threading.ExceptHookArgs) -> None:
        if caught.exc_value is not None and caught.exc_type is not SystemExit:
            name = "a thread" if caught.thread is None else caught.thread.name
            self.report(name, caught.exc_value)

    def report(self, doing: str, error: BaseException) -> None:
        """Report an error once, from any thread."""
        trace = "".join(traceback.format_exception(error))
        with self._lock:
            if trace in self._seen or len(self._seen) >= MOST_REPORTS:
                return
            self._seen.add(trace)
            line = f"Something went wrong in {doing}: {one_line(error)}"
            text = f"{line}\n{self._facts()}\n{trace}"
            written = self._write(text)
        print(f"loopscope: error: {line}", file=sys.stderr)
        self.reported.emit(line, text, str(self._file) if written else "")

    def _facts(self) -> str:
        """When, with which versions and on what, one line each."""
        facts = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": f"Loopscope {package_version()}, Python {platform.python_version()}, "
            f"PySide6 {PySide6.__version__}, {platform.platform()}",
        }
        return "\n".join(f"{name}: {fact}" for name, fact in (facts | self._provenance()).items())

    def _write(self, text: str) -> bool:
        """Append to the file, which is begun anew when it has grown large."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if self._file.exists() and self._file.stat().st_size > MOST_BYTES:
                self._file.replace(self._file.with_suffix(".old.log"))
            with self._file.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text + "\n")
        except OSError:
            return False
        return True


def _forget_last() -> None:
    """Let go of what the interpreter keeps of the last error, for a debugger that nobody starts.

    Its frames hold the window and the run: both stay, hidden, when they are closed.
    """
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        if hasattr(sys, name):
            delattr(sys, name)


class _Handler(logging.Handler):
    """Passes on what is logged with an error."""

    def __init__(self, report: Callable[[str, BaseException], None]) -> None:
        super().__init__(logging.ERROR)
        self._report = report

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Report the error of a record."""
        if record.exc_info and record.exc_info[1] is not None:
            self._report(record.getMessage(), record.exc_info[1])
