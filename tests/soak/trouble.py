"""What goes wrong under a random user: errors of any thread, messages of Qt, hangs, what is left."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QtMsgType, qInstallMessageHandler

from loopscope.app.bench.background import OneThread
from loopscope.core.run.jobs import Jobs
from loopscope.core.run.runner import Runner
from tests.held import qt_held_by

# Seconds of the process's own CPU time that one deed may keep the screen's thread.
WATCHDOG = 10.0
# Seconds on the wall after which a thread that computes nothing is taken to hang.
STANDSTILL = 240.0


class Trouble:
    """What went wrong, wherever it happened; the first ones are kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.deed = ""
        sys.excepthook = lambda kind, error, trace: self._caught("uncaught", kind, error, trace)
        threading.excepthook = lambda a: self._caught(
            "in a thread", a.exc_type, a.exc_value, a.exc_traceback
        )
        sys.unraisablehook = lambda a: self._caught(
            "unraisable", a.exc_type, a.exc_value, a.exc_traceback
        )
        qInstallMessageHandler(self._qt)

    def _caught(self, where: str, kind: Any, error: Any, trace: Any) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        self.note(f"{where}: {text}")

    def _qt(self, kind: QtMsgType, context: object, text: str) -> None:
        if kind in (QtMsgType.QtCriticalMsg, QtMsgType.QtFatalMsg):
            self.note(f"Qt: {text}")

    def watch_threads(self) -> None:
        """Note work for another thread that holds an object of Qt's, which it may not destroy."""
        for owner, name in ((OneThread, "submit"), (Jobs, "submit"), (Runner, "call")):
            setattr(owner, name, self._watching(getattr(owner, name)))

    def _watching(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def watched(owner: object, *work: Any, **named: Any) -> Any:
            if held := qt_held_by(work):
                self.note(f"given to a thread: {held[:4]}")
            return method(owner, *work, **named)

        return watched

    def note(self, text: str) -> None:
        if len(self.lines) < 20:
            self.lines.append(f"[{self.deed}] {text}")


class Watchdog(threading.Thread):
    """Ends the process with every thread's stack when a deed keeps the screen's thread too long."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(daemon=True, name="soak-watchdog")
        self.trouble = trouble
        self._clock = time.pthread_getcpuclockid(threading.main_thread().ident or 0)
        self.feed()

    def feed(self) -> None:
        self._cpu, self._wall = time.clock_gettime(self._clock), time.monotonic()

    def run(self) -> None:
        while True:
            time.sleep(0.5)
            cpu = time.clock_gettime(self._clock) - self._cpu
            wall = time.monotonic() - self._wall
            if cpu > WATCHDOG or wall > STANDSTILL:
                print(f"HANG in [{self.trouble.deed}]: {cpu:.1f} s CPU, {wall:.0f} s", flush=True)
                faulthandler.dump_traceback(all_threads=True)
                os._exit(3)


def patience(seconds: float = 60.0) -> Callable[[], bool]:
    """Whether to wait on: so long by the process's own CPU time, which a busy machine gives late."""
    cpu, wall = time.process_time() + seconds, time.monotonic() + STANDSTILL
    return lambda: time.process_time() < cpu and time.monotonic() < wall
