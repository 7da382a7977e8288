"""Measure parameters, graph and trajectory of trained models: RESULTS.json KIND SEED MODEL ...

Three words for each model: the arm that it is of, its training seed and its folder, or
``bundled:NAME``. A model that has a row in RESULTS.json is left out; rows are written as soon as
they are measured.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from loopscope.app.cli.terminal import run_script
from loopscope.core.experiments.parts import Parts, measure_parts, read_parts
from loopscope.core.files import write_text


def main() -> None:
    """Measure what has no row yet."""
    import torch

    from loopscope.core.checkpoint.loading import load
    from loopscope.core.experiments.studies.subject import Subject

    torch.set_num_threads(1)
    file, words = Path(sys.argv[1]), sys.argv[2:]
    rows = read_parts(file) if file.exists() else []
    for kind, seed, path in zip(words[::3], words[1::3], words[2::3], strict=True):
        name = f"{kind}, seed {seed}"
        if any(row.model == name for row in rows):
            continue
        # Every model of the experiments has passes of two layers.
        subject = Subject(load(path, "cpu").model, 2)
        rows.append(measure_parts(subject, name, kind, int(seed)))
        write(file, rows)
        print(f"{name}: measured", flush=True)


def write(file: Path, rows: list[Parts]) -> None:
    """Write the rows, one a line."""
    lines = ",\n".join(json.dumps(row.as_json()) for row in rows)
    write_text(file, f"[\n{lines}\n]\n")


if __name__ == "__main__":
    run_script(main)
