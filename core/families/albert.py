"""ALBERT: one layer group run again and again, read in both directions (``model_type: albert``).

Source: Lan et al., arXiv 1909.11942, and the `transformers` implementation of ``albert``. Word,
position and token-type embeddings of a smaller width are added, normed and projected to d; then
``num_hidden_layers`` times the one group of ``inner_group_num`` post-norm layers; the masked-token
head is dense, activation, LayerNorm and the embedding transposed, with a bias. The group is the
recurrent block, ``s_0`` the projected embedding; a position is read out as the token that stands
there. The sentence-order head and the pooler are not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loopscope.core.families.family import Config, Family, Source, read_activation
from loopscope.core.model.architecture import (
    Architecture,
    LayerShape,
    NormSlot,
    parameter_shapes,
)
from loopscope.core.model.rope import Rope

MODEL_TYPE = "albert"
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 30000, "embedding_size": 128, "hidden_size": 4096, "num_hidden_layers": 12,
    "num_hidden_groups": 1, "num_attention_heads": 64, "intermediate_size": 16384,
    "inner_group_num": 1, "hidden_act": "gelu_new", "max_position_embeddings": 512,
    "type_vocab_size": 2, "layer_norm_eps": 1e-12, "tie_word_embeddings": True,
}  # fmt: skip
NORMS: dict[NormSlot, str] = {
    "resid_mid": "attention.LayerNorm",
    "resid_post": "full_layer_layer_norm",
}
EMBEDDINGS, ENCODER = "albert.embeddings", "albert.encoder"
NAMED = {
    "embed": f"{EMBEDDINGS}.word_embeddings",
    "positions": f"{EMBEDDINGS}.position_embeddings",
    "token_types": f"{EMBEDDINGS}.token_type_embeddings",
    "embed_norm": f"{EMBEDDINGS}.LayerNorm",
    "embed_proj": f"{ENCODER}.embedding_hidden_mapping_in",
    "head_dense": "predictions.dense",
    "head_norm": "predictions.LayerNorm",
    "unembed": "predictions.decoder",
}
INSIDE = {
    "qkv": ("attention.query", "attention.key", "attention.value"),
    "attn_proj": ("attention.dense",),
    "mlp_up": ("ffn",),
    "mlp_down": ("ffn_output",),
    **{f"norms.{slot}": (theirs,) for slot, theirs in NORMS.items()},
}


def _architecture(config: Config) -> Architecture:
    config = config.over(DEFAULTS)
    d, heads = config.size("hidden_size"), config.size("num_attention_heads")
    if d % heads:
        raise config.error("hidden_size", f"{d} is not divisible by {heads} heads")
    groups = config.size("num_hidden_groups")
    if groups != 1:
        raise config.error(
            "num_hidden_groups", f"{groups} groups are not one recurrent block; only 1 is supported"
        )
    if config.values.get("position_embedding_type", "absolute") != "absolute":
        raise config.error("position_embedding_type", "only 'absolute' is supported")
    eps = config.number("layer_norm_eps")
    return Architecture(
        family=MODEL_TYPE,
        vocab_size=config.size("vocab_size"),
        layer=LayerShape(
            d_model=d,
            n_heads=heads,
            n_kv_heads=heads,
            d_head=d // heads,
            d_mlp=config.size("intermediate_size"),
            norms=frozenset(NORMS),
            norm_kind="layer",
            norm_eps=eps,
            activation=read_activation(config, "hidden_act"),
            gated=False,
            causal=False,
            rope=Rope(pairs="none"),
            bias=frozenset({"qkv", "attn_proj", "mlp"}),
        ),
        n_prelude=0,
        n_block=config.size("inner_group_num"),
        n_coda=0,
        trained_recurrences=config.size("num_hidden_layers"),
        max_positions=config.size("max_position_embeddings"),
        norm_eps=eps,
        learned_positions=True,
        injection="none",
        closing_norm=False,
        final_norm=False,
        initial_state="embedding",
        tied_head=config.flag("tie_word_embeddings"),
        embed_width=config.size("embedding_size"),
        token_types=config.size("type_vocab_size"),
        head_transform=True,
    )


def _tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    sources = {}
    for ours in parameter_shapes(arch):
        place, kind = ours.rsplit(".", 1)
        if ours == "unembed.bias" and "predictions.bias" in names:
            sources[ours] = Source(("predictions.bias",))
        elif place in NAMED:
            sources[ours] = Source((f"{NAMED[place]}.{kind}",))
        else:
            _, index, inner = place.split(".", 2)
            layer = f"{ENCODER}.albert_layer_groups.0.albert_layers.{index}"
            sources[ours] = Source(tuple(f"{layer}.{name}.{kind}" for name in INSIDE[inner]))
    return sources


FAMILY = Family(
    MODEL_TYPE,
    "ALBERT",
    lambda config, tensors: f"model_type {MODEL_TYPE}" if config.model_type == MODEL_TYPE else None,
    _architecture,
    _tensors,
    # The sentence-order head is not used; a tied head may be written out, position_ids are 0, 1...
    lambda name: (
        name.startswith(("albert.pooler.", "sop_classifier.", "predictions.decoder."))
        or name.endswith("position_ids")
    ),
)
