"""Starting the window on systems that lack something, and ending it from outside."""

from __future__ import annotations

import builtins
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loopscope.app.display import has_display
from loopscope.app.window import system
from loopscope.core.errors import LoopscopeError

ROOT = Path(__file__).parents[2]
WITHOUT_QT = """
import sys
sys.modules["PySide6"] = None
from loopscope.app.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
UNTIL_TOLD = """
import sys
from argparse import Namespace
from loopscope.app.cli import desktop
window = desktop.make_window(Namespace(theme="dark", size=(1000, 700)), remember=True)
window.settings.remember_checkpoint("/models/a")
window.when_painted(lambda: print("ready", flush=True))
window.show()
sys.exit(desktop.run_events(window))
"""
# Every module adds about a millisecond to the time to the first window.
MOST_MODULES = 152
MODULES = """
import sys
from argparse import Namespace
from PySide6.QtWidgets import QApplication
from loopscope.app.cli import desktop
window = desktop.make_window(Namespace(theme="dark", size=(1000, 700)), remember=True)
window.docks.hold()
def painted():
    print(*(name for name in sys.modules if name.startswith("loopscope.")), sep="\\n")
    QApplication.exit()
window.when_painted(painted)
window.show()
QApplication.exec()
"""
# Rooms that the first window does without, and the modules of them that it has.
LATER = {
    "core.measures": {"core.measures.precision"}, "core.views": {"core.views.base", "core.views.second_run"},
    "core.recordings": set(), "core.generation": set(), "core.families": set(), "core.analyses": set(),
    "core.dynamics": set(), "core.over_prompts": set(), "core.experiments": set(), "core.convert": set(),
    "core.sweeps": set(), "widgets.views": set(), "widgets.plots": set(), "widgets.figures": set(),
    "widgets.runs": set(), "app.report": set(), "app.notebook": set(),
}  # fmt: skip


def environment(tmp_path: Path, **changes: str) -> dict[str, str]:
    names = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR")
    env = {k: v for k, v in os.environ.items() if k not in names}
    own = {
        "PYTHONPATH": str(ROOT / ".dev"),
        "XDG_CONFIG_HOME": str(tmp_path),
        "OMP_NUM_THREADS": "1",
    }
    return env | own | changes


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_what_is_remembered_and_ends_the_window(tmp_path: Path, number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", UNTIL_TOLD], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment(tmp_path, QT_QPA_PLATFORM="offscreen"),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert "Traceback" not in stderr
    saved = json.loads((tmp_path / "loopscope" / "settings.json").read_text())
    assert saved["checkpoint"] == "/models/a"
    assert saved["size"] == [1000, 700]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays of Linux")
@pytest.mark.parametrize(
    "display", [{"DISPLAY": ":4711"}, {"WAYLAND_DISPLAY": "wayland-4711"}, {"DISPLAY": "localhost:4711"}]
)  # fmt: skip
def test_a_display_that_does_not_answer_is_one_line(
    tmp_path: Path, display: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "loopscope.app"], capture_output=True, text=True, cwd=tmp_path,
        env=environment(tmp_path, QT_QPA_PLATFORM="", XDG_RUNTIME_DIR=str(tmp_path), **display),
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    ((name, value),) = display.items()
    assert line.startswith(f"loopscope: error: no display answers at {name}={value}; ")
    assert f"unset {name}" in line
    assert done.stdout == ""


@pytest.mark.slow
def test_commands_without_a_window_need_no_qt(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", WITHOUT_QT, *arguments], capture_output=True, text=True,
            env=environment(tmp_path), cwd=tmp_path, timeout=240, check=False,
        )  # fmt: skip

    run_it = ["--prompt", "ab ba ? 1 : a", "--recurrences", "2", "-o"]
    assert run("inspect", "bundled:looped").returncode == 0
    assert run("trace", "bundled:looped", *run_it, "a.npz").returncode == 0
    done = run("figures", "bundled:looped", *run_it, "f", "--format", "svg")
    assert done.returncode == 0, done.stderr
    done = run("open")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "needs Qt" in line


def test_the_first_window_imports_what_it_shows_and_little_more(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MODULES], capture_output=True, text=True, timeout=240, check=True,
        env=environment(tmp_path, QT_QPA_PLATFORM="offscreen"),
    )  # fmt: skip
    names = {line.removeprefix("loopscope.") for line in done.stdout.split()}
    assert {"app.window.window", "widgets.bars.header"} <= names
    early = {
        name for room, may in LATER.items() for name in names - may if name.startswith(f"{room}.")
    }
    assert not early
    assert len(names) <= MOST_MODULES


def test_the_library_that_qt_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def no_egl(name: str, *arguments: Any) -> Any:
        if name.startswith("PySide6"):
            raise ImportError(
                "libEGL.so.1: cannot open shared object file: No such file or directory"
            )
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", no_egl)
    with pytest.raises(LoopscopeError) as error:
        system.check_qt()
    assert "libEGL.so.1" in str(error.value)
    assert "libegl1" in str(error.value)
    assert "Commands without a window" in str(error.value)


def test_what_qt_says_becomes_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    lacks = ["From 6.5.0, xcb-cursor0 or libxcb-cursor0 is needed to load the Qt xcb platform plugin.",
             'Could not load the Qt platform plugin "xcb" in "" even though it was found.']  # fmt: skip
    text = system.no_window(lacks)
    assert 'Could not load the Qt platform plugin "xcb"' in text
    assert "libxcb-cursor0" in text
    monkeypatch.setenv("DISPLAY", ":9")
    assert "DISPLAY=:9" in system.no_window(["could not connect to display :9", *lacks])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays of Linux")
def test_no_display_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert not has_display()
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_display()
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen:size=10x10")
    assert not has_display()


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_have_a_display(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    assert has_display()
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert not has_display()


def test_a_signal_that_the_system_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    handled: list[int] = []
    monkeypatch.setattr(system.signal, "signal", lambda number, handler: handled.append(number))
    system.on_termination(lambda code: None)
    assert handled == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    monkeypatch.delattr(system.signal, "SIGHUP")
    handled.clear()
    system.on_termination(lambda code: None)
    assert handled == [signal.SIGINT, signal.SIGTERM]
