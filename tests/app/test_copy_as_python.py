"""Copy as Python: every script draws from what the window shows, number for number."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from measured import SMALL
from models import tiny_checkpoint
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

import loopscope
from loopscope.app.bench.bench import Bench
from loopscope.app.notebook.script import Scene, literal, script_of
from loopscope.app.views import BY_KEY, VIEW_SPECS
from loopscope.app.window.copying import tab_separated
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.core.interventions.base import END
from loopscope.core.interventions.states import Noise
from loopscope.core.run.history import Point
from loopscope.core.run.pairing import Pairing
from loopscope.core.selection import Selection
from loopscope.core.views.base import Table
from loopscope.core.views.difference import table as difference_table
from loopscope.core.views.second_run import SecondRun
from loopscope.widgets.palette import LIGHT

PROMPT = "ab ba ? 1 : a"
ALONE = [s for s in VIEW_SPECS if s.request is None or not s.request.second_run]
CUT = Noise(recurrence=2, last=2, layer=END, size=0.5, tokens=(3, 4))


class Desk:
    """A window on a model, what its views show, and what their scripts give."""

    def __init__(self, qtbot: QtBot) -> None:
        self.qtbot = qtbot
        self.window = Window(Bench(), Settings(), LIGHT, remember=False)
        self.window.resize(1200, 800)
        self.window.show()

    def open(self, path: str = "bundled:looped", recurrences: int = 4, **how: Any) -> None:
        self.window.opening.open(path, FirstRun(PROMPT, recurrences), device="cpu", **how)
        self.settle(recurrences)

    def settle(self, recurrences: int = 0) -> None:
        def done() -> bool:
            recording = self.window.bench.session.recording
            jobs = self.window.bench.jobs.current is None
            there = recording is not None and recording.n_recurrences >= recurrences
            return there and jobs and self.window.bench.settled_down

        self.qtbot.waitUntil(done, timeout=60_000)

    def measure(self, key: str) -> None:
        views = self.window.views
        self.window.docks.fill(key)
        options = self.window.bench.displays[key].options
        views.set_options(key, replace(options, **SMALL.get(key, {})))
        views.measure(key)
        self.settle()

    def branch(self) -> None:
        before = self.window.bench.session.recording
        self.window.bench.runs.branch((CUT,))
        self.qtbot.waitUntil(
            lambda: self.window.bench.session.recording is not before, timeout=20_000
        )
        assert before is not None
        self.settle(before.n_recurrences)

    def script(self, key: str) -> str:
        """Show a view alone and copy its script, as a user does."""
        if self.window.docks.layout.maximised != key:
            self.window.docks.unmaximise()
            self.window.docks.maximise(key)
        self.settle()
        clipboard = QGuiApplication.clipboard()
        clipboard.clear()
        self.window.commands["copy_python"].trigger()
        self.qtbot.waitUntil(lambda: bool(clipboard.text()), timeout=60_000)
        self.settle()
        return clipboard.text()

    def check(self, key: str) -> str:
        """Run the script of a view and compare the numbers of what it draws."""
        return self.run(key, self.script(key))

    def run(self, key: str, text: str) -> str:
        """Run a script and compare the numbers with those of the view."""
        made: dict[str, Any] = {}
        exec(compile(text, f"<{key}>", "exec"), made)
        display = self.window.bench.displays[key]
        assert display.data is not None
        if display.second is not None and display.second.difference:
            shown = display.second.data
            same_numbers(made["view"].table, difference_table(shown))
            assert made["view"].statement == shown.statement
            assert "beside" not in made
            return text
        same_numbers(made["view"].table, display.spec.table(display.data))
        assert made["view"].statement == display.data.statement
        assert made["figure"].axes
        if display.second is not None and display.second.data is not None:
            assert "beside" in made
            same_numbers(made["beside"].table, display.spec.table(display.second.data))
        return text


def same_numbers(table: Table, expected: Table) -> None:
    assert table.columns == expected.columns
    rows = [tuple(row) for row in expected.rows]
    assert rows, "the window shows no numbers"
    assert len(table.rows) == len(rows)  # type: ignore[arg-type]
    for own, other in zip(table.rows, rows, strict=True):
        # NaN is equal to itself here.
        assert repr(own) == repr(other)


@pytest.fixture
def desk(qtbot: QtBot) -> Iterator[Desk]:
    desk = Desk(qtbot)
    yield desk
    desk.window.close()
    desk.window.deleteLater()
    QApplication.processEvents()


@pytest.mark.slow
def test_the_script_of_every_view_gives_its_numbers(desk: Desk, tmp_path: Path) -> None:
    prompts = tmp_path / "three.jsonl"
    prompts.write_text('{"prompt": "ab ba ? 1 : a"}\n{"prompt": "ba ab ? 2 : a"}\n')
    desk.open()
    desk.window.prompt_files.open(str(prompts))
    for spec in ALONE:
        if spec.request is not None:
            desk.measure(spec.key)
    # What was measured was of four recurrences: a script must not measure after five.
    desk.window.bench.transport.step_recurrence()
    desk.settle(5)
    desk.window.bench.session.select({"recurrence": 3, "token": 2, "layer": 1, "head": 1})
    for spec in ALONE:
        desk.check(spec.key)


@pytest.mark.slow
def test_what_compares_two_models(desk: Desk) -> None:
    desk.open()
    desk.window.tree.open_second_model("bundled:deep")
    desk.qtbot.waitUntil(lambda: desk.window.bench.session.second is not None, timeout=60_000)
    desk.settle()
    for spec in VIEW_SPECS:
        if spec not in ALONE:
            desk.measure(spec.key)
            desk.check(spec.key)
    assert "model_2 = loopscope.load(" in desk.check("graph")
    desk.window.bench.second_runs.set_step_pairing("recurrence")
    assert "beside = second.view(" in desk.check("readout")


@pytest.mark.slow
def test_a_branch_and_its_parent(desk: Desk) -> None:
    desk.open(recurrences=4)
    desk.branch()
    desk.window.bench.session.select({"tokens": (1, 3)})
    both = desk.check("depth")
    assert '"kind": "noise", "recurrence": 2, "last": 2, "layer": -1' in both
    assert 'second.name = "run 1"' in both
    assert "beside = second.view(" in desk.check("distance")
    desk.window.bench.second_runs.set_step_pairing("own")
    assert "second_at=" in desk.check("depth")


@pytest.mark.slow
def test_a_difference_that_is_shown_is_what_is_copied(desk: Desk) -> None:
    desk.open(recurrences=4)
    desk.branch()
    before = desk.script("distance")
    desk.window.commands["difference"].trigger()
    desk.settle()
    text = desk.check("distance")
    assert text != before
    assert "difference=True" in text
    # So are its numbers.
    clipboard = QGuiApplication.clipboard()
    clipboard.clear()
    desk.window.commands["copy_numbers"].trigger()
    desk.qtbot.waitUntil(lambda: bool(clipboard.text()), timeout=20_000)
    shown = desk.window.bench.displays["distance"].second.data
    assert clipboard.text() == tab_separated(difference_table(shown))[0]
    # A view without a difference is copied as it is drawn.
    assert "difference" not in desk.check("settling")
    desk.window.commands["difference"].trigger()
    desk.settle()
    assert desk.script("distance") == before


def test_a_script_asks_for_a_difference_that_exists() -> None:
    run = loopscope.load("bundled:looped", "cpu").run(PROMPT, 2)
    with pytest.raises(loopscope.LoopscopeError, match="needs a second run"):
        run.view("distance", difference=True)
    with pytest.raises(loopscope.LoopscopeError, match="does not exist"):
        run.view("settling", second=run, difference=True)
    same = run.view("distance", second=run, difference=True)
    assert "are equal" in same.statement


@pytest.mark.slow
def test_locked_axes_are_fitted_as_they_were(desk: Desk) -> None:
    desk.open(recurrences=9)
    desk.window.bench.session.select({"tokens": (1, 3)})
    desk.window.docks.maximise("state_space")
    desk.settle()
    for _ in range(3):
        desk.window.bench.transport.step_recurrence()
        desk.settle()
    options = desk.window.bench.displays["state_space"].options
    assert options.basis is not None
    text = desk.check("state_space")
    assert ".data.basis" in text


@pytest.mark.slow
def test_half_precision_and_a_looped_span(desk: Desk) -> None:
    desk.open(dtype="bfloat16", recurrences=3)
    assert "run.compare_with_float32()" in desk.check("settling")
    desk.open("bundled:deep", recurrences=3, dtype="float32", loop=(4, 6, 0.5))
    text = desk.check("distance")
    assert "loop=(4, 6)" in text
    assert "damping=0.5" in text


def test_the_script_of_a_run_without_patterns_keeps_none(desk: Desk) -> None:
    """Torch's fused attention rounds otherwise: only without patterns are the numbers the same."""
    desk.open(recurrences=3)
    before = desk.window.bench.session.recording
    desk.window.commands["keep_patterns"].trigger()
    desk.qtbot.waitUntil(lambda: desk.window.bench.session.recording is not before, timeout=20_000)
    desk.settle(3)
    assert "keep=" in desk.check("distance")


def test_a_run_of_a_recording_comes_from_its_file(tmp_path: Path) -> None:
    file = str(tmp_path / "run.h5")
    run = loopscope.load("bundled:looped", "cpu").run(PROMPT, 4)
    branch = run.branch({"kind": "noise", "recurrence": 2, "last": 2, "layer": -1, "size": 0.5})
    run.save(file, branch)
    kept, other = (own.recording for own in loopscope.open_recording(file))
    spec, at = BY_KEY["distance"], Selection(recurrence=3)
    there = SecondRun(kept, "as it is", Pairing(kept.info.architecture, kept.info.architecture), at)
    scene = Scene(
        spec, spec.options(), at, other,
        Point.recorded(other, file, 1), (there, Point.recorded(kept, file, 0)),
    )  # fmt: skip
    text = script_of(scene)
    assert "loopscope.load" not in text
    made: dict[str, Any] = {}
    exec(compile(text, "<recorded>", "exec"), made)
    same_numbers(made["view"].table, spec.table(spec.compute(other, at, scene.options)))
    same_numbers(made["beside"].table, spec.table(spec.compute(kept, at, scene.options)))


@pytest.mark.slow
def test_the_script_of_every_view_of_a_recording_without_its_model(
    desk: Desk, tmp_path: Path
) -> None:
    folder, path = tiny_checkpoint(tmp_path / "gone"), tmp_path / "run.h5"
    run = loopscope.load(str(folder), "cpu").run("#1,2,3,4,5", recurrences=4)
    run.analyse("stability", n_values=2)
    branch = run.branch(replace(CUT, tokens=()))
    branch.step(2)
    run.save(str(path), branch)
    shutil.rmtree(folder)
    desk.window.recordings.open(path)
    desk.settle(4)
    desk.window.bench.session.select({"recurrence": 3, "token": 2, "layer": 1, "head": 1})
    drawn = 0
    for spec in VIEW_SPECS:
        text = desk.script(spec.key)
        assert "loopscope.open_recording" in text
        assert "loopscope.load" not in text
        data = desk.window.bench.displays[spec.key].data
        if data is not None and list(spec.table(data).rows):  # else the file does not hold it
            desk.run(spec.key, text)
            drawn += 1
    assert drawn >= 10
    # A branch of the file as the second run.
    desk.window.bench.second_runs.show(list(desk.window.bench.runs.tree)[1])
    assert f'open_recording("{path}")[1]' in desk.check("settling")


HOSTILE = ('"); import os; os.abort() #', "a\nb", "\\", "“\u2028”", "\ud800", "'''", "\x1b[2J")


@pytest.mark.parametrize("text", HOSTILE)
def test_text_enters_a_script_as_a_literal(text: str) -> None:
    written = literal({"prompt": text, "tokens": (1,), "nested": [text, None, True, 0.1]})
    assert "\n" not in written
    written.encode()
    expected = {"prompt": text, "tokens": (1,), "nested": [text, None, True, 0.1]}
    assert ast.literal_eval(written) == expected


def test_without_a_run_it_says_so(desk: Desk) -> None:
    desk.window.commands["copy_python"].trigger()
    assert "no run yet" in desk.window.statusBar().currentMessage()


def test_other_weights_are_warned_of() -> None:
    with pytest.warns(RuntimeWarning, match="has other weights"):
        loopscope.load("bundled:looped", "cpu", weights="0" * 64)
