"""HRM-Text: nested loops over a fast and a slow state (``model_type: hrm_text``).

Source: sapientinc/HRM-Text-1B and the `transformers` implementation of ``hrm_text``. For each of
``H_cycles``: ``L_cycles`` times ``z_L = L_module(z_L + z_H)``, then ``z_H = H_module(z_H + z_L)``;
``logits = lm_head(z_H)``. A module is a stack of pre-norm layers whose attention has a sigmoid
gate, and a closing norm; no norm has weights. ``z_H`` starts at the scaled embedding, ``z_L`` at a
learned vector. One of our recurrences is one H cycle. Prompts are read causally: the two-way mask
over an instruction's tokens (``prefix_lm``) is not applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loopscope.core.families.family import Config, Family, Source, read_activation
from loopscope.core.families.mapping import prefix_of
from loopscope.core.families.rope import read_rope
from loopscope.core.model.architecture import Architecture, parameter_shapes
from loopscope.core.model.layer_shape import PRE_NORM, LayerShape

MODEL_TYPE = "hrm_text"
# A config that claims more is damaged; each cycle is a whole pass to lay out and to draw.
MOST_CYCLES = 1024
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 151808, "hidden_size": 1536, "intermediate_size": 4096, "num_hidden_layers": 16,
    "num_attention_heads": 12, "head_dim": 128, "hidden_act": "silu", "initializer_range": 0.02,
    "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
    "attention_bias": False, "mlp_bias": False, "H_cycles": 2, "L_cycles": 3,
    "embedding_scale": None, "num_layers_per_stack": None,
}  # fmt: skip
NAMED = {
    "embed.weight": "embed_tokens.weight",
    "fast_start": "z_L_init",
}
INSIDE = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attn_proj": ("self_attn.o_proj",),
    "attn_gate": ("self_attn.gate_proj",),
    "mlp_up": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp_down": ("mlp.down_proj",),
    "act": ("mlp.act_fn",),
}


def _cycles(config: Config, key: str) -> int:
    cycles = config.size(key)
    if cycles > MOST_CYCLES:
        raise config.error(key, f"{cycles} is not between 1 and {MOST_CYCLES}")
    return cycles


def _architecture(config: Config) -> Architecture:
    config = config.over(DEFAULTS)
    d, heads = config.size("hidden_size"), config.size("num_attention_heads")
    d_head = config.size("head_dim")
    inner = _cycles(config, "L_cycles")
    # Older files give the layers of one stack as num_hidden_layers and leave the other key out.
    n_stack = config.opt_size("num_layers_per_stack") or config.size("num_hidden_layers")
    eps = config.number("rms_norm_eps")
    scale = config.values["embedding_scale"]
    bias: set[str] = set()
    if config.flag("attention_bias"):
        bias |= {"qkv", "attn_proj", "attn_gate"}
    if config.flag("mlp_bias"):
        bias.add("mlp")
    positions = config.size("max_position_embeddings")
    rope = read_rope(config, d_head, positions)
    return Architecture(
        family=MODEL_TYPE,
        vocab_size=config.size("vocab_size"),
        layer=LayerShape(
            d_model=d,
            n_heads=heads,
            n_kv_heads=heads,
            d_head=d_head,
            d_mlp=config.size("intermediate_size"),
            norms=PRE_NORM,
            norm_kind="bare",
            norm_eps=eps,
            activation=read_activation(config, "hidden_act"),
            rope=rope,
            attn_gate=True,
            bias=frozenset(bias),
        ),
        n_prelude=0,
        n_block=(inner + 1) * n_stack,
        n_coda=0,
        trained_recurrences=_cycles(config, "H_cycles"),
        max_positions=rope.scaling.reach(positions),
        norm_eps=eps,
        embedding_scale=config.number("embedding_scale")
        if scale is not None
        else 1 / config.number("initializer_range"),
        injection="none",
        closing_norm=True,
        final_norm=False,
        initial_state="embedding",
        tied_head=config.flag("tie_word_embeddings"),
        inner_cycles=inner,
    )


def _tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    sources, model = {}, prefix_of(names, "model.")
    for ours in parameter_shapes(arch):
        if ours in NAMED:
            sources[ours] = Source((model + NAMED[ours],))
            continue
        if ours == "unembed.weight":
            sources[ours] = Source(("lm_head.weight",))
            continue
        _, index, place, kind = ours.split(".")
        module, layer = divmod(int(index), arch.n_stack)
        stack = f"{model}{'LH'[module]}_module.layers.{layer}"
        fused = _fused(arch, stack, place, kind)
        if fused is not None and fused.names[0] in names:
            sources[ours] = fused
        else:
            sources[ours] = Source(tuple(f"{stack}.{name}.{kind}" for name in INSIDE[place]))
    return sources


def _fused(arch: Architecture, stack: str, place: str, kind: str) -> Source | None:
    """Published files keep gate, q, k and v in one tensor, and gate and up of the MLP."""
    width = arch.layer.n_heads * arch.layer.d_head
    if place in ("qkv", "attn_gate"):
        rows = (0, width, 4 * width) if place == "attn_gate" else (width, 4 * width, 4 * width)
        return Source((f"{stack}.attn.gqkv_proj.{kind}",), rows=rows)
    if place == "mlp_up":
        return Source((f"{stack}.mlp.gate_up_proj.{kind}",))
    return Source((f"{stack}.attn.o_proj.{kind}",)) if place == "attn_proj" else None


FAMILY = Family(
    MODEL_TYPE,
    "HRM-Text",
    lambda config, tensors: f"model_type {MODEL_TYPE}" if config.model_type == MODEL_TYPE else None,
    _architecture,
    _tensors,
    lambda name: name.endswith("rotary_emb.inv_freq"),
    classes="HrmText",
    own_code=True,
)
