"""File > Export a page: asked for, written in the background, said."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from models import tiny_checkpoint
from PySide6.QtWidgets import QFileDialog

from loopscope.app.cli.main import main
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.window import Window
from tests.app.test_report import parts
from tests.window_desk import desk, said

pytestmark = pytest.mark.slow
PROMPT = "ab bc ca ? 2 : a b c"


@pytest.fixture
def window(qtbot, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with desk() as window:
        yield window


@pytest.fixture
def asked(monkeypatch, tmp_path: Path) -> list[str]:
    names: list[str] = []

    def choose(parent: object, title: str, name: str, kinds: str) -> tuple[str, str]:
        names.append(name)
        return str(tmp_path / "page"), kinds

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    return names


def test_without_a_run_it_says_what_comes_first(window: Window, asked: list[str]) -> None:
    window.commands["export_page"].trigger()
    assert "press Space" in said(window)
    assert asked == []


def test_the_page_is_of_the_run_shown_and_its_command_makes_it_again(
    qtbot, window: Window, asked: list[str], tmp_path: Path, monkeypatch
) -> None:
    folder = tiny_checkpoint(tmp_path / "m")
    window.opening.open(str(folder), FirstRun(PROMPT, 4), device="cpu")
    bench = window.bench
    qtbot.waitUntil(lambda: bench.session.n_recurrences == 4 and bench.settled_down, timeout=60_000)
    window.commands["export_page"].trigger()
    page = tmp_path / "page.html"
    qtbot.waitUntil(lambda: said(window) == f"Wrote {page}", timeout=60_000)
    assert asked == ["m-4.html"]
    once = parts(page)
    (run,) = once["runs"]
    assert run["provenance"] == bench.session.recording.info.provenance()
    # The command on the page, run elsewhere, gives the same numbers.
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(once["command"])[1:]) == 0
    (again,) = parts(page)["runs"]
    for key in ("settling", "heads_change", "patterns", "readout", "state_space"):
        assert again[key] == run[key], key


def test_a_bad_place_is_said(qtbot, window: Window, tmp_path: Path) -> None:
    window.opening.open(str(tiny_checkpoint(tmp_path / "m")), FirstRun(PROMPT, 1), device="cpu")
    bench = window.bench
    qtbot.waitUntil(lambda: bench.session.n_recurrences == 1 and bench.settled_down, timeout=60_000)
    from loopscope.app.window.page_export import PageExport

    PageExport(bench, window.say, window).write(tmp_path / "no" / "page.html")
    qtbot.waitUntil(lambda: said(window).startswith("cannot write"), timeout=60_000)


def test_the_command_names_span_and_family() -> None:
    from loopscope.app.window.page_export import command_of
    from loopscope.core.checkpoint.loading import load_model
    from loopscope.core.checkpoint.request import LoadRequest
    from loopscope.core.run.stepper import Stepper

    loaded = load_model(LoadRequest("bundled:deep", "cpu", loop=(3, 6, 0.5)))
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode(PROMPT))
    stepper.step()
    command = command_of(stepper.recording, Path("a b.html"), loaded.request)
    assert "--loop 3:6 --damping 0.5" in command
    assert shlex.split(command)[-1] == "a b.html"
