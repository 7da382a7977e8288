"""A family of checkpoints: how its folder is recognised, read and mapped."""

from __future__ import annotations

from loopscope.core.families.family import Config, Family, Source, read_activation
from loopscope.core.families.rope import read_rope
from loopscope.core.model.architecture import Architecture, parameter_shapes
from loopscope.core.model.layer_shape import LayerShape

NAMED = {
    "embed.weight": "tok.weight",
    "final_norm.weight": "norm.weight",
    "closing_norm.weight": "loop_norm.weight",
    "unembed.weight": "out.weight",
}
INSIDE = {
    "qkv": ("q", "k", "v"),  # several are stacked on axis 0
    "attn_proj": ("o",),
    "mlp_up": ("gate", "up"),  # gate first
    "mlp_down": ("down",),
    "norms.attn_in": ("norm1",),
    "norms.mlp_in": ("norm2",),
}


def _recognise(config: Config, tensors: frozenset[str]) -> str | None:
    """How the folder was recognised, or None."""
    return "model_type mine" if config.model_type == "mine" else None


def _architecture(config: Config) -> Architecture:
    """Read config.json. Config's readers raise errors that name the key."""
    d, heads = config.size("hidden_size"), config.size("num_attention_heads")
    if d % heads:
        raise config.error("hidden_size", f"{d} is not divisible by {heads} heads")
    positions = config.size("max_position_embeddings")
    layer = LayerShape(
        d_model=d,
        n_heads=heads,
        n_kv_heads=heads,
        d_head=d // heads,
        d_mlp=config.size("intermediate_size"),
        activation=read_activation(config.over({"hidden_act": "silu"}), "hidden_act"),
        rope=read_rope(config, d // heads, positions),
    )
    return Architecture(
        family="mine",
        vocab_size=config.size("vocab_size"),
        layer=layer,
        n_prelude=0,
        n_block=config.size("num_hidden_layers"),
        n_coda=0,
        trained_recurrences=config.size("loops"),
        max_positions=positions,
        norm_eps=1e-6,
        injection="add",  # x = s + e at the head of each recurrence
    )


def _tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    """Our parameters -> which tensors of the file make them; `names` are those it holds."""
    sources = {}
    for ours in parameter_shapes(arch):
        if ours in NAMED:
            sources[ours] = Source((NAMED[ours],))
        else:
            _, index, rest = ours.split(".", 2)
            place, kind = rest.rsplit(".", 1)
            parts = tuple(f"layers.{index}.{name}.{kind}" for name in INSIDE[place])
            sources[ours] = Source(parts)
    return sources


FAMILY = Family("mine", "My looped model", _recognise, _architecture, _tensors)
