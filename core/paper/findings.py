"""What all prompts together gave: the data that the figures draw and the sections speak of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import F64
from loopscope.core.measures.base import Measure
from loopscope.core.measures.intervals import Estimate, wilson_share
from loopscope.core.measures.limiting_behaviour import Behaviour
from loopscope.core.measures.registry import find
from loopscope.core.measures.settling import relative_floor
from loopscope.core.model.architecture import Architecture
from loopscope.core.paper.plan import LENGTHS, MAPS, STAGES, Plan, depth_names
from loopscope.core.paper.pool import Pool

# Prompts whose trajectories are drawn.
MOST_DRAWN = 2
# The series that Algorithm 1 is run on, and its classes in the order of the table.
SERIES = ("cosine", "distance")
CLASSES = tuple(Behaviour)


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One measure of the stages of inference, means over prompts.

    curve : ``[D, L]``.  prelude, coda, coda_deep : ``[p]``, ``[c]``, the coda after the shown
        and after the last recurrence.  null : of even attention, ``[L]``, or None.
    repeat, kept, drift : single numbers, as `numbers` says.
    """

    measure: Measure
    curve: Estimate
    prelude: Estimate
    coda: Estimate
    coda_deep: Estimate
    null: F64 | None
    repeat: Estimate
    kept: Estimate
    drift: Estimate

    @property
    def name(self) -> str:
        """What the paper calls it."""
        return "mixing score" if self.measure.key == "entropy" else self.measure.formula.name


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """Every place along depth against every other, mean over prompts.

    values : ``[N, N]``.  by : "attention" or "cosine".  names : of the places.
    n_prelude, n_layers, n_coda : places of the prelude, of one recurrence and of the coda.
    recurrences : those that it has.
    """

    values: F64
    by: str
    names: tuple[str, ...]
    n_prelude: int
    n_layers: int
    n_coda: int
    recurrences: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Everything on the page.

    n : prompts.  tokens : of the shortest and of the longest of them.
    steps, ends : ``[D, L]`` by name: `STEPS`, and "distance", "distance_cosine" to the last state.
    maps : by (what, length).  cycles : ``[3]``, same, different and contrast, by what.
    trajectories : ``[n, L, 2]`` of the first prompts.  plane : ``[4]``, see `numbers`.
    token_shares, prompt_shares : ``[2, K]``: share of tokens of each class, and of prompts with
        such a token, by series.
    floorplan : uint8 ``[places, H, S, S]`` of the first prompt, or None where it is not done.
    """

    plan: Plan
    arch: Architecture
    dtype: str
    n: int
    tokens: tuple[int, int]
    n_tokens: int
    steps: dict[str, Estimate]
    ends: dict[str, Estimate]
    stages: dict[str, Stage]
    maps: dict[tuple[str, str], DepthMap]
    cycles: dict[str, Estimate]
    trajectories: tuple[F64, ...]
    plane: Estimate
    token_shares: Estimate
    prompt_shares: Estimate
    floorplan: npt.NDArray[np.uint8] | None

    @property
    def floor(self) -> float:
        """Step that rounding leaves, in state units: of the mean norm of the last recurrence."""
        norms = self.stages["residual_norm"].curve.value[-1]
        return relative_floor(self.dtype) * float(np.nanmean(norms))


def findings(pool: Pool, plan: Plan, arch: Architecture, dtype: str) -> Findings:
    """Put the prompts of a pool together; a file is read at a time."""
    counts = pool.stacked("limits").astype(np.float64)
    tokens = pool.stacked("tokens")
    return Findings(
        plan,
        arch,
        dtype,
        len(pool),
        (int(tokens.min()), int(tokens.max())),
        int(tokens.sum()),
        {name: pool.mean(name) for name in ("step_size", "step_cosine")},
        {name: pool.mean(name) for name in ("distance", "distance_cosine")},
        {key: _stage(pool, key) for key in STAGES},
        {(by, length): _map(pool, plan, arch, by, length) for by in MAPS for length in LENGTHS},
        {by: pool.mean(f"cycle.{by}") for by in MAPS},
        tuple(pool.get(key, "trajectory") for key in pool.keys[:MOST_DRAWN]),
        pool.mean("plane"),
        wilson_share(counts, np.broadcast_to(tokens[:, None, None], counts.shape)),
        wilson_share((counts > 0).astype(np.float64)),
        np.asarray(pool.get(pool.drawn, "floorplan"), np.uint8) if pool.drawn else None,
    )


def _stage(pool: Pool, key: str) -> Stage:
    own = find(key)
    return Stage(
        own,
        pool.mean(f"stage.{key}"),
        pool.mean(f"prelude.{key}"),
        pool.mean(f"coda_shown.{key}"),
        pool.mean(f"coda_deep.{key}"),
        pool.mean_map(f"null.{key}") if own.null is not None else None,
        pool.mean(f"repeat.{key}"),
        pool.mean(f"kept.{key}"),
        pool.mean(f"drift.{key}"),
    )


def _map(pool: Pool, plan: Plan, arch: Architecture, by: str, length: str) -> DepthMap:
    places = plan.places(arch, length)
    return DepthMap(
        pool.mean_map(f"map.{by}.{length}"),
        by,
        depth_names(arch, places),
        arch.n_prelude,
        arch.n_block,
        arch.n_coda,
        places.recurrences,
    )
