"""``--beside``: a second run for pictures and for the window, from a checkpoint or a recording."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from loopscope.app.cli.main import main

pytestmark = pytest.mark.slow

PROMPT = "ab bc ca ? 2 : a b c"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of the bundled model in one file, of 3 recurrences."""
    folder = tmp_path_factory.mktemp("beside")
    prompts, file = folder / "prompts.txt", folder / "runs.h5"
    prompts.write_text(f"{PROMPT}\nab ba ca ? 1 : a b c\n")
    arguments = ["run", "bundled:looped", "--prompts", str(prompts), "--recurrences", "3"]
    assert main([*arguments, "-o", str(file)]) == 0
    return file


def figures(out: Path, path: str, *options: str) -> int:
    return main(["figures", path, *options, "-o", str(out), "--format", "csv"])


def read(path: Path) -> tuple[dict[str, str], list[dict[str, str]]]:
    lines = path.read_text().splitlines()
    head = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
    return head, list(csv.DictReader(line for line in lines if not line.startswith("# ")))


def test_a_second_checkpoint_is_run_on_the_prompt(tmp_path: Path) -> None:
    both, alone, other = tmp_path / "both", tmp_path / "alone", tmp_path / "other"
    asked = ("--prompt", PROMPT, "--recurrences", "4")
    assert figures(both, "bundled:looped", *asked, "--beside", "bundled:orbit") == 0
    assert figures(alone, "bundled:looped", *asked) == 0
    assert figures(other, "bundled:orbit", *asked) == 0
    # What is drawn twice is each model's own.
    assert read(both / "distance.csv")[1] == read(alone / "distance.csv")[1]
    assert read(both / "distance-second.csv")[1] == read(other / "distance.csv")[1]
    head, rows = read(both / "depth.csv")
    assert head["second run checkpoint"] == "bundled:orbit"
    assert {"layer 0", "bundled:orbit: layer 0"} <= {row["curve"] for row in rows}


def test_a_deep_model_is_run_once(tmp_path: Path) -> None:
    asked = ("--prompt", PROMPT, "--recurrences", "4", "--beside", "bundled:deep")
    assert figures(tmp_path, "bundled:looped", *asked) == 0
    _, rows = read(tmp_path / "heads-second.csv")
    assert {row["recurrence"] for row in rows} == {"1"}


def test_a_run_of_a_recording_by_its_number_or_its_file(recorded: Path, tmp_path: Path) -> None:
    by_number, by_file = tmp_path / "a", tmp_path / "b"
    assert figures(by_number, str(recorded), "--beside", "1") == 0
    assert figures(by_file, str(recorded), "--beside", f"{recorded}#1") == 0
    head, rows = read(by_number / "distance-second.csv")
    assert rows == read(by_file / "distance-second.csv")[1]
    assert head["prompt"] == "ab ba ca ? 1 : a b c"
    assert head["shown prompt"] == PROMPT


def test_a_recording_beside_a_checkpoint_and_the_other_way_round(recorded, tmp_path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    asked = ("--prompt", PROMPT, "--recurrences", "2", "--beside", str(recorded))
    assert figures(one, "bundled:looped", *asked) == 0
    _, rows = read(one / "distance-second.csv")
    assert max(int(row["recurrence"]) for row in rows) == 2  # of 3, the last is the end
    assert figures(other, str(recorded), "--beside", "bundled:orbit") == 0
    _, shown = read(other / "distance.csv")
    _, rows = read(other / "distance-second.csv")
    assert [row["token"] for row in rows] == [row["token"] for row in shown]
    assert rows != shown


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ("7", "--beside 7 is a run of a recording; bundled:looped is none"),
        ("nowhere", "nowhere"),
        ("bundled:looped#2", "bundled:looped is no recording"),
    ],
)
def test_what_cannot_stand_beside_is_said_in_one_line(beside, said, tmp_path, capsys) -> None:
    asked = ("--prompt", PROMPT, "--recurrences", "2", "--beside", beside)
    assert figures(tmp_path, "bundled:looped", *asked) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line
    picture = str(tmp_path / "x.png")
    asked = ("bundled:looped", "--beside", beside, "--screenshot", picture, "--exit")
    assert main(["open", *asked]) == 2
    assert said in capsys.readouterr().err


def test_a_run_that_is_not_in_the_recording(recorded: Path, tmp_path: Path, capsys) -> None:
    assert figures(tmp_path, str(recorded), "--beside", "5") == 2
    assert "holds 2, numbered from 0" in capsys.readouterr().err


@pytest.mark.parametrize("beside", ["bundled:orbit", "recording"])
def test_the_window_opens_with_the_second_run(beside, recorded, monkeypatch, tmp_path) -> None:
    from loopscope.app.cli import pictures

    seen: dict[str, object] = {}

    def picture(window, path) -> None:
        session = window.bench.session
        seen["second"] = session.second.name
        seen["recurrences"] = session.second.stepper.recording.n_recurrences
        seen["drawn"] = window.bench.displays["distance"].second is not None

    monkeypatch.setattr(pictures, "_save_picture", picture)
    path = str(recorded) if beside == "recording" else beside
    asked = ["bundled:looped", "--prompt", PROMPT, "--recurrences", "3", "--beside", path]
    assert main(["open", *asked, "--screenshot", str(tmp_path / "x.png"), "--exit"]) == 0
    assert seen["recurrences"] == 3
    assert seen["drawn"]
    assert beside == "recording" or seen["second"] == beside


def test_a_session_has_its_own_second_run(tmp_path: Path, capsys) -> None:
    session = tmp_path / "x.loopscope.json"
    session.write_text(json.dumps({"version": 1}))
    assert main(["open", str(session), "--beside", "bundled:orbit", "--exit"]) == 2
    assert "leave out --beside" in capsys.readouterr().err
