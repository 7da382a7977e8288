"""`loopscope paper`: the page it writes, what it says, and what it refuses in one line."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from loopscope.app.cli.main import main
from loopscope.app.report.paper import DRAWN

PROMPTS = "ab ba ? 1 : a b\nha bc de fg gh cd ab ef ? 3 : a b c d\n"


class Addresses(HTMLParser):
    """What a page would load, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value or "" for name, value in attrs if name in ("src", "data", "srcset")]
        assert tag not in ("script", "link", "iframe")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("paper")
    (place / "p.txt").write_text(PROMPTS)
    command = ["paper", "bundled:looped", "--prompts", str(place / "p.txt"), "-o", str(place / "o")]
    assert main([*command, "--recurrences", "4", "--deep", "16"]) == 0
    return place


def test_the_page_holds_all_and_asks_for_nothing(folder: Path) -> None:
    page = Addresses()
    page.feed((folder / "o/paper.html").read_text("utf-8"))
    assert len(page.loaded) == len(DRAWN) == 7
    assert all(address.startswith("data:image/png;base64,") for address in page.loaded)
    assert page.text.count("Expected") == 8
    for name in DRAWN:
        assert (folder / f"o/figures/{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (folder / f"o/figures/{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_says_what_the_numbers_are(folder: Path) -> None:
    numbers = json.loads((folder / "o/numbers.json").read_text())
    page = (folder / "o/paper.html").read_text("utf-8")
    assert numbers["n_prompts"] == 2
    own = numbers["cycles"]["attention"]
    quoted = f"contrast {own['mean'][2]:.3g} ({own['low'][2]:.3g} to {own['high'][2]:.3g})"
    assert quoted in page
    assert numbers["provenance"]["recurrences"] == "4 shown, 16 run"
    step = numbers["curves"]["step_size"]["mean"]
    assert step[0] == [None, None]
    assert len(step) == 16
    assert numbers["sections"][1]["found"][0] in page


def test_again_runs_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / "o/paper.html").read_bytes()
    command = ["paper", "bundled:looped", "--prompts", str(folder / "p.txt"), "-o"]
    assert main([*command, str(folder / "o"), "--recurrences", "4", "--deep", "16"]) == 0
    assert "2 prompts: 2 are done, 0 are left" in capsys.readouterr().out
    assert (folder / "o/paper.html").read_bytes() == before


def test_a_prompt_that_fails_is_said_and_the_page_is_of_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from loopscope.core.paper import running

    real = running.numbers_of

    def failing(loaded, prompt, plan, **more):  # type: ignore[no-untyped-def]
        if "? 3" in prompt.text:
            raise MemoryError
        return real(loaded, prompt, plan, **more)

    monkeypatch.setattr(running, "numbers_of", failing)
    command = ["paper", "bundled:looped", "--prompts", str(folder / "p.txt"), "-o"]
    assert main([*command, str(folder / "f"), "--recurrences", "2", "--deep", "16"]) == 2
    said = capsys.readouterr()
    assert (
        "1 of 2 prompts could not be run; the first, p.txt, line 2: there is not enough" in said.err
    )
    page = (folder / "f/paper.html").read_text("utf-8")
    assert "p.txt, line 2: there is not enough memory for this" in page
    assert re.search(r"1\s+prompt of", page)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--prompts", "nothing.txt"], "nothing.txt: cannot be read"),
        (["--recurrences", "1"], "--recurrences 1 shows no loop; ask for 2 or more"),
        (["--deep", "12"], "--deep 12 is no end to compare with; ask for 16 or more"),
        (["--on", "nowhere"], "'nowhere' is no address such as tcp://host:8786"),
        (["--damping", "0.5"], "--damping is of a looped span"),
        (["-o", "p.txt"], "cannot make p.txt"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, more: list[str], told: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    assert main(["paper", "bundled:looped", "--prompts", "p.txt", "-o", "x", *more]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
