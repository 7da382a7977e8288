"""Measure the trained arms of the experiments that have no row yet: FOLDER RESULTS.json.

A row for each arm and seed, written as soon as it is measured, so that a run that was stopped goes
on. Arms of text are left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from loopscope.app.cli.terminal import run_script
from loopscope.core.experiments.arm_results import ArmResult, measure_arm, read_results
from loopscope.core.experiments.arms import ARMS
from loopscope.core.experiments.small_models import SmallModel, is_trained
from loopscope.core.experiments.training_plan import HopsData
from loopscope.core.files import write_text


def waiting(root: Path, done: list[ArmResult]) -> list[tuple[SmallModel, int]]:
    """Trained arms of pointer chasing below ``root`` that are not measured, with their seeds."""
    measured = {(result.arm, result.seed) for result in done}
    return [
        (arm, seed)
        for arm in ARMS
        for seed in _seeds(arm, root)
        if isinstance(arm.plan.data, HopsData)
        and (arm.key, seed) not in measured
        and is_trained(arm, seed, root)
    ]


def _seeds(arm: SmallModel, root: Path) -> list[int]:
    ends = (folder.name.removeprefix(f"{arm.key}-seed") for folder in root.glob(f"{arm.key}-seed*"))
    return sorted(int(end) for end in ends if end.isdecimal())


def main() -> None:
    """Measure what is waiting and write every row anew after each."""
    import torch

    root, file = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    results = read_results(file) if file.exists() else []
    for arm, seed in waiting(root, results):
        results.append(measure_arm(arm, seed, root))
        order = [a.key for a in ARMS]
        results.sort(key=lambda result: (order.index(result.arm), result.seed))
        rows = ",\n".join(json.dumps(result.as_json()) for result in results)
        write_text(file, f"[\n{rows}\n]\n")
        print(f"{arm.key}, seed {seed}: measured", flush=True)


if __name__ == "__main__":
    run_script(main)
