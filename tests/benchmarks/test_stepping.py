"""What stepping and recording cost over a bare forward of the same model, on one thread.

Over two baselines: a forward of R recurrences that reads out once at its end, and one that reads out
both lenses' logits after each recurrence, as everything that is kept needs. In processor time, which
a busy machine leaves as it is; each round times all of them in turn. Readouts that wait are made
within the time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from models import tiny_architecture, tiny_checkpoint

from loopscope.core.checkpoint.loading import load
from loopscope.core.model.layer_shape import LayerShape
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.stepper import Stepper

CAPTURES = {
    "states": Capture(patterns=False, writes=False, readout=False),
    "states, patterns": Capture(patterns=True, writes=False, readout=False),
    "everything": Capture(),
}


# Width, layers of the block, tokens, recurrences: fewer of these where each takes seconds.
SIZES = [
    (64, 2, 27, 8),
    (768, 4, 16, 8),
    (768, 4, 256, 8),
    (768, 2, 512, 5),
    (768, 2, 1024, 4),
]
ROUNDS = 7


def spent(work: Callable[[], None], times: int) -> float:
    """Seconds of this thread's processor time that ``work`` takes."""
    started = time.thread_time()
    for _ in range(times):
        work()
    return (time.thread_time() - started) / times


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("d", "n_block", "t", "recurrences"), SIZES, ids=str)
def test_step_overhead(
    say: Callable[..., None], tmp_path: Path, d: int, n_block: int, t: int, recurrences: int
) -> None:
    heads = 4 if d == 64 else 12
    arch = replace(
        tiny_architecture(n_block=n_block),
        layer=LayerShape(d, heads, heads, d // heads, 4 * d, activation="gelu", gated=False),
        max_positions=1024,
    )
    loaded = load(str(tiny_checkpoint(tmp_path / "m", arch)), "cpu")
    torch.set_num_threads(1)
    ids = tuple(i % 39 for i in range(t))
    prompt = Prompt("", ids, tuple(map(str, ids)))
    tokens = torch.tensor([ids])

    def bare() -> None:
        with torch.inference_mode():
            loaded.model(tokens, recurrences)

    @torch.inference_mode()
    def reading() -> None:
        model, e = loaded.model, loaded.model.prelude(tokens)
        recurrent = model.begin(model.initial_state(e))
        for r in range(recurrences):
            recurrent = model.recur(recurrent, e, first=r == 0, recurrence=r + 1)
            model.readout(recurrent.state)
            model.head(recurrent.state)

    def stepped(capture: Capture) -> None:
        stepper = Stepper(loaded, capture)
        stepper.begin(prompt)
        for _ in range(recurrences):
            stepper.step()
        stepper.recording.readouts.make()

    # One call of a small model is within the noise of the clock.
    times = 10 if d == 64 else 1
    ratios: dict[str, list[float]] = {}
    for i in range(ROUNDS + 1):
        base, often = spent(bare, times), spent(reading, times)
        for name, capture in CAPTURES.items():
            own = spent(partial(stepped, capture), times)
            if i:
                ratios.setdefault(name, []).append(own / base)
                ratios.setdefault(f"{name}, over reading out as often", []).append(own / often)
    say(
        f"stepping over a bare forward, d {d} x {n_block} layers, T {t}, R {recurrences}",
        **{name: round(statistics.median(r), 3) for name, r in ratios.items()},
        bare_ms=round(base * 1e3, 2),
    )
