"""Run the same prompts through two models and keep what they are compared by.

The states of every place at the same tokens of the same prompts, and how far every head of the one
is from every head of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import F32, F64
from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError
from loopscope.core.measures.correspondence import head_distance
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.over_prompts.batches import batches
from loopscope.core.over_prompts.measuring import run_places
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.together import row_bytes

Positions = Sequence[npt.NDArray[np.int64]]

# Tokens kept of all prompts together: CKA is sure of itself with as many; and bytes of one model's
# states, which bound it for wide models run far.
MOST_TOKENS, MOST_BYTES = 1024, 1 << 30
# Prompts that are compared at the same positions, at least: the baseline permutes among them.
LEAST_ALIKE = 16


@dataclass(frozen=True, slots=True, eq=False)
class PairStates:
    """What two models did on the same prompts.

    first, second : float32 ``[N, P m, d]`` each, ``N`` (``M``) places along effective depth, ``m``
        tokens of each of ``P`` prompts, one prompt after the other: all but those of which a state
        is not finite in either model.
    positions : int64 ``[P, m]``, which tokens of each prompt these are.
    heads : float64 ``[N H, M H']``, mean over prompts of `head_distance`; None if not wanted.
    heads_null : the same with each prompt of the first model against the prompt before it of the
        second, where both have the same length; None without any such pair.
    """

    first: F32
    second: F32
    positions: npt.NDArray[np.int64]
    heads: F64 | None
    heads_null: F64 | None

    @property
    def n_prompts(self) -> int:
        """``P``, how many prompts are compared."""
        return len(self.positions)


def most_tokens(n_places: int, width: int) -> int:
    """Tokens that may be kept of models so deep and wide; at least 64."""
    return max(64, min(MOST_TOKENS, MOST_BYTES // (4 * n_places * width)))


def chosen_positions(lengths: Sequence[int], most: int = MOST_TOKENS, seed: int = 0) -> Positions:
    """Choose equally many positions of each prompt, at random and sorted; the same by seed.

    At most ``most`` in all (at least one of each prompt), of those that every prompt has. Prompts
    share their positions with `LEAST_ALIKE` others or more, so that a baseline can put one prompt
    in the place of another and keep the positions; together they cover as many as that allows.
    """
    rng = np.random.default_rng(seed)
    n, shortest = len(lengths), min(lengths)
    m = max(1, min(shortest, most // n))
    sets = min(shortest // m, max(1, n // LEAST_ALIKE))
    chosen = np.sort(rng.permutation(shortest)[: sets * m].reshape(sets, m), axis=1)
    # Drawn, not dealt in turn: prompts of a set come in turns too, such as hop counts.
    which = rng.permutation(np.arange(n) % sets)
    return [chosen[i] for i in which]


def same_tokens(a: Sequence[Prompt], b: Sequence[Prompt]) -> None:
    """Raise `LoopscopeError` unless both models read each prompt as the same number of tokens."""
    for x, y in zip(a, b, strict=True):
        if len(x.token_ids) != len(y.token_ids):
            raise LoopscopeError(
                f"the two models read “{x.text[:40]}” as {len(x.token_ids)} and "
                f"{len(y.token_ids)} tokens; states can be compared only where the tokens are the "
                "same"
            )


def pair_states(
    first: Loaded,
    second: Loaded,
    prompts: tuple[Sequence[Prompt], Sequence[Prompt]],
    recurrences: tuple[int, int],
    *,
    heads: bool = True,
    seed: int = 0,
    positions: Positions | None = None,
    report: Callable[[float], None] = lambda share: None,
) -> PairStates:
    """Run every prompt on both models.

    Parameters
    ----------
    prompts
        As each of the two models reads them.
    recurrences
        How far each is run; a deep model once.
    heads
        Whether heads are compared as well; patterns of one prompt at a time are held.
    seed
        Of the choice of tokens.
    positions
        Which tokens of each prompt, equally many; drawn without.

    Raises `LoopscopeError` where every prompt's states become NaN or infinite in a model.
    """
    same_tokens(*prompts)
    lengths = [len(p.token_ids) for p in prompts[0]]
    models = (first, second)
    places = max(n * m.architecture.n_block for n, m in zip(recurrences, models, strict=True))
    width = max(m.architecture.d_model for m in models)
    if positions is None:
        positions = chosen_positions(lengths, most_tokens(places, width), seed)
    n = len(lengths)
    # By side and prompt, each [N, m, d].
    states: tuple[list[F32], ...] = ([np.empty(0, np.float32)] * n, [np.empty(0, np.float32)] * n)
    total: F64 | None = None
    null: F64 | None = None
    n_total = n_null = 0
    finite = [False] * n
    # The second model's patterns of the prompt before, where that was run just before.
    before: tuple[int, F32] | None = None
    runs = _both(models, prompts, recurrences, heads)
    for done, (i, recordings) in enumerate(runs, start=1):
        for side, recording in enumerate(recordings):
            flat = recording.layer_states.reshape(-1, *recording.layer_states.shape[2:])
            states[side][i] = flat[:, positions[i]]
        # A state that is NaN at one token would make NaN of every number over all prompts.
        finite[i] = all(bool(np.isfinite(own.layer_states).all()) for own in recordings)
        if heads and finite[i]:
            patterns = [_flat_patterns(recording) for recording in recordings]
            distance = head_distance(patterns[0], patterns[1])
            total = distance if total is None else total + distance
            n_total += 1
            if before is not None and _follows(before, i, patterns[0]):
                apart = head_distance(patterns[0], before[1])
                null = apart if null is None else null + apart
                n_null += 1
            before = i, patterns[1]
        report(done / n)
    kept = [i for i in range(n) if finite[i]]
    if not kept:
        raise LoopscopeError("the states of every prompt become NaN or infinite: none is compared")
    return PairStates(
        np.concatenate([states[0][i] for i in kept], axis=1),
        np.concatenate([states[1][i] for i in kept], axis=1),
        np.stack([positions[i] for i in kept]),
        None if total is None else total / n_total,
        None if null is None else null / n_null,
    )


def _both(
    models: tuple[Loaded, Loaded],
    prompts: tuple[Sequence[Prompt], Sequence[Prompt]],
    recurrences: tuple[int, int],
    heads: bool,
) -> Iterator[tuple[int, tuple[Recording, Recording]]]:
    """Each prompt's place and its runs on both models; those that may share a run do."""
    capture = Capture(patterns=heads, writes=False, readout=False)
    how = [HowRun(n) for n in recurrences]

    def bytes_of(length: int) -> int:
        both = zip(models, recurrences, strict=True)
        return sum(row_bytes(model, length, n, capture) for model, n in both)

    for places in batches(models, [len(p.token_ids) for p in prompts[0]], bytes_of):
        first, second = (
            run_places(models[side], prompts[side], places, how[side], capture) for side in (0, 1)
        )
        for (i, one), (_, other) in zip(first, second, strict=True):
            yield i, (one, other)


def _follows(before: tuple[int, F32], i: int, patterns: F32) -> bool:
    """Whether prompt ``i`` is the next of the file and as long as the one before."""
    return before[0] == i - 1 and before[1].shape[-1] == patterns.shape[-1]


def _flat_patterns(recording: Recording) -> F32:
    """Patterns of every place, ``[N H, T, T]``; empty when they were not kept."""
    patterns = recording.patterns
    if patterns is None:
        return np.zeros((0, 1, 1), np.float32)
    return patterns.reshape(-1, *patterns.shape[3:])
