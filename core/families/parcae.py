"""Parcae: a looped model whose input enters as a diagonal linear system (``ParcaeConfig``).

Source: SandyResearch/parcae, `parcae_lm/models/parcae/parcae.py` (MIT). Prelude, recurrent block
and coda of pre-norm layers; ``e`` is the prelude's output, normed. Each recurrence begins with
``exp(-dt exp(A_log)) s + dt (e B^T)``, ``dt = softplus(dt_bias)`` ("diagonal"; "linear" and "add"
exist); no norm ends it; the coda reads ``C s``. Rotary embedding of neighbouring dimensions; then,
with ``qk_norm``, queries and keys are normed without weights and without an epsilon. The MLP is
``0.5 relu(x)^2``. In every second layer a table gives each token a value of its own, gated by the
layer's input; a layer has them where the file holds both table and gate. A token's state starts
normal with standard deviation ``sqrt(2 / (5 d))``, cut at three of them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from loopscope.core.families.family import Config, Family, Source
from loopscope.core.families.nanogpt import NO_EPS
from loopscope.core.model.architecture import STACKS, Architecture, parameter_shapes
from loopscope.core.model.layer_shape import PRE_NORM, LayerShape
from loopscope.core.model.rope import Rope

CLASS = "ParcaeConfig"
PREFIX = {"prelude_layers": "prelude", "block": "core_block", "coda_layers": "coda"}
INJECTIONS: dict[str, Literal["concat", "add", "diagonal"]] = {
    "diagonal": "diagonal",
    "linear": "concat",
    "add": "add",
}
NAMED = {
    "embed.weight": "transformer.wte.weight",
    "prelude_norm.weight": "transformer.ln_prelude.weight",
    "coda_proj.weight": "transformer.C.weight",
    "final_norm.weight": "transformer.ln_f.weight",
    "unembed.weight": "lm_head.weight",
}
ADAPTER = {
    "diagonal": {"weight": "B", "decay": "A_log", "step": "dt_bias"},
    "concat": {"weight": "adapter.weight", "bias": "adapter.bias"},
}
INSIDE = {
    "qkv.weight": ("attn.c_q.weight", "attn.c_k.weight", "attn.c_v.weight"),
    "qkv.bias": ("attn.c_q.bias", "attn.c_k.bias", "attn.c_v.bias"),
    "attn_proj.weight": ("attn.c_proj.weight",),
    "attn_proj.bias": ("attn.c_proj.bias",),
    "mlp_up.weight": ("mlp.fc.weight",),
    "mlp_up.bias": ("mlp.fc.bias",),
    "mlp_down.weight": ("mlp.proj.weight",),
    "mlp_down.bias": ("mlp.proj.bias",),
    "norms.attn_in.weight": ("norm_1.weight",),
    "norms.mlp_in.weight": ("norm_2.weight",),
    "value_gate.weight": ("attn.ve_gate.weight",),
    "qk_bias": ("attn.qk_bias",),
}
# Switches that change what is computed, and the only value that is published and stated.
ONLY: dict[str, object] = {
    "clip_qkv": None,
    "center_attention": False,
    "debias_attention": False,
    "use_abacus": False,
    "mup_model_scaling_factor": 1,
    "mlp_class_name": "BaseMLP",
    "nonlin_name": "ReLU2",
    "norm_class_name": "RMSNorm",
    "block_class_name": "TransformerPreNormBlock",
}


def _layer(config: Config) -> LayerShape:
    d, heads = config.size("n_embd"), config.size("num_attention_heads")
    kv = config.opt_size("num_key_value_heads") or heads
    if d % heads or heads % kv or (d // heads) % 2:
        raise config.error("num_attention_heads", f"{d} is not divisible by {heads} heads of {kv}")
    bias = {"qkv", "attn_proj", "mlp"} if config.flag("bias", False) else set()
    rope = config.section("rope_settings") or Config({}, config.path)
    if rope.values.get("rope_condense_ratio", 1) != 1:
        raise config.error("rope_settings", "only a rope_condense_ratio of 1 is known")
    pairs: Literal["neighbour", "none"] = "neighbour" if rope.flag("use_rope", True) else "none"
    return LayerShape(
        d_model=d,
        n_heads=heads,
        n_kv_heads=kv,
        d_head=d // heads,
        d_mlp=config.size("intermediate_size"),
        norms=PRE_NORM,
        norm_eps=config.number("norm_eps", 1e-5),
        activation="half_relu2",
        gated=False,
        rope=Rope(theta=rope.number("rope_base", 50000.0), pairs=pairs),
        qk_norm="bare" if config.flag("qk_norm", False) else "none",
        qk_eps=NO_EPS,
        qk_bias=config.flag("qk_bias", False),
        bias=frozenset(bias),
    )


def _architecture(config: Config) -> Architecture:
    for key, only in ONLY.items():
        if config.values.get(key, only) != only:
            raise config.error(key, f"only {only!r} is known of this family")
    layer = _layer(config)
    if config.values.get("recurrent_embedding_dimension", layer.d_model) != layer.d_model:
        raise config.error("recurrent_embedding_dimension", f"only {layer.d_model}, as n_embd")
    injection = INJECTIONS[config.choice("injection_type", tuple(INJECTIONS))]
    start = config.choice("state_init", ("like-init", "zero"))
    arch = Architecture(
        family="parcae",
        vocab_size=config.size("padded_vocab_size", config.values.get("vocab_size")),
        layer=layer,
        n_prelude=config.size("n_layers_in_prelude", least=0),
        n_block=config.size("n_layers_in_recurrent_block"),
        n_coda=config.size("n_layers_in_coda", least=0),
        trained_recurrences=config.size("mean_recurrence"),
        max_positions=config.size("block_size"),
        norm_eps=layer.norm_eps,
        injection=injection,
        closing_norm=False,
        prelude_norm=config.flag("prelude_norm", False),
        coda_proj=True,
        logit_cap=config.zero_number("logit_softcap", 0.0)
        if config.values.get("logit_softcap") is not None
        else 0.0,
        initial_state="truncated" if start == "like-init" else "zeros",
        start_std=math.sqrt(2 / (5 * layer.d_model)),
        tied_head=config.flag("tie_embeddings", True),
    )
    return replace(arch, layer_shapes=_value_embedded(config, arch))


def _value_embedded(config: Config, arch: Architecture) -> tuple[LayerShape, ...]:
    """Each layer, with value embeddings where it has both a table and a gate.

    The file says where; without one, the published rule: the table of layer i of all n exists where
    ``i`` and ``n - 1`` are both even or both odd, the gate where the same holds of the layer's
    number and of the layers of the block times ``mean_backprop_depth``, the coda counted from
    behind ``mean_recurrence`` copies of the block.
    """
    n = arch.unique_depth
    depth = arch.n_block * config.size("mean_backprop_depth", 1)
    coda = arch.n_prelude + arch.n_block
    later = arch.n_block * (arch.trained_recurrences - 1)
    wide = replace(arch.layer, value_rows=arch.vocab_size)
    shapes = []
    for i in range(n):
        stack, index = _place(arch, i)
        table, gate = f"value_embeds.{i}.weight", f"transformer.{stack}.{index}.attn.ve_gate.weight"
        there = {table, gate} <= config.tensors
        if not config.tensors:
            number = i + later if i >= coda else i
            there = i % 2 == (n - 1) % 2 and number % 2 == (depth - 1) % 2
        shapes.append(wide if there else arch.layer)
    return tuple(shapes) if wide in shapes else ()


def _place(arch: Architecture, i: int) -> tuple[str, int]:
    """What the file calls layer ``i`` of all, and its number there."""
    for stack, n in zip(STACKS, (arch.n_prelude, arch.n_block, arch.n_coda), strict=True):
        if i < n:
            return PREFIX[stack], i
        i -= n
    raise IndexError(i)


def _tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    first = dict(zip(STACKS, (0, arch.n_prelude, arch.n_prelude + arch.n_block), strict=True))
    sources = {}
    for ours in parameter_shapes(arch):
        if ours in NAMED:
            sources[ours] = Source((NAMED[ours],))
            continue
        stack, index, *rest = ours.split(".")
        if stack == "adapter":
            sources[ours] = Source((f"transformer.adapter.{ADAPTER[arch.injection][index]}",))
        elif rest[0] == "value_embed":
            sources[ours] = Source((f"value_embeds.{first[stack] + int(index)}.weight",))
        else:
            layer = f"transformer.{PREFIX[stack]}.{index}"
            parts = tuple(f"{layer}.{name}" for name in INSIDE[".".join(rest)])
            sources[ours] = Source(parts)
    return sources


def _recognise(config: Config, tensors: frozenset[str]) -> str | None:
    if config.values.get("_class_name") == CLASS:
        return f"_class_name {CLASS}"
    return "model_type parcae" if config.model_type == "parcae" else None


FAMILY = Family(
    "parcae",
    "Parcae",
    _recognise,
    _architecture,
    _tensors,
    # The rotary table is made anew; tables and gates that have no partner are not used.
    lambda name: (
        name == "freqs_cis" or name.startswith("value_embeds.") or name.endswith(".ve_gate.weight")
    ),
)
