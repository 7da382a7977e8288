"""`loopscope generate`: text, JSON, exit rules and errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkpoints import write_checkpoint

from loopscope.app.cli.main import main

IDS = "3,17,5"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_checkpoint(tmp_path_factory.mktemp("g") / "ouro", "ouro"))


def asked(model: str, *more: str) -> list[str]:
    return ["generate", model, "--token-ids", IDS, "--tokens", "5", *more]


def test_text_and_what_each_took(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked(model)) == 0
    said = capsys.readouterr()
    ids = said.out.split()
    assert len(ids) == 5
    assert said.err.splitlines()[-1] == "recurrences: " + ", ".join(f"'{i}' 4" for i in ids)


def test_json_and_the_same_seed(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--exit", "step:0.5", "--recurrences", "9", "--temperature", "1.5", "--seed", "4"]
    assert main(asked(model, *more, "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert main(asked(model, *more, "-o", str(tmp_path / "out.json"))) == 0
    assert json.loads((tmp_path / "out.json").read_text()) == document
    assert document["exit"] == "step:0.5"
    assert [sorted(token) for token in document["tokens"]] == [
        ["id", "probability", "recurrences", "text"]
    ] * 5
    assert all(1 <= token["recurrences"] <= 9 for token in document["tokens"])
    other = [*more[:-1], "5"]
    assert main(asked(model, *other, "--json")) == 0
    assert json.loads(capsys.readouterr().out)["text"] != document["text"]


def test_it_ends_where_the_folder_says(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked(model)) == 0
    ids = capsys.readouterr().out.split()
    path = Path(model) / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": [int(ids[1])]}))
    try:
        assert main(asked(model)) == 0
        assert capsys.readouterr().out.split() == ids[: ids.index(ids[1]) + 1]
        assert main(asked(model, "--ignore-stop")) == 0
        assert capsys.readouterr().out.split() == ids
    finally:
        path.unlink()


@pytest.mark.parametrize(
    "more",
    [["--exit", "soon"], ["--recurrences", "0"], ["--temperature", "-1"], ["--chat"], ["-o", "x.txt"],
     ["--tokens", "0"], ["--tokens", "9999"]],
)  # fmt: skip
def test_bad_use_is_one_line(
    model: str, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(model, *more)) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
