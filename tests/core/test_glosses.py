"""The bundled model of text: what its page and its card say of it, on fewer lines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.experiments.text import held_out_loss
from loopscope.core.experiments.text_results import TextResult, read_text_results
from loopscope.core.prompts.prompt_set import read_prompts

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "resources" / "checkpoints" / "glosses"


@pytest.fixture(scope="module")
def glosses() -> Loaded:
    return load("bundled:glosses", "cpu")


@pytest.fixture(scope="module")
def row() -> TextResult:
    return next(r for r in read_text_results(ROOT / "docs" / "text.json") if r.seed == 1)


def test_it_is_small_and_says_whose_text_it_was_trained_on(glosses: Loaded) -> None:
    assert sum(f.stat().st_size for f in FOLDER.iterdir()) <= 4 * 1024**2
    assert glosses.architecture.n_parameters <= 1_900_000
    assert glosses.architecture.trained_recurrences == 6
    assert glosses.architecture.vocab_size == 1024
    notice = " ".join((FOLDER / "WORDNET-LICENSE.txt").read_text("utf-8").split())
    assert "Permission to use, copy, modify and distribute this software and database" in notice


def test_its_loss_is_near_that_of_its_page_and_stays_beyond_training(
    glosses: Loaded, row: TextResult
) -> None:
    lines = [item.text for item in read_prompts("bundled:glosses").items]
    ids = [i for line in lines for i in glosses.tokenizer.encode(line + "\n").token_ids]
    losses = held_out_loss(
        glosses.model, np.array(ids, np.uint16), n_passes=16, per_pass=2, context=32
    ).mean(0)
    # Other lines, and sequences of 32 tokens in place of 128: near, and not the same.
    assert abs(losses[5] - row.loss[5]) < 0.5
    assert losses[5] < np.log(1024) / 1.7
    assert abs((losses[0] - losses[5]) - row.gained[5]) < 0.05
    assert abs(losses[15] - losses[5]) < 0.1


def test_its_record_is_of_the_command_on_its_page(row: TextResult) -> None:
    record = json.loads((FOLDER / "training.json").read_text())
    assert record["recipe"] == "text"
    assert (record["steps"], record["plan"]["seed"]) == (row.steps, row.seed)
    assert record["plan"]["recurrences"]["most"] == row.trained
    page = (ROOT / "docs" / "glosses.md").read_text()
    assert f"--seed {row.seed} --steps {row.steps}" in page
    assert f"--finishing {record['plan']['finishing_steps']} --half" in page
