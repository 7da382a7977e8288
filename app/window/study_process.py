"""`loopscope sweep` as a process of its own, which the window starts, cancels and outlives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import IO

from PySide6.QtCore import QObject, QTimer, Signal

# Milliseconds between two looks whether it has ended.
LOOK_MS = 200
# Seconds after which one that was cancelled is killed.
GRACE = 20.0


class StudyProcess(QObject):
    """Runs one study at a time; what it measures lies in the study's folder.

    Signals
    -------
    ended(str)
        It is over; why it failed, in a line, or "".
    """

    ended = Signal(str)

    def __init__(self, parent: QObject, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(parent)
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._cancelled_at: float | None = None
        self.began = 0.0
        self._timer = QTimer(self, interval=LOOK_MS)
        self._timer.timeout.connect(self._look)

    @property
    def running(self) -> bool:
        """Whether it has been started and is not over."""
        return self._process is not None

    @property
    def cancelled(self) -> bool:
        """Whether it was told to end."""
        return self._cancelled_at is not None

    def start(self, file: str, folder: str, address: str) -> None:
        """Run the study in ``file`` into ``folder``, by the workers at ``address`` or here."""
        command = [sys.executable, "-P", "-m", "loopscope.app", "sweep", file, "-o", folder]
        command += ["--on", address] if address else []
        self._errors = errors = tempfile.TemporaryFile()  # noqa: SIM115 - read when it is over
        self._cancelled_at, self.began = None, self._clock()
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
            )
        except OSError as error:
            errors.close()
            self.ended.emit(f"the study cannot be started: {error.strerror or error}")
            return
        self._timer.start()

    def cancel(self) -> None:
        """Tell it to end, as Ctrl-C does: what was measured stays."""
        if self._process is not None and self._cancelled_at is None:
            self._cancelled_at = self._clock()
            self._interrupt(self._process)

    def end(self) -> None:
        """The window closes: it is told to end, which is not waited for."""
        self._timer.stop()
        self.cancel()
        if self._errors is not None:
            self._errors.close()

    @staticmethod
    def _interrupt(process: subprocess.Popen[bytes]) -> None:
        if sys.platform == "win32":
            process.terminate()
        else:
            os.kill(process.pid, signal.SIGINT)

    def _look(self) -> None:
        process = self._process
        if process is None:
            return
        code = process.poll()
        if code is None:
            late = self._cancelled_at is not None and self._clock() - self._cancelled_at > GRACE
            if late:
                process.kill()
            return
        self._timer.stop()
        said = self._last_words(code)
        self._process = None
        why = "" if code == 0 or self.cancelled else said
        self.ended.emit(why)

    def _last_words(self, code: int) -> str:
        """The last line that it said before it failed."""
        assert self._errors is not None
        with self._errors as file:
            file.seek(0)
            lines = file.read().decode(errors="replace").strip().splitlines()
        said = lines[-1].removeprefix("loopscope: ").removeprefix("error: ") if lines else ""
        return said or f"the study ended with code {code}"
