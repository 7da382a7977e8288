"""How a GGUF file stretches its rotary embedding, as the ``rope_scaling`` of a config.json.

Source: llama.cpp, `llama_model::load_hparams`, `llama-context.cpp` and `rope_yarn` in
`ggml-cpu/ops.cpp`. Divisors of the frequencies lie there as tensors: for all prompts
(``rope_freqs``, what Llama 3's rule comes to), or for short and for long ones (LongRoPE). Both
are "longrope" here, whose cosines and sines are multiplied by nothing but what the file says.
"""

from __future__ import annotations

import math
from typing import Any

EVERY, SHORT, LONG = "rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"
TENSORS = (EVERY, SHORT, LONG)


def rope_scaling(
    fields: dict[str, Any], name: str, divisors: dict[str, list[float]]
) -> dict[str, Any]:
    """Return ``rope_scaling``, empty for none; raises ValueError for what no config can say.

    Parameters
    ----------
    fields
        The file's keys and values.
    name
        Its architecture, with which keys begin.
    divisors
        Values of those of `TENSORS` that the file holds.
    """

    def number(key: str, default: float | None = None) -> float:
        value = fields.get(f"{name}.rope.{key}")
        value = default if value is None else value
        if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise ValueError(f"its key '{name}.rope.{key}' is missing or no number above 0")
        return float(value)

    kind = fields.get(f"{name}.rope.scaling.type")
    if kind in (None, "none") and fields.get(f"{name}.rope.scale_linear") not in (None, 1):
        return _alone(divisors, {"rope_type": "linear", "factor": number("scale_linear")})
    positions = fields.get(f"{name}.context_length")
    original = int(number("scaling.original_context_length", positions))
    attention = number("scaling.attn_factor", 1.0)
    if kind == "linear":
        return _alone(divisors, {"rope_type": "linear", "factor": number("scaling.factor")})
    if kind == "yarn":
        return _alone(divisors, _yarn(fields, name, number("scaling.factor"), original, attention))
    if kind not in (None, "none", "longrope"):
        raise ValueError(f"its key '{name}.rope.scaling.type' is '{str(kind)[:30]}', not read")
    longrope = {
        "rope_type": "longrope",
        "original_max_position_embeddings": original,
        "attention_factor": attention,
    }
    if {SHORT, LONG} <= set(divisors):
        return longrope | {"short_factor": divisors[SHORT], "long_factor": divisors[LONG]}
    if EVERY in divisors:
        return longrope | {"short_factor": divisors[EVERY], "long_factor": divisors[EVERY]}
    if kind == "longrope" or divisors:
        raise ValueError(f"its tensors '{SHORT}' and '{LONG}' are not both there")
    return {}


def _yarn(
    fields: dict[str, Any], name: str, factor: float, original: int, attention: float
) -> dict[str, Any]:
    """YaRN; its share of the ramp and DeepSeek's own multiplier have no key in a config."""
    keys = {
        key: fields.get(f"{name}.rope.scaling.yarn_{key}")
        for key in ("beta_fast", "beta_slow", "ext_factor", "attn_factor", "log_multiplier")
    }
    for key, only in (("ext_factor", 1.0), ("attn_factor", 1.0), ("log_multiplier", 0.0)):
        if keys[key] not in (None, only, -1.0):
            raise ValueError(f"its key '{name}.rope.scaling.yarn_{key}' is not read")
    return {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": original,
        "beta_fast": keys["beta_fast"] or 32.0,
        "beta_slow": keys["beta_slow"] or 1.0,
        "attention_factor": attention * (1 + 0.1 * math.log(factor) if factor > 1 else 1.0),
    }


def _alone(divisors: dict[str, list[float]], scaling: dict[str, Any]) -> dict[str, Any]:
    if divisors:
        raise ValueError(f"it scales its rotary frequencies twice ({next(iter(divisors))})")
    return scaling
