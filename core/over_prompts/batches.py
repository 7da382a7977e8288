"""Which prompts share a run, and which are run alone.

Prompts are run together where that gives the numbers that each has alone, and where it pays. It
gives them where nothing of a prompt sees its padding and no number depends on how many tokens a
prompt has:

- A causal model: prompts of any lengths, padded on the right.
- A bidirectional model, and rotary positions whose frequencies depend on the length (dynamic NTK,
  LongRoPE beyond its first length): prompts of one length, and so none is padded.
- float16 and bfloat16: none. The order of a sum shows in the third digit there.

It pays where the calls of a layer cost more than its sums, for small models and short prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.model.architecture import Architecture

# Tokens of one run at most, and bytes of what is kept of it.
MOST_TOKENS, MOST_BYTES = 1 << 11, 1 << 26
# Multiplications that take as long as the calls of one layer: half a millisecond of one core.
CALLS = 10_000_000
# Tokens for which reading a layer's weights from memory takes longer than multiplying with them.
READING = 8


def batches(
    models: Sequence[Loaded], lengths: Sequence[int], bytes_of: Callable[[int], int]
) -> list[list[int]]:
    """Cut prompts of these lengths into runs: places in ``lengths``, shorter prompts first.

    The runs suit every one of ``models``. ``bytes_of`` says what a prompt of a length takes while
    it is run. Each place is in exactly one run; prompts of one length keep their order.
    """
    archs = [loaded.architecture for loaded in models]
    alone = any(loaded.dtype != "float32" for loaded in models)
    saved = min(_tokens_saved(arch) for arch in archs)
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    made: list[list[int]] = []
    tokens, like = 0, None
    for i in order:
        n, kind = lengths[i], [_kind(arch, lengths[i]) for arch in archs]
        if made and not alone and kind == like:
            size = len(made[-1]) + 1
            # All tokens that are padding cost at most what the calls of the other runs would.
            pays = size * n - (tokens + n) <= (size - 1) * saved
            fits = size * n <= MOST_TOKENS and size * bytes_of(n) <= MOST_BYTES
            if pays and fits and (size - 1) * n <= _most_that_pay(saved):
                made[-1].append(i)
                tokens += n
                continue
        made.append([i])
        tokens, like = n, kind
    return made


def _tokens_saved(arch: Architecture) -> float:
    """Tokens whose sums cost as much as the calls that a prompt saves by sharing a run."""
    return max(CALLS / arch.layer.matrix_entries, READING)


def _most_that_pay(saved: float) -> float:
    """Tokens of a run from which on one more prompt saves nothing worth having."""
    return 16 * saved


def _kind(arch: Architecture, length: int) -> Hashable:
    """What must be equal of two prompts that share a run."""
    if arch.masked:
        return length
    rope, d_head = arch.layer.rope, arch.layer.d_head
    turning = rope.pairs != "none" and not rope.rounded
    return rope.frequencies(d_head, length).tobytes() if turning else 0
