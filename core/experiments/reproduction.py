"""Measure a small looped model as the source paper does, over a prompt set and several seeds.

What `loopscope reproduce` puts into its page: every number is the mean over prompts of a measure
that the bench shows live (`core.measures`); nothing is measured here that is not measured there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from loopscope.core.arrays import F32
from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.dynamics.recurrence_map import RecurrenceMap
from loopscope.core.experiments.evaluation import evaluate_hops
from loopscope.core.experiments.hops import make_batch
from loopscope.core.experiments.study import SETTLED, STAGES, Interval, Study
from loopscope.core.measures.base import measure
from loopscope.core.measures.head_stability import correlate
from loopscope.core.measures.intervals import Estimate, bootstrap_mean, wilson_share
from loopscope.core.measures.registry import MEASURES
from loopscope.core.measures.settling import relative_floor
from loopscope.core.measures.settling_classes import SettlingClass, settling_class
from loopscope.core.measures.stability import leading_eigenvalues, token_spectrum
from loopscope.core.measures.stages import repeat_correlation
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper

# Prompts whose Jacobian is looked at: the spectrum varies little between them.
N_SPECTRA = 4


def study(
    loaded: Loaded,
    *,
    seed: int,
    name: str,
    hops: int,
    n_letters: int,
    recurrences: int,
    n_prompts: int = 24,
    n_examples: int = 400,
    report: Callable[[float], None] = lambda share: None,
) -> Study:
    """Run ``n_prompts`` fresh prompts of ``hops`` hops and measure them all alike."""
    rng = np.random.default_rng(7_000_003)
    batch = make_batch(rng, np.full(n_prompts, hops), n_letters=n_letters)
    prompts: list[dict[str, Any]] = []
    for i, tokens in enumerate(batch.tokens):
        prompts.append(_one(loaded, tuple(tokens.tolist()), recurrences, i < N_SPECTRA))
        report(0.8 * (i + 1) / n_prompts)
    evaluation = evaluate_hops(
        loaded, hops=(hops,), recurrences=recurrences, n_examples=n_examples, n_letters=n_letters
    )
    report(1.0)
    every = {
        key: np.array([f[key] for f in prompts])
        for key in ("step", "heads", "layers", "separation", "settled")
    }
    mean = {key: every[key].mean(0) for key in ("step", "heads", "layers")}
    stages = {key: np.mean([f["stages"][key] for f in prompts], axis=0) for key in STAGES}
    repeats = {}
    for key, curves in stages.items():
        repeat = repeat_correlation(curves)
        if not repeat.missing:
            repeats[key] = (repeat.consecutive, repeat.with_last)
    counts = Counter(kind for f in prompts for kind in f["classes"])
    total = counts.total()
    r, n = correlate(mean["layers"], mean["heads"], relative_floor(loaded.dtype))
    cells = [evaluation.cell(hops, i + 1) for i in range(recurrences)]
    return Study(
        name, seed, n_prompts, hops, n_letters, recurrences,
        loaded.architecture.trained_recurrences, loaded.architecture.n_block,
        accuracy=[float(c.accuracy) for c in cells],
        chance=cells[0].chance,
        relative_step=mean["step"].tolist(),
        layer_relative_step=mean["layers"].tolist(),
        head_change=mean["heads"].mean(1).tolist(),
        head_settling=r,
        head_settling_n=n,
        separation=float(every["separation"].mean()),
        settled=counts["settled"] / total,
        classes={kind: count / total for kind, count in sorted(counts.items())},
        radius=[f["radius"] for f in prompts if "radius" in f],
        repeats=repeats,
        stages={key: curves.tolist() for key, curves in stages.items()},
        n_examples=n_examples,
        accuracy_interval=[(float(c.low), float(c.high)) for c in cells],
        relative_step_interval=intervals(bootstrap_mean(every["step"])),
        layer_relative_step_interval=[
            intervals(bootstrap_mean(of_layers)) for of_layers in every["layers"].swapaxes(0, 1)
        ],
        head_change_interval=intervals(bootstrap_mean(every["heads"].mean(2))),
        separation_interval=intervals(bootstrap_mean(every["separation"][:, None]))[0],
        settled_interval=intervals(wilson_share(every["settled"][:, None]))[0],
    )  # fmt: skip


def intervals(estimate: Estimate) -> list[Interval]:
    """The ends of an estimate ``[n]``, entry by entry."""
    return list(zip(estimate.low.tolist(), estimate.high.tolist(), strict=True))


def _one(loaded: Loaded, ids: tuple[int, ...], n: int, spectrum: bool) -> dict[str, Any]:
    """Measure one prompt."""
    stepper = Stepper(loaded, Capture(writes=False, readout=False))
    recording = stepper.begin(loaded.tokenizer.from_ids(ids))
    for _ in range(n):
        stepper.step()
    kinds = settling_class(recording.states, SETTLED, dtype=loaded.dtype)
    result: dict[str, Any] = {
        "step": measure(recording, MEASURES["relative_step"]).by_recurrence(),
        "layers": measure(recording, MEASURES["layer_relative_step"]).by_depth(),
        "heads": measure(recording, MEASURES["head_change"]).by_depth(),
        "stages": {key: measure(recording, MEASURES[key]).by_depth() for key in STAGES},
        "classes": [s.kind.value for s in kinds],
        "settled": float(np.mean([s.kind is SettlingClass.SETTLED for s in kinds])),
        "separation": separation(recording),
    }
    if spectrum:
        result["radius"] = _radius(RecurrenceMap(stepper), recording.state(n))
    return result


def _radius(f: RecurrenceMap, state: F32) -> float:
    """Spectral radius at a state: exact of a causal model, else Arnoldi's estimate."""
    if f.model.arch.layer.causal:
        return token_spectrum(f.token_blocks(state)).radius
    return leading_eigenvalues(f.product(state), state.size, 2, tolerance=1e-2, most=60).radius


def separation(recording: Recording) -> float:
    """Mean over tokens and pairs of layers of their distance at the end, over the mean norm.

    0: every layer of the cycle ends in one point and none does anything; NaN with one layer.
    """
    last = recording.n_recurrences
    ends = recording.layer_states_of(last, last)[0].astype(np.float64)
    pairs = [(i, j) for i in range(len(ends)) for j in range(i)]
    if not pairs:
        return float("nan")
    norm = np.linalg.norm(ends, axis=-1).mean(0)
    apart = [np.linalg.norm(ends[i] - ends[j], axis=-1) / norm for i, j in pairs]
    return float(np.mean(apart))
