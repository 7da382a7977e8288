"""What is kept of one prompt: the numbers behind every figure, a few megabytes at most.

Rows are measured as the run makes them and what no longer fits into memory goes to the disk, so
that a prompt takes as much memory as its run is allowed to and leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import F32, F64
from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.measures.base import averaged, measure
from loopscope.core.measures.heads import even_attention, head_statistics
from loopscope.core.measures.limiting_behaviour import (
    Behaviour,
    cosine_series,
    distance_series,
    limiting_behaviour,
    noise_of,
)
from loopscope.core.measures.places import Places
from loopscope.core.measures.projection import fit_pca, project
from loopscope.core.measures.registry import find
from loopscope.core.measures.settling import distance_to_end
from loopscope.core.measures.similarity import attention_distances, cosine_matrix, cycle
from loopscope.core.measures.stages import (
    SINK_THRESHOLD,
    column_concentration,
    matrix_entropy,
    repeat_correlation,
)
from loopscope.core.model.architecture import Architecture
from loopscope.core.paper.plan import LENGTHS, MAPS, STAGES, Plan
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.budget import Budget
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.outside import OutsideLayer, coda_layers, prelude_layers
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper
from loopscope.core.run.steps import distance, ratio, state_norm

Numbers = dict[str, npt.NDArray[np.generic]]
# Bytes of rows that a run has in memory; the oldest beyond them lie in a file.
MOST_HELD = 1 << 30
# Sides of a pattern of the floorplan, in cells, and what a probability of 1 is.
SIDE, FULL = 64, 255
STEPS = {"step_size": "layer_step_size", "step_cosine": "layer_cosine"}


def numbers_of(
    loaded: Loaded,
    prompt: Prompt,
    plan: Plan,
    *,
    floorplan: bool = False,
    report: Callable[[float], None] = lambda share: None,
) -> Numbers:
    """Run one prompt to the plan's last recurrence and measure it; see the other functions.

    ``L`` layers of the block, ``p`` of the prelude, ``c`` of the coda, ``D = plan.deep``:
    ``tokens`` (scalar), of every key of `STEPS` ``[D, L]``, and what `_to_the_end`, `_stages`,
    `_maps`, `_trajectory`, `_limits` and, where it is asked for, `_floorplan` say.
    """
    stepper = Stepper(loaded, Capture(writes=False, readout=False), Budget(MOST_HELD))
    recording = stepper.begin(prompt, seed=plan.seed, interventions=plan.interventions)
    measures = [find(key) for key in (*STEPS.values(), *STAGES)]
    for r in range(plan.deep):
        stepper.step()
        for own in measures:  # the new row alone, while it is in memory
            measure(recording, own)
        report((r + 1) / plan.deep)
    arch = loaded.architecture
    outside = {
        "prelude": prelude_layers(stepper),
        "coda_shown": coda_layers(stepper, plan.shown),
        "coda_long": coda_layers(stepper, plan.long),
        "coda_deep": coda_layers(stepper, plan.deep),
    }
    numbers: Numbers = {"tokens": np.array(recording.n_tokens)}
    for name, key in STEPS.items():
        numbers[name] = measure(recording, find(key)).by_depth()
    numbers |= _to_the_end(recording) | _stages(recording, plan, outside)
    numbers |= _maps(recording, plan, arch, outside) | _trajectory(recording, plan.long)
    numbers |= _limits(recording, loaded.dtype)
    if floorplan:
        numbers |= _floorplan(recording, plan.shown, outside)
    return numbers


def _to_the_end(recording: Recording) -> Numbers:
    """``distance`` and ``distance_cosine`` ``[D, L]``: of each layer to its state at the last r.

    ``‖x[r,l] − x[D,l]‖``, median over tokens, and ``cos(x[r,l], x[D,l])``, their mean.
    """
    n, layers = recording.n_recurrences, recording.n_layers
    apart, alike = np.zeros((n, layers)), np.ones((n, layers))
    for layer in range(layers):
        states = np.stack([recording.layer(r + 1, layer).state for r in range(n)])
        apart[:, layer] = averaged(distance_to_end(states), (1,), "median")
        alike[:-1, layer] = averaged(cosine_series(states), (1,), "mean")
    return {"distance": apart, "distance_cosine": alike}


def _stages(recording: Recording, plan: Plan, outside: dict[str, list[OutsideLayer]]) -> Numbers:
    """Of every stage measure its curves, and how alike they are.

    ``stage.KEY`` ``[D, L]``, ``prelude.KEY`` ``[p]``, ``coda_shown.KEY``, ``coda_deep.KEY``
    ``[c]``, ``null.KEY`` ``[L]`` where even attention has a value; ``repeat.KEY``, correlation of
    the curves over layers of successive recurrences up to the shown one; ``kept.KEY``, of the
    shown recurrence and of the last one; ``drift.KEY``, the mean change between these two over the
    mean size of the first.
    """
    arch, ids = recording.info.architecture, recording.info.token_ids
    numbers: Numbers = {}
    for key in STAGES:
        own = find(key)
        curve = measure(recording, own).by_depth()
        ends = curve[[plan.shown - 1, plan.deep - 1]]
        numbers[f"stage.{key}"] = curve
        numbers[f"repeat.{key}"] = np.array(repeat_correlation(curve[: plan.shown]).consecutive)
        numbers[f"kept.{key}"] = np.array(repeat_correlation(ends).consecutive)
        size = np.abs(ends[:1]).mean(1)
        numbers[f"drift.{key}"] = ratio(np.abs(ends[1:] - ends[:1]).mean(1), size)[0]
        if own.null is not None:
            t, causal = recording.n_tokens, arch.layer.causal
            even = {w: even_attention(t, causal=causal, window=w) for w in set(arch.windows)}
            numbers[f"null.{key}"] = np.array([own.null(even[w]) for w in arch.windows])
    for where, layers in outside.items():
        for key, values in outside_values(arch, ids, layers).items():
            numbers[f"{where}.{key}"] = values
    return numbers


def outside_values(
    arch: Architecture, ids: Sequence[int], layers: Sequence[OutsideLayer]
) -> dict[str, F64]:
    """The stage measures of layers outside the loop, as the live ones are: float64 ``[n]`` each."""
    found: dict[str, list[float]] = {key: [] for key in STAGES}
    for layer in layers:
        heads = head_statistics(layer.pattern, ids, causal=arch.layer.causal, window=layer.window)
        found["column_concentration"].append(float(column_concentration(layer.pattern).mean()))
        found["entropy"].append(float(heads.entropy.mean()))
        found["sink_rate"].append(float((heads.sink >= SINK_THRESHOLD).mean()))
        found["residual_norm"].append(float(np.median(state_norm(layer.state))))
        found["matrix_entropy"].append(float(matrix_entropy(layer.state)))
    return {key: np.array(values) for key, values in found.items()}


def _maps(
    recording: Recording, plan: Plan, arch: Architecture, outside: dict[str, list[OutsideLayer]]
) -> Numbers:
    """Distance of every place to every other, and whether equal layers are alike.

    ``map.BY.LENGTH`` float32 ``[N, N]``, by "attention" or "cosine": prelude, the plan's places,
    coda. ``cycle.BY`` ``[3]``: mean over pairs of different recurrences of equal and of different
    layers, and their contrast, at the shown recurrences.
    """
    numbers: Numbers = {}
    for length in LENGTHS:
        places = plan.places(arch, length)
        before, after = outside["prelude"], outside[f"coda_{length}"]
        patterns = [*(o.pattern for o in before), *_patterns(recording, places)]
        patterns += [o.pattern for o in after]
        states = [*(o.state for o in before), *_states(recording, places)]
        states += [o.state for o in after]
        maps = {
            "attention": attention_distances(patterns, patterns, arch.layer.causal),
            "cosine": cosine_matrix(states, states),
        }
        for by in MAPS:
            numbers[f"map.{by}.{length}"] = maps[by].astype(np.float32)
            if length == "shown":
                inside = slice(len(before), len(before) + len(places))
                found = cycle(maps[by][inside, inside], arch.n_block, by == "attention")
                numbers[f"cycle.{by}"] = np.array([found.same, found.different, found.contrast])
    return numbers


def _patterns(recording: Recording, places: Places) -> list[F32]:
    return [one for r in places.recurrences for one in recording.patterns_of(r, r)[0]]


def _states(recording: Recording, places: Places) -> list[F32]:
    return [one for r in places.recurrences for one in recording.layer_states_of(r, r)[0]]


def _trajectory(recording: Recording, n: int) -> Numbers:
    """The final token's way through the plane of two joint components.

    ``trajectory`` ``[n, L, 2]``; ``plane`` ``[4]``: the components' share of the variance; the
    largest relative step of a layer in recurrence n; the smallest and the largest relative
    distance of two layers' states in it (NaN of a block of one layer).
    """
    token, layers = recording.n_tokens - 1, recording.n_layers
    path = np.stack(
        [recording.layer(r + 1, layer).state[token] for r in range(n) for layer in range(layers)]
    )
    finite = np.isfinite(path).all()
    basis = fit_pca(path if finite else path[:0], 2)
    points = np.full((n, layers, 2), np.nan)
    share = np.nan
    if finite and len(basis.components) == 2:
        points = project(path, basis.mean, basis.components).reshape(n, layers, 2)
        total = basis.total_variance
        share = float(basis.explained_variance.sum() / total) if total > 0 else np.nan
    last = path.reshape(n, layers, -1)[-1].astype(np.float64)
    before = path.reshape(n, layers, -1)[-2].astype(np.float64)
    closing = ratio(distance(last, before), state_norm(last)).max()
    apart = _apart(last)
    return {"trajectory": points, "plane": np.array([share, closing, *apart])}


def _apart(cycle_states: F64) -> tuple[float, float]:
    """Smallest and largest ``2 ‖x_l − x_l′‖ / (‖x_l‖ + ‖x_l′‖)`` of two layers ``[L, d]``."""
    i, j = np.triu_indices(len(cycle_states), 1)
    if not len(i):
        return np.nan, np.nan
    norms = state_norm(cycle_states)
    sizes = ratio(2 * distance(cycle_states[i], cycle_states[j]), norms[i] + norms[j])
    return float(sizes.min()), float(sizes.max())


def _limits(recording: Recording, dtype: str) -> Numbers:
    """``limits`` int64 ``[2, K]``: tokens of each `Behaviour`, by cosine and by distance."""
    states = recording.states_of(1, recording.n_recurrences)
    series = {"cosine": cosine_series(states), "distance": distance_series(states)}
    kinds = list(Behaviour)
    counts = np.zeros((len(series), len(kinds)), np.int64)
    for i, (name, values) in enumerate(series.items()):
        for limit in limiting_behaviour(values, noise=noise_of(name, dtype)):
            counts[i, kinds.index(limit.kind)] += 1
    return {"limits": counts}


def _floorplan(recording: Recording, shown: int, outside: dict[str, list[OutsideLayer]]) -> Numbers:
    """``floorplan`` uint8 ``[p + shown L + c, H, S, S]``: every pattern, at most `SIDE` cells wide.

    A cell is the largest attention of the entries that it stands for.
    """
    every = [o.pattern for o in outside["prelude"]]
    every += [one for r in range(shown) for one in recording.patterns_of(r + 1, r + 1)[0]]
    every += [o.pattern for o in outside["coda_shown"]]
    return {"floorplan": np.stack([_smaller(pattern) for pattern in every])}


def _smaller(patterns: F32) -> npt.NDArray[np.uint8]:
    """``[H, T, T]`` as bytes ``[H, S, S]``."""
    t = patterns.shape[-1]
    step = -(-t // SIDE)
    room = -(-t // step) * step - t
    padded = np.pad(np.nan_to_num(patterns), ((0, 0), (0, room), (0, room)))
    cells = padded.reshape(len(patterns), (t + room) // step, step, (t + room) // step, step)
    return np.asarray(np.rint(cells.max((2, 4)) * FULL), np.uint8)
