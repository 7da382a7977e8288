"""What is handed out: wheel and sdist are built, installed into an empty environment and used."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
SCRIPTS = "Scripts" if os.name == "nt" else "bin"


def build(source: Path, to: Path, *targets: str) -> list[Path]:
    """Build the targets of a source tree with what is installed, without a network."""
    options = [part for target in targets for part in ("-t", target)]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(to), *options],
        cwd=source, check=True, capture_output=True,
    )  # fmt: skip
    return sorted(to.iterdir())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel of this tree."""
    wheel, sdist = build(ROOT, tmp_path_factory.mktemp("dist"), "sdist", "wheel")  # by name
    return sdist, wheel


@pytest.fixture(scope="module")
def environment(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel in it, which finds what it depends on here."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home)
    python = home / SCRIPTS / ("python.exe" if os.name == "nt" else "python")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps",
         "--no-index", "--disable-pip-version-check", str(built[1])],
        check=True,
    )  # fmt: skip
    (site,) = home.rglob("site-packages")
    assert (site / "loopscope" / "py.typed").is_file()
    # A line of such a file is added to the path as it is: what the folder's own files of that kind
    # add, this checkout among it, is not.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def test_the_sdist_makes_the_same_wheel_and_holds_the_tests(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    sdist, wheel = built
    with tarfile.open(sdist) as archive:
        # Our own archive; the argument that guards against others came with Python 3.11.4.
        guarded = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(tmp_path, **guarded)
    (source,) = tmp_path.iterdir()
    for name in ("tests/conftest.py", "docs/design.md", "examples/loopscope-example/pyproject.toml",
                 "tools/mutants.py", "constraints.txt", "CHANGELOG.md", "LICENSE"):  # fmt: skip
        assert (source / name).is_file(), name
    (again,) = build(source, tmp_path / "dist", "wheel")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert {i.filename: i.CRC for i in one.infolist()} == {
            i.filename: i.CRC for i in other.infolist()
        }


def test_the_wheel_holds_the_program_and_nothing_of_the_tree_beside_it(
    built: tuple[Path, Path],
) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"loopscope"}
    inside = {name.split("/")[1] for name in names if name.startswith("loopscope/")}
    assert inside == {"__init__.py", "py.typed", "app", "core", "widgets", "resources"}
    assert "loopscope/resources/app/loopscope.svg" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".orig")]


def test_it_runs_from_an_empty_environment(environment: Path, tmp_path: Path) -> None:
    def run(program: str, *arguments: str) -> str:
        leave = ("PYTHONPATH", "VIRTUAL_ENV", "LOOPSCOPE_PLUGINS")
        env = {k: v for k, v in os.environ.items() if k not in leave}
        done = subprocess.run(
            [str(environment / SCRIPTS / program), *arguments], cwd=tmp_path, env=env,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run("python", "-c", "import loopscope.app; print(loopscope.app.__file__)")
    assert Path(where.strip()).is_relative_to(environment)
    assert "loopscope " in run("loopscope", "--version")
    assert "bundled:looped" in run("loopscope", "inspect", "bundled:looped")
    prompt = ("--prompt", "ab bc ca ? 2 : a b c", "--recurrences", "2")
    run("loopscope", "figures", "bundled:looped", *prompt, "--format", "csv", "-o", "out")
    assert (tmp_path / "out" / "settling.csv").stat().st_size > 100
    run("loopscope-gui", *prompt, "--screenshot", "window.png", "--exit")
    assert (tmp_path / "window.png").stat().st_size > 10_000
    if sys.platform.startswith("linux"):
        assert "loopscope.desktop" in run("loopscope", "install-desktop")
