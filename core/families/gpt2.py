"""GPT-2 (``model_type: gpt2``), after the `transformers` implementation.

A deep decoder with learned positions, LayerNorm and matrices stored the other way round.
``reorder_and_upcast_attn`` is a way of computing the same, so it changes nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from loopscope.core.families.family import MOST_LAYERS, Config, Family, Source, read_activation
from loopscope.core.families.mapping import mapped, prefix_of
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.layer_shape import PRE_NORM, LayerShape
from loopscope.core.model.rope import Rope

DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12,
    "n_inner": None, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False,
    "tie_word_embeddings": True,
}  # fmt: skip
# Names that the other families have for its keys; where they are there they are read.
ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}


def _architecture(config: Config) -> Architecture:
    config = config.over(DEFAULTS, ALIASES)
    d, heads = config.size("n_embd"), config.size("n_head")
    if d % heads:
        raise config.error("n_embd", f"{d} is not divisible by {heads} heads")
    n_layers = config.size("n_layer", most=MOST_LAYERS)
    eps = config.number("layer_norm_epsilon")
    layer = LayerShape(
        d_model=d,
        n_heads=heads,
        n_kv_heads=heads,
        d_head=d // heads,
        d_mlp=config.opt_size("n_inner") or 4 * d,
        norms=PRE_NORM,
        norm_kind="layer",
        norm_eps=eps,
        activation=read_activation(config, "activation_function"),
        gated=False,
        rope=Rope(pairs="none"),
        bias=frozenset({"qkv", "attn_proj", "mlp"}),
        score_scale=None if config.flag("scale_attn_weights") else 1.0,
    )
    by_layer = config.flag("scale_attn_by_inverse_layer_idx")
    return Architecture(
        family="gpt2",
        vocab_size=config.size("vocab_size"),
        layer=layer,
        n_prelude=0,
        n_block=n_layers,
        n_coda=0,
        trained_recurrences=1,
        max_positions=config.size("n_positions"),
        norm_eps=eps,
        learned_positions=True,
        injection="none",
        closing_norm=False,
        initial_state="embedding",
        tied_head=config.flag("tie_word_embeddings"),
        layer_shapes=tuple(
            replace(layer, score_scale=layer.scale / (i + 1)) for i in range(n_layers)
        )
        if by_layer
        else (),
    )


def _tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    prefix = prefix_of(names, "transformer.")
    named = {
        "embed.weight": f"{prefix}wte.weight",
        "positions.weight": f"{prefix}wpe.weight",
        "final_norm.weight": f"{prefix}ln_f.weight",
        "final_norm.bias": f"{prefix}ln_f.bias",
        "unembed.weight": "lm_head.weight",
    }
    inside = {
        "qkv": ("attn.c_attn",),
        "attn_proj": ("attn.c_proj",),
        "mlp_up": ("mlp.c_fc",),
        "mlp_down": ("mlp.c_proj",),
        "act": ("mlp.act",),
        "norms.attn_in": ("ln_1",),
        "norms.mlp_in": ("ln_2",),
    }

    def how(ours: str) -> Literal["stack", "transpose"]:
        matrix = ours.endswith(".weight") and not ours.startswith(("norms", "act"))
        return "transpose" if matrix else "stack"

    return mapped(arch, named, inside, f"{prefix}h", how)


FAMILY = Family(
    "gpt2",
    "GPT-2",
    lambda config, tensors: "model_type gpt2" if config.model_type == "gpt2" else None,
    _architecture,
    _tensors,
    # Masks; and the attention to an encoder that a model may have, but nothing here gives it.
    lambda name: (
        name.endswith((".attn.bias", ".attn.masked_bias"))
        or ".crossattention." in name
        or ".ln_cross_attn." in name
    ),
    classes="GPT2",
)
