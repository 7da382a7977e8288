"""Large random checkpoints in a published model's exact shape, written shard by shard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from checkpoints import family_named
from safetensors.torch import save_file

from loopscope.core.families.family import Config
from loopscope.core.model.architecture import parameter_shapes

# tomg-group-umd/huginn-0125: 3.5 billion parameters.
HUGINN = {
    "model_type": "huginn_raven", "vocab_size": 65536, "padded_vocab_size": 65536,
    "n_embd": 5280, "n_heads": 55, "intermediate_size": 17920, "n_layers_in_prelude": 2,
    "n_layers_in_recurrent_block": 4, "n_layers_in_coda": 2, "mean_recurrence": 32,
    "block_size": 4096, "qk_bias": True, "rope_base": 50000.0, "norm_eps": 1e-6,
    "tie_embeddings": True,
}  # fmt: skip


def ouro(n_layers: int) -> dict[str, Any]:
    """ByteDance/Ouro-1.4B (24 layers) and Ouro-2.6B (48 layers)."""
    return {
        "model_type": "ouro", "vocab_size": 49152, "hidden_size": 2048,
        "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 128,
        "intermediate_size": 5632, "num_hidden_layers": n_layers, "total_ut_steps": 4,
        "max_position_embeddings": 65536, "rope_theta": 1e6, "rms_norm_eps": 1e-6,
    }  # fmt: skip


def write_big(folder: Path, name: str, config: dict[str, Any], shard_bytes: int = 2 << 30) -> int:
    """Write ``config`` with random bfloat16 weights in shards; returns the bytes of the weights."""
    family = family_named(name)
    arch = family.architecture(Config(config, folder / "config.json"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    # One block of noise over and over: the values do not matter, the time to make them does.
    noise = torch.randn(1 << 22, generator=torch.Generator().manual_seed(0))
    weight_map: dict[str, str] = {}
    shard: dict[str, torch.Tensor] = {}
    total = held = n_shards = 0

    def flush() -> None:
        nonlocal shard, held, n_shards
        n_shards += 1
        file = f"model-{n_shards:05d}.safetensors"
        save_file(shard, folder / file)
        weight_map.update(dict.fromkeys(shard, file))
        shard, held = {}, 0

    for ours, source in family.tensors(arch, frozenset()).items():
        shape = parameter_shapes(arch)[ours]
        n = len(source.names)
        assert len({shape[0] % n}) == 1  # q, k and v are equally large in these models
        part = (shape[0] // n, *shape[1:])
        for tensor in source.names:
            entries = int(torch.tensor(part).prod())
            flat = noise.repeat(-(-entries // len(noise)))[:entries].to(torch.bfloat16)
            flat *= 0.5 / part[-1] ** 0.5
            if "norm" in ours and ours.endswith("weight"):
                flat = flat * 0 + 1
            shard[tensor] = flat.view(part)
            held += 2 * entries
            total += 2 * entries
            if held >= shard_bytes:
                flush()
    if shard:
        flush()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return total
