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

from PySide6.QtCore import QEvent, QPoint, Qt, QTimer, QtMsgType, qInstallMessageHandler
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QDialog, QDockWidget, QFileDialog, QWidget

from loopscope.app.bench.analysis import Analysis
from loopscope.app.views import VIEW_SPECS
from loopscope.app.window.layout import PRESETS
from loopscope.core.options import settings_of
from loopscope.core.run.jobs import Jobs
from loopscope.core.run.runner import Runner
from tests.held import qt_held_by

MODELS = ("bundled:looped", "bundled:looped", "bundled:deep", "bundled:shallow")
PROMPTS = (
    "ab bc cd de ea ? 3 : a b c d e",
    "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h",
    "ab bc ca ? 2 : a b c",
    "ab",
    "",
    "this is no walk",
    "#1,2,3,4",
    "#9999999",
    "#1," * 40 + "1",
    "a\u200b\u202e\x0c<b>",
)
SIZES = (300, 700, 1280, 1366, 1920, 3000), (200, 500, 768, 800, 1200, 2000)
# Commands that wait for a person at a dialog of the system, or end the window: they have deeds
# of their own.
NOT_AT_RANDOM = {"quit", "open", "open_prompts", "open_second_model", "save_cuts", "replay_cuts"}
KEYS = (
    Qt.Key.Key_Space, Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Home, Qt.Key.Key_End,
    Qt.Key.Key_P, Qt.Key.Key_S, Qt.Key.Key_L, Qt.Key.Key_Escape, Qt.Key.Key_Tab, Qt.Key.Key_X,
    Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Return, Qt.Key.Key_Delete, Qt.Key.Key_F11,
)  # fmt: skip
MODIFIERS = (
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.ShiftModifier,
)
# The deeds of a soak, in its folder.
TRAIL = "deeds.txt"
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
        for owner, name in ((Analysis, "_in_thread"), (Jobs, "submit"), (Runner, "call")):
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
        # (deed, how often out of the sum)
        self.deeds: tuple[tuple[Callable[[], None], int], ...] = (
            (self.press_a_key, 30),
            (self.trigger_a_command, 14),
            (self.click_somewhere, 20),
            (self.change_a_setting, 24),
            (self.show_or_hide_a_view, 12),
            (self.float_a_view, 5),
            (self.drag_a_title, 4),
            (self.apply_a_preset, 3),
            (self.resize_the_window, 5),
            (self.edit_the_prompt, 5),
            (self.branch, 8),
            (self.choose_a_run, 6),
            (self.measure, 7),
            (self.cancel_measuring, 5),
            (self.scrub, 8),
            (self.export, 3),
            (self.open_a_model, 2),
            (self.put_a_model_beside, 2),
            (self.press_a_button, 8),
            (self.just_wait, 6),
            (self.close_and_open_again, 1),
        )
        # A menu or a dialog that waits for an answer within a deed is closed after a while.
        self._impatience = QTimer()
        self._impatience.timeout.connect(self._close_what_waits)
        self._impatience.start(400)
        # What a person would choose in the system's dialogs.
        QFileDialog.getExistingDirectory = lambda *a, **k: self._some_path()
        QFileDialog.getOpenFileName = lambda *a, **k: (self._some_path(), "")
        QFileDialog.getSaveFileName = lambda *a, **k: (self._some_path(), "")

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

    # ---- deeds ----
    def press_a_key(self) -> None:
        """Press a key wherever the focus is."""
        target = QApplication.focusWidget() or self.window
        key, modifier = self.random.choice(KEYS), self.random.choice(MODIFIERS)
        self.say(f"{key.name} {modifier.name}")
        QTest.keyClick(target, key, modifier)

    def trigger_a_command(self) -> None:
        """Choose a command from the menus."""
        actions = self.window.commands
        name = self.random.choice(sorted(set(actions) - NOT_AT_RANDOM))
        self.say(f"{name}")
        if actions[name].isEnabled():
            actions[name].trigger()

    def click_somewhere(self) -> None:
        """Click, drag or turn the wheel in a view."""
        views = [f.view for f in self.window.views.frames.values() if f.view.isVisible()]
        if not views:
            return
        target: QWidget = self.random.choice(views)
        children = [c for c in target.findChildren(QWidget) if c.isVisible()]
        target = self.random.choice([target, *children])
        if target.width() < 2 or target.height() < 2:
            return
        where = QPoint(
            self.random.randrange(target.width()), self.random.randrange(target.height())
        )
        button = self.random.choice(
            (Qt.MouseButton.LeftButton,) * 4 + (Qt.MouseButton.RightButton,)
        )
        modifier = self.random.choice(MODIFIERS)
        QTest.mouseMove(target, where)
        QTest.mousePress(target, button, modifier, where)
        if self.random.random() < 0.3:
            QTest.mouseMove(target, where + QPoint(self.random.randint(-80, 80), 20))
        QTest.mouseRelease(target, button, modifier, where)

    def change_a_setting(self) -> None:
        """Set one setting of one view to any of its values."""
        frames, displays = self.window.views.frames, self.window.bench.displays
        if not displays:
            return  # views are made when they are first seen
        key = self.random.choice(sorted(displays))
        display = displays[key]
        entries = settings_of(display.options)
        if not entries:
            return
        entry = self.random.choice(entries)
        self.say(f"{key}.{entry.name}")
        value: Any
        if entry.kind == "choice":
            value = self.random.choice([c for c, _ in entry.choices])
        elif entry.kind == "flag":
            value = self.random.random() < 0.5
        elif entry.kind == "number":
            kind = type(getattr(display.options, entry.name))
            low, high = entry.low, min(entry.high, entry.low + 50)
            value = kind(self.random.choice((low, high, self.random.uniform(low, high))))
        else:
            value = self.random.choice(("", "a", "0", "x,y", "attention", "-1"))
        frame = frames[key]
        import dataclasses

        options = dataclasses.replace(display.options, **{entry.name: value})
        frame.set_options(options)
        frame.options_changed.emit(options)

    def show_or_hide_a_view(self) -> None:
        """Show or hide a view from the menu."""
        dock = self.window.docks.by_key[self.random.choice(sorted(self.window.docks.by_key))]
        dock.toggleViewAction().trigger()

    def float_a_view(self) -> None:
        """Drag a view out of the window, or back."""
        docks = [d for d in self.window.docks.by_key.values() if d.isVisible()]
        if docks:
            dock: QDockWidget = self.random.choice(docks)
            dock.setFloating(not dock.isFloating())
            if dock.isFloating():
                dock.resize(self.random.choice(SIZES[0][:3]), self.random.choice(SIZES[1][:3]))

    def drag_a_title(self) -> None:
        """Drag a view by its title, sometimes pressing a key or choosing a command meanwhile."""
        docks = [d for d in self.window.docks.by_key.values() if d.isVisible()]
        bars = [bar for d in docks if (bar := d.titleBarWidget()) is not None]
        if not bars:
            return
        bar: QWidget = self.random.choice(bars)
        at = QPoint(max(bar.width() // 3, 1), max(bar.height() // 2, 1))
        QTest.mousePress(bar, Qt.MouseButton.LeftButton, pos=at)
        for _ in range(self.random.randint(1, 4)):
            at += QPoint(self.random.randint(-300, 300), self.random.randint(-200, 200))
            QTest.mouseMove(bar, at)
            self.turn(0.0)
        meanwhile = self.random.choice(
            (self.press_a_key, self.apply_a_preset, self.trigger_a_command, lambda: None)
        )
        meanwhile()
        QTest.mouseRelease(bar, Qt.MouseButton.LeftButton, pos=at)

    def apply_a_preset(self) -> None:
        """Arrange the views."""
        self.window.docks.apply(self.random.choice(sorted(PRESETS)))

    def resize_the_window(self) -> None:
        """Make the window small or large."""
        self.window.resize(self.random.choice(SIZES[0]), self.random.choice(SIZES[1]))

    def edit_the_prompt(self) -> None:
        """Type another prompt."""
        self.window.bars.prompt.prompt_edited.emit(self.random.choice(PROMPTS))

    def branch(self) -> None:
        """Cut a branch of any kind at the cursor."""
        form = self.window.tree.panel.form
        form.kind.setCurrentIndex(self.random.randrange(form.kind.count()))
        form.kind.activated.emit(form.kind.currentIndex())
        self.turn(0.0)
        form.branch()

    def choose_a_run(self) -> None:
        """Show, put beside, rename or delete one of the runs."""
        runs = list(self.window.bench.runs.tree)
        if not runs:
            return
        run, rows = self.random.choice(runs), self.window.tree.panel.list
        deed = self.random.choice(("show", "show", "second run", "delete", "rename"))
        if deed == "show":
            rows.show_requested.emit(run.id)
        elif deed == "second run":
            rows.second_run_requested.emit(self.random.choice((run.id, -1)))
        elif deed == "rename":
            rows.renamed.emit(run.id, self.random.choice(("a name", "", "<b>")))
        elif len(runs) > 1:
            rows.delete_requested.emit(run.id)

    def measure(self) -> None:
        """Start a measurement that takes long."""
        specs = [s for s in VIEW_SPECS if s.request is not None]
        spec = self.random.choice(specs)
        frame = self.window.views.frames.get(spec.key)
        self.say(f"{spec.key}")
        if frame is not None and frame.measuring.button.isEnabled():
            frame.measure_requested.emit()

    def cancel_measuring(self) -> None:
        """Cancel what is being measured."""
        for frame in self.window.views.frames.values():
            if frame.measuring.cancel.isVisible():
                frame.measuring.cancel.click()

    def scrub(self) -> None:
        """Drag the cursor along the recurrences."""
        recording = self.window.bench.session.recording
        if recording is not None:
            self.window.bars.transport.scrub_requested.emit(
                self.random.randint(0, recording.n_recurrences)
            )

    def export(self) -> None:
        """Export to a good or a bad place."""
        action = self.random.choice(("export_view", "export_all"))
        self.window.commands[action].trigger()
        self.turn(0.0)
        for dialog in QApplication.topLevelWidgets():
            if isinstance(dialog, QDialog) and hasattr(dialog, "export_button"):
                dialog.folder.setText(self._some_path())
                if dialog.export_button.isEnabled():
                    dialog.export_button.click()
                self.turn(0.3)
                if self.random.random() < 0.5:
                    dialog.close()

    def open_a_model(self) -> None:
        """Open a checkpoint, sometimes one that is none."""
        path = self.random.choice((*MODELS, str(self.folder / "nothing")))
        self.window.opening.open(path)
        self.turn(self.random.choice((0.0, 0.5)))

    def put_a_model_beside(self) -> None:
        """Open a second model."""
        self.window.commands["open_deep_twin"].trigger()

    def press_a_button(self) -> None:
        """Press any button in sight that belongs to a view's frame or the transport."""
        from PySide6.QtWidgets import QAbstractButton

        buttons = [
            b for b in self.window.findChildren(QAbstractButton) if b.isVisible() and b.isEnabled()
        ]
        if buttons:
            button = self.random.choice(buttons)
            self.say(f"{button.accessibleName() or button.text()}")
            button.click()

    def just_wait(self) -> None:
        """Watch for a moment."""
        self.turn(self.random.uniform(0, 0.5))

    def _some_path(self) -> str:
        good, none, file = self.folder / "out", self.folder / "no" / "such", self.folder / "file"
        good.mkdir(exist_ok=True)
        file.touch()
        return str(self.random.choice((good, good, none, file, "/proc", "")))


def describe(widget: QWidget) -> str:
    """Name a widget for a report."""
    return f"{type(widget).__name__} {widget.objectName() or widget.windowTitle()}".strip()


def patience(seconds: float = 60.0) -> Callable[[], bool]:
    """Whether to wait on: so long by the process's own CPU time, which a busy machine gives late."""
    cpu, wall = time.process_time() + seconds, time.monotonic() + STANDSTILL
    return lambda: time.process_time() < cpu and time.monotonic() < wall


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
