"""The package's front door: what a script imports, and what that costs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import loopscope
from loopscope.app.notebook.model import load
from loopscope.core import errors

ROOT = Path(__file__).parents[1]
# The modules of distributions that are not called as these.
MODULES = {"pyside6-essentials": ("PySide6",)}
HEAVY = """
import sys, loopscope
heavy = {"torch", "PySide6", "pyqtgraph", "matplotlib", "networkx", "numpy"}
print(sorted(heavy & set(sys.modules)), loopscope.load.__name__, "torch" in sys.modules)
"""


def test_importing_it_loads_nothing_heavy_until_asked() -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT / ".dev")}
    done = subprocess.run(
        [sys.executable, "-c", HEAVY], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[] load True"


def test_a_figure_is_drawn_without_qt() -> None:
    """A notebook's kernel on a server has neither a display nor Qt's libraries."""
    script = (
        "import sys, loopscope; run = loopscope.load('bundled:looped', 'cpu').run('#1,2,3', 2);"
        "run.figure('settling')._repr_png_(); run.analyse('paths', random_starts=2);"
        "names = {'PySide6', 'pyqtgraph', 'matplotlib.pyplot'}; print(sorted(names & set(sys.modules)))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT / ".dev")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_its_names_are_those_of_the_rooms() -> None:
    assert loopscope.load is load
    assert loopscope.LoopscopeError is errors.LoopscopeError
    assert loopscope.__version__ == loopscope.core.version.package_version()
    for name in loopscope.__all__:
        assert name in dir(loopscope)
        assert getattr(loopscope, name) is getattr(loopscope, name)
    with pytest.raises(AttributeError, match="module 'loopscope' has no attribute 'lode'"):
        _ = loopscope.lode


def test_an_error_is_caught_by_its_public_name(tmp_path: Path) -> None:
    with pytest.raises(loopscope.CheckpointError, match="config.json is missing"):
        loopscope.load(str(tmp_path))


def test_what_the_sources_import_is_installed_without_the_tests() -> None:
    """Every import of the shipped folders is of the standard library or of a dependency."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    # Said where they are missing; the last two come with distributed.
    optional = {"gguf", "xarray", "distributed", "pyarrow", "dask", "psutil"}
    required = {Requirement(line).name for line in project["dependencies"]}
    modules = {m for name in required for m in MODULES.get(name, (name,))}
    imported: dict[str, str] = {}
    for folder in ("core", "app", "widgets", "package"):
        for path in (ROOT / folder).rglob("*.py"):
            imported |= {name: str(path) for name in _imports(ast.parse(path.read_text("utf-8")))}
    others = set(imported) - set(sys.stdlib_module_names) - {"loopscope"} - optional
    assert others - modules == set(), {name: imported[name] for name in others - modules}


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def test_a_clone_and_the_wheel_hold_the_same_parts() -> None:
    """The links of ``.dev`` and the sources of the wheel, entry by entry."""
    import tomllib

    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    sources = build["targets"]["wheel"]["sources"]
    assert sources.pop("package") == "loopscope"
    wheel = {target.removeprefix("loopscope/"): source for source, target in sources.items()}
    wheel |= {p.name: f"package/{p.name}" for p in (ROOT / "package").iterdir() if p.is_file()}
    links = {p.name: p.resolve().relative_to(ROOT.resolve()).as_posix()
             for p in (ROOT / ".dev" / "loopscope").iterdir() if p.name != "__pycache__"}  # fmt: skip
    assert links == wheel
