"""GPT-NeoX (``model_type: gpt_neox``), such as Pythia, after the `transformers` implementation.

A deep decoder whose attention and MLP read the same input, with LayerNorm and a rotation of part
of each head; queries, keys and values are interleaved in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loopscope.core.families.family import MOST_LAYERS, Config, Family, Source, read_activation
from loopscope.core.families.mapping import mapped, prefix_of
from loopscope.core.families.rope import read_rope
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.layer_shape import PRE_NORM, LayerShape

DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 50432, "hidden_size": 6144, "num_hidden_layers": 44, "num_attention_heads": 64,
    "intermediate_size": 24576, "hidden_act": "gelu", "max_position_embeddings": 2048,
    "layer_norm_eps": 1e-5, "tie_word_embeddings": False, "use_parallel_residual": True,
    "attention_bias": True,
}  # fmt: skip


def _architecture(config: Config) -> Architecture:
    config = config.over(DEFAULTS)
    d, heads = config.size("hidden_size"), config.size("num_attention_heads")
    if d % heads:
        raise config.error("hidden_size", f"{d} is not divisible by {heads} heads")
    eps = config.number("layer_norm_eps")
    positions = config.size("max_position_embeddings")
    rope = read_rope(
        config, config.opt_size("head_dim") or d // heads, positions,
        theta_key="rotary_emb_base", share_key="rotary_pct", share=0.25, whole_head=False,
    )  # fmt: skip
    return Architecture(
        family="gpt_neox",
        vocab_size=config.size("vocab_size"),
        layer=LayerShape(
            d_model=d,
            n_heads=heads,
            n_kv_heads=heads,
            d_head=d // heads,
            d_mlp=config.size("intermediate_size"),
            norms=PRE_NORM,
            norm_kind="layer",
            norm_eps=eps,
            activation=read_activation(config, "hidden_act"),
            gated=False,
            rope=rope,
            parallel=config.flag("use_parallel_residual"),
            bias=frozenset(
                {"mlp"} | ({"qkv", "attn_proj"} if config.flag("attention_bias") else set())
            ),
        ),
        n_prelude=0,
        n_block=config.size("num_hidden_layers", most=MOST_LAYERS),
        n_coda=0,
        trained_recurrences=1,
        max_positions=rope.scaling.reach(positions),
        norm_eps=eps,
        injection="none",
        closing_norm=False,
        initial_state="embedding",
        tied_head=config.flag("tie_word_embeddings"),
    )


def _tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    model = prefix_of(names, "gpt_neox.")
    named = {
        "embed.weight": f"{model}embed_in.weight",
        "final_norm.weight": f"{model}final_layer_norm.weight",
        "final_norm.bias": f"{model}final_layer_norm.bias",
        "unembed.weight": "lm_head.weight" if "lm_head.weight" in names else "embed_out.weight",
    }
    inside = {
        "qkv": ("attention.query_key_value",),
        "attn_proj": ("attention.dense",),
        "mlp_up": ("mlp.dense_h_to_4h",),
        "mlp_down": ("mlp.dense_4h_to_h",),
        "act": ("mlp.act",),
        "norms.attn_in": ("input_layernorm",),
        "norms.mlp_in": ("post_attention_layernorm",),
    }
    return mapped(
        arch, named, inside, f"{model}layers",
        lambda ours: "interleaved" if ours.startswith("qkv") else "stack",
    )  # fmt: skip


FAMILY = Family(
    "gpt_neox",
    "GPT-NeoX",
    lambda config, tensors: "model_type gpt_neox" if config.model_type == "gpt_neox" else None,
    _architecture,
    _tensors,
    lambda name: name.endswith(
        ("rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias")
    ),
    classes="GPTNeoX",
)
