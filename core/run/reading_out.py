"""What both lenses say after each recurrence, made from states in blocks of recurrences.

A small model spends a readout on calls, not on sums. So its states wait until a block of them is
there, or until somebody looks, and are read out in one go. The model is always given a block of
the same number of states (the last one fills it up while it is begun), and a state always the same
place in it: whenever it is read, and by whom, in a run or in a branch of it, it gives the same
bits. What is made of its logits is made row by row, to the same bits for any number of rows, so
only of those that are new. Where a readout is more sums than calls, and in a deep model, whose
block is applied once, a block is one recurrence, and nothing waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import RLock

import torch
from torch import Tensor

from loopscope.core.arrays import F32
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.looped_model import LoopedModel
from loopscope.core.run.file_blocks import Array
from loopscope.core.run.readout import LogProbabilities, both_answers, spread, top_answers
from loopscope.core.run.recording import Recording
from loopscope.core.run.states import ReadOut, TopAnswers

# States of a block at most; logits or numbers of its states at most, beyond which sums take longer.
BLOCK, _LARGE = 8, 1 << 16


def block_size(arch: Architecture, n_tokens: int) -> int:
    """How many recurrences are read out together; it depends on model and prompt alone."""
    if arch.runs_once:
        return 1
    return min(max(_LARGE // (n_tokens * max(arch.vocab_size, arch.d_model)), 1), BLOCK)


@dataclass(frozen=True, slots=True)
class Block:
    """The block under way.

    states : ``[1, T, d]`` of its recurrences so far.  read : how many of them were read out.
    before : of the last recurrence before the block, None where it begins with the first one.
    """

    states: tuple[Tensor, ...] = ()
    read: int = 0
    before: LogProbabilities | None = None


class ReadingOut:
    """Reads a run out; one thread adds states, any may ask for what is not read yet.

    Parameters
    ----------
    model
        The model, bound to the prompt.
    size
        States of a block, as `block_size` says.

    ``lock`` is held while ``block`` and what is appended to the recording change together.
    """

    def __init__(self, model: LoopedModel, size: int) -> None:
        self._model, self.size = model, size
        self.block, self.lock = Block(), RLock()

    def stand(self, states: Sequence[Tensor], before: Sequence[Tensor]) -> None:
        """Go to where a run is read out up to ``states``, those of a block that is begun.

        ``before`` is the whole block before it, empty for none; states are ``[1, T, d]``.
        """
        last = None
        if before:
            last = self._last(LogProbabilities(self._logits(before)[0]), before[0].shape[1])
        self.block = Block(tuple(states), len(states), last)

    def added(self, state: Tensor) -> Block:
        """Return the block under way with one more state, ``[1, T, d]``."""
        return replace(self.block, states=(*self.block.states, state))

    def is_full(self, block: Block) -> bool:
        """Whether nothing more goes into a block."""
        return len(block.states) == self.size

    @torch.inference_mode()
    def read(self, block: Block) -> tuple[ReadOut | None, Block]:
        """Read out what of a block is not yet; returns that, and the block under way then.

        Changes nothing here.
        """
        n, first = len(block.states), block.read
        if n == first:
            return None, block
        coda, logit = self._logits(block.states)
        by_coda, by_logit = self._answers(coda[first:], logit[first:])
        read, before = self._since(coda, block)
        changes = spread(read, before)

        def by_recurrence(array: Array) -> Array:
            return array.reshape(n - first, coda.shape[1], -1)

        def answers(both: TopAnswers) -> TopAnswers:
            return TopAnswers(by_recurrence(both.ids), by_recurrence(both.probabilities))

        left = replace(block, read=n)
        if self.is_full(block):
            left = Block(before=self._last(read, coda.shape[1]))
        return ReadOut(answers(by_coda), answers(by_logit), by_recurrence(changes)), left

    def take(self) -> ReadOut | None:
        """Read out what is not yet, once; ``lock`` is held by who appends it."""
        made, self.block = self.read(self.block)
        return made

    def _logits(self, states: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits of the coda and the logit lens, each ``[n, T, V]``: without a coda the same."""
        n = len(states)
        filled = torch.cat([*states, *[states[-1]] * (self.size - n)])
        coda = self._model.readout(filled)[:n]
        return coda, coda if self._model.arch.lenses_agree else self._model.head(filled)[:n]

    def _answers(self, coda: Tensor, logit: Tensor) -> tuple[TopAnswers, TopAnswers]:
        """Top answers of both lenses."""
        if self._model.arch.lenses_agree:
            answers = top_answers(coda)
            return answers, answers
        return both_answers(coda, logit)

    def _since(
        self, coda: Tensor, block: Block
    ) -> tuple[LogProbabilities, LogProbabilities | None]:
        """Readouts of what is new in a block, and of each the one before it."""
        if self.size == 1:
            return LogProbabilities(coda), block.before
        t = coda.shape[1]
        log_p = LogProbabilities(coda[max(block.read - 1, 0) :]).rows(slice(None))
        if not block.read:
            before = torch.full_like(log_p[:t], torch.nan)
            if block.before is not None:
                before = block.before.rows(slice(None))
            log_p = torch.cat([before, log_p])
        return LogProbabilities.of(log_p[t:]), LogProbabilities.of(log_p[:-t])

    def _last(self, read: LogProbabilities, n_tokens: int) -> LogProbabilities:
        """Of the last state of what was read."""
        if self.size == 1:
            return read
        return LogProbabilities.of(read.rows(slice(-n_tokens, None)))


def reading_from(
    recording: Recording, model: LoopedModel, on_device: Callable[[F32], Tensor]
) -> ReadingOut:
    """Return what reads a run out from where its recording ends, and let the recording have it.

    ``on_device`` gives a recorded state ``[T, d]`` as the model takes it, ``[1, T, d]``.
    """

    def states(first: int, last: int) -> list[Tensor]:
        return [on_device(recording.state(r)) for r in range(first, last + 1) if r > 0]

    size = block_size(recording.info.architecture, recording.n_tokens)
    reading = ReadingOut(model, size)
    done = recording.n_recurrences
    begun = done - done % size
    if done:
        reading.stand(states(begun + 1, done), states(begun - size + 1, begun))
    if size > 1:
        recording.readouts.reading = reading
    return reading
