"""`loopscope doctor`: whether the install, the devices and the desktop can be relied on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from loopscope.app.plugins import every
from loopscope.core.errors import LoopscopeError
from loopscope.core.plugins import NONE

if TYPE_CHECKING:
    from loopscope.core.checkpoint.loading import Loaded
REPORT = "please report it with these lines"
# Three steps along a -> b -> c -> d -> e -> a, from each letter, and where they end.
PROMPT = "ab bc cd de ea ? 3 : a b c d e"
ANSWERS = ("d", "e", "a", "b", "c")
# In a process of its own: Qt ends the process when a library of the system is missing.
ASK_QT = """
import json
from PySide6.QtGui import QFontDatabase, QGuiApplication, QRawFont
from PySide6 import QtCore
application = QGuiApplication(["loopscope"])
systems = QFontDatabase.WritingSystem
print(json.dumps({
    "platform": application.platformName(),
    "version": QtCore.qVersion(),
    "scale": application.primaryScreen().devicePixelRatio() if application.primaryScreen() else 1,
    "families": len(QFontDatabase.families()),
    "cjk": bool(QFontDatabase.families(systems.SimplifiedChinese)),
}))
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    state : "good", "note" (works, but something is worth knowing) or "bad".
    advice : what to do; "" when there is nothing to do.
    """

    name: str
    state: str
    finding: str
    advice: str = ""


def run_doctor(options: Namespace) -> None:
    """Print what was found, one line each; raises `LoopscopeError` when something is bad."""
    checks = []
    for check in examine():
        checks.append(check)
        if not options.json:
            print(line(check), flush=True)
    if options.json:
        print(json.dumps([asdict(check) for check in checks], indent=1))
    bad = [check.name for check in checks if check.state == "bad"]
    if bad:
        raise LoopscopeError(f"something needs mending: {', '.join(bad)}")


def line(check: Check) -> str:
    """Return a check as text; what to do stands on a line of its own."""
    mark = {"good": "ok  ", "note": "note", "bad": "BAD "}[check.state]
    text = f"{mark}  {check.name}: {check.finding}"
    return f"{text}\n      -> {check.advice}" if check.advice else text


def examine() -> Iterator[Check]:
    """Look at everything, the quick things first."""
    yield python_version()
    yield from packages()
    yield plugins()
    yield settings_folder()
    yield from desktop()
    yield from devices()


def python_version() -> Check:
    """Say which Python runs."""
    return Check("Python", "good", f"{sys.version.split()[0]} at {sys.executable}")


def packages() -> Iterator[Check]:
    """Hold the packages that are installed to what Loopscope asks for."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in requires("loopscope") or ()]
    except PackageNotFoundError:
        yield Check(
            "install", "note", "Loopscope runs from a folder and is not installed",
            "pip install . in that folder",
        )  # fmt: skip
        return
    versions = []
    for need in wanted:
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            there = version(need.name)
        except PackageNotFoundError:
            yield Check(need.name, "bad", "not installed", f"pip install '{need}'")
            continue
        if need.specifier.contains(there, prereleases=True):
            versions.append(f"{need.name} {there}")
        else:
            yield Check(
                need.name, "bad", f"{there}, but Loopscope needs {need.specifier}",
                f"pip install '{need}'",
            )  # fmt: skip
    yield Check("packages", "good", ", ".join(versions))


def plugins() -> Check:
    """Say what other packages add, and what of it cannot be used."""
    found = every()
    if bad := "; ".join(plugin.text() for plugin in found if plugin.problem):
        return Check("plug-ins", "note", bad, "update or uninstall that package")
    return Check("plug-ins", "good", "; ".join(plugin.text() for plugin in found) or NONE)


def settings_folder() -> Check:
    """Say where settings are kept and whether they can be written."""
    from loopscope.app.window.settings import default_folder

    path = default_folder()
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if os.access(there, os.W_OK):
        return Check("settings", "good", str(path))
    return Check("settings", "bad", f"{path} cannot be written", f"make {there} writable")


def desktop() -> Iterator[Check]:
    """Start Qt as the window does, in a process that may die of it."""
    from loopscope.app.display import has_display
    from loopscope.app.window.system import PACKAGES

    on_screen = has_display()
    environment = dict(os.environ)
    if not on_screen:
        environment["QT_QPA_PLATFORM"] = "offscreen"
    done = subprocess.run(
        [sys.executable, "-P", "-c", ASK_QT],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        messages = [text.strip() for text in done.stderr.splitlines() if text.strip()]
        library = next(
            (text for text in messages if ".so" in text), messages[-1] if messages else "no word"
        )
        yield Check(
            "Qt", "bad", f"it does not start: {library}",
            f"on Debian: apt install {PACKAGES}; commands without a window work meanwhile",
        )  # fmt: skip
        return
    where = f"Qt {answer['version']} on {answer['platform']}, scale {answer['scale']:g}"
    if on_screen:
        yield Check("Qt", "good", where)
    else:
        yield Check(
            "Qt", "note", f"{where}: there is no display",
            "without one `loopscope open` writes pictures in place of a window",
        )  # fmt: skip
    if not answer["families"]:
        yield Check("fonts", "bad", "the system has none", "on Debian: apt install fonts-dejavu")
    elif answer["cjk"]:
        yield Check("fonts", "good", f"{answer['families']} families, Chinese among them")
    else:
        yield Check(
            "fonts", "note", f"{answer['families']} families, none for Chinese or Japanese tokens",
            "to read such tokens, on Debian: apt install fonts-noto-cjk",
        )  # fmt: skip


def devices(available: Callable[[], dict[str, str | None]] | None = None) -> Iterator[Check]:
    """Run the bundled model on every device in every dtype and compare with the CPU in float32."""
    from loopscope.core.checkpoint import devices as known
    from loopscope.core.checkpoint.loading import load

    reference = load("bundled:looped", "cpu")
    for kind, problem in (available or known.available)().items():
        if problem is not None:
            yield Check(kind, "note", problem)
            continue
        for dtype in known.DTYPES:
            yield _device_check(f"{kind} {dtype}", kind, dtype, reference)


def _device_check(name: str, kind: str, dtype: str, reference: Loaded) -> Check:
    """Run the bundled model on one device in one dtype."""
    from loopscope.core.checkpoint.loading import load
    from loopscope.core.run.device_check import compare_runs

    try:
        comparison = compare_runs(load("bundled:looped", kind, dtype), reference, PROMPT)
    except Exception as error:  # whatever a driver raises is what is asked for
        return Check(name, "bad", f"the run fails: {error}", f"use --device cpu; {REPORT}")
    text = (
        f"differs from the CPU in float32 by {comparison.largest:.1g} of the largest value, "
        f"{comparison.milliseconds:.2g} ms a recurrence"
    )
    if not comparison.agrees:
        text += f": more than {dtype} explains"
    elif comparison.answers[-len(ANSWERS) :] != ANSWERS:
        text += "; the bundled model answers wrongly"
    else:
        return Check(name, "good", text)
    return Check(name, "bad", text, f"do not trust numbers of {name}; {REPORT}")
