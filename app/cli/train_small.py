"""One training of a small model, in a process of its own: TABLE KEY SEED FOLDER."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loopscope.core.errors import LoopscopeError

if TYPE_CHECKING:
    from loopscope.core.experiments.small_models import SmallModel


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
    root.mkdir(parents=True, exist_ok=True)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                model, seed = waiting.pop(0)
                command = [sys.executable, "-m", "loopscope.app.cli.train_small", table, model.key]
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
    """Return the small models of the table "ablations" or "twins"."""
    from loopscope.core.experiments.ablations import VARIANTS
    from loopscope.core.experiments.twins import TWINS

    return {"ablations": VARIANTS, "twins": TWINS}[table]


def main() -> None:
    """Train, or go on with a training that was stopped."""
    import torch

    from loopscope.core.experiments.small_models import train

    table, key, seed, root = sys.argv[1:5]
    torch.set_num_threads(1)
    train(next(m for m in models_of(table) if m.key == key), int(seed), Path(root))


if __name__ == "__main__":
    main()
