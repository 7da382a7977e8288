"""`loopscope quality`: accuracy and perplexity of a prompt file, without a window."""

from __future__ import annotations

import json

import pytest

from loopscope.app.main import main

RUN = ["quality", "bundled:looped", "--recurrences", "7"]


def test_the_table_and_the_file_say_the_same(tmp_path, capsys) -> None:
    out = tmp_path / "q.json"
    assert main([*RUN, "--prompts", "bundled:hops", "-o", str(out)]) == 0
    document = json.loads(out.read_text())
    accuracy = document["accuracy"]
    assert accuracy["value"][0] == 11 / 64  # one hop in six is done after one recurrence
    assert accuracy["n_prompts"] == [64] * 7
    assert accuracy["low"][0] < 11 / 64 < accuracy["high"][0]
    assert "Wilson" in accuracy["source"]
    assert document["convention"] == "in place"
    assert document["prompts"][2]["right"][:4] == [0.0, 0.0, 1.0, 1.0]  # three hops
    assert document["prompts"][0]["scored_tokens"] == 8
    assert main([*RUN, "--prompts", "bundled:hops"]) == 0
    said = capsys.readouterr().out
    assert f"1     {accuracy['value'][0]:.4g}  {accuracy['low'][0]:.4g} to" in said
    assert "64 of 64 prompts of bundled:hops, answers in place" in said


def test_what_cannot_be_had_is_said(tmp_path, capsys) -> None:
    (tmp_path / "p.txt").write_text("ab ba ? 1 : a b\n")
    arguments = [*RUN, "--prompts", str(tmp_path / "p.txt")]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "p.txt gives no answers: there is no accuracy." in said
    assert "was not trained to say the next token" in said
    assert main([*arguments, "--answers", "next", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["accuracy"]["value"] == [None] * 7
    assert document["perplexity"]["value"][0] > 1
    assert document["perplexity"]["low"] == [None] * 7
    assert main([*arguments, "--answers", "next"]) == 0
    assert "one prompt has no interval" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*RUN], "--prompts"),
        ([*RUN, "--prompts", "none.txt"], "none.txt: cannot be read: No such file"),
        ([*RUN, "--prompts", "bundled:hops", "-o", "x.txt"], "must end in .json"),
        (["quality", "bundled:looped", "--prompts", "bundled:hops", "--recurrences", "0"], "1 to"),
    ],
)
def test_bad_use_is_one_line(arguments, says, capsys) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert says in error
    assert "\n" not in error
