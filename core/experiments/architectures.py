"""The native models that Loopscope trains itself: the looped one and what it is compared with.

All have one prelude layer and one coda layer around a block. Every comparison model is derived
from the looped model at R = ``passes`` and keeps either its depth, its parameters or its FLOPs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.hops import VOCABULARY
from loopscope.core.experiments.training_plan import ModelKind
from loopscope.core.experiments.twin_results import Kind
from loopscope.core.model.architecture import Architecture, Task
from loopscope.core.model.flops import flops_per_token
from loopscope.core.model.layer_shape import LayerShape
from loopscope.core.model.rope import Rope

# Length of prompts at which FLOPs are matched: tokens attend to 27 keys, as many as an 8-letter
# prompt of the task hops has.
MATCHED_TOKENS = 53
# Width of the MLP over the width of the model.
MLP_RATIO = 4


def default_architecture(
    *,
    d_model: int = 64,
    n_block: int = 2,
    trained_recurrences: int = 20,
    injection: Literal["concat", "add", "none"] = "concat",
    state_norm: bool = True,
    vocab_size: int = len(VOCABULARY),
    rope_theta: float = 100.0,
    task: Task = "hops",
) -> Architecture:
    """Return the bundled model's architecture, or one of another size or with something left out.

    Without injection the state starts at the embedded prompt, as nothing else tells it of that.
    """
    heads = 4
    layer = LayerShape(
        d_model,
        heads,
        heads,
        d_model // heads,
        MLP_RATIO * d_model,
        activation="gelu",
        gated=False,
        rope=Rope(theta=rope_theta),
    )
    return Architecture(
        family="native",
        vocab_size=vocab_size,
        layer=layer,
        n_prelude=1,
        n_block=n_block,
        n_coda=1,
        trained_recurrences=trained_recurrences,
        max_positions=256,
        norm_eps=1e-6,
        embedding_scale=35.0,
        injection=injection,
        closing_norm=state_norm,
        initial_state="embedding" if injection == "none" else "zeros",
        task=task,
    )


def twin_architecture(
    kind: Kind,
    passes: int,
    *,
    d_model: int = 64,
    n_block: int = 2,
    trained_recurrences: int = 20,
) -> Architecture:
    """Return the looped model's architecture or that of its deep or shallow twin, by sizes alone.

    See `comparison_architecture`.
    """
    looped = default_architecture(
        d_model=d_model, n_block=n_block, trained_recurrences=trained_recurrences
    )
    return comparison_architecture(kind, looped, passes)


def comparison_architecture(kind: ModelKind, looped: Architecture, passes: int) -> Architecture:
    """Return the model of ``kind`` that ``looped`` at R = ``passes`` is compared with.

    "untied" and "deep" have its effective depth with weights of their own in every layer; the deep
    one has no injection and no norm between passes. "shallow" is ``looped``, parameter for
    parameter, trained for one pass. "deep-narrow" has its parameters at the depth of "deep",
    "shallow-wide" its FLOPs for a token of `MATCHED_TOKENS` at the depth of "shallow".
    """
    depth = passes * looped.n_block
    deep = replace(
        looped, n_block=depth, trained_recurrences=1, injection="none", closing_norm=False,
        initial_state="embedding",
    )  # fmt: skip
    shallow = replace(looped, trained_recurrences=1)
    if kind == "untied":
        return replace(looped, n_block=depth, trained_recurrences=1, untied_passes=passes)
    if kind == "deep-narrow":
        return _resized(deep, lambda arch: arch.n_parameters, looped.n_parameters)
    if kind == "shallow-wide":
        flops = flops_per_token(looped, passes, MATCHED_TOKENS)
        return _resized(shallow, lambda arch: flops_per_token(arch, 1, MATCHED_TOKENS), flops)
    return {"looped": looped, "deep": deep, "shallow": shallow}[kind]


def _resized(arch: Architecture, size: Callable[[Architecture], int], wanted: int) -> Architecture:
    """``arch`` with the widths at which ``size`` comes nearest to ``wanted``.

    The MLP takes what the width leaves; of all widths the one whose MLP is nearest to `MLP_RATIO`
    times as wide is taken, a head less than four counting as a tenth in the logarithm of that.
    Raises `LoopscopeError` where no width will do.
    """
    sizes = []
    for heads in (4, 3, 2):
        for d_model in range(4 * heads, 1024, 2 * heads):
            none, one = (size(_with_widths(arch, d_model, heads, d_mlp)) for d_mlp in (0, 1))
            d_mlp = round((wanted - none) / (one - none))
            if d_mlp < 1:
                break
            off = abs(math.log(d_mlp / (MLP_RATIO * d_model))) + 0.1 * (4 - heads)
            sizes.append((off, d_model, heads, d_mlp))
    if not sizes:
        raise LoopscopeError(
            f"no width makes a model that is compared with one of width {arch.d_model}; "
            "choose a wider one"
        )
    _, d_model, heads, d_mlp = min(sizes)
    return _with_widths(arch, d_model, heads, d_mlp)


def _with_widths(arch: Architecture, d_model: int, n_heads: int, d_mlp: int) -> Architecture:
    layer = replace(
        arch.layer, d_model=d_model, n_heads=n_heads, n_kv_heads=n_heads,
        d_head=d_model // n_heads, d_mlp=d_mlp,
    )  # fmt: skip
    return replace(arch, layer=layer)
