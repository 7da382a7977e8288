"""What the screen's thread spends on each view: `python -m tests.benchmarks.screen --write`.

Shows every view alone, offscreen, at the size named beside it, and writes the table into the README,
between its markers. A redraw is from new data to painted, a scrub the next recurrence (with its
data, where the view computes with it), a move the next token under the cursor. Computing the data is
the analysis thread's and not in it. Median processor time of the thread, so that a busy machine
leaves it as it is.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from measured import SMALL, Desk
from PySide6.QtWidgets import QApplication
from recordings import synthetic_recording, with_results
from timing import median_cpu_ms

from loopscope.app.view_spec import ViewSpec
from loopscope.app.views import VIEW_SPECS
from loopscope.core.measures.path_independence import PATHS, Paths
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.widgets.kit.view import View

BEGIN, END = "<!-- screen: written by tests/benchmarks/screen.py -->", "<!-- end of screen -->"
README = Path(__file__).parents[2] / "README.md"
SHOWN = (700, 480)
# Milliseconds that are asked for: a redraw, a scrub, a move.
BOUNDS = (16.0, 16.0, 4.0)
STATES = Capture(patterns=False, writes=True, readout=True)
PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"


@dataclass(frozen=True)
class Size:
    """What a view is shown of: words, and how it is made."""

    words: str
    make: Callable[[], Recording]


def made(**sizes: Any) -> Callable[[], Recording]:
    return lambda: synthetic_recording(**sizes)


def bundled(key: str) -> Recording:
    """64 recurrences of the bundled model with the view's own measurement."""
    from loopscope.core.checkpoint.loading import load
    from loopscope.core.run.jobs import Job
    from loopscope.core.run.stepper import Stepper

    loaded = load("bundled:looped", "cpu")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode(PROMPT))
    for _ in range(64):
        stepper.step()
    spec = next(spec for spec in VIEW_SPECS if spec.key == key)
    if key != "exits" and (request := spec.request) is not None:
        job: Job[Any] = Job(key)
        recording.keep(request.result, spec.analysis()(stepper, Selection(64), spec.options(), job))
    return recording


def together(key: str) -> Recording:
    """16 recurrences of the bundled looped model, measured beside the bundled deep one."""
    desk = Desk(16)
    spec = next(spec for spec in VIEW_SPECS if spec.key == key)
    options = replace(spec.options(), **SMALL.get(key, {}))
    desk.measure(spec, Selection(16), options)
    return desk.recording


def with_paths() -> Recording:
    """Trajectories and those of another start, which come closer at the rate of the block."""
    recording = TRAJECTORIES()
    states = recording.states
    apart = np.linspace(0.5, 2, states.shape[1])[:, None] * 0.7 ** np.arange(len(states))
    other = states + apart.T[..., None].astype(np.float32)
    recording.keep(PATHS, Paths(np.stack([states, other]), ("the run (zeros)", "another start")))
    return recording


TRAJECTORIES = made(recurrences=64, n_block=2, tokens=1000, heads=1, capture=STATES)
SIZES = {
    "state_space": Size("1,000 trajectories × 64", TRAJECTORIES),
    "settling": Size("1,000 tokens × 64", TRAJECTORIES),
    "distance": Size("1,000 tokens × 64", TRAJECTORIES),
    "readout": Size("1,000 tokens × 64", TRAJECTORIES),
    "heads": Size("768 heads × 512", made(recurrences=512, n_block=24, tokens=4, d=64, heads=32)),
    "head_map": Size("512 × 512", made(recurrences=512, n_block=2, tokens=16)),
    "pattern": Size("T = 1,024", made(recurrences=3, n_block=1, tokens=1024, heads=1)),
    "depth": Size("24 layers × 512", made(recurrences=512, n_block=24, tokens=8)),
    "similarity": Size("2 layers × 512", made(recurrences=512, n_block=2, tokens=16)),
    "graph": Size("1,000 copies", made(recurrences=125, n_block=8)),
    "stability": Size("1,000 tokens", lambda: with_results(TRAJECTORIES())),
    "paths": Size("1,000 tokens × 64", with_paths),
    "lens": Size("27 tokens × 64", lambda: bundled("lens")),
    "correspondence": Size("8 × 4 heads", lambda: together("correspondence")),
    "probe": Size("48 runs", lambda: together("probe")),
    "prompts": Size("3 prompts × 16", lambda: together("prompts")),
    "quality": Size("3 prompts × 16", lambda: together("quality")),
    "exits": Size("27 tokens × 64", lambda: bundled("exits")),
}


def painted() -> None:
    QApplication.processEvents()


def turns(steps: list[Callable[[], None]]) -> Callable[[], None]:
    """One step after the other, painted."""
    turn = [0]

    def work() -> None:
        turn[0] += 1
        steps[turn[0] % len(steps)]()
        painted()

    return work


def measured(spec: ViewSpec[Any, Any], size: Size) -> tuple[float, float, float]:
    """Milliseconds of a redraw, a scrub and a move."""
    recording = size.make()
    n = recording.n_recurrences
    options, view = spec.options(), spec.view()
    places = [Selection(recurrence=r) for r in (max(n - 1, 1), n)]
    datas = [spec.compute(recording, place, options) for place in (*places, places[-1])]
    view.resize(*SHOWN)
    view.show()
    show(view, datas[1], places[1])
    painted()
    redraw = [lambda i=i: show(view, datas[i], places[1]) for i in (1, 2)]
    reads = "recurrence" in spec.reads
    scrub: list[Callable[[], None]] = [
        (lambda i=i: show(view, datas[i], places[i])) if reads
        else (lambda i=i: view.show_selection(places[i], {}))
        for i in (0, 1)
    ]  # fmt: skip
    moves = [
        lambda t=t: view.show_selection(replace(places[1], token=t), {"token": t})
        for t in range(min(recording.n_tokens, 7))
    ]
    found = [median_cpu_ms(turns(own)) for own in (redraw, scrub, moves)]
    view.close()
    view.deleteLater()
    painted()
    return found[0], found[1], found[2]


def show(view: View[Any], data: Any, selection: Selection) -> None:
    view.show_data(data)
    view.show_selection(selection, {})


def rows(keys: list[str]) -> Iterator[tuple[str, str, tuple[float, float, float]]]:
    for spec in VIEW_SPECS:
        if (not keys or spec.key in keys) and spec.key in SIZES:
            yield spec.title, SIZES[spec.key].words, measured(spec, SIZES[spec.key])


def table(found: list[tuple[str, str, tuple[float, float, float]]]) -> str:
    left = [spec.title for spec in VIEW_SPECS if spec.key not in SIZES]
    over = sum(ms > bound for *_, own in found for ms, bound in zip(own, BOUNDS, strict=True))
    asked = " / ".join(f"{bound:g}" for bound in BOUNDS)
    return "\n".join([
        f"Processor time of the screen's thread in ms, medians of 15, {SHOWN[0]} × {SHOWN[1]} pixels "
        f"offscreen, {platform.machine()}; asked: at most {asked}; {over} above it. Not "
        f"measured here: {', '.join(left)}.",
        "", "| view | size | redraw | scrub | move |", "|---|---|---|---|---|",
        *(f"| {title} | {words} | " + " | ".join(f"{ms:.1f}" for ms in own) + " |"
          for title, words, own in found),
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--views", nargs="*", default=[], help="which, by their keys")
    parser.add_argument("--write", action="store_true", help="put the table into the README")
    options = parser.parse_args()
    application = QApplication.instance() or QApplication([])
    found = []
    for title, words, own in rows(options.views):
        print(f"{title}, {words}: " + ", ".join(f"{ms:.1f}" for ms in own), flush=True)
        found.append((title, words, own))
    if options.write:
        whole = README.read_text(encoding="utf-8")
        before, rest = whole.split(BEGIN)
        after = rest.split(END)[1]
        README.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{after}", encoding="utf-8")
    del application


if __name__ == "__main__":
    main()
