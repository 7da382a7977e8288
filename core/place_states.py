"""Run prompts through a model and keep its states at some tokens of every place.

What two models are compared by: the same tokens of the same prompts in both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loopscope.core.errors import LoopscopeError
from loopscope.core.loading import Loaded
from loopscope.core.recording import F32, Capture
from loopscope.core.stepper import Stepper
from loopscope.core.tokenizer import Prompt

# Tokens kept of all prompts together: CKA needs as many as this to be sure of, no more.
MOST_TOKENS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class PlaceStates:
    """States and patterns of a model over a prompt set.

    states : float32 ``[N, P m, d]``: ``N`` places along effective depth, ``m`` tokens of each of
        ``P`` prompts, one prompt after the other.
    patterns : for each prompt float32 ``[N H, T, T]``; () where they were not wanted.
    """

    states: F32
    patterns: tuple[F32, ...]


def chosen_positions(
    lengths: Sequence[int], most: int = MOST_TOKENS, seed: int = 0
) -> list[npt.NDArray[np.int64]]:
    """Choose equally many positions of each prompt, at random and sorted; the same by seed.

    At most ``most`` in all (at least one of each prompt), and never more than the shortest has.
    """
    rng = np.random.default_rng(seed)
    m = max(1, min(min(lengths), most // len(lengths)))
    return [np.sort(rng.choice(n, m, replace=False)) for n in lengths]


def place_states(
    loaded: Loaded,
    prompts: Sequence[Prompt],
    n_recurrences: int,
    positions: Sequence[npt.NDArray[np.int64]],
    *,
    patterns: bool = True,
    report: Callable[[float], None] = lambda share: None,
) -> PlaceStates:
    """Run every prompt for ``n_recurrences`` and keep ``positions`` of each.

    Raises `LoopscopeError` when a prompt does not fit the model.
    """
    states: list[F32] = []
    kept: list[F32] = []
    for i, (prompt, chosen) in enumerate(zip(prompts, positions, strict=True)):
        stepper = Stepper(loaded, Capture(patterns=patterns, writes=False, readout=False))
        recording = stepper.begin(loaded.tokenizer.from_ids(prompt.token_ids))
        for _ in range(n_recurrences):
            stepper.step()
        places = recording.layer_states
        flat = places.reshape(-1, *places.shape[2:])
        states.append(flat[:, chosen].copy())
        if patterns:
            found = recording.patterns
            assert found is not None
            kept.append(found.reshape(-1, *found.shape[3:]).copy())
        report((i + 1) / len(prompts))
    return PlaceStates(np.concatenate(states, axis=1), tuple(kept))


def same_tokens(a: Sequence[Prompt], b: Sequence[Prompt]) -> None:
    """Raise `LoopscopeError` unless both models read the prompts as the same number of tokens."""
    for x, y in zip(a, b, strict=True):
        if len(x.token_ids) != len(y.token_ids):
            raise LoopscopeError(
                f"the two models read “{x.text[:40]}” as {len(x.token_ids)} and "
                f"{len(y.token_ids)} tokens; states can be compared only where the tokens are the "
                "same"
            )
