"""Pointer chasing ("hops"), the task of the bundled checkpoint.

An example is a list of edges over ``n`` letters, a hop count ``k`` and query letters; the answer
at each query is the letter ``k`` edges on: ``ab bc ca ? 2 : a b c`` has the answers ``c a b``.
The letters are drawn from an alphabet of 26, larger than any graph, so that a letter has no fixed
role. The edges form a permutation; *cycle* graphs are one long cycle, so that for ``k < n`` an
answer is never its own query and the chance level is the same for every hop count.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LETTERS = string.ascii_lowercase
MAX_HOPS = 9
# Order is the token id. Digits 0-9 are all there so that any hop count can be typed.
VOCABULARY: tuple[str, ...] = ("<unk>", "?", ":", *string.digits, *LETTERS)
TOKEN_ID = {token: i for i, token in enumerate(VOCABULARY)}
_LETTER_IDS = np.array([TOKEN_ID[c] for c in LETTERS])


@dataclass(frozen=True, slots=True)
class HopsBatch:
    """A batch of examples of one graph size.

    tokens : int64 ``[B, T]``, ``T = 3 n + 3`` (two tokens an edge, ``?``, count, ``:``, queries).
    answers : int64 ``[B, n]``, the right token at each query position (the last ``n`` positions).
    hops : int64 ``[B]``.
    walk : int64 ``[max(hops) + 1, B, n]``, the pointer after 0, 1, 2, ... hops.
    """

    tokens: npt.NDArray[np.int64]
    answers: npt.NDArray[np.int64]
    hops: npt.NDArray[np.int64]
    walk: npt.NDArray[np.int64]

    def target(self, recurrences: int) -> npt.NDArray[np.int64]:
        """Anytime target ``[B, n]``: where ``min(recurrences, hops)`` hops lead."""
        reached: npt.NDArray[np.int64] = self.walk[
            np.minimum(self.hops, recurrences), np.arange(len(self.hops))
        ]
        return reached


def make_batch(
    rng: np.random.Generator,
    hops: npt.NDArray[np.int64],
    *,
    n_letters: int = 8,
    cycle: npt.NDArray[np.bool_] | bool = True,
) -> HopsBatch:
    """Draw one example for each entry of ``hops``.

    Raises `ValueError` for letters or hop counts out of these ranges.

    Parameters
    ----------
    rng
        Source of randomness; the same generator state gives the same batch.
    hops
        ``[B]`` hop counts, 1 to `MAX_HOPS`.
    n_letters
        Letters in the graph, 2 to 26.
    cycle
        True where the graph is one long cycle, False where it is any permutation.
    """
    if not 2 <= n_letters <= len(LETTERS):
        raise ValueError(f"n_letters is {n_letters}; it must be 2 to {len(LETTERS)}")
    if hops.min() < 1 or hops.max() > MAX_HOPS:
        raise ValueError(f"hop counts must be 1 to {MAX_HOPS}")
    b = len(hops)
    rows = np.arange(b)[:, None]

    def orders(width: int) -> npt.NDArray[np.int64]:
        return rng.random((b, width)).argsort(axis=1)

    order = orders(n_letters)
    successor = np.empty_like(order)
    successor[rows, order] = np.roll(order, -1, axis=1)
    is_cycle = np.broadcast_to(np.asarray(cycle), (b,))[:, None]
    successor = np.where(is_cycle, successor, orders(n_letters))

    letters = _LETTER_IDS[orders(len(LETTERS))[:, :n_letters]]
    source = orders(n_letters)
    edges = np.stack([letters[rows, source], letters[rows, successor[rows, source]]], axis=-1)
    query = orders(n_letters)
    target = query
    walk = [letters[rows, query]]
    for hop in range(int(hops.max())):
        target = np.where((hop < hops)[:, None], successor[rows, target], target)
        walk.append(letters[rows, target])
    column = np.full((b, 1), 0)
    tokens = np.concatenate(
        [
            edges.reshape(b, -1),
            column + TOKEN_ID["?"],
            (TOKEN_ID["0"] + hops)[:, None],
            column + TOKEN_ID[":"],
            letters[rows, query],
        ],
        axis=1,
    )
    return HopsBatch(
        tokens.astype(np.int64),
        letters[rows, target].astype(np.int64),
        hops,
        np.stack(walk).astype(np.int64),
    )


def chance_level(hops: int, n_letters: int) -> float:
    """Accuracy of the best guess that does not read the edges of a cycle graph.

    On one cycle of ``n`` letters the answer is never the query (unless ``n`` divides ``hops``, when
    it always is), and all others are equally likely: ``1 / (n - 1)``, or 1.
    """
    return 1.0 if hops % n_letters == 0 else 1.0 / (n_letters - 1)


def text_of(tokens: npt.NDArray[np.int64]) -> str:
    """Write one row of tokens, int64 ``[T]``, as a prompt: letter pairs, then ``? k : queries``."""
    names = [VOCABULARY[int(t)] for t in tokens]
    mark = names.index("?")
    edges = [a + b for a, b in zip(names[0:mark:2], names[1:mark:2], strict=True)]
    return " ".join([*edges, *names[mark:]])


def walk_of(tokens: Sequence[str], hops: int) -> list[tuple[str, ...]]:
    """The letters 0 to ``hops`` hops on from each query, whatever count a prompt asks.

    ``tokens`` are those of a prompt, by name; [] for what is no prompt of the task.
    """
    marks = [tokens.index(mark) if mark in tokens else -1 for mark in "?:"]
    edges, queries = tokens[: max(marks[0], 0)], tuple(tokens[marks[1] + 1 :])
    if min(marks) < 0 or len(edges) % 2:
        return []
    following = dict(zip(edges[::2], edges[1::2], strict=True))
    walk = [queries]
    for _ in range(hops):
        if not all(letter in following for letter in walk[-1]):
            return []
        walk.append(tuple(following[letter] for letter in walk[-1]))
    return walk


def prompt_lines(
    n_prompts: int = 64, *, max_hops: int = 6, n_letters: int = 8, seed: int = 2_000_003
) -> list[dict[str, str]]:
    """Prompts of 1 to ``max_hops`` hops in turn, with answers, as the lines of a prompt file.

    The seed is neither of training nor of `evaluate_hops`.
    """
    hops = np.arange(n_prompts) % max_hops + 1
    batch = make_batch(np.random.default_rng(seed), hops, n_letters=n_letters)
    return [
        {"prompt": text_of(tokens), "answer": " ".join(VOCABULARY[int(t)] for t in answers)}
        for tokens, answers in zip(batch.tokens, batch.answers, strict=True)
    ]
