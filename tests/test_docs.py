"""What the pages say of the project is so: links, paths, tables and numbers."""

from __future__ import annotations

import ast
import re
import runpy
import tomllib
from pathlib import Path

import pytest

from loopscope.app.views import VIEW_SPECS
from loopscope.core.experiments.ablations import VARIANTS
from loopscope.core.experiments.small_models import SEEDS
from loopscope.core.families import FAMILIES
from loopscope.core.interventions.registry import KINDS
from loopscope.core.measures.registry import MEASURES

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("resources/**/*.md")])
README = (ROOT / "README.md").read_text()
ROOMS = "app|core|widgets|tests|docs|tools|resources"


def prose(page: Path) -> str:
    """A page without its fenced code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """Names that a link may end in, as GitHub makes them of the headings."""
    titles = re.findall(r"^#+ (.+)$", prose(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        assert aim.exists(), target
        assert not anchor or anchor in anchors(aim), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_path_that_is_named_is_there(page: Path) -> None:
    for path in re.findall(rf"`((?:{ROOMS})/[\w./*-]*)`", page.read_text()):
        # KEY stands for any name, `mine` for the reader's own.
        known = re.split(r"KEY|\bmine\b", path)[0]
        assert list(ROOT.glob(known.rstrip("/"))), path


def functions_of(file: Path) -> set[str]:
    """Names of the functions of a module, and of the methods of its classes as ``Class.method``."""
    found = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (m for m in node.body if isinstance(m, ast.FunctionDef))
            found |= {f"{node.name}.{method.name}" for method in methods}
    return found


def test_the_way_from_the_key_to_the_pixel_is_that_of_the_code() -> None:
    design = (ROOT / "docs" / "design.md").read_text()
    steps = re.findall(r"^((?:app|core|widgets)/[\w/]+\.py) +([\w.]+)  ", design, flags=re.M)
    assert len(steps) > 15
    for path, name in steps:
        assert name in functions_of(ROOT / path), f"{path} {name}"


@pytest.mark.parametrize("package", ["app", "widgets", "core"])
def test_the_rooms_stand_in_the_order_that_is_checked(package: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (
        contract["layers"]
        for contract in contracts["contracts"]
        if contract.get("containers") == [f"loopscope.{package}"]
    )
    rooms = [room for layer in layers for room in layer.split(" | ") if room != "__main__"]
    page = (ROOT / "docs" / "design.md").read_text()
    drawn = re.search(rf"^{package} {{2,}}(.*?)(?:\n\n|```)", page, flags=re.M | re.S)
    assert drawn is not None
    heads = (re.split(r" {3,}", line.strip())[0] for line in drawn[1].splitlines())
    assert [room for head in heads for room in re.findall(r"\w+", head)] == rooms


def test_every_view_has_its_page_and_its_row() -> None:
    rows = dict(re.findall(r"^\| \[([^\]]+)\]\(docs/(\w+)\.md\) \|", README, flags=re.M))
    assert rows == {spec.title: spec.key for spec in VIEW_SPECS}
    for spec in VIEW_SPECS:
        assert (ROOT / "docs" / f"{spec.key}.md").is_file(), spec.key


@pytest.mark.parametrize("name", ["settings", "api", "results", "capability", "glosses"])
def test_a_page_that_is_written_by_a_script_is_current(name: str) -> None:
    script = ROOT / "tools" / f"write_{name}_page.py"
    written = runpy.run_path(str(script))["page"]()
    assert (ROOT / "docs" / f"{name}.md").read_text() == written, f"run {script.name}"


def test_the_numbers_of_the_readme_follow_the_registries() -> None:
    assert re.findall(r"(\d+) live measures", README) == [str(len(MEASURES))]
    assert re.findall(r"(\d+) kinds of", README) == [str(len(KINDS))]


def test_the_table_of_families_has_every_family() -> None:
    table = re.search(r"^\| family \|.*?\n\n", README, flags=re.M | re.S)
    assert table is not None
    named = " ".join(row.split("|")[1] for row in table[0].strip().splitlines()[2:])
    words = re.sub(r"[^a-z0-9]", "", named.lower())
    for family in FAMILIES:
        parts = family.name.split() if "retrofit" in family.name else [family.name.replace("_", "")]
        assert all(part in words for part in parts), family.name


def test_the_page_of_the_ablations_counts_them() -> None:
    words = {18: "eighteen"}
    n = len(VARIANTS) * len(SEEDS)
    assert f"of {words[n]} small ablations" in README
    assert f"for all {words[n]}" in (ROOT / "docs" / "does-a-small-loop.md").read_text()


def test_the_readme_names_what_the_tests_install() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    extra = re.search(r"^test = \[(.*?)^\]", project, flags=re.M | re.S)
    assert extra is not None
    row = re.search(r"^\| tests only: ([^|]+) \|", README, flags=re.M)
    assert row is not None
    assert sorted(re.findall(r'"([\w-]+)', extra[1])) == sorted(row[1].split(", "))


def test_every_test_that_a_page_names_is_there() -> None:
    pages = [ROOT / "docs" / name for name in ("faults.md", "other-desktops.md")]
    named = {name for page in pages for name in re.findall(r"`(test_\w+)`", page.read_text())}
    files = (ROOT / "tests").rglob("test_*.py")
    there = {
        name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)
    }
    assert len(named) > 20
    assert named <= there, named - there


def test_the_pages_show_the_files_of_the_example_package() -> None:
    package = ROOT / "examples" / "loopscope-example"
    shown = re.findall(
        r"^```(?:toml|python)\n(.*?)^```",
        (ROOT / "docs" / "plugins.md").read_text(),
        flags=re.M | re.S,
    )
    files = [
        "pyproject.toml",
        *(f"loopscope_example/{name}.py" for name in ("measure", "intervention", "view")),
    ]
    assert shown == [(package / file).read_text() for file in files]
    family = (package / "loopscope_example" / "family.py").read_text().partition("\n\n")[2]
    page = (ROOT / "docs" / "adding-a-family.md").read_text()
    assert "\n".join("   " + line if line else "" for line in family.splitlines()) in page


def test_the_stable_names_of_plug_ins_are_there_and_enough() -> None:
    import importlib

    page = (ROOT / "docs" / "plugins.md").read_text()
    rows = re.findall(r"^\| `(loopscope[\w.]*)` \| (`.*) \|$", page, flags=re.M)
    stable = {module: set(re.findall(r"`(\w+)`", names)) for module, names in rows if "." in module}
    stable = {m: names for m, names in stable.items() if m.count(".") > 1}
    assert len(stable) > 12
    for module, names in stable.items():
        assert all(hasattr(importlib.import_module(module), name) for name in names), module
    for file in (ROOT / "examples").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("loopscope."):
                assert {alias.name for alias in node.names} <= stable[node.module], file.name
