"""A cell of a study opened as a run in the bench."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from loopscope.app.bench.bench import Bench
from loopscope.app.window.opening import FirstRun, Opening
from loopscope.core.labels import printable
from loopscope.core.run.requests import RunRequest
from loopscope.core.sweeps.grid import Run
from loopscope.core.sweeps.study import BUNDLED, StudyCheckpoint


def open_run(
    bench: Bench, opening: Opening, own: StudyCheckpoint, run: Run, r: int,
    say: Callable[[str], None],
) -> str:  # fmt: skip
    """Run ``r`` recurrences of a cell; its checkpoint is loaded where it is not in use.

    Returns why it cannot be opened, or "".
    """
    if not own.path.startswith(BUNDLED) and not Path(own.path).expanduser().exists():
        return f"{own.name} is not on this machine: {own.path}"
    request = RunRequest(run.item.text, run.seed, run.start.start, run.start.scale, r, run.cuts)
    words = (
        f"{own.name}, {run.prompts}, line {run.item.line}: {printable(run.item.text)[:60]}; "
        f"R = {r}, seed {run.seed}, start {run.start.label}, {run.intervention}"
    )
    loaded = bench.session.status.loaded
    wanted = own.request
    same = loaded is not None and not loaded.request.on and (
        (loaded.request.path, loaded.request.dtype, loaded.request.loop, loaded.request.family)
        == (wanted.path, wanted.dtype, wanted.loop, wanted.family)
        and wanted.device in ("auto", loaded.request.device)
    )  # fmt: skip
    if same:
        bench.begin(request)
    else:
        first = FirstRun(request.prompt, r, run.cuts, request)
        opening.open(
            wanted.path, first, device=wanted.device, dtype=wanted.dtype, loop=wanted.loop,
            family=wanted.family,
        )  # fmt: skip
    say(f"Opened {words}")
    return ""
