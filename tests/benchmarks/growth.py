"""How cost grows with a run: `python -m tests.benchmarks.growth --write`.

Each size is doubled four times and the exponent of the processor time is fitted over all five: 0 is
a cost that stays, 1 one that is proportional to the size, 2 its square. Written into docs/growth.md,
between its markers. Of recurrences it is one more after so many: a view shows it as well, a measure
is taken of it, the model makes it. Tokens and layers are those of a whole run of 16 recurrences;
prompts and branches are all of them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from measured import SMALL, Desk
from models import tiny_architecture, tiny_checkpoint
from recordings import go_on, synthetic_recording, with_results

from loopscope.app.view_spec import ViewSpec
from loopscope.app.views import VIEW_SPECS
from loopscope.core.checkpoint.loading import load
from loopscope.core.interventions.states import Noise
from loopscope.core.measures.base import measure
from loopscope.core.measures.registry import MEASURES
from loopscope.core.prompts.prompt_set import read_prompts
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection

BEGIN, END = "<!-- growth: written by tests/benchmarks/growth.py -->", "<!-- end of growth -->"
PAGE = Path(__file__).parents[2] / "docs" / "growth.md"
DOUBLINGS, TAKES = 4, 5
# The first of five sizes of each kind; recurrences of a run whose tokens or layers grow.
FIRST = {"recurrences": 32, "tokens": 16, "layers": 2, "branches": 4, "prompts": 8}
RECURRENCES = 16

# Gives what is timed, ready: called anew for each take, with the size.
Make = Callable[[int], Callable[[], object]]


def exponent(kind: str, make: Make) -> tuple[float, list[float]]:
    """The fitted exponent, and milliseconds of processor time at each size, the least of some."""
    sizes = [FIRST[kind] << i for i in range(DOUBLINGS + 1)]
    spent = []
    for size in sizes:
        takes = []
        for _ in range(TAKES):
            work = make(size)
            started = time.thread_time()
            work()
            takes.append((time.thread_time() - started) * 1e3)
        spent.append(min(takes))
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(spent, 1e-3)), 1)[0]), spent


def synthetic(kind: str, size: int) -> Recording:
    grown = {"recurrences": RECURRENCES, "tokens": 4, "n_block": 2} | {
        {"layers": "n_block"}.get(kind, kind): size
    }
    return with_results(synthetic_recording(**grown))


def of_view(spec: ViewSpec[Any, Any], kind: str) -> Make:
    """Computing what a view shows; of one more recurrence after what was shown before."""
    kept: dict[int, Recording] = {}

    def make(size: int) -> Callable[[], object]:
        def compute() -> object:
            tokens = tuple(range(recording.n_tokens))
            place = Selection(recurrence=recording.n_recurrences, tokens=tokens)
            return spec.compute(recording, place, spec.options())

        if kind == "recurrences":
            # One run for all takes, which goes on: that is what the next recurrence costs.
            recording = kept.setdefault(size, synthetic(kind, size))
            compute()
            go_on(recording)
        else:
            recording = synthetic(kind, size)
        return compute

    return make


def of_measure(key: str, kind: str) -> Make:
    kept: dict[int, Recording] = {}

    def make(size: int) -> Callable[[], object]:
        if kind == "recurrences":
            recording = kept.setdefault(size, synthetic(kind, size))
            measure(recording, MEASURES[key])
            go_on(recording)
        else:
            recording = synthetic(kind, size)
        return lambda: measure(recording, MEASURES[key])

    return make


def of_stepping(kind: str, folder: Path) -> Make:
    """Stepping a small model with everything kept: one recurrence, or a run of 16."""
    loaded: dict[int, Any] = {}

    def make(size: int) -> Callable[[], object]:
        layers = size if kind == "layers" else 2
        if layers not in loaded:
            arch = replace(tiny_architecture(n_block=layers), max_positions=1024)
            loaded[layers] = load(str(tiny_checkpoint(folder / f"{layers}", arch)), "cpu")
        ids = tuple(i % 39 for i in range(size if kind == "tokens" else 8))
        stepper = Stepper(loaded[layers])
        stepper.begin(Prompt("", ids, tuple(map(str, ids))))
        for _ in range(size if kind == "recurrences" else 0):
            stepper.step()
        n = 8 if kind == "recurrences" else RECURRENCES

        def work() -> None:
            for _ in range(n):
                stepper.step()
            stepper.recording.readouts.make()

        stepper.recording.readouts.make()
        return work

    return make


def of_branches(size: int) -> Callable[[], object]:
    stepper, middle = Desk(RECURRENCES).stepper, RECURRENCES // 2

    def work() -> None:
        for i in range(size):
            branch = stepper.branch((Noise(recurrence=middle, last=middle, layer=0, seed=i),))
            branch.step()

    return work


def of_prompts(spec: ViewSpec[Any, Any]) -> Make:
    desk, prompts = Desk(6), read_prompts("bundled:hops")

    def make(size: int) -> Callable[[], object]:
        items = (prompts.items * (1 + size // len(prompts.items)))[:size]
        for own in (desk.stepper, desk.deep):
            own.loaded.shared.prompts = replace(prompts, items=items)
        options = replace(spec.options(), **SMALL.get(spec.key, {}))
        if hasattr(options, "prompts"):
            options = replace(options, prompts=size)
        return lambda: desk.measure(spec, Selection(6), options)

    return make


# Measured views whose results `with_results` gives, and those that are measured over prompts.
OF_A_RUN = ("stability", "paths")
OVER_PROMPTS = ("prompts", "quality", "exits", "correspondence", "probe")
KINDS = ("recurrences", "tokens", "layers")


def rows(names: list[str]) -> Iterator[tuple[str, dict[str, tuple[float, list[float]]]]]:
    """Name of a view or measure, and what `exponent` says of each kind of size."""

    def wanted(name: str) -> bool:
        return not names or any(part.lower() in name.lower() for part in names)

    with tempfile.TemporaryDirectory() as place:
        if wanted("Stepping"):
            folder = Path(place)
            found = {kind: exponent(kind, of_stepping(kind, folder)) for kind in KINDS}
            yield "Stepping", found | {"branches": exponent("branches", of_branches)}
    for spec in VIEW_SPECS:
        if not wanted(spec.title):
            continue
        found = {}
        if spec.request is None or spec.key in OF_A_RUN:
            found = {kind: exponent(kind, of_view(spec, kind)) for kind in KINDS}
        if spec.key in OVER_PROMPTS:
            found["prompts"] = exponent("prompts", of_prompts(spec))
        if found:
            yield spec.title, found
    for key, quantity in MEASURES.items():
        if wanted(key) and not quantity.missing(synthetic("tokens", 4)):
            yield f"`{key}`", {kind: exponent(kind, of_measure(key, kind)) for kind in KINDS}


def table(found: list[tuple[str, dict[str, tuple[float, list[float]]]]]) -> str:
    """A row for each view and measure, a column for each kind of size."""

    def cell(own: tuple[float, list[float]] | None) -> str:
        return "–" if own is None else f"{own[0]:.2f} ({own[1][-1]:.3g} ms)"

    head = [f"{kind} {first} to {first << DOUBLINGS}" for kind, first in FIRST.items()]
    lines = [f"| | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for name, own in found:
        lines.append(f"| {name} | {' | '.join(cell(own.get(kind)) for kind in FIRST)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--of", nargs="*", default=[], help="which, by parts of their names")
    parser.add_argument("--write", action="store_true", help="put the table into its page")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for name, own in rows(options.of):
        said = ", ".join(
            f"{k} {e:.2f} [{', '.join(f'{t:.3g}' for t in ms)}]" for k, (e, ms) in own.items()
        )
        print(f"{name}: {said}", flush=True)
        found.append((name, own))
    if options.write:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(
            f"{before}{BEGIN}\n{table(found)}\n{END}{rest.split(END)[1]}", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
