"""`loopscope quality`: accuracy and perplexity of a prompt file, without a window."""

from __future__ import annotations

import json

import pytest

from loopscope.app.cli.main import main

pytestmark = pytest.mark.slow

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


def test_interventions_are_made_in_every_prompt(tmp_path, capsys) -> None:
    cuts, out = tmp_path / "cuts.json", tmp_path / "q.json"
    cuts.write_text('[{"kind": "zero", "recurrence": 3, "last": 3, "layer": -1}]')
    run = [*RUN, "--prompts", "bundled:hops", "-o", str(out)]
    documents = []
    for more in ([], ["--interventions", str(cuts)]):
        assert main([*run, *more]) == 0
        documents.append(json.loads(out.read_text()))
    plain, cut = (d["accuracy"]["value"] for d in documents)
    assert plain[:2] == cut[:2]
    assert cut[2] < plain[2]
    assert documents[0]["interventions"] == []
    assert documents[1]["interventions"][0]["kind"] == "zero"
    assert capsys.readouterr().err == ""
    cuts.write_text(
        '[{"kind": "scale", "factor": 1}, {"kind": "skip", "recurrence": 9, "last": 9}]'
    )
    assert main([*run, "--interventions", str(cuts)]) == 0
    first, second = capsys.readouterr().err.splitlines()
    assert "did nothing" in first
    assert "not reached yet: it acts at recurrence 9 (all prompts)" in second


def test_a_cut_at_a_token_that_a_prompt_lacks_is_refused(tmp_path, capsys) -> None:
    cuts, prompts = tmp_path / "cuts.json", tmp_path / "p.txt"
    cuts.write_text('[{"kind": "zero", "layer": -1, "tokens": [9]}]')
    prompts.write_text("ab bc ca ? 2 : a b c\nab ba ? 1 : a b\n")
    for command in (["quality", "--answers", "next"], ["measure", "--measures", "relative_step"]):
        name, *more = command
        arguments = [name, "bundled:looped", "--prompts", str(prompts), "--recurrences", "2", *more]
        assert main([*arguments, "--interventions", str(cuts)]) == 2
        error = capsys.readouterr().err.strip()
        assert error.count("\n") == 0
        assert "p.txt, line 2: cannot set to zero" in error
        assert "there is no token 9; the prompt has tokens 0 to" in error


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
