"""Folders of safetensors that cannot be opened as they are: weights of 8 bits, and adapters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from loopscope.core.checkpoint.folder import open_checkpoint, read_json, read_tensors
from loopscope.core.checkpoint.foreign import ADAPTER, refuse_packed
from loopscope.core.checkpoint.headers import TensorInfo, read_header
from loopscope.core.convert.fp8 import dequantised
from loopscope.core.convert.lora import merged, read_adapter
from loopscope.core.errors import LoopscopeError

WEIGHTS, ADAPTER_WEIGHTS = "model.safetensors", "adapter_model.safetensors"
# What a config says of how its weights were quantised.
OF_QUANTISING = ("quantization_config", "compression_config")


def write_dequantised(folder: Path, config: Path, work: Path) -> None:
    """Write config and weights of a folder whose weights have 8 bits, in float32.

    Raises `LoopscopeError` for weights that are floating point already, and for those that only
    their quantiser can read.
    """
    values, infos = read_json(config), read_tensors(folder)
    refuse_packed(folder, values, infos)
    if not any(info.dtype.startswith(("F8", "I8")) for info in infos.values()):
        raise LoopscopeError(f"{folder}: its weights are floating point: open it as it is")
    try:
        floats = dequantised(_tensors(infos), values)
    except ValueError as error:
        raise LoopscopeError(f"{folder}: cannot be dequantised: {error}") from None
    _write(work, {k: v for k, v in values.items() if k not in OF_QUANTISING}, floats)


def write_merged(adapter: Path, weights: Path, base: Path | None, work: Path) -> None:
    """Write the model ``base`` with the adapter of a folder in it.

    ``weights`` is the file of the adapter's tensors. Raises `LoopscopeError` where no base is given
    and for an adapter that is not of that base, or no LoRA.
    """
    values = read_json(adapter / ADAPTER)
    if base is None:
        named = str(values.get("base_model_name_or_path") or "its base model")[:100]
        raise LoopscopeError(
            f"{adapter} holds an adapter (LoRA): give the folder of the model that it was trained "
            f"on ({named}) with --base FOLDER"
        )
    model = open_checkpoint(str(base))
    try:
        into = _tensors(model.tensors)
        whole = merged(read_adapter(values), _tensors(read_header(weights)), into)
    except ValueError as error:
        raise LoopscopeError(f"{adapter}: cannot be merged: {error}") from None
    for name in model.sources["embed.weight"].names if model.architecture.tied_head else ():
        if whole[name] is not into[name]:
            raise LoopscopeError(
                f"{adapter}: cannot be merged: it changes '{name}', which its base shares between "
                "embedding and head; merge it with PEFT's merge_and_unload()"
            )
    _write(work, model.config, whole)


def _tensors(infos: dict[str, TensorInfo]) -> dict[str, Tensor]:
    """Read the tensors whose headers have been checked."""
    tensors: dict[str, Tensor] = {}
    for path in sorted({info.file for info in infos.values()}):
        with safe_open(path, framework="pt") as file:
            here = [name for name, info in infos.items() if info.file == path]
            tensors |= {name: file.get_tensor(name) for name in here}
    return tensors


def _write(work: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    text = json.dumps(config, indent=2) + "\n"
    (work / "config.json").write_text(text, encoding="utf-8")
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(whole, work / WEIGHTS, metadata={"format": "pt"})
