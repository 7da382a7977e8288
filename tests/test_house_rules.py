"""House rules that no linter has: no long class, no complex function, and no test asserts seconds."""

from __future__ import annotations

import ast
import json
import re
import runpy
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
# Functions above the limit in all; a file may hold more than one. It may only become smaller.
MOST = 0
# Lines of a class, decorators aside: a longer one knows too much.
MOST_LINES = 330
CLOCKS = {"monotonic", "perf_counter", "process_time", "thread_time", "time"}


def complex_functions() -> Counter[str]:
    """Functions above the limit in each file, as ruff counts them without the exceptions."""
    limit = CONFIG["mccabe"]["max-complexity"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--exit-zero",
         "--select", "C901", "--config", f"lint.mccabe.max-complexity={limit}",
         "--output-format", "json", "package", "app", "core", "widgets", "tests", "tools"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = (Path(found["filename"]) for found in json.loads(done.stdout))
    return Counter(name.resolve().relative_to(ROOT).as_posix() for name in names)


def test_the_exceptions_are_those_that_are_needed() -> None:
    listed = {file for file, rules in CONFIG["per-file-ignores"].items() if "C901" in rules}
    found = complex_functions()
    assert set(found) == listed
    assert found.total() == MOST
    assert CONFIG["mccabe"]["max-complexity"] == 10


def test_no_class_is_long() -> None:
    rooms = ("package", "app", "core", "widgets", "tools", "tests", "examples")
    classes = {
        f"{file.relative_to(ROOT)}: {node.name}": node.end_lineno - node.lineno + 1
        for room in rooms
        for file in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    assert len(classes) > 500
    assert {name: lines for name, lines in classes.items() if lines > MOST_LINES} == {}


def measures_seconds(node: ast.AST) -> bool:
    """Whether a clock is read and something subtracted: a wait's ``clock() < deadline`` is not."""
    return any(
        isinstance(part, ast.Call)
        and isinstance(part.func, ast.Attribute)
        and part.func.attr in CLOCKS
        and isinstance(part.func.value, ast.Name)
        and part.func.value.id == "time"
        for difference in ast.walk(node)
        if isinstance(difference, ast.BinOp) and isinstance(difference.op, ast.Sub)
        for part in ast.walk(difference)
    )


def test_no_test_of_the_gate_measures_seconds() -> None:
    """A busy machine would fail it: count work (`work.calls`) or inject a clock; times are benchmarks."""
    files = [p for p in (ROOT / "tests").rglob("test_*.py") if p.parent.name != "benchmarks"]
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.stmt)
        and not isinstance(node, ast.FunctionDef | ast.ClassDef)
        and measures_seconds(node)
    ]
    assert len(files) > 50
    assert found == []


def test_every_known_bug_has_the_one_place_that_it_is_put_into() -> None:
    found = {}
    for mutant in runpy.run_path(str(ROOT / "tools" / "mutants.py"))["MUTANTS"]:
        texts = (path.read_text() for path in ROOT.glob(mutant.where))
        found[mutant.name] = sum(len(re.findall(mutant.find, text)) for text in texts)
        assert all((ROOT / test).exists() for test in mutant.tests), mutant.name
    assert found == dict.fromkeys(found, 1)
