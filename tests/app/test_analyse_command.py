"""`loopscope analyse`: a view's measurement without a window, with formula, unit, source and n."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from models import tiny_checkpoint

from loopscope import load
from loopscope.app.cli.main import main


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    return [str(tiny_checkpoint(tmp_path / name, seed=i)) for i, name in enumerate("ab")]


def test_it_says_what_the_same_measurement_says_from_python(pair, tmp_path, capsys) -> None:
    out = tmp_path / "c.json"
    command = ["analyse", "correspondence", pair[0], "--beside", pair[1], "--recurrences", "2"]
    given = ["--set", "prompts=12", "--set", "permutations=3", "--set", "tokens=answers"]
    assert main([*command, *given, "-o", str(out)]) == 0
    said = json.loads(out.read_text())
    one, other = (load(path).run("ab bc ca ? 1 : a b c", recurrences=2) for path in pair)
    found = one.analyse(
        "correspondence", second=other, prompts=12, permutations=3, tokens="answers"
    )
    values = found.without_means["cka_debiased"].values
    column = next(i for i, name in enumerate(said["columns"]) if "CKA" in name)
    assert [row[column] for row in said["rows"]] == pytest.approx(values.ravel().tolist())
    assert f"{found.without_means['cka_debiased'].aligned:.3g} over 96 answer" in said["statement"]
    assert said["settings"]["prompts"] == 12
    assert {"name", "formula", "unit", "source"} == set(said["formulas"][0])
    assert said["weights sha256"]
    # The same at the terminal, and as a table.
    assert main([*command, *given]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == said["statement"]
    assert lines[1].startswith("  debiased CKA = HSIC")
    table = tmp_path / "c.csv"
    assert main([*command, *given, "-o", str(table)]) == 0
    rows = list(csv.reader(table.read_text().splitlines()))
    assert rows[0] == said["columns"]
    assert len(rows) == 1 + values.size


def test_what_cannot_be_measured_is_one_line(pair, tmp_path, capsys) -> None:
    def error(*arguments: str) -> str:
        assert main(["analyse", *arguments]) == 2
        return capsys.readouterr().err

    run = [pair[0], "--recurrences", "2"]
    assert "no measurement 'readout'; there are lens, " in error("readout", *run)
    assert "There is no second model" in error("correspondence", *run)
    words = error("quality", *run)
    assert "No prompt file is open" in words
    recording = tmp_path / "r.h5"
    assert main(["run", *run, "--prompt", "ab ba ? 1 : a b", "-o", str(recording)]) == 0
    capsys.readouterr()
    assert "is a recording" in error("quality", str(recording), "--recurrences", "2")
