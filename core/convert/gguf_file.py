"""The child process that reads a GGUF file: SOURCE FOLDER. Weights become float32.

Tensor and key names: github.com/ggml-org/ggml/blob/master/docs/gguf.md; the rows of Llama's query
and key heads lie in pairs there (llama.cpp's `convert_hf_to_gguf.py`, `permute`) and are put back.
Dequantising is that of the `gguf` package, without rounding beyond float32.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from loopscope.core.convert.gguf_rope import TENSORS, rope_scaling
from loopscope.core.convert.gguf_tokenizer import tokenizer_of

F32 = npt.NDArray[np.float32]
# Architectures by their `model_type`; Mistral's files say "llama".
MODEL_TYPES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
INSIDE = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}  # fmt: skip
# Keys that change what is computed and are not read: with them the numbers would be wrong.
REFUSED = ("attention.sliding_window", "expert_count", "rope.dimension_sections")


def config_of(
    fields: dict[str, Any], tensors: dict[str, tuple[int, ...]], divisors: dict[str, list[float]]
) -> dict[str, Any]:
    """Return the config.json; raises ValueError for what is not supported or missing.

    ``fields`` are the file's keys and values, ``tensors`` its tensors' shapes, rows first,
    ``divisors`` the values of those of `gguf_rope.TENSORS` that are there.
    """
    name = fields.get("general.architecture")
    if name not in MODEL_TYPES:
        known = ", ".join(MODEL_TYPES)
        raise ValueError(f"its architecture '{str(name)[:40]}' is not read; {known} are")
    for key in REFUSED:
        if fields.get(f"{name}.{key}") not in (None, 0, "none"):
            raise ValueError(f"its key '{name}.{key}' is not read")

    def number(key: str, default: Any = None) -> Any:
        value = fields.get(f"{name}.{key}", default)
        if not isinstance(value, int | float):
            raise ValueError(f"its key '{name}.{key}' is missing or no number")
        return value

    heads, width = number("attention.head_count"), number("embedding_length")
    d_head = number("attention.key_length", width // heads)
    if number("rope.dimension_count", d_head) != d_head:
        raise ValueError("it rotates a part of each head, which is not read")
    scaling = rope_scaling(fields, name, divisors)
    return {
        "model_type": MODEL_TYPES[name],
        "vocab_size": tensors["token_embd.weight"][0],
        "hidden_size": width,
        "intermediate_size": number("feed_forward_length"),
        "num_hidden_layers": number("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": number("attention.head_count_kv", heads),
        "head_dim": d_head,
        "max_position_embeddings": number("context_length"),
        "rms_norm_eps": number("attention.layer_norm_rms_epsilon"),
        "rope_theta": number("rope.freq_base", 10_000.0),
        "hidden_act": "silu",
        "tie_word_embeddings": "output.weight" not in tensors,
        "attention_bias": name == "llama" and "blk.0.attn_q.bias" in tensors,
    } | ({"rope_scaling": scaling} if scaling else {})


def published_name(name: str) -> str:
    """The name that the published checkpoint gives a tensor; raises ValueError for unknown ones."""
    if name in OUTSIDE:
        return OUTSIDE[name]
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)
    if match is None or match[2] not in INSIDE:
        raise ValueError(f"its tensor '{name[:80]}' is not one these architectures have")
    return f"model.layers.{match[1]}.{INSIDE[match[2]]}.{match[3]}"


def in_halves(rows: F32, heads: int) -> F32:
    """Rows ``[H d_head, ...]`` of rotary heads: dimensions in pairs, put into two halves."""
    pairs = rows.reshape(heads, -1, 2, *rows.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows.shape))


def weights_of(reader: Any, config: dict[str, Any]) -> dict[str, F32]:
    """Every tensor in float32, by its published name; axes in torch's order, rows first."""
    from gguf.quants import dequantize

    weights = {}
    for tensor in reader.tensors:
        if tensor.name in TENSORS:
            continue
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        rows: F32 = np.ascontiguousarray(values.reshape(tuple(map(int, tensor.shape))[::-1]))
        if config["model_type"] == "llama" and ".attn_q." in tensor.name:
            rows = in_halves(rows, config["num_attention_heads"])
        if config["model_type"] == "llama" and ".attn_k." in tensor.name:
            rows = in_halves(rows, config["num_key_value_heads"])
        weights[published_name(tensor.name)] = rows
    return weights


def main() -> None:
    """Read the file and write the folder's files.

    Raises `ValueError` without the package gguf and for a file that lacks its embedding.
    """
    source, folder = map(Path, sys.argv[1:])
    try:
        from gguf import GGUFReader
    except ImportError:
        raise ValueError("needs the package gguf: pip install 'loopscope[gguf]'") from None
    reader = GGUFReader(source)
    fields = {key: field.contents() for key, field in reader.fields.items()}
    shapes = {t.name: tuple(map(int, t.shape))[::-1] for t in reader.tensors}
    if "token_embd.weight" not in shapes:
        raise ValueError("its tensor 'token_embd.weight' is missing")
    divisors = {t.name: t.data.astype(float).ravel().tolist()
                for t in reader.tensors if t.name in TENSORS}  # fmt: skip
    config = config_of(fields, shapes, divisors)
    save_file(weights_of(reader, config), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if (tokenizer := tokenizer_of(fields)) is not None:
        (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # bytes of a stranger: one line, whatever comes of them
        print(" ".join(f"{error}".split())[:300] or type(error).__name__, file=sys.stderr)
        sys.exit(2)
