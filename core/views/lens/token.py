"""The chosen token of the lens: which one it is, and its numbers at every place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from loopscope.core.arrays import F32
from loopscope.core.labels import visible
from loopscope.core.measures.lens import Reading
from loopscope.core.measures.readout import NO_ANSWER, Ids
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection

LABEL = "Read out every layer"
Target = Literal["cursor", "own", "written"]


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The token of each shown row (-1 for none), its name in words, and what was read of it.

    chances, ranks : float32 ``[R, L, T]``.  missing : why there is none, or "".
    read_again : whether reading the run again would give its numbers.
    """

    ids: Ids
    name: str
    chances: F32
    ranks: F32
    missing: str = ""
    read_again: bool = False


def choose(
    recording: Recording,
    selection: Selection,
    target: Target,
    text: str,
    reading: Reading,
    tokens: tuple[int, ...],
) -> Chosen:
    """Find the chosen token among those whose numbers were kept."""
    if target == "own":
        final = reading.final(tokens)
        return Chosen(final, "the final answer", reading.final_chances, reading.final_ranks)
    if target == "cursor":
        at_cursor = (min(selection.token, recording.n_tokens - 1),)
        wanted: int | None = int(reading.final(at_cursor)[0])
        why, read_again = "The last readout at the cursor's token is not finite.", False
        if wanted != NO_ANSWER:
            why, read_again = "The cursor's final answer was not kept.", True
    else:
        wanted = find_token(text, reading.kept.tolist(), recording.label)
        why, read_again = "No token is written in the settings of this view.", False
        if text:
            why, read_again = f"'{text}' is not among the tokens that were kept.", True
    at = np.flatnonzero(reading.kept == wanted)
    if wanted is None or not at.size:
        none = np.full(reading.entropy.shape, np.nan, np.float32)
        ids = np.full(len(tokens), NO_ANSWER)
        return Chosen(ids, "the chosen token", none, none, why, read_again)
    name = f"'{visible(recording.label(wanted))}'"
    i = int(at[0])
    ids = np.full(len(tokens), wanted)
    return Chosen(ids, name, reading.chances[..., i], reading.ranks[..., i])


def find_token(text: str, ids: Iterable[int], label: Callable[[int], str]) -> int | None:
    """The token among ``ids`` that is written ``text``: its text, or its number as ``#12``.

    ``␣`` stands for a space; a token that is the text after a space is taken when none is the text
    itself.
    """
    if text.startswith("#") and text[1:].isdecimal():
        return next((i for i in ids if i == int(text[1:])), None)
    wanted = text.replace("␣", " ")
    spaced: int | None = None
    for i in ids if wanted else ():
        written = label(i)
        if written == wanted:
            return i
        if spaced is None and written == f" {wanted}":
            spaced = i
    return spaced
