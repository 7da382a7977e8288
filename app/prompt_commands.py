"""The commands that run over a prompt file."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from loopscope.app.terminal import Bar, loop_of, warn

if TYPE_CHECKING:
    from loopscope.core.loading import Loaded
    from loopscope.core.measures.base import Measure
    from loopscope.core.measures.over_prompts import HowRun
    from loopscope.core.prompt_set import PromptSet


def measured(options: Namespace, measures: list[Measure]) -> dict[str, Any]:
    """Measure every prompt of ``--prompts``; means with intervals and every prompt's values."""
    from loopscope.core.measures.over_prompts import HowRun
    from loopscope.core.running_prompts import measure_over

    how = HowRun(options.recurrences, options.seed)
    prompts, loaded = _opened(options)
    with Bar("prompts") as bar:
        found = measure_over(loaded, prompts, measures, how, bar.show)
    return about(loaded, prompts, how) | {
        "measures": {key: one.as_json() for key, one in found.items()}
    }


def about(loaded: Loaded, prompts: PromptSet, how: HowRun) -> dict[str, Any]:
    """Where the numbers of a document come from."""
    from loopscope.core.loading import package_version
    from loopscope.core.measures.over_prompts import INTERVAL

    return {
        "loopscope": package_version(),
        "checkpoint": loaded.checkpoint.name,
        "weights sha256": loaded.weights_hash,
        "device": str(loaded.device.device),
        "dtype": loaded.dtype,
        "prompt file": prompts.name,
        "n_prompts": len(prompts),
        "recurrences": how.recurrences,
        "seed": how.seed,
        "interval": INTERVAL,
    }


def _opened(options: Namespace) -> tuple[PromptSet, Loaded]:
    from loopscope.core.loading import load
    from loopscope.core.prompt_set import read_prompts

    prompts = read_prompts(options.prompts)
    loaded = load(options.path, options.device, options.dtype, loop_of(options))
    warn(loaded)
    return prompts, loaded
