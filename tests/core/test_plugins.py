"""What other packages add is found, held to its kind, and left out with its reason."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from loopscope.app.cli import commands
from loopscope.app.cli.main import main
from loopscope.core import plugins
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.registry import KINDS
from loopscope.core.interventions.states import Zero
from loopscope.core.measures.registry import MEASURES
from loopscope.core.measures.settling_rows import STATE_NORM
from loopscope.core.plugins import MEASURE, SWITCH, PlugIn, Registry, asked, fits, left_out

ROOT = Path(__file__).parents[2]
Install = Callable[..., None]


@dataclass
class Word:
    """What the registry of these tests holds."""

    text: str


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Lay a package as pip does: its module, and what its metadata names."""
    monkeypatch.delenv(SWITCH)
    monkeypatch.setattr(plugins, "_asked", {})
    plugins._any_installed.cache_clear()
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(package: str, code: str, **entries: str) -> None:
        module = package.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = (f"{name} = {module}:{target}" for name, target in entries.items())
        (info / "entry_points.txt").write_text("\n".join([f"[{MEASURE}]", *lines, ""]))
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def words(*own: str) -> Registry[Word]:
    return Registry(
        MEASURE, [Word(t) for t in own], lambda word: word.text, lambda value: fits(value, Word)
    )


WORD = "from test_plugins import Word\n"


@pytest.fixture(autouse=True)
def _this_module_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "test_plugins", sys.modules[__name__])


def problems() -> dict[str, str]:
    return {plugin.name: plugin.problem for plugin in asked()}


def test_what_a_package_names_comes_after_our_own(install: Install) -> None:
    install("extra-words", WORD + "new = Word('new')", new="new")
    registry = words("old", "older")
    assert asked() == ()  # nothing is looked for until it is asked
    assert list(registry) == ["old", "older", "new"]
    assert registry["new"] == Word("new")
    assert len(registry.values()) == 3
    (found,) = asked()
    assert found == PlugIn(MEASURE, "new", "extra_words:new", "extra-words", "1.0")
    assert found.text() == "measure 'new' of extra-words 1.0"


@pytest.mark.parametrize(
    ("code", "name", "why"),
    [
        ("import no_such_module", "new", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)", "new", "SystemExit: 3"),
        ("1 / 0", "new", "ZeroDivisionError: division by zero"),
        ("", "new", "AttributeError: module 'bad' has no attribute 'entry'"),
        ("entry = 'new'", "new", "expected a Word, got str"),
        (WORD + "entry = Word('other')", "new", "it calls itself 'other'; that has to be its "
         "entry point's name"),
        (WORD + "entry = Word('New')", "New", "a name is a small letter, then small letters, "
         "digits and _"),
        (WORD + "entry = Word('old')", "old", "the name is taken by Loopscope"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_left_out_with_its_reason(
    install: Install, code: str, name: str, why: str
) -> None:
    install("bad", code, **{name: "entry"})
    install("good", WORD + "fine = Word('fine')", fine="fine")
    assert list(words("old")) == ["old", "fine"]
    assert problems() == {name: why, "fine": ""}
    (bad,) = left_out()
    assert bad.text() == f"measure '{name}' of bad 1.0 is left out: {why}"


def test_of_two_packages_the_first_by_name_has_it(install: Install) -> None:
    install("b-words", WORD + "same = Word('same')", same="same")
    install("a-words", WORD + "same = Word('same')", same="same")
    registry = words()
    assert list(registry) == ["same"]
    found = {plugin.package: plugin.problem for plugin in asked()}
    assert found == {"a-words": "", "b-words": "the name is taken by a-words"}


def test_an_error_of_a_plug_ins_code_names_its_package(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = WORD + "new = Word('new')\ndef half(of):\n    return of / 0\n"
    install("extra-words", code, new="new")
    list(words())
    from extra_words import half

    monkeypatch.setitem(commands.RUN, "inspect", lambda options: half(len(options.path)))
    assert main(["inspect", "somewhere"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("loopscope: error: extra-words 1.0 failed in ")
    assert said.endswith("extra_words.py, line 4: ZeroDivisionError: division by zero\n")
    monkeypatch.setitem(commands.RUN, "inspect", lambda options: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # one of our own is not hidden
        main(["inspect", "somewhere"])


def test_switched_off_nothing_is_looked_for(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("extra-words", "raise AssertionError", new="new")
    monkeypatch.setenv(SWITCH, "off")
    assert list(words("old")) == ["old"]
    assert asked() == ()


def test_a_plug_in_that_asks_while_it_is_loaded_sees_the_rest(install: Install) -> None:
    code = WORD + "from test_plugins import REENTRANT\nlist(REENTRANT)\nnew = Word('new')"
    install("extra-words", code, new="new")
    assert list(REENTRANT) == ["old", "new"]
    assert problems() == {"new": ""}


REENTRANT = words("old")


def test_a_measure_with_an_unknown_axis_and_a_kind_that_no_file_holds_are_refused() -> None:
    from dataclasses import replace

    with pytest.raises(LoopscopeError, match="there is no axis 'time'; layer, head, token"):
        MEASURES._checked(replace(STATE_NORM, axes=("time",)))
    assert MEASURES._checked(STATE_NORM) is STATE_NORM
    with pytest.raises(LoopscopeError, match="expected a class made from Intervention"):
        KINDS._checked(Zero())
    assert KINDS._checked(Zero) is Zero

    @dataclass(frozen=True, kw_only=True)
    class Odd(Zero):
        given: frozenset[int] = frozenset({1})

    with pytest.raises(TypeError, match="read back, 'given': no value of frozenset"):
        KINDS._checked(Odd)


def test_a_start_without_plug_ins_does_not_import_the_reader_of_metadata() -> None:
    """`importlib.metadata` takes a tenth of the time to the first window."""
    code = (
        "import sys\n"
        "from loopscope.app.plugins import every\n"
        "every()\n"
        "from loopscope.app.cli.main import build_parser\n"
        "build_parser()\n"
        "print('importlib.metadata' in sys.modules, 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys\nsys.path[:] = {_without_plugins()!r}\n{code}"],
        env={k: v for k, v in os.environ.items() if k != SWITCH},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["False", "False"]


def _without_plugins() -> list[str]:
    """The path of this process; no package in it adds anything, or this test says so."""
    return [str(ROOT / ".dev"), *sys.path]
