"""A user who does anything at random: drives the real window, one seeded deed after another.

Run by `test_soak.py` in a process of its own:

    python tests/soak/driver.py --minutes 3 --seed 7 --folder FOLDER

Prints one JSON line a minute and one at the end. Exit code 0 when nothing went wrong, 1 when
something was caught (it is in the last line), another when the process died.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MPLBACKEND", "agg")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".dev"))

from PySide6.QtCore import QEvent, QTimer
from PySide6.QtWidgets import QApplication, QDialog, QWidget

from tests.soak.deeds import PROMPTS, Deeds
from tests.soak.trouble import Trouble, Watchdog, patience

# The deeds of a soak, in its folder.
TRAIL = "deeds.txt"


class Driver:
    """One seeded user."""

    def __init__(self, seed: int, folder: Path, trouble: Trouble) -> None:
        self.random = random.Random(seed)
        self.folder, self.trouble = folder, trouble
        self.watchdog = Watchdog(trouble)
        self.watchdog.start()
        self.counts: dict[str, int] = {}
        self.started = time.monotonic()
        self.window: Any = None
        self.windows = 0
        # A line before each deed, so that what killed the process is the last of them.
        self.trail = (folder / TRAIL).open("w", encoding="utf-8", buffering=1)
        deeds = Deeds(self.random, folder, lambda: self.window, self.say, self.turn)
        self.deeds = (*deeds.all, (self.close_and_open_again, 1))
        # A menu or a dialog that waits for an answer within a deed is closed after a while.
        self._impatience = QTimer()
        self._impatience.timeout.connect(self._close_what_waits)
        self._impatience.start(400)

    # ---- the loop ----
    def run(self, minutes: float) -> None:
        """Do one deed after another until the time is over."""
        self.make_window()
        end, next_line = time.monotonic() + 60 * minutes, time.monotonic() + 60
        names = [deed for deed, _ in self.deeds]
        weights = [weight for _, weight in self.deeds]
        while time.monotonic() < end and not self.trouble.lines:
            deed = self.random.choices(names, weights)[0]
            self.do(deed)
            if time.monotonic() > next_line:
                next_line += 60
                self.report()
        self.close_window()
        if not self.trouble.lines:  # an error keeps what its traceback names
            self.check_nothing_is_left()

    def do(self, deed: Callable[[], None]) -> None:
        """Do one deed and let the window answer it."""
        name = deed.__name__
        self.trouble.deed = name
        self.say(f"at {describe(QApplication.focusWidget() or self.window)}")
        self.counts[name] = self.counts.get(name, 0) + 1
        self.watchdog.feed()
        try:
            deed()
        except Exception:
            self.trouble.note(traceback.format_exc())
        self.turn(self.random.choice((0.0, 0.0, 0.01, 0.05)))
        self.close_dialogs()

    def say(self, more: str) -> None:
        """Tell more of the deed that is being done."""
        self.trouble.deed += f" {more}"
        self.trail.write(ascii(self.trouble.deed)[1:-1] + "\n")

    def turn(self, seconds: float) -> None:
        """Let the event loop turn."""
        end = time.monotonic() + seconds
        while True:
            QApplication.processEvents()
            # No event loop runs here that would carry out what was put off.
            QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
            if time.monotonic() >= end:
                return
            time.sleep(0.002)

    def close_dialogs(self) -> None:
        """Close what a user would have closed by now, most of the time."""
        popup = QApplication.activePopupWidget()
        if popup is not None and self.random.random() < 0.7:
            popup.close()
        modal = QApplication.activeModalWidget()
        if modal is not None:
            modal.close()
        open_dialogs = [w for w in QApplication.topLevelWidgets() if isinstance(w, QDialog)]
        for dialog in open_dialogs:
            if dialog.isVisible() and self.random.random() < 0.2:
                dialog.close()

    def _close_what_waits(self) -> None:
        for widget in (QApplication.activePopupWidget(), QApplication.activeModalWidget()):
            if widget is not None:
                widget.close()

    def report(self) -> None:
        """Print how it goes."""
        gc.collect()
        line = {
            "minutes": round((time.monotonic() - self.started) / 60, 1),
            "rss_mb": round(memory() / 1e6, 1),
            "deeds": sum(self.counts.values()),
            "windows": self.windows,
            "top_level": len(QApplication.topLevelWidgets()),
        }
        print(json.dumps(line), flush=True)

    # ---- windows ----
    def make_window(self) -> None:
        """Open a window as the command line does."""
        from loopscope.app.bench.bench import Bench
        from loopscope.app.window.opening import FirstRun
        from loopscope.app.window.settings import Settings
        from loopscope.app.window.window import Window
        from loopscope.widgets.palette import THEMES

        window = Window(Bench(), Settings.load(), THEMES["light"], remember=True)
        window.show()
        first = FirstRun(prompt=PROMPTS[0], recurrences=4)
        window.opening.open("bundled:looped", first, device="cpu")
        self.window, self.windows = window, self.windows + 1
        self.turn(0.2)

    def close_window(self) -> None:
        """Close the window, perhaps in the middle of something; nothing of it may stay."""
        self.trouble.deed = "close_window"
        self.watchdog.feed()
        self.window.close()
        self.window.deleteLater()
        self.window = None
        self.turn(0.1)
        gc.collect()
        self.turn(0.05)

    def check_nothing_is_left(self) -> None:
        """Count the threads and the widgets that outlive the window."""
        self.trouble.deed = "check_nothing_is_left"
        ours: list[str] = ["?"]
        waits = patience()
        while ours and waits():
            self.watchdog.feed()
            ours = [t.name for t in threading.enumerate() if t.name.startswith("loopscope")]
            self.turn(0.1)
        if ours:
            frames = sys._current_frames()
            stacks = [
                "".join(traceback.format_stack(frames[t.ident]))
                for t in threading.enumerate()
                if t.name in ours and t.ident in frames
            ]
            self.trouble.note(f"threads left: {ours}\n{''.join(stacks)}")
        left: list[str] = ["?"]
        waits = patience()
        while left and waits():
            # The bench looks four times a second whether its threads have ended, and lets go then.
            self.watchdog.feed()
            self.turn(0.3)
            gc.collect()
            left = [describe(w) for w in QApplication.topLevelWidgets()]
        if left:
            self.trouble.note(f"{len(left)} top-level widgets left: {sorted(set(left))[:12]}")

    def close_and_open_again(self) -> None:
        """Close and start again with what was remembered."""
        self.close_window()
        self.check_nothing_is_left()
        self.make_window()


def describe(widget: QWidget) -> str:
    """Name a widget for a report."""
    return f"{type(widget).__name__} {widget.objectName() or widget.windowTitle()}".strip()


def memory() -> float:
    """Resident memory of this process, in bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return float(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    """Soak; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    faulthandler.enable()
    os.environ["XDG_CONFIG_HOME"] = str(options.folder / "config")
    application = QApplication(["loopscope"])
    application.setQuitOnLastWindowClosed(False)
    trouble = Trouble()
    trouble.watch_threads()
    driver = Driver(options.seed, options.folder, trouble)
    driver.run(options.minutes)
    line = {
        "seed": options.seed,
        "deeds": driver.counts,
        "windows": driver.windows,
        "rss_mb": round(memory() / 1e6, 1),
        "trouble": trouble.lines,
    }
    print(json.dumps(line), flush=True)
    return 1 if trouble.lines else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
