"""`loopscope measure`: the numbers of the views, without a window."""

from __future__ import annotations

import json

import numpy as np
import pytest

from loopscope.app.cli.main import main
from loopscope.core.checkpoint.loading import load
from loopscope.core.measures.base import measure
from loopscope.core.measures.registry import MEASURES
from loopscope.core.run.stepper import Stepper

RUN = ["measure", "bundled:looped", "--prompt", "ab bc ca ? 2 : a b c", "--recurrences", "4"]


def test_it_prints_what_the_views_measure(capsys) -> None:
    assert main(RUN) == 0
    found = json.loads(capsys.readouterr().out)["measures"]
    assert list(found) == list(MEASURES)
    loaded = load("bundled:looped", "cpu")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode("ab bc ca ? 2 : a b c"))
    for _ in range(4):
        stepper.step()
    for key, what in MEASURES.items():
        expected = measure(recording, what)
        assert found[key]["missing"] == (expected.missing or None)
        values = np.array(found[key]["values"], dtype=float)
        if expected.missing:
            assert not values.size
            continue
        np.testing.assert_allclose(values, expected.values, rtol=1e-5, atol=1e-7, err_msg=key)
    assert found["layer_relative_step"]["values"][0][0][0] is None  # no step at recurrence 1
    assert found["exit_hazard"]["missing"] == "This model has no exit gate."


def test_it_writes_a_file_of_chosen_measures(tmp_path, capsys) -> None:
    out = tmp_path / "m.json"
    assert main([*RUN, "--measures", "entropy, sink_rate", "-o", str(out)]) == 0
    document = json.loads(out.read_text())
    assert list(document["measures"]) == ["entropy", "sink_rate"]
    assert document["run"]["checkpoint"] == "bundled:looped"
    assert document["measures"]["entropy"]["unit"] == "nats"


def test_it_prints_the_settling_classes_by_all_rules(capsys) -> None:
    run = [*RUN[:-1], "20", "--measures", "settling_classes"]
    run[1] = "bundled:anytime"  # all of it is at rest after 20
    assert main(run) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["measures"] == {}
    found = document["settling_classes"]
    assert list(found) == ["loopscope", "cosine", "distance"]
    assert found["loopscope"]["judged by"].startswith("tolerance 1e-2")
    assert "last 20 recurrences; the paper uses 128" in found["cosine"]["judged by"]
    for rules in found.values():
        assert [p["where"] for p in rules["places"]] == ["recurrence end", "layer 0", "layer 1"]
        for place in rules["places"]:
            assert len(place["classes"]) == 12
            assert sum(place["share"].values()) == pytest.approx(1)
    assert found["loopscope"]["places"][0]["share"]["settled"] == 1


def test_the_list_names_every_formula(capsys) -> None:
    assert main(["measure", "--list"]) == 0
    said = capsys.readouterr().out
    for key, what in MEASURES.items():
        assert key in said
        assert what.formula.formula in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["measure"], "needs a PATH"),
        (["measure", "bundled:looped", "--recurrences", "2"], "--prompt, --token-ids or --prompts"),
        ([*RUN, "--measures", "entropi"], "perhaps entropy"),
        ([*RUN, "-o", "x.txt"], "must end in .json"),
    ],
)
def test_bad_use_is_one_line(arguments, says, capsys) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert says in error
    assert "\n" not in error


def test_over_a_prompt_file_every_mean_can_be_opened_to_its_prompts(tmp_path, capsys) -> None:
    texts = ["ab ba ? 1 : a b", "#29,31,13", "ab bc ca ? 2 : a b c"]
    (tmp_path / "p.txt").write_text("\n".join(texts))
    keys = "layer_relative_step,induction,exit_hazard"
    arguments = ["measure", "bundled:looped", "--prompts", str(tmp_path / "p.txt"),
                 "--recurrences", "4", "--measures", keys]  # fmt: skip
    assert main(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["n_prompts"], document["recurrences"]) == (3, 4)
    assert "4,000 resamples, seed 0" in document["interval"]
    step = document["measures"]["layer_relative_step"]
    assert step["axes"] == ["recurrence", "layer"]
    assert step["within_a_prompt"] == "median over tokens"
    assert [p["prompt"] for p in step["prompts"]] == texts
    assert step["mean"][0] == [None, None]  # no step at recurrence 1
    assert step["n_prompts"] == [[0, 0], [3, 3], [3, 3], [3, 3]]
    loaded = load("bundled:looped", "cpu")
    every = []
    for text, row in zip(texts, step["prompts"], strict=True):
        stepper = Stepper(loaded)
        recording = stepper.begin(loaded.tokenizer.encode(text))
        for _ in range(4):
            stepper.step()
        every.append(measure(recording, MEASURES["layer_relative_step"]).by_depth())
        np.testing.assert_allclose(row["values"][1:], every[-1][1:], rtol=1e-4)
    mean = np.mean(every, axis=0)[1:]
    np.testing.assert_allclose(step["mean"][1:], mean, rtol=1e-4)
    low, high = (np.array(step[end][1:]) for end in ("low", "high"))
    assert (low < mean).all()
    assert (mean < high).all()
    # Prompts without a repeated token have no induction score: they are left out and say why.
    induction = document["measures"]["induction"]
    assert induction["n_prompts"][1] == [2, 2]
    assert "needs a token that occurs twice" in induction["prompts"][1]["missing"]
    assert document["measures"]["exit_hazard"]["missing"] == "This model has no exit gate."


def test_a_prompt_that_cannot_be_run_names_its_line(tmp_path, capsys) -> None:
    (tmp_path / "p.txt").write_text("ab ba ? 1 : a\n\nÉ")
    arguments = ["measure", "bundled:looped", "--prompts", str(tmp_path / "p.txt"),
                 "--recurrences", "2"]  # fmt: skip
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "p.txt, line 3: the tokenizer has no token for 'É'" in error
