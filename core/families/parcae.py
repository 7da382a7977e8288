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

from loopscope.core.families.family import MOST_LAYERS, Config, Family, Source
from loopscope.core.families.nanogpt import NO_EPS
from loopscope.core.model.architecture import STACKS, Architecture, parameter_shapes
from loopscope.core.model.layer_shape import PRE_NORM, LayerShape
from loopscope.core.model.rope import Linear, Rope, Scaling

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
    "coda_proj.bias": "transformer.C.bias",
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
# How ``s_0`` is drawn, by ``state_init``.
STARTS: dict[str, Literal["truncated", "zeros", "normal"]] = {
    "like-init": "truncated",
    "zero": "zeros",
    "normal": "normal",
    "embed": "normal",
}
# Switches that change what is computed, and the only value that is published and stated.
ONLY: dict[str, object] = {
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
    """The layers of prelude and coda."""
    d, heads = config.size("n_embd"), config.size("num_attention_heads")
    kv = config.opt_size("num_key_value_heads") or heads
    if d % heads or heads % kv or (d // heads) % 2:
        raise config.error("num_attention_heads", f"{d} is not divisible by {heads} heads of {kv}")
    if config.flag("qk_bias", False) and kv != heads:
        raise config.error("qk_bias", f"has {heads} heads and the keys {kv}: nothing fits them")
    bias = {"qkv", "attn_proj", "mlp"} if config.flag("bias", False) else set()
    return LayerShape(
        d_model=d,
        n_heads=heads,
        n_kv_heads=kv,
        d_head=d // heads,
        d_mlp=config.opt_size("intermediate_size") or 4 * d,
        norms=PRE_NORM,
        norm_eps=config.number("norm_eps", 1e-5),
        activation="half_relu2",
        gated=False,
        rope=_rope(config),
        qk_norm="bare" if config.flag("qk_norm", False) else "none",
        qk_eps=NO_EPS,
        qk_bias=config.flag("qk_bias", False),
        qkv_clip=_number_or_off(config, "clip_qkv"),
        bias=frozenset(bias),
    )


def _rope(config: Config) -> Rope:
    settings = config.section("rope_settings") or Config({}, config.path)
    condensed = settings.number("rope_condense_ratio", 1)
    return Rope(
        theta=settings.number("rope_base", 50000.0),
        pairs="neighbour" if settings.flag("use_rope", True) else "none",
        scaling=Scaling() if condensed == 1 else Linear(factor=condensed),
    )


def _number_or_off(config: Config, key: str) -> float:
    """A number of 0 or more; 0, which turns it off, where the key is missing or null."""
    return 0.0 if config.values.get(key) is None else config.zero_number(key, 0.0)


def _block_layer(config: Config, layer: LayerShape) -> LayerShape:
    """The layers of the block, which have an MLP of their own width and no grouped heads."""
    heads = config.opt_size("recurrent_num_attention_heads") or layer.n_heads
    if heads != layer.n_heads:
        raise config.error("recurrent_num_attention_heads", f"only {layer.n_heads}, as elsewhere")
    width = config.opt_size("recurrent_intermediation_embedding_dimension") or layer.d_mlp
    return replace(layer, n_kv_heads=heads, d_mlp=width)


def _vocabulary(config: Config) -> int:
    """Rows of the embedding: ``vocab_size`` up to a multiple, where no number is given."""
    multiple = config.size("padding_multiple", 1)
    padded = config.opt_size("padded_vocab_size")
    return padded or -(-config.size("vocab_size") // multiple) * multiple


def _architecture(config: Config) -> Architecture:
    for key, only in ONLY.items():
        if config.values.get(key, only) != only:
            raise config.error(key, f"only {only!r} is known of this family")
    # Others may begin with a larger embedding, by a factor that no key says.
    if not str(config.values.get("init_strategy", "scaled")).startswith("scaled"):
        raise config.error("init_strategy", "only the scaled ones are known of this family")
    outer = _layer(config)
    layer, d = _block_layer(config, outer), outer.d_model
    if config.values.get("recurrent_embedding_dimension", d) != d:
        raise config.error("recurrent_embedding_dimension", f"only {d}, as n_embd")
    injection = INJECTIONS[config.choice("injection_type", tuple(INJECTIONS))]
    start = config.choice("state_init", tuple(STARTS))
    stds = {"like-init": math.sqrt(2 / (5 * d)), "embed": d**-0.5}
    arch = Architecture(
        family="parcae",
        vocab_size=_vocabulary(config),
        layer=layer,
        n_prelude=config.size("n_layers_in_prelude", least=0, most=MOST_LAYERS),
        n_block=config.size("n_layers_in_recurrent_block", most=MOST_LAYERS),
        n_coda=config.size("n_layers_in_coda", least=0, most=MOST_LAYERS),
        trained_recurrences=config.size("mean_recurrence"),
        max_positions=config.size("block_size"),
        norm_eps=layer.norm_eps,
        injection=injection,
        adapter_bias=injection == "concat" and config.flag("bias", False),
        closing_norm=False,
        prelude_norm=config.flag("prelude_norm", False),
        coda_proj=True,
        coda_bias=config.flag("bias", False),
        logit_cap=_number_or_off(config, "logit_softcap"),
        initial_state=STARTS[start],
        start_std=stds.get(start, 1.0),
        tied_head=config.flag("tie_embeddings", True),
    )
    return replace(arch, layer_shapes=_layers(config, arch, outer))


def _layers(config: Config, arch: Architecture, outer: LayerShape) -> tuple[LayerShape, ...]:
    """Each layer, with value embeddings where it has both a table and a gate.

    The file says where; without one, the published rule: the table of layer i of all n exists where
    ``i`` and ``n - 1`` are both even or both odd, the gate where the same holds of the layer's
    number and of the layers of the block times ``mean_backprop_depth``, the coda counted from
    behind ``mean_recurrence`` copies of the block. Tables are as wide as the prelude's keys.
    """
    n = arch.unique_depth
    depth = arch.n_block * config.size("mean_backprop_depth", 8)
    coda = arch.n_prelude + arch.n_block
    later = arch.n_block * (arch.trained_recurrences - 1)
    shapes = []
    for i in range(n):
        stack, index = _place(arch, i)
        table, gate = f"value_embeds.{i}.weight", f"transformer.{stack}.{index}.attn.ve_gate.weight"
        there = {table, gate} <= config.tensors
        if not config.tensors:
            number = i + later if i >= coda else i
            there = i % 2 == (n - 1) % 2 and number % 2 == (depth - 1) % 2
        shape = arch.layer if stack == PREFIX["block"] else outer
        if there and shape.n_kv_heads != outer.n_kv_heads:
            raise config.error(
                "num_key_value_heads", f"layer {index} of the block has a table of other heads"
            )
        shapes.append(replace(shape, value_rows=arch.vocab_size) if there else shape)
    return () if all(shape == arch.layer for shape in shapes) else tuple(shapes)


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
