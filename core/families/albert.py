"""ALBERT: one layer group run again and again, read in both directions (``model_type: albert``).

Source: Lan et al., arXiv 1909.11942, and the `transformers` implementation of ``albert``. Word,
position and token-type embeddings of a smaller width are added, normed and projected to d; then
``num_hidden_layers`` times the one group of ``inner_group_num`` post-norm layers; the masked-token
head is dense, activation, LayerNorm and the embedding transposed, with a bias. The group is the
recurrent block, ``s_0`` the projected embedding; a position is read out as the token that stands
there. Several groups are no loop of one block: all ``num_hidden_layers`` then run once, each with
the weights of its group. The sentence-order head and the pooler are not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loopscope.core.families.family import MOST_LAYERS, Config, Family, Source, read_activation
from loopscope.core.families.mapping import prefix_of
from loopscope.core.model.architecture import Architecture, parameter_shapes
from loopscope.core.model.layer_shape import LayerShape, NormSlot
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
# The model's own prefix, which stands before what follows.
MODEL, EMBEDDINGS, ENCODER = "albert.", "embeddings", "encoder"
NAMED = {
    "embed": f"{EMBEDDINGS}.word_embeddings",
    "positions": f"{EMBEDDINGS}.position_embeddings",
    "token_types": f"{EMBEDDINGS}.token_type_embeddings",
    "embed_norm": f"{EMBEDDINGS}.LayerNorm",
    "embed_proj": f"{ENCODER}.embedding_hidden_mapping_in",
    "head_dense": "predictions.dense",
    "head_act": "predictions.activation",
    "head_norm": "predictions.LayerNorm",
    "unembed": "predictions.decoder",
}
INSIDE = {
    "qkv": ("attention.query", "attention.key", "attention.value"),
    "attn_proj": ("attention.dense",),
    "mlp_up": ("ffn",),
    "mlp_down": ("ffn_output",),
    "act": ("activation",),
    **{f"norms.{slot}": (theirs,) for slot, theirs in NORMS.items()},
}


def _architecture(config: Config) -> Architecture:
    config = config.over(DEFAULTS)
    d, heads = config.size("hidden_size"), config.size("num_attention_heads")
    if d % heads:
        raise config.error("hidden_size", f"{d} is not divisible by {heads} heads")
    block_weights = _groups(config)
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
        n_block=len(block_weights) or config.size("inner_group_num"),
        n_coda=0,
        trained_recurrences=1 if block_weights else config.size("num_hidden_layers"),
        max_positions=config.size("max_position_embeddings"),
        norm_eps=eps,
        learned_positions=True,
        injection="none",
        closing_norm=False,
        final_norm=False,
        initial_state="embedding",
        tied_head=config.flag("tie_word_embeddings"),
        embed_norm=True,
        embed_width=config.size("embedding_size"),
        token_types=config.size("type_vocab_size"),
        head_transform=True,
        block_weights=block_weights,
    )


def _groups(config: Config) -> tuple[int, ...]:
    """Which set of weights each layer runs with, where there is more than one group."""
    groups, inner = config.size("num_hidden_groups"), config.size("inner_group_num")
    if groups == 1:
        return ()
    n = config.size("num_hidden_layers", most=MOST_LAYERS)
    if groups > n:
        raise config.error("num_hidden_groups", f"{groups} groups, but only {n} of them would run")
    if inner * n > MOST_LAYERS:
        raise config.error("inner_group_num", f"{n} times {inner} layers are too many")
    # Which group runs as which layer is rounded as in the published code.
    return tuple(int(i / (n / groups)) * inner + j for i in range(n) for j in range(inner))


def _layers_of_a_group(arch: Architecture, names: frozenset[str]) -> int:
    """How the block's sets of weights are numbered in the file: so many in each group."""
    if not arch.block_weights:
        return arch.n_unique_block
    group = f"{prefix_of(names, MODEL)}{ENCODER}.albert_layer_groups.0.albert_layers."
    return len({name[len(group) :].split(".")[0] for name in names if name.startswith(group)}) or 1


def _tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    sources = {}
    inner, prefix = _layers_of_a_group(arch, names), prefix_of(names, MODEL)
    for ours in parameter_shapes(arch):
        place, kind = ours.rsplit(".", 1)
        if place in NAMED:
            name = NAMED[place]
            name = name if name.startswith("predictions") else prefix + name
            sources[ours] = Source((f"{name}.{kind}",))
        else:
            _, index, module = place.split(".", 2)
            group, inner_index = divmod(int(index), inner)
            layer = f"{prefix}{ENCODER}.albert_layer_groups.{group}.albert_layers.{inner_index}"
            sources[ours] = Source(tuple(f"{layer}.{name}.{kind}" for name in INSIDE[module]))
    return sources


FAMILY = Family(
    MODEL_TYPE,
    "ALBERT",
    lambda config, tensors: f"model_type {MODEL_TYPE}" if config.model_type == MODEL_TYPE else None,
    _architecture,
    _tensors,
    # The sentence-order head is not used; position_ids are 0, 1...; an untied head has its bias.
    lambda name: (
        name.startswith(("albert.pooler.", "pooler.", "sop_classifier.", "predictions.bias"))
        or name.endswith("position_ids")
    ),
    classes="Albert",
    ties=(("predictions.decoder.bias", "predictions.bias"),),
)
