"""A small study with its rows, made in this process as workers would."""

from __future__ import annotations

from pathlib import Path

from loopscope.core.sweeps.cell import do_task
from loopscope.core.sweeps.grid import tasks_of
from loopscope.core.sweeps.store import Store
from loopscope.core.sweeps.study import OpenedStudy, open_study

STUDY = """
title = "Two models and a cut"
checkpoints = ["bundled:looped", "bundled:orbit"]
prompts = ["p.txt"]
R = [1, 2, 4]
seeds = [0, 1]
starts = [{ start = "random" }]
measures = ["relative_step", "layer_relative_step"]
prompts_per_task = 2

[[interventions]]
name = "none"

[[interventions]]
name = "layer 1 skipped"
cuts = [{ kind = "skip", recurrence = 2, last = 2, layer = 1 }]
"""
PROMPTS = "ab ba ? 1 : a b\nab bc ca ? 2 : a b c\nxy yz zx ? 1 : z x y\n"


def write_study(folder: Path, text: str = STUDY) -> Path:
    """Write a study and its prompts; returns its file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "p.txt").write_text(PROMPTS)
    (folder / "s.toml").write_text(text)
    return folder / "s.toml"


def run_tasks(opened: OpenedStudy, rows: Path, most: int = 1000) -> None:
    """Do at most so many tasks of what is left, each of which becomes a part of its own."""
    with Store(rows) as store:
        about = {"study": opened.name, "folder": opened.folder, "versions": {"loopscope": "x"}}
        store.say_study(opened.text, about)
        for task in list(tasks_of(opened, store.done, store.weights))[:most]:
            outcome = do_task(task)
            weights = {"weights sha256": outcome.weights}
            store.say_checkpoint(task.checkpoint.name, weights)
            store.append(task, outcome.blocks)
            store.flush()


def made_study(folder: Path, most: int = 1000) -> tuple[Path, Path]:
    """A study's file and the folder of its rows, some of which are made."""
    file = write_study(folder)
    rows = folder / "s-study"
    run_tasks(open_study(str(file)), rows, most)
    return file, rows
