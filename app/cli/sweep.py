"""`loopscope sweep`: a study on a cluster, from the terminal."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from loopscope.app.cli.terminal import Bar
from loopscope.core.errors import LoopscopeError
from loopscope.core.labels import size

if TYPE_CHECKING:
    from distributed import Client

    from loopscope.core.sweeps.running import Standing
    from loopscope.core.sweeps.store import Store
    from loopscope.core.sweeps.study import OpenedStudy


def run_sweep(options: Namespace) -> None:
    """Make the cells of a study that its folder lacks, or say what they would take.

    Raises `LoopscopeError` where some could not be made; the others are in the folder.
    """
    from loopscope.core.remote.address import check_installed

    check_installed()
    from loopscope.core.sweeps.running import standing
    from loopscope.core.sweeps.store import Store
    from loopscope.core.sweeps.study import open_study

    opened = open_study(options.study)
    with Store(Path(options.output)) as store:
        where = standing(opened, store)
        print(standing_line(opened, where))
        if where.left or where.recordings or options.dry_run:
            _with_cluster(options, opened, store)
        if store.failures:
            first = store.failures[0]
            raise LoopscopeError(
                f"{len(store.failures)} runs could not be made (failures.json in "
                f"{options.output}); the first, {first.checkpoint}, {first.prompts}, line "
                f"{first.line}: {first.why}"
            )
    if not options.dry_run:
        print(f"all cells are done: {Path(options.output) / 'rows'}")


def standing_line(opened: OpenedStudy, where: Standing) -> str:
    """Say what is done, what is new and what is of another study."""
    line = f"{opened.n_cells:,} cells: {where.done:,} are done, {where.left:,} are new"
    if where.recordings:
        line += f"; {where.recordings:,} recordings are to be made"
    return line + (f"; the folder has {where.others:,} of another study" if where.others else "")


def _with_cluster(options: Namespace, opened: OpenedStudy, store: Store) -> None:
    from loopscope.core.remote.cluster import check_workers, connected
    from loopscope.core.sweeps.running import run_study

    tasks = -(-opened.n_runs // opened.study.prompts_per_task)
    paths = tuple((own.path, own.family) for own in opened.study.checkpoints)
    with connected(options.on, options.workers or tasks) as client:
        workers = check_workers(client, paths)
        if options.dry_run:
            print(_estimate(opened, client, len(workers)))
            return
        print(f"{len(workers)} workers; dashboard {client.dashboard_link}")
        sys.stdout.flush()
        with Bar("cells") as bar:
            run_study(opened, store, client, workers, progress(bar.show))


def progress(
    show: Callable[[float, str], None], clock: Callable[[], float] = time.monotonic
) -> Callable[[int, int], None]:
    """Return what is told cells done and left, and shows them with the time left."""
    began = clock()

    def told(done: int, left: int) -> None:
        note = f"{done:,} of {done + left:,}"
        if done and left:
            note += f", {duration((clock() - began) / done * left)} left"
        show(done / (done + left) if done + left else 1.0, note)

    return told


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _estimate(opened: OpenedStudy, client: Client, n_workers: int) -> str:
    from loopscope.core.sweeps.running import calibrate

    found = calibrate(opened, client)
    runs = opened.n_runs / len(opened.study.checkpoints)
    seconds = sum(one.seconds for one in found) * runs / n_workers
    lines = [
        f"{one.checkpoint}: {one.seconds:.3g} s a run, {size(one.memory)} a worker" for one in found
    ]
    lines.append(
        f"{opened.n_runs:,} runs on {n_workers} workers: about {duration(seconds)} from the start"
    )
    return "\n".join(lines)
