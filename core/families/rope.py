"""Rotary position embedding as Hugging Face configs write it, in both generations.

v4: ``rope_theta`` and ``rope_scaling``; v5: ``rope_parameters`` with everything in it. Where a
config has both, `transformers` reads ``rope_scaling``, which model cards tell to add.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from loopscope.core.families.family import Config
from loopscope.core.model.rope import (
    Dynamic,
    Linear,
    Llama3,
    LongRope,
    Proportional,
    Rope,
    Scaling,
    Yarn,
)


def read_rope(
    config: Config,
    d_head: int,
    positions: int,
    *,
    theta_key: str = "rope_theta",
    theta: float = 10000.0,
    share_key: str = "partial_rotary_factor",
    share: float = 1.0,
    whole_head: bool = True,
) -> Rope:
    """Read the rotary embedding of a head of ``d_head``; ``positions`` are the config's.

    Raises `CheckpointError` for parameters that are missing or do not fit the head.

    Parameters
    ----------
    theta_key, theta, share_key, share
        Keys of the base and of the share of a head that is rotated, where the parameters
        themselves do not say them, and the defaults of both.
    whole_head
        Whether the family's layer rotates whole heads: it does not read the share for the
        default type, and cannot run with a smaller one for most others.
    """
    params = _parameters(config)
    base = params.number("rope_theta", config.values.get(theta_key, theta))
    given = params.values.get("partial_rotary_factor", config.values.get(share_key))
    share = share if given is None else _share(config, share_key, given)
    kind = params.values.get("rope_type", params.values.get("type", "default"))
    scaling = _scaling(kind, config, params, positions, share)
    if isinstance(scaling, Proportional) or (whole_head and scaling == Scaling()):
        share = 1.0
    dims = int(d_head * min(share, 2.0))
    width = 2 * -(-dims // 2)
    if width > d_head or (whole_head and width != d_head):
        raise config.error(
            share_key, f"a share of {share:g} does not fit a head of {d_head}: {width} are rotated"
        )
    if dims == 0:
        return Rope(base, pairs="none", scaling=scaling)
    rope = Rope(base, None if dims == d_head else dims, scaling=scaling)
    _check(config, rope, d_head, positions)
    return rope


def _parameters(config: Config) -> Config:
    """The object that holds the parameters; an empty one counts as none."""
    for key in ("rope_scaling", "rope_parameters"):
        section = config.section(key)
        if section is not None and section.values:
            return section
    return Config({}, config.path)


def _share(config: Config, key: str, value: object) -> float:
    return Config({key: value}, config.path).zero_number(key, 0.0)


def _check(config: Config, rope: Rope, d_head: int, positions: int) -> None:
    """Refuse parameters that give no frequencies, or ones that are not finite."""
    with np.errstate(all="ignore"):
        for n_positions in (1, rope.scaling.reach(positions)):
            try:
                frequencies = rope.frequencies(d_head, n_positions)
                if isinstance(rope.scaling, LongRope) and not frequencies.size:
                    raise ValueError("its lists of factors are empty")
            except (ValueError, ArithmeticError, TypeError) as error:
                raise config.error("rope_scaling", f"gives no frequencies: {error}") from None
            if not np.isfinite(frequencies).all():
                raise config.error("rope_scaling", "gives frequencies that are not finite")


# ---- one reader for each type ----
def _scaling(kind: object, config: Config, params: Config, positions: int, share: float) -> Scaling:
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        known = ", ".join(_READERS)
        raise config.error("rope_scaling", f"type '{str(kind)[:30]}' is not one of {known}")
    # A config may say the length it was first trained to outside, as Phi-3's does.
    given = config.values.get("original_max_position_embeddings")
    given = params.values.get("original_max_position_embeddings") if given is None else given
    original = positions if given is None else _size(config, given)
    return reader(params, original, positions, share)


def _size(config: Config, value: object) -> int:
    key = "original_max_position_embeddings"
    return Config({key: value}, config.path).size(key)


def _dynamic(params: Config, original: int, positions: int, share: float) -> Scaling:
    return Dynamic(factor=params.number("factor"), original_positions=positions)


def _factor(params: Config, original: int, positions: int) -> float:
    """The factor, or how much longer the model is than it was."""
    given = params.values.get("factor")
    return positions / original if given is None else params.number("factor")


def _yarn(params: Config, original: int, positions: int, share: float) -> Scaling:
    if "factor" not in params.values:
        raise params.error("factor", "is missing")
    factor = _factor(params, original, positions)

    def optional(key: str, default: float) -> float:
        return params.number(key) if params.values.get(key) else default

    usual = Yarn.attention(factor, optional("mscale", 0.0), optional("mscale_all_dim", 0.0))
    return Yarn(
        attention_factor=_attention(params, usual),
        factor=factor,
        original_positions=original,
        beta_fast=optional("beta_fast", 32.0),
        beta_slow=optional("beta_slow", 1.0),
        truncate=params.flag("truncate", True),
    )


def _longrope(params: Config, original: int, positions: int, share: float) -> Scaling:
    factor = _factor(params, original, positions)
    if original < 2 and factor > 1:
        raise params.error("original_max_position_embeddings", f"{original} has no logarithm")
    return LongRope(
        attention_factor=_attention(params, LongRope.attention(factor, original)),
        short_factors=_numbers(params, "short_factor"),
        long_factors=_numbers(params, "long_factor"),
        original_positions=original,
    )


def _attention(params: Config, usual: float) -> float:
    given = params.values.get("attention_factor")
    return usual if given is None else params.number("attention_factor")


def _numbers(params: Config, key: str) -> tuple[float, ...]:
    values = params.values.get(key)
    if not isinstance(values, list):
        raise params.error(key, "expected a list of numbers")
    return tuple(Config({key: value}, params.path).number(key) for value in values)


def _llama3(params: Config, original: int, positions: int, share: float) -> Scaling:
    return Llama3(
        factor=params.number("factor"),
        low_freq_factor=params.number("low_freq_factor"),
        high_freq_factor=params.number("high_freq_factor"),
        original_positions=original,
    )


_READERS: dict[str, Callable[[Config, int, int, float], Scaling]] = {
    "default": lambda params, original, positions, share: Scaling(),
    "linear": lambda params, original, positions, share: Linear(factor=params.number("factor")),
    "dynamic": _dynamic,
    "yarn": _yarn,
    "longrope": _longrope,
    "llama3": _llama3,
    "proportional": lambda params, original, positions, share: Proportional(
        factor=params.number("factor", 1.0), share=share
    ),
}
