"""The session kept while it changes, and offered again after a crash.

Each window writes a file of its own beside a lock that it holds: a file whose lock nobody holds is
of a window that was not closed. A window that is closed removes its file.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any

from platformdirs import user_state_dir
from PySide6.QtCore import QLockFile, QObject, QTimer, Signal
from PySide6.QtWidgets import QMessageBox, QWidget

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import make_folder
from loopscope.core.sessions.file import SUFFIX, session_name, write_session
from loopscope.core.sessions.saved import SavedSession

FOLDER, LOCK, DAMAGED = "autosave", ".lock", ".damaged"
# Milliseconds from a change until it is written, and of changes that go on from file to file.
DELAY_MS = 3000
Button = QMessageBox.StandardButton


def autosave_folder() -> Path:
    """Where windows keep their sessions, as the system has it."""
    return Path(user_state_dir("loopscope")) / FOLDER


class Autosave(QObject):
    """Keeps the session of one window.

    Signals
    -------
    kept()
        The session is in the file.

    Parameters
    ----------
    capture
        The session as it is now; None while there is nothing worth keeping.
    in_background
        Does a piece of work beside the screen's thread, then calls with its future.
    say
        Told in one line, once, when nothing can be kept.
    """

    kept = Signal()

    def __init__(
        self,
        capture: Callable[[], SavedSession | None],
        in_background: Callable[[Callable[[], Any], Callable[[Future[Any]], None]], None],
        say: Callable[[str], None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._capture, self._in_background, self._say = capture, in_background, say
        self.file = autosave_folder() / f"{uuid.uuid4().hex}{SUFFIX}"
        self._lock = _lock_of(self.file)
        self._kept: SavedSession | None = None
        self._failed = self._ended = False
        self._timer = QTimer(self, singleShot=True, interval=DELAY_MS)
        self._timer.timeout.connect(self._keep_in_background)

    def note(self) -> None:
        """Note that something may have changed; it is written in a moment."""
        if not self._timer.isActive() and not self._ended:
            self._timer.start()

    def _keep_in_background(self) -> None:
        session = self._capture()
        if session is None or session == self._kept:
            return
        self._kept = session
        file, lock = self.file, self._lock  # the thread is not to hold what is Qt's
        self._in_background(lambda: _write(file, lock, session), self._written)

    def _written(self, future: Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is None and not future.cancelled():
            self.kept.emit()
        elif error is not None and not self._failed:
            self._failed = True
            self._say(f"The session is not kept against a crash: {error}")

    def keep(self) -> None:
        """Write at once what there is and leave it: the process is told to end."""
        self._timer.stop()
        self._ended = True
        session = self._capture()
        if session is not None:
            with contextlib.suppress(LoopscopeError):
                _write(self.file, self._lock, session)
        self._lock.unlock()

    def end(self) -> None:
        """Take the file away, as the window was closed: nothing is offered again."""
        self._timer.stop()
        if self._ended:
            return
        self._ended = True
        _remove(self.file)
        self._lock.unlock()


def _write(file: Path, lock: QLockFile, session: SavedSession) -> None:
    make_folder(file.parent)
    if not lock.isLocked() and not lock.tryLock(0):
        raise LoopscopeError(f"{file.parent} cannot be locked")
    write_session(file, session)


def _lock_of(file: Path) -> QLockFile:
    lock = QLockFile(f"{file}{LOCK}")
    lock.setStaleLockTime(0)  # whose process lives is not stale, however old
    return lock


def left_over(folder: Path) -> list[Path]:
    """Files of windows that were not closed, the newest first; those of living ones are not."""
    found = []
    for file in folder.glob(f"*{SUFFIX}"):
        lock = _lock_of(file)
        if lock.tryLock(0):
            lock.unlock()
            with contextlib.suppress(OSError):
                found.append((file.stat().st_mtime, file))
    return [file for _, file in sorted(found, reverse=True)]


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink(missing_ok=True)


class Recovery(QObject):
    """Offers what the last window that was not closed had kept.

    box : the offer while it is open; None without one.

    Parameters
    ----------
    open
        Opens a session that was kept.
    """

    def __init__(self, open: Callable[[Path], None], window: QWidget) -> None:
        super().__init__(window)
        self._open, self._window = open, window
        self.box: QMessageBox | None = None
        self._taken: Path | None = None

    def offer(self) -> None:
        """Ask whether to open the newest one, if there is any; it waits for no answer."""
        files = left_over(autosave_folder())
        if files:
            self._ask(files[0])

    def _ask(self, file: Path) -> None:
        when = datetime.fromtimestamp(os.path.getmtime(file)).strftime("%Y-%m-%d %H:%M")
        box = self.box = QMessageBox(
            QMessageBox.Icon.Question,
            "Loopscope",
            "Loopscope was not closed the last time. Open the session that it kept?",
            Button.Open | Button.Discard | Button.Cancel,
            self._window,
        )
        box.setInformativeText(
            f"It was kept on {when}. Its runs are made again, or read from their recording."
        )
        box.button(Button.Cancel).setText("Not now")
        box.setDefaultButton(Button.Open)

        def answered(choice: int) -> None:
            self.box = None
            box.deleteLater()
            if choice == Button.Discard:
                _remove(file)
            elif choice == Button.Open:
                self._taken = file
                self._open(file)

        box.finished.connect(answered)
        box.open()

    def done(self) -> None:
        """Note that what was taken up is shown: from now on the window keeps it itself."""
        if self._taken is not None:
            _remove(self._taken)
            self._taken = None

    def left(self) -> None:
        """Note that what was taken up lacks its files and is not shown: it is offered again."""
        self._taken = None

    def failed(self) -> None:
        """Put aside what was taken up and cannot be read: it is not offered again."""
        if self._taken is not None:
            with contextlib.suppress(OSError):
                os.replace(self._taken, self._taken.with_name(session_name(self._taken) + DAMAGED))
            self._taken = None
