"""The page on recordings names all that is in a file of the present code, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from checkpoints import write_checkpoint
from recordings import with_results

from loopscope.core.checkpoint.loading import load
from loopscope.core.interventions.states import Noise
from loopscope.core.measures.over_prompts import (
    PROMPT_MEASURES,
    HowRun,
    OverPrompts,
    PromptMeasures,
)
from loopscope.core.measures.registry import MEASURES
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.recordings.results import KEYS, MODEL_KEYS
from loopscope.core.recordings.writing import save
from loopscope.core.run.stepper import Stepper

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "recordings.md"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> h5py.File:
    """A file with everything that can be in one: a gate, a branch, results, what was read."""
    folder = tmp_path_factory.mktemp("layout")
    loaded = load(str(write_checkpoint(folder / "m", "ouro")), "cpu")
    stepper = Stepper(loaded)
    run = stepper.begin(loaded.tokenizer.from_ids((1, 2, 3)))
    for _ in range(3):
        stepper.step()
    cut = Noise(recurrence=2, last=2, layer=-1, size=0.5)
    branch = stepper.branch((cut,))
    branch.step()
    with_results(run)
    prompts, values = PromptSet("", "none", (Item("a", None, 1),)), np.ones((1, 3, 1))
    over = OverPrompts.of(MEASURES["relative_step"], prompts, HowRun(3), values, [""])
    run.keep(PROMPT_MEASURES, PromptMeasures({"relative_step": over}))
    run.readout_directions[1] = stepper.readout_direction(1)
    run.float32_error = np.zeros((3, 3), np.float32)
    save(folder / "run.h5", [run, branch.recording], "loopscope run m")
    return h5py.File(folder / "run.h5")


def layout() -> str:
    page = PAGE.read_text()
    return page[page.index("## Layout, version") : page.index("## While a run is made")]


def documented() -> set[str]:
    """Every array of the table, by its whole path."""
    names: set[str] = set()
    table = layout().partition("A head holds")[0]
    for row in re.findall(r"^\| (`.*?) \|", table, re.M):
        first, *others = re.findall(r"`(.+?)`", row)
        group = first.rpartition("/")[0]
        names |= {first, *(f"{group}/{name}" if group else name for name in others)}
    return names


def text(file: h5py.File, name: str) -> dict[str, Any]:
    return json.loads(file[name][()].tobytes())


def test_every_array_is_in_the_table_and_every_row_in_a_file(file: h5py.File) -> None:
    found: set[str] = set()

    def note(name: str, entry: object) -> None:
        if isinstance(entry, h5py.Dataset):
            name = re.sub(r"^runs/\d+/", "runs/I/", name)
            found.add(re.sub(r"results_arrays/\d+$", "results_arrays/K", name))
        else:
            assert not dict(entry.attrs), f"attributes of {name}"

    file.visititems(note)
    assert found == documented()


def test_every_attribute_and_every_word_of_the_heads_is_named(file: h5py.File) -> None:
    words = {*file.attrs, *text(file, "about")}
    head = text(file, "runs/1/head")
    words |= {*head, *head["info"], *head["capture"]}
    words |= {key.name for key in (*KEYS, *MODEL_KEYS)}
    assert {*text(file, "runs/0/results"), *text(file, "model/results")} <= words
    missing = {word for word in words if f"`{word}`" not in layout()}
    assert not missing
