"""Random checkpoints of any family, written as the published files name their tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from loopscope.core.families import FAMILIES
from loopscope.core.families.family import Config, Family
from loopscope.core.model.architecture import Architecture, parameter_shapes

BASE = {"vocab_size": 96, "max_position_embeddings": 64}
LLAMA = BASE | {"hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 80,
                "num_hidden_layers": 3}  # fmt: skip
HUGINN = {
    "model_type": "huginn_raven", "vocab_size": 96, "padded_vocab_size": 96, "n_embd": 48,
    "n_heads": 4, "intermediate_size": 80, "n_layers_in_prelude": 1,
    "n_layers_in_recurrent_block": 2, "n_layers_in_coda": 1, "mean_recurrence": 6,
    "block_size": 64, "qk_bias": True,
}  # fmt: skip
NANO = {"vocab_size": 96, "block_size": 64, "n_embd": 48, "n_head": 4, "bias": True}
NANOCHAT = {"vocab_size": 96, "sequence_len": 64, "n_embd": 48, "n_head": 4, "n_kv_head": 2,
            "n_prelude": 1, "n_recur_block": 2, "n_coda": 1, "train_recur_mean": 4.0}  # fmt: skip
# A small config of every family, by the family's name.
CONFIGS: dict[str, dict[str, Any]] = {
    "huginn": HUGINN,
    "retrofit llama": HUGINN | {"num_key_value_heads": 2, "tie_word_embeddings": False,
                                "initial_state_mode": "random"},
    "retrofit olmo": HUGINN | {"tie_word_embeddings": False},
    "ouro": LLAMA | {"model_type": "ouro", "num_key_value_heads": 4, "total_ut_steps": 4},
    "hrm_text": LLAMA | {"model_type": "hrm_text", "head_dim": 16, "num_layers_per_stack": 2,
                         "H_cycles": 2, "L_cycles": 3},
    "albert": LLAMA | {"model_type": "albert", "embedding_size": 24},
    "llama": LLAMA | {"model_type": "llama", "num_key_value_heads": 2},
    "qwen3": LLAMA | {"model_type": "qwen3", "num_key_value_heads": 4, "head_dim": 24},
    "olmo2": LLAMA | {"model_type": "olmo2"},
    "gpt2": {"model_type": "gpt2", "vocab_size": 96, "n_positions": 64, "n_embd": 48,
             "n_head": 4, "n_layer": 3},
    "gpt_neox": LLAMA | {"model_type": "gpt_neox", "rotary_pct": 0.5},
    "nanbeige": LLAMA | {"model_type": "nanbeige", "num_key_value_heads": 2, "num_loops": 3},
    "base_loop": NANO | {"model_type": "base_loop", "n_layer": 2, "num_loops": 4},
    "loopformer": NANO | {"model_type": "loopformer", "n_layer": 2, "num_loops": 4},
    "parcae": {"_class_name": "ParcaeConfig", "vocab_size": 96, "padded_vocab_size": 96,
               "n_embd": 48, "num_attention_heads": 4, "intermediate_size": 80, "block_size": 64,
               "n_layers_in_prelude": 2, "n_layers_in_recurrent_block": 2, "n_layers_in_coda": 2,
               "mean_recurrence": 4, "mean_backprop_depth": 2, "prelude_norm": True,
               "qk_norm": True, "logit_softcap": 15.0, "tie_embeddings": True},
    "trm": {"model_type": "trm", "vocab_size": 96, "hidden_size": 48, "num_heads": 4, "H_cycles": 2,
            "L_cycles": 2, "L_layers": 2, "halt_max_steps": 2, "expansion": 4, "seq_len": 60,
            "num_puzzle_identifiers": 3, "puzzle_emb_ndim": 48, "puzzle_emb_len": 2,
            "pos_encodings": "rope"},
    "nanoloop": NANO | {"model_type": "nanoloop", "n_prelude": 1, "n_block": 2, "n_coda": 1,
                        "n_loop": 4},
    "nanochat_recursive": NANOCHAT | {"model_type": "nanochat_recursive"},
    "looped_nanochat": NANOCHAT | {"model_type": "looped_nanochat", "window_pattern": "SL",
                                   "sequence_len": 12},
    "lds": {"model_type": "lds", "base_config_dict": LLAMA | {"model_type": "qwen3",
            "num_hidden_layers": 5, "num_key_value_heads": 2, "head_dim": 24},
            "encoder_layer_indices": [0, 1], "decoder_layer_indices": [4], "N": 3},
}  # fmt: skip


def family_named(name: str) -> Family:
    return next(family for family in FAMILIES if family.name == name)


def architecture_of(config: dict[str, Any], name: str = "") -> Architecture:
    """The architecture that a family, by default that of the model_type, reads from a config."""
    family = family_named(name or config["model_type"])
    return family.architecture(Config(config, Path("config.json")))


def write_checkpoint(
    folder: Path,
    name: str,
    changes: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Path:
    """Write config and random weights; returns the folder."""
    config = CONFIGS[name] | (changes or {})
    family = family_named(name)
    arch = family.architecture(Config(config, folder / "config.json"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(random_tensors(family, arch, dtype, seed), folder / "model.safetensors")
    return folder


def random_tensors(
    family: Family, arch: Architecture, dtype: torch.dtype, seed: int
) -> dict[str, torch.Tensor]:
    """The file's tensors: norms near one, matrices small enough for states to stay finite."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for ours, source in family.tensors(arch, frozenset()).items():
        shape = parameter_shapes(arch)[ours]
        whole = torch.randn(shape, generator=generator)
        is_norm = "norm" in ours and ours.endswith("weight")
        whole = 1 + 0.1 * whole if is_norm else whole * (1.5 / shape[-1] ** 0.5)
        if source.how == "transpose":
            whole = whole.T
        if source.rows is not None and source.rows[2] > len(whole):  # the file's tensor has more
            whole = torch.cat([whole, torch.randn(source.rows[2] - len(whole), *shape[1:])])
        sizes = [len(whole)]
        if len(source.names) == 3:
            layer = arch.layer
            sizes = [n * layer.d_head for n in (layer.n_heads, layer.n_kv_heads, layer.n_kv_heads)]
        elif len(source.names) == 2:
            sizes = [len(whole) // 2] * 2
        for part, piece in zip(source.names, whole.split(sizes), strict=True):
            tensors[part] = piece.to(dtype).contiguous()
    return tensors
