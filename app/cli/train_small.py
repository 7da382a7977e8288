"""One training of a small model, in a process of its own: TABLE KEY SEED FOLDER [CORPUS]."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loopscope.app.cli.terminal import run_script
from loopscope.core.errors import LoopscopeError
from loopscope.core.files import make_folder

if TYPE_CHECKING:
    from loopscope.core.experiments.small_models import SmallModel
    from loopscope.core.experiments.training import Progress

LOG_STEPS = 100


def train_missing(
    table: str,
    root: Path,
    jobs: int,
    seeds: Sequence[int],
    report: Callable[[float, str], None],
) -> None:
    """Train every model of ``table`` that has no checkpoint, ``jobs`` at a time, on one thread.

    A training that was stopped goes on where it was. Raises `LoopscopeError` when one fails.
    """
    from loopscope.core.experiments.small_models import is_trained

    models = models_of(table)
    waiting = [(m, s) for s in seeds for m in models if not is_trained(m, s, root)]
    total = len(waiting)
    running: list[subprocess.Popen[bytes]] = []
    make_folder(root)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                model, seed = waiting.pop(0)
                # -P: nothing is imported from the folder that the user happens to be in.
                command = [sys.executable, "-P", "-m", "loopscope.app.cli.train_small"]
                command += [table, model.key]
                running.append(subprocess.Popen([*command, str(seed), str(root)]))
            time.sleep(1)
            for process in [p for p in running if p.poll() is not None]:
                running.remove(process)
                if process.returncode:
                    raise LoopscopeError(
                        f"a training failed with code {process.returncode}; run the same command "
                        "to go on with it"
                    )
            done = total - len(waiting) - len(running)
            report(done / max(total, 1), f"{done} of {total} models trained")
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def models_of(table: str) -> tuple[SmallModel, ...]:
    """Return the small models of the table "ablations", "quick", "twins" or "arms"."""
    from loopscope.core.experiments.ablations import QUICK, VARIANTS
    from loopscope.core.experiments.arms import ARMS
    from loopscope.core.experiments.twins import TWINS

    return {"ablations": VARIANTS, "quick": QUICK, "twins": TWINS, "arms": ARMS}[table]


def main() -> None:
    """Train, or go on with a training that was stopped."""
    import torch

    from loopscope.core.experiments.small_models import train
    from loopscope.core.experiments.text import read_corpus
    from loopscope.core.experiments.training_plan import TextData

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
