"""What else lies on disks: quantised weights, adapters, other formats; why not, and the way out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from loopscope.core.errors import CheckpointError
from loopscope.core.files import shortened

# Files of weights that `loopscope convert` reads.
CONVERTED = (".gguf", ".bin", ".pt", ".pth", ".ckpt")
ADAPTER = "adapter_config.json"
# How each way of quantising ends the names of its tensors, first those that only it can read.
PACKED = {
    ".qweight": "GPTQ or AWQ",
    ".weight_packed": "compressed-tensors",
    ".SCB": "bitsandbytes, 8 bits",
    ".absmax": "bitsandbytes, 4 bits",
}
# One number for each weight, with scales beside them, which `loopscope convert` dequantises.
SCALED = {".weight_scale_inv": "FP8", ".weight_scale": "FP8 or int8"}
# What dtypes of quantised weights begin with, in safetensors' spelling.
NARROW = ("F8", "F6", "F4")
WAY_OUT = (
    "Loopscope reads float32, bfloat16 and float16: open the model that this was made from, or "
    "dequantise it first (docs/convert.md)"
)


def advice(path: Path) -> str:
    """What to do with a file that is no checkpoint folder, to go after what is wrong; or ""."""
    if path.suffix.lower() in CONVERTED:
        return f"; `loopscope convert {shortened(path)} -o FOLDER` makes one of it"
    return ""


def has_safetensors(folder: Path) -> bool:
    """Whether the weights are where a checkpoint folder has them."""
    names = ("model.safetensors", "model.safetensors.index.json")
    return any((folder / name).exists() for name in names)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, and no model beside it."""
    return (folder / ADAPTER).exists() and not has_safetensors(folder)


def refuse_foreign(folder: Path) -> None:
    """Raise `CheckpointError` for a folder that holds something else than a model.

    An adapter without its model, or weights in one file of another format.
    """
    if is_adapter(folder):
        raise CheckpointError(
            f"{folder} holds an adapter (LoRA), not a model: `loopscope convert "
            f"{shortened(folder)} --base FOLDER -o NEW` merges it into its base model"
        )
    for path in () if (folder / "config.json").exists() else sorted(folder.glob("*.gguf")):
        raise CheckpointError(
            f"{folder} is not a checkpoint folder: config.json is missing{advice(path)}"
        )


def refuse_quantised(folder: Path, config: dict[str, Any], dtypes: Mapping[str, str]) -> None:
    """Raise `CheckpointError` for weights that are no floating-point numbers of 16 bits or more.

    ``dtypes`` are the tensors' by name. A config that speaks of quantisation beside float weights
    is none: they were dequantised.
    """
    refuse_packed(folder, config, dtypes)
    for name, dtype in dtypes.items():
        way = next((way for end, way in SCALED.items() if name.endswith(end)), None)
        if way is not None or dtype.startswith(NARROW):
            raise CheckpointError(
                f"{folder}: the weights are quantised ({way or dtype}; tensor '{name}'); "
                f"`loopscope convert {shortened(folder)} -o FOLDER` dequantises them"
            )


def refuse_packed(folder: Path, config: dict[str, Any], names: Iterable[str]) -> None:
    """Raise `CheckpointError` for weights that only their quantiser can read."""
    quantization = config.get("quantization_config")
    method = quantization.get("quant_method") if isinstance(quantization, dict) else None
    for name in names:
        way = next((way for end, way in PACKED.items() if name.endswith(end)), None)
        if way is not None:
            way = method if isinstance(method, str) else way
            raise CheckpointError(
                f"{folder}: the weights are quantised ({way[:40]}; tensor '{name}'); {WAY_OUT}"
            )
