"""What is measured over many prompts, in shared runs against one prompt after the other.

In processor time of one thread, each round both in turn; the ratio is the median over rounds.
One after the other is the same code with runs of one prompt.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from models import tiny_architecture, tiny_checkpoint

from loopscope.core.analyses import correspondence, exits
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.experiments.hops import make_batch, text_of
from loopscope.core.experiments.probe.conditions import Plan
from loopscope.core.experiments.probe.running import Batch, hops_batch, probe
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.measures.registry import MEASURES
from loopscope.core.model.layer_shape import LayerShape
from loopscope.core.over_prompts import batches
from loopscope.core.over_prompts.measuring import measure_over
from loopscope.core.over_prompts.quality import quality_over
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.run.stepper import Stepper
from loopscope.core.views.correspondence import Options

PROMPTS, RECURRENCES, ROUNDS = 256, 6, 7
HOW = HowRun(RECURRENCES)
pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]


def bundled_set(n: int = PROMPTS) -> PromptSet:
    counts = np.array([1 + i % 6 for i in range(n)])
    rows = make_batch(np.random.default_rng(0), counts).tokens
    items = [Item(text_of(row), "a b c d e f g h", i) for i, row in enumerate(rows, start=1)]
    return PromptSet("generated", "generated", tuple(items))


@contextmanager
def one_by_one() -> Iterator[None]:
    """Runs of one prompt."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "MOST_TOKENS", 0)
        yield


def ratio(work: Callable[[], object], rounds: int = ROUNDS) -> tuple[float, float]:
    """Median of one by one over together, and seconds of processor time of the latter."""
    torch.set_num_threads(1)
    ratios, together = [], []
    for i in range(rounds + 1):
        started = time.thread_time()
        work()
        middle = time.thread_time()
        with one_by_one():
            work()
        if i:
            ratios.append((time.thread_time() - middle) / (middle - started))
            together.append(middle - started)
    return round(statistics.median(ratios), 2), round(statistics.median(together), 2)


def bundled_tasks(looped: Loaded) -> dict[str, Callable[[], Any]]:
    prompts = bundled_set()
    deep = load("bundled:deep", "cpu")
    steppers = []
    for loaded, n in ((looped, RECURRENCES), (deep, 1)):
        loaded.shared.prompts = prompts
        steppers.append(Stepper(loaded))
        steppers[-1].begin(loaded.tokenizer.encode(prompts.items[0].text))
        for _ in range(n):
            steppers[-1].step()
    job: Any = SimpleNamespace(report=lambda share: None)
    selection: Any = None
    options = Options(prompts=PROMPTS)
    return {
        "measure (relative step)": lambda: measure_over(
            looped, prompts, [MEASURES["relative_step"]], HOW
        ),
        "measure (entropy of heads)": lambda: measure_over(
            looped, prompts, [MEASURES["entropy"]], HOW
        ),
        "quality": lambda: quality_over(looped, prompts, HOW),
        "exits": lambda: exits.run(steppers[0], selection, exits.Options(), job),
        "correspondence": lambda: correspondence.compare(
            steppers[0].recording, looped, steppers[1], options
        ),
    }


@pytest.mark.parametrize("task", range(5))
def test_over_the_bundled_model(say: Callable[..., None], task: int) -> None:
    name, work = list(bundled_tasks(load("bundled:looped", "cpu")).items())[task]
    times, seconds = ratio(work, 1 if name == "correspondence" else ROUNDS)
    say(f"{name} over {PROMPTS} prompts, one by one over together", ratio=times, together_s=seconds)


def test_the_probe(say: Callable[..., None]) -> None:
    """One by one for a few of the prompts, as it would take an hour for all."""
    loaded, plan, few = load("bundled:looped", "cpu"), Plan(8, 3, 5), 4
    whole = hops_batch(loaded, PROMPTS, (1, 2, 3, 4, 5, 6))
    torch.set_num_threads(1)
    started = time.thread_time()
    probe(loaded, whole, plan)
    middle = time.thread_time()
    for i in range(few):
        one = Batch(whole.tokens[i : i + 1], whole.answers[i : i + 1], whole.chance, whole.task)
        probe(loaded, one, plan)
    apart = (time.thread_time() - middle) / few * PROMPTS
    say(
        f"probe over {PROMPTS} prompts, one by one over together",
        ratio=round(apart / (middle - started), 2),
        together_s=round(middle - started, 2),
    )


@pytest.mark.parametrize(("d", "longest"), [(256, 64), (768, 64), (768, 256)], ids=str)
def test_over_a_large_model(say: Callable[..., None], tmp_path: Path, d: int, longest: int) -> None:
    """Prompts of 16 tokens to ``longest``."""
    arch = replace(
        tiny_architecture(n_block=4),
        layer=LayerShape(d, d // 64, d // 64, 64, 4 * d, activation="gelu", gated=False),
        max_positions=longest,
    )
    loaded = load(str(tiny_checkpoint(tmp_path / "m", arch)), "cpu")
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, 39, n) for n in rng.integers(16, longest + 1, 16)]
    items = [Item("#" + ",".join(map(str, ids)), None, i) for i, ids in enumerate(drawn, start=1)]
    prompts, step = PromptSet("p", "p", tuple(items)), MEASURES["relative_step"]
    times, seconds = ratio(lambda: measure_over(loaded, prompts, [step], HowRun(3)))
    say(
        f"relative step of 16 prompts of 16 to {longest} tokens, d {d} x 4 layers, one by one over "
        "together",
        ratio=times,
        together_s=seconds,
    )
