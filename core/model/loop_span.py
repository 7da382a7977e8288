"""A span of a deep model's layers as the recurrent block of a looped one, without training."""

from __future__ import annotations

from dataclasses import replace

from loopscope.core.errors import LoopscopeError
from loopscope.core.model.architecture import STACKS, Architecture, parameter_shapes


def with_loop(arch: Architecture, first: int, last: int, damping: float) -> Architecture:
    """Loop layers ``first`` to ``last - 1`` of a deep model without training (arXiv 2605.23872).

    ``s <- s + damping (span(s) - s)`` at each recurrence; damping 1 is plain repetition, which
    usually hurts. One recurrence with damping 1 is the deep model itself; the whole depth with
    damping 1 is how that is asked for again, and no loop. Raises `LoopscopeError` for a model that
    is not deep, a span outside it and a damping outside (0, 1].
    """
    depth = arch.unique_depth
    if not arch.deep:
        raise LoopscopeError("only the layers of a deep model can be looped without training")
    if not 0 <= first < last <= depth:
        raise LoopscopeError(f"cannot loop layers {first}:{last}; the model has 0:{depth}")
    if not 0 < damping <= 1:  # also refuses NaN
        raise LoopscopeError(f"damping {damping:g} is not above 0 and at most 1")
    return replace(
        arch,
        n_prelude=first,
        n_block=last - first,
        n_coda=depth - last,
        damping=damping,
        looped_span=(first, last, damping) != (0, depth, 1),
    )


def renamed_by_loop(old: Architecture, new: Architecture) -> dict[str, str]:
    """Names of the parameters of ``old`` to those of ``new``, which loops another of its spans.

    The layers stay in their order; what moves is where prelude, block and coda begin and end.
    """
    before, after = (
        [
            f"{stack}.{i}."
            for stack, n in zip(STACKS, (a.n_prelude, a.n_unique_block, a.n_coda), strict=True)
            for i in range(n)
        ]
        for a in (old, new)
    )
    places = dict(zip(before, after, strict=True))
    names = {}
    for name in parameter_shapes(old):
        stack, _, rest = name.partition(".")
        place = f"{stack}.{rest.split('.')[0]}."
        names[name] = places[place] + name.removeprefix(place) if place in places else name
    return names
