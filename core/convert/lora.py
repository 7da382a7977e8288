"""A LoRA adapter, added into the weights of its base model (Hu et al., arXiv 2106.09685).

``W' = W + s B A`` with ``s = alpha / r``, or ``alpha / sqrt(r)`` with ``use_rslora``; of a weight
that is stored the other way round (GPT-2's, ``fan_in_fan_out``) the product is transposed. With
DoRA (arXiv 2402.09353) each row of ``W'`` is brought to the length that the adapter holds. Names
and keys are PEFT's.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

PREFIX = "base_model.model."
# What ends the names of an adapter's tensors; whatever else it holds stands for a whole tensor.
PARTS = {
    ".lora_A.weight": "A",
    ".lora_B.weight": "B",
    ".lora_embedding_A": "A",
    ".lora_embedding_B": "B",
    ".lora_magnitude_vector": "length",
    ".lora_magnitude_vector.weight": "length",
}
# Starts that change the base's weights as well, which the adapter does not hold.
CHANGED_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga", "miles")
# Settings under which `W + s B A` is not what the adapter computes.
REFUSED = (
    "lora_bias", "use_qalora", "layer_replication", "alora_invocation_tokens", "target_parameters",
    "trainable_token_indices", "arrow_config", "use_bdlora",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Adapter:
    """A parsed `adapter_config.json`.

    alphas : patterns of module names to their own alpha, beside ``alpha`` of the others.
    rooted : whether a scale is divided by the square root of the rank.
    transposed : whether the base's matrices are stored the other way round.
    """

    alpha: float
    alphas: dict[str, float]
    rooted: bool
    transposed: bool

    def scale(self, module: str, rank: int) -> float:
        """What ``B A`` is multiplied by in a module."""
        own = (a for key, a in self.alphas.items() if re.match(rf"(.*\.)?({key})$", module))
        return next(own, self.alpha) / (math.sqrt(rank) if self.rooted else rank)


def read_adapter(values: dict[str, Any]) -> Adapter:
    """Parse `adapter_config.json`; raises ValueError for what is no plain LoRA."""
    kind = values.get("peft_type")
    if kind != "LORA":
        raise ValueError(f"key 'peft_type': {str(kind)[:30]!r} is not read, LORA is")
    for key in REFUSED:
        if values.get(key):
            raise ValueError(f"key '{key}' is not read")
    start = values.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(CHANGED_BASE):
        raise ValueError(f"key 'init_lora_weights': {start[:30]!r} changed the base's weights too")
    patterns = values.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise ValueError("key 'alpha_pattern': expected an object")
    alphas = {_pattern(key): _number("alpha_pattern", a) for key, a in patterns.items()}
    return Adapter(
        _number("lora_alpha", values.get("lora_alpha", 8)),
        alphas,
        values.get("use_rslora") is True,
        values.get("fan_in_fan_out") is True,
    )


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"key '{key}': expected a number, got {str(value)[:30]!r}")
    return float(value)


def _pattern(text: str) -> str:
    """A key of ``alpha_pattern``; names alone, as a stranger's expression may never end."""
    if not re.fullmatch(r"\^?[\w.\\]+", text):
        raise ValueError(f"key 'alpha_pattern': the expression '{text[:60]}' is not read")
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"key 'alpha_pattern': '{text[:60]}': {error}") from None
    return text


def merged(
    adapter: Adapter, added: dict[str, Tensor], base: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The base's tensors with the adapter in them; those that change are float32.

    Raises ValueError for tensors of the adapter that fit none of the base.
    """
    changed = dict(base)
    factors: dict[str, dict[str, Tensor]] = {}
    for name, tensor in added.items():
        end = next((end for end in PARTS if name.endswith(end)), None)
        if end is None:
            whole = _named(name.replace(".modules_to_save", "").replace(".base_layer", ""), base)
            changed[whole] = _same_shape(name, tensor.float(), base[whole])
            continue
        module = name.removesuffix(end).removeprefix(PREFIX)
        factors.setdefault(module, {})[PARTS[end]] = tensor.float()
        if "embedding" in end:
            factors[module]["turned"] = torch.ones(())
    for module, parts in factors.items():
        weight = _named(f"{module}.weight", base)
        if not {"A", "B"} <= set(parts):
            raise ValueError(f"module '{module}' has one of its two matrices only")
        changed[weight] = _with_product(adapter, module, parts, base[weight].float())
    return changed


def _with_product(
    adapter: Adapter, module: str, parts: dict[str, Tensor], weight: Tensor
) -> Tensor:
    a, b = parts["A"], parts["B"]
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
        raise ValueError(f"module '{module}': its two matrices do not fit together")
    product = adapter.scale(module, len(a)) * (b @ a)
    turned = "turned" in parts or adapter.transposed
    product = product.T if turned else product
    sum_ = weight + _same_shape(module, product, weight)
    if "length" not in parts:
        return sum_
    if "turned" in parts:
        raise ValueError(f"module '{module}': DoRA of an embedding is not read")
    along = 0 if turned else 1
    length = parts["length"].reshape([-1, 1] if along else [1, -1])
    if length.numel() != weight.shape[1 - along]:
        raise ValueError(f"module '{module}': its lengths do not fit its weight")
    brought: Tensor = length / sum_.norm(dim=along, keepdim=True) * sum_
    return brought


def _same_shape(name: str, tensor: Tensor, base: Tensor) -> Tensor:
    if tensor.shape != base.shape:
        raise ValueError(
            f"'{name}' makes {list(tensor.shape)}, the base has {list(base.shape)}: "
            "it is not of this base"
        )
    return tensor


def _named(name: str, base: dict[str, Tensor]) -> str:
    """The base's tensor of that name, which either may give with the model's own prefix."""
    name = name.removeprefix(PREFIX)
    if name in base:
        return name
    found = [own for own in base if name.endswith(f".{own}") or own.endswith(f".{name}")]
    if len(found) != 1:
        raise ValueError(f"the base has no tensor '{name}'" + (" alone" if found else ""))
    return found[0]
