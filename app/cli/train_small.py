"""One training of a small model, in a process of its own: TABLE KEY SEED FOLDER [CORPUS]."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loopscope.app.cli.terminal import run_script

if TYPE_CHECKING:
    from loopscope.core.experiments.training import Progress

LOG_STEPS = 100


def main() -> None:
    """Train, or go on with a training that was stopped."""
    import torch

    from loopscope.core.experiments.small_models import train
    from loopscope.core.experiments.text import read_corpus
    from loopscope.core.experiments.training_plan import TextData
    from loopscope.core.sweeps.small import models_of

    table, key, seed, root, *rest = sys.argv[1:6]
    torch.set_num_threads(1)
    model = next(m for m in models_of(table) if m.key == key)
    data, corpus = model.plan.data, None
    if rest and isinstance(data, TextData):
        corpus = read_corpus(Path(rest[0]), data.vocabulary)
    train(model, int(seed), Path(root), _log, corpus=corpus)


def _log(progress: Progress, share: float) -> None:
    """Print a line now and then: a training without a terminal is followed in its log."""
    if progress.step % LOG_STEPS == 0:
        print(
            f"step {progress.step}  {progress.hops} hops  loss {progress.mean_loss:.3f}  "
            f"accuracy {progress.accuracy:.3f}  {progress.cpu_minutes:.1f} CPU minutes  "
            f"{share:.1%}",
            flush=True,
        )


if __name__ == "__main__":
    run_script(main)
