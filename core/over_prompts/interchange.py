"""Exchange part of the state of each prompt for that of another, at every place, and read out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from loopscope.core.arrays import F64, I64
from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError
from loopscope.core.measures.interchange import Interchange, Part
from loopscope.core.measures.intervals import wilson_share
from loopscope.core.measures.readout import NO_ANSWER
from loopscope.core.over_prompts.batches import batches
from loopscope.core.over_prompts.going_on import BEGIN, Entry, GoingOn, by_layer, entries_of
from loopscope.core.prompts.answers import Asked
from loopscope.core.run.requests import check_recurrences
from loopscope.core.run.together import Begin

Report = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class _Pair:
    """A prompt, the one it is exchanged with and a third one; by place in the list of prompts.

    exchanged : positions whose state is exchanged.  read : where it is read out.
    """

    own: int
    other: int
    third: int
    exchanged: tuple[int, ...]
    read: tuple[int, ...]


def read_at(asked: Asked, has_answers: bool) -> tuple[int, ...]:
    """Where a prompt is read out: at its answers, or at its last token."""
    return asked.positions if has_answers else (len(asked.prompt.token_ids) - 1,)


def others_of(asked: Sequence[Asked], has_answers: bool) -> list[tuple[int, ...]]:
    """For each prompt the two that it is most like of those it can be exchanged with; () for none.

    They are as long, are read out at the same places and differ; of equally many tokens that
    differ the next one in the file comes first.
    """
    kinds: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for i, one in enumerate(asked):
        if read := read_at(one, has_answers):
            kinds.setdefault((len(one.prompt.token_ids), read), []).append(i)
    found: list[tuple[int, ...]] = [()] * len(asked)
    for members in kinds.values():
        ids = np.array([asked[i].prompt.token_ids for i in members])
        for row, i in enumerate(members):
            apart = (ids != ids[row]).sum(1)
            order = np.lexsort(((np.arange(len(members)) - row) % len(members), apart))
            found[i] = tuple(members[j] for j in order.tolist() if apart[j])[:2]
    return found


@torch.no_grad()
def interchange(
    loaded: Loaded,
    asked: Sequence[Asked],
    has_answers: bool,
    recurrences: int,
    part: Part,
    words: str,
    *,
    begin: Begin = BEGIN,
    seed: int = 0,
    report: Report = lambda share: None,
) -> Interchange:
    """Exchange ``part`` of the state of every prompt at each place, run on and read out.

    Raises `LoopscopeError` where no two prompts can be exchanged.
    """
    check_recurrences(recurrences)
    pairs = _pairs(asked, has_answers, part, seed)
    if not pairs:
        raise LoopscopeError(
            "no two prompts can be exchanged: they have to be as long, to be read out at the same "
            "places and to differ"
        )
    arch = loaded.architecture
    places = entries_of(arch, recurrences)
    lengths = [len(asked[pair.own].prompt.token_ids) for pair in pairs]
    width = arch.d_model * (2 if arch.inner_cycles else 1)
    runs = batches([loaded], lengths, lambda n: 8 * n * (len(places) * width + arch.vocab_size))
    # By pair and place: followed, kept, a third prompt's.
    shares = np.full((3, len(pairs), len(places)), np.nan)
    right = np.full(len(pairs), np.nan)
    for done, run in enumerate(runs):
        batch = _Batch(loaded, asked, [pairs[i] for i in run], recurrences, begin)
        for p, place in enumerate(places):
            shares[:, run, p] = batch.shares(p, place)
            report((done + (p + 1) / len(places)) / len(runs))
        if has_answers:
            right[run] = batch.right()
    own = [np.array(asked[pair.own].prompt.token_ids) for pair in pairs]
    apart = [(a != asked[p.other].prompt.token_ids).sum() for a, p in zip(own, pairs, strict=True)]
    followed, kept, third = map(wilson_share, shares)
    return Interchange(
        loaded.checkpoint.name, part, recurrences, by_layer(arch),
        np.array([e.layer if by_layer(arch) else e.recurrence for e in places]),
        followed, kept, third, words, len(pairs), float(np.median(apart)),
        float(np.median(lengths)), float(right.mean()),
    )  # fmt: skip


def _pairs(asked: Sequence[Asked], has_answers: bool, part: Part, seed: int) -> list[_Pair]:
    """What is exchanged with what, and where; a token is drawn for each prompt where it is one."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i, others in enumerate(others_of(asked, has_answers)):
        if not others:
            continue
        read = read_at(asked[i], has_answers)
        drawn = (read[int(rng.integers(len(read)))],)
        rest = tuple(t for t in range(len(asked[i].prompt.token_ids)) if t not in read)
        exchanged = {"answer": drawn, "answers": read, "others": rest}[part]
        looked = drawn if part == "answer" else read
        pairs.append(_Pair(i, others[0], others[-1], exchanged, looked))
    return pairs


class _Batch:
    """Pairs that are run together."""

    def __init__(
        self, loaded: Loaded, asked: Sequence[Asked], pairs: Sequence[_Pair], recurrences: int,
        begin: Begin,
    ) -> None:  # fmt: skip
        self._pairs, self._asked, self._recurrences = pairs, asked, recurrences
        runs = [
            GoingOn(loaded, [asked[getattr(pair, side)].prompt for pair in pairs], begin)
            for side in ("own", "other", "third")
        ]
        self._run = runs[0]
        self._own, self._other, last = (run.states(recurrences) for run in runs)
        end = entries_of(loaded.architecture, recurrences)[-1]
        self._says = [
            self._said(run.end(states[-1], end, recurrences))
            for run, states in zip(runs, (self._own, self._other, last), strict=True)
        ]
        mask = torch.zeros(self._own[0].shape[:2], dtype=torch.bool)
        for row, pair in enumerate(pairs):
            mask[row, list(pair.exchanged)] = True
        self._mask = mask[..., None].to(self._own[0].device)

    def _said(self, state: torch.Tensor) -> list[I64]:
        """The top answer at every token of each prompt that is looked at; none if not finite."""
        model = self._run.model
        coda = model.coda(state)
        said = []
        for row, pair in enumerate(self._pairs):
            read = torch.tensor(pair.read, device=coda.device)
            logits = model.head(coda[row, read]).cpu()
            top = logits.argmax(-1).where(logits.isfinite().all(-1), NO_ANSWER)
            said.append(np.asarray(top.numpy(), dtype=np.int64))
        return said

    def shares(self, index: int, place: Entry) -> F64:
        """Share of each pair's answers that follow, stay and are a third's, ``[3, pairs]``."""
        state = torch.where(self._mask, self._other[index], self._own[index])
        says = self._said(self._run.end(state, place, self._recurrences))
        found = np.full((3, len(says)), np.nan)
        for row, (now, own, other, third) in enumerate(zip(says, *self._says, strict=True)):
            differ = own != other
            apart = differ & (third != own) & (third != other)
            found[0, row] = _share(now == other, differ)
            found[1, row] = _share(now == own, differ)
            found[2, row] = _share(now == third, apart)
        return found

    def right(self) -> F64:
        """Share of the uncut answers that are right, ``[pairs]``."""
        found = []
        for pair, says in zip(self._pairs, self._says[0], strict=True):
            one = self._asked[pair.own]
            target = dict(zip(one.positions, one.targets, strict=True))
            found.append(np.mean([target[t] == s for t, s in zip(pair.read, says, strict=True)]))
        return np.array(found)


def _share(hits: np.ndarray, of: np.ndarray) -> float:
    return float((hits & of).sum() / of.sum()) if of.any() else float("nan")
