"""Rotary position embedding as Hugging Face configs write it, in both generations.

v4: ``rope_theta`` and ``rope_scaling``; v5: ``rope_parameters`` with everything in it.
"""

from __future__ import annotations

from typing import Literal

from loopscope.core.families.family import Config
from loopscope.core.model.architecture import Rope


def read_rope(
    config: Config,
    d_head: int,
    *,
    theta_key: str = "rope_theta",
    theta: float = 10000.0,
    partial_key: str = "partial_rotary_factor",
    partial: float = 1.0,
    pairs: Literal["half", "neighbour"] = "half",
) -> Rope:
    """Read the rotary embedding; raises for a scaling that is not implemented."""
    new = config.section("rope_parameters")
    scaling = new or config.section("rope_scaling")
    base = new.number("rope_theta", config.values.get(theta_key, theta)) if new else None
    base = config.number(theta_key, theta) if base is None else base
    share = (new or config).number(partial_key, config.values.get(partial_key, partial))
    if new and "partial_rotary_factor" in new.values:
        share = new.number("partial_rotary_factor")
    dims = int(d_head * min(share, 2.0))  # a share of more than all is refused below
    if not 0 < dims <= d_head or dims % 2:
        raise config.error(partial_key, f"{share:g} of a head of {d_head} is no even width")
    rotated = None if dims == d_head else dims
    kind = "default"
    if scaling is not None:
        kind = scaling.values.get("rope_type", scaling.values.get("type", "default"))
    if kind in ("default", None):
        return Rope(base, rotated, pairs)
    assert scaling is not None
    if kind == "linear":
        return Rope(base, rotated, pairs, "linear", scaling.number("factor"))
    if kind == "llama3":
        low, high = scaling.number("low_freq_factor"), scaling.number("high_freq_factor")
        if high <= low:
            raise config.error("high_freq_factor", f"{high:g} is not above {low:g}")
        return Rope(
            base, rotated, pairs, "llama3", scaling.number("factor"), low, high,
            scaling.size("original_max_position_embeddings"),
        )  # fmt: skip
    raise config.error(
        "rope_scaling", f"type '{str(kind)[:30]}' is not supported; linear and llama3 are"
    )
