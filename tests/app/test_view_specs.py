"""Every registered view refers to parts that fit together, and imports them no sooner than needed."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording

from loopscope.app.view_spec import ViewSpec
from loopscope.app.views import BY_KEY, VIEW_SPECS
from loopscope.core.run.rows import Rows
from loopscope.core.selection import Selection

ROOT = Path(__file__).parents[2]
COMPARING = [spec for spec in VIEW_SPECS if spec.compares_patterns]
EVERY = pytest.mark.parametrize("spec", VIEW_SPECS, ids=lambda spec: spec.key)


def test_each_view_is_registered_once() -> None:
    assert list(BY_KEY) == [spec.key for spec in VIEW_SPECS]
    registered = {type(spec) for spec in VIEW_SPECS}
    assert registered == {
        cls for cls in ViewSpec.__subclasses__() if cls.__module__.startswith("loop")
    }


@EVERY
def test_its_parts_are_there(spec: ViewSpec, qtbot: QtBot) -> None:
    view = spec.view()
    qtbot.addWidget(view)
    assert view.options == spec.options()
    assert dataclasses.is_dataclass(spec.options)
    assert spec.reads <= {field.name for field in dataclasses.fields(Selection)}
    assert callable(spec.drawing())
    if spec.request is None:
        with pytest.raises(LookupError, match=spec.title):
            spec.analysis()
    else:
        assert callable(spec.analysis())


def test_some_views_compare_patterns() -> None:
    assert {"heads", "head_map"} <= {spec.key for spec in COMPARING}


@pytest.mark.parametrize("spec", COMPARING, ids=lambda spec: spec.key)
def test_what_compares_patterns_reads_them_of_every_recurrence(
    spec: ViewSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = synthetic_recording(recurrences=12)
    read: set[int] = set()
    patterns, rows, part = recording.kept["patterns"], Rows.rows, Rows.part

    def note(self: Rows, first: int, last: int) -> None:
        if self is patterns:
            read.update(i // recording.n_layers for i in range(first, last))

    monkeypatch.setattr(Rows, "rows", lambda self, a, b: note(self, a, b) or rows(self, a, b))
    monkeypatch.setattr(Rows, "part", lambda self, i, h: note(self, i, i + 1) or part(self, i, h))
    spec.compute(recording, Selection(recurrence=12), spec.options())
    assert read == set(range(12))


def test_naming_the_views_imports_none_of_their_parts() -> None:
    heavy = ("torch", "PySide6", "matplotlib", "networkx", "numpy")
    script = (
        "import sys, loopscope.app.views\n"
        f"print([m for m in {heavy} if m in sys.modules])\n"
        "loopscope.app.views.BY_KEY['stability'].definition()\n"
        "loopscope.app.views.BY_KEY['stability'].drawing()\n"
        "print('PySide6' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / ".dev")},
    )  # fmt: skip
    assert done.stdout.splitlines() == ["[]", "False False"]
