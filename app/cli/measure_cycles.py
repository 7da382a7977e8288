"""Measure heads and cycles of trained looped models: RESULTS.json MODEL ...

A model is a folder or ``bundled:NAME``; the rows are written anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from loopscope.app.cli.terminal import run_script
from loopscope.core.experiments.cycles import as_json, measure_cycle
from loopscope.core.files import write_text


def main() -> None:
    """Measure every model and write the rows, one a line."""
    import torch

    from loopscope.core.checkpoint.loading import load
    from loopscope.core.experiments.studies.subject import Subject

    torch.set_num_threads(1)
    rows = []
    for path in sys.argv[2:]:
        # Every model of the experiments has passes of two layers.
        rows.append(measure_cycle(Subject(load(path, "cpu").model, 2), Path(path).name))
        print(f"{path}: measured", flush=True)
    lines = ",\n".join(json.dumps(as_json(row)) for row in rows)
    write_text(Path(sys.argv[1]), f"[\n{lines}\n]\n")


if __name__ == "__main__":
    run_script(main)
