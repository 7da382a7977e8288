"""The comparison of looped, deep and shallow models: its numbers, its claim, its page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from models import tiny_checkpoint

from loopscope.app.cli.twins import evaluate_all, page_text, write_page
from loopscope.core.checkpoint.loading import load
from loopscope.core.experiments.architectures import twin_architecture
from loopscope.core.experiments.evaluation import evaluate_hops
from loopscope.core.experiments.small_models import folder_of, learnt_at, train
from loopscope.core.experiments.training import STATE_FILE
from loopscope.core.experiments.twin_results import KINDS, Accuracy, Kind, TwinResult, verdict
from loopscope.core.experiments.twin_study import twin_result
from loopscope.core.experiments.twins import TWINS


def made(kind: Kind, values: list[float], seed: int = 0) -> TwinResult:
    cells = tuple(Accuracy(k, v, v - 0.01, v + 0.01, 1 / 7) for k, v in enumerate(values, 1))
    parameters = 700_000 if kind == "deep" else 200_000
    return TwinResult(kind, seed, 6, cells, parameters, 14, 1_000_000, 4 * parameters, 10_000)


GOOD: dict[Kind, TwinResult] = {
    "looped": made("looped", [1.0, 0.99, 0.98]),
    "deep": made("deep", [1.0, 1.0, 1.0]),
    "shallow": made("shallow", [1.0, 0.6, 0.7]),
}


def test_the_claim_is_asked_where_the_shallow_model_is_worst() -> None:
    found = verdict(GOOD)
    assert (found.hardest, found.looped, found.deep, found.shallow) == (2, 0.99, 1.0, 0.6)
    assert found.holds
    assert found.worst_gap == pytest.approx(-0.02)
    far_off = GOOD | {"looped": made("looped", [1.0, 0.99, 0.96])}
    assert (verdict(far_off).near, verdict(far_off).far) == (False, True)
    able = GOOD | {"shallow": made("shallow", [1.0, 0.8, 0.9])}
    assert (verdict(able).near, verdict(able).far) == (True, False)
    better = GOOD | {"deep": made("deep", [0.5, 0.5, 0.5])}
    assert verdict(better).holds  # better than the deep one is near enough


def test_a_result_is_the_evaluation_and_the_sizes_of_what_was_evaluated(tmp_path: Path) -> None:
    arch = twin_architecture("deep", 2, d_model=16)
    loaded = load(str(tiny_checkpoint(tmp_path / "m", arch)), "cpu")
    result = twin_result(loaded, "deep", 1, hops=(1, 2), recurrences=1, n_examples=50, n_letters=6)
    cell = evaluate_hops(loaded, hops=(1, 2), recurrences=1, n_examples=50, n_letters=6).cell(2, 1)
    assert (result.at(2).value, result.at(2).low) == (cell.accuracy, cell.low)
    weights = sum(p.numel() for p in loaded.model.parameters())
    assert (result.parameters, result.weights_bytes) == (weights, 4 * weights)
    assert result.effective_depth == 6  # prelude, two passes of two layers, coda
    with pytest.raises(KeyError):
        result.at(3)


def test_the_page_says_what_the_numbers_say(tmp_path: Path) -> None:
    small = {kind: [replace(GOOD[kind], seed=s) for s in (0, 1, 2)] for kind in KINDS}
    small["deep"] = [replace(r, learnt_at=900) for r in small["deep"]]
    small["shallow"][1] = made("shallow", [1.0, 0.9, 0.9], seed=1)
    page = write_page(GOOD, small, tmp_path).read_text()
    assert "at worst 2.0 points below the deep one; on 2 hops" in page
    assert "0.29 times the parameters" in page
    assert "Both halves are met.\n" in page
    assert page.index("**Corrected.**") < page.index("## The bundled three")
    assert "**Both halves are met in 2 of 3 seeds.**" in page
    assert "| shallow, one pass | 1 | 6 |" in page
    assert "looped within the margin of deep, is met in 3 of 3 seeds" in page
    assert "deep, as many layers 900, 900, 900; shallow, one pass not before" in page
    assert (tmp_path / "images" / "twins-accuracy.png").stat().st_size > 5000
    assert len(json.loads((tmp_path / "results.json").read_text())) == 12
    failed = GOOD | {"shallow": made("shallow", [1.0, 0.9, 0.9])}
    assert "Not both halves are met." in page_text(failed, small)
    assert "Not all three are there" in page_text({}, {kind: [] for kind in KINDS})


def test_rows_of_a_table_have_as_many_cells_as_its_head() -> None:
    small = {kind: [replace(GOOD[kind], seed=s) for s in (0, 1)] for kind in KINDS}
    rows = [line for line in page_text(GOOD, small).splitlines() if line.startswith("|")]
    tables: list[list[str]] = []
    for before, row in zip(["", *rows], rows, strict=False):
        if row.startswith("| model"):
            tables.append([])
        tables[-1].append(row)
        del before
    assert len(tables) == 2
    for table in tables:
        assert len({row.count("|") for row in table}) == 1


def test_everything_that_is_there_is_evaluated(tmp_path: Path) -> None:
    for model in TWINS:
        train(model, 0, tmp_path, steps=1)
    said: list[str] = []
    shipped, small = evaluate_all(tmp_path, (0,), 6, lambda share, what: said.append(what))
    assert shipped["looped"].recurrences == 6
    assert shipped["looped"].at(6).value > 0.9
    assert [len(small[kind]) for kind in KINDS] == [1, 1, 1]
    assert small["deep"][0].effective_depth == small["looped"][0].effective_depth
    assert folder_of(TWINS[0], 0, tmp_path).exists()
    assert said[-1] == "6 of 6 models evaluated"


def test_when_a_model_learnt_is_read_from_its_training(tmp_path: Path) -> None:
    looped = TWINS[0]
    assert learnt_at(looped, 0, tmp_path) is None
    folder = folder_of(looped, 0, tmp_path)
    folder.mkdir(parents=True)
    plan = {"data": {"max_hops": 3}}
    for learnt, expected in (([300, 700, 1234], 1234), ([300, 700], None), ([], None)):
        torch.save({"progress": {"learnt": learnt}, "plan": plan}, folder / STATE_FILE)
        assert learnt_at(looped, 0, tmp_path) == expected
