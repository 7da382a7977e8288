"""Huginn and retrofitted recurrence (``model_type: huginn_raven``).

Huginn: Geiping et al., arXiv 2502.05171, tomg-group-umd/huginn-0125. Retrofits of TinyLlama,
Llama-3.2 and OLMo-2: arXiv 2511.07384. All are prelude, adapter(cat[s, e]), recurrent block, coda;
they are told apart by their tensors: Huginn's layers have ``norm_3`` and ``norm_4`` (sandwich
norms), the OLMo form has ``attn.q_norm``, the Llama form neither. Huginn scales the embedding,
rotates neighbouring dimensions and applies ``ln_f`` before the coda as well as after it.
"""

from __future__ import annotations

import math
from typing import Literal

from loopscope.core.families.family import Config, Family, Source
from loopscope.core.families.rope import read_rope
from loopscope.core.model.architecture import Architecture, parameter_shapes
from loopscope.core.model.layer_shape import PRE_NORM, LayerShape, NormSlot
from loopscope.core.model.rope import Rope

Form = Literal["huginn", "llama", "olmo"]
MODEL_TYPE = "huginn_raven"
NORMS: dict[Form, dict[NormSlot, str]] = {
    "huginn": {"attn_in": "norm_1", "resid_mid": "norm_2", "mlp_in": "norm_3",
               "resid_post": "norm_4"},
    "llama": {"attn_in": "norm_1", "mlp_in": "norm_2"},
    "olmo": {"attn_out": "norm_1", "mlp_out": "norm_2"},
}  # fmt: skip
PREFIX = {"prelude_layers": "prelude", "block": "core_block", "coda_layers": "coda"}
MATRICES = {"qkv": "attn.Wqkv", "attn_proj": "attn.proj", "mlp_up": "mlp.fc",
            "mlp_down": "mlp.proj"}  # fmt: skip
STARTS = ("random", "embed-init", "skip-adapter")


def form_of(tensors: frozenset[str]) -> Form:
    """Tell the three forms apart by the tensors of a layer."""
    if any(name.endswith(".norm_3.weight") for name in tensors):
        return "huginn"
    return "olmo" if any(name.endswith(".attn.q_norm.weight") for name in tensors) else "llama"


def _recognise(config: Config, tensors: frozenset[str], form: Form) -> str | None:
    if config.model_type != MODEL_TYPE or form_of(tensors) != form:
        return None
    why = {"huginn": "norm_3 and norm_4", "olmo": "attn.q_norm", "llama": "two norms a layer"}
    return f"model_type {MODEL_TYPE} with {why[form]}"


def _architecture(config: Config, form: Form) -> Architecture:
    d, heads = config.size("n_embd"), config.size("n_heads")
    d_head = config.opt_size("head_dim") or d // heads
    kv = config.opt_size("num_key_value_heads") or heads
    if d % heads or heads % kv:
        raise config.error("n_heads", f"{d} is not divisible by {heads} heads of {kv} groups")
    huginn = form == "huginn"
    positions = config.opt_size("max_position_embeddings") or config.size("block_size")
    base = config.values.get("rope_base", 50000.0)
    if huginn:  # its code knows no other key of the rotary embedding
        rope = Rope(config.number("rope_base", base), pairs="neighbour")
    else:
        rope = read_rope(config, d_head, positions, theta=base)
    eps = config.number("norm_eps", 1e-6)
    start = "random" if huginn else config.choice("initial_state_mode", STARTS)
    norms: frozenset[NormSlot] = frozenset(NORMS[form]) if form != "llama" else PRE_NORM
    # Huginn's code computes its scale whatever the config says; the retrofits' code reads it.
    values = config.section("init_values") or Config({}, config.path)
    scale = math.sqrt(d) if huginn else values.number("embed_scale", 1.0)
    if config.values.get("injection_type", "linear") != "linear":
        raise config.error("injection_type", "only 'linear' is supported")
    if config.values.get("bias"):
        raise config.error("bias", "layers with biases are not supported in this family")
    return Architecture(
        family=form if huginn else f"retrofit {form}",
        vocab_size=config.size("padded_vocab_size", config.values.get("vocab_size")),
        layer=LayerShape(
            d_model=d,
            n_heads=heads,
            n_kv_heads=kv,
            d_head=d_head,
            d_mlp=config.size("intermediate_size"),
            norms=norms,
            norm_eps=eps,
            rope=rope,
            qk_norm="full" if form == "olmo" else "none",
            qk_bias=huginn and config.flag("qk_bias", False),
        ),
        n_prelude=config.size("n_layers_in_prelude", least=0),
        n_block=config.size("n_layers_in_recurrent_block"),
        n_coda=config.size("n_layers_in_coda", least=0),
        trained_recurrences=config.size("mean_recurrence"),
        max_positions=rope.scaling.reach(positions),
        norm_eps=eps,
        embedding_scale=scale,
        closing_norm=False,
        pre_coda_norm=huginn,
        skip_first_injection=start == "skip-adapter",
        initial_state="truncated" if start == "random" else "embedding",
        # std sqrt(2 / (5 d)), cut at three of them, times the embedding scale.
        start_std=math.sqrt(2 / (5 * d)) * scale,
        tied_head=config.flag("tie_word_embeddings", config.values.get("tie_embeddings", huginn)),
    )


def _tensors(arch: Architecture, names: frozenset[str], form: Form) -> dict[str, Source]:
    named = {
        "embed.weight": "transformer.wte.weight",
        "adapter.weight": "transformer.adapter.weight",
        "final_norm.weight": "transformer.ln_f.weight",
        "unembed.weight": "lm_head.weight",
    }
    sources = {}
    for ours in parameter_shapes(arch):
        theirs = named.get(ours)
        if theirs is None:
            stack, index, rest = ours.split(".", 2)
            theirs = f"transformer.{PREFIX[stack]}.{index}.{_in_layer(rest, form)}"
        sources[ours] = Source((theirs,))
    return sources


def _in_layer(ours: str, form: Form) -> str:
    if ours.startswith("norms."):
        _, slot, kind = ours.split(".")
        return f"{NORMS[form][slot]}.{kind}"  # type: ignore[index]
    name, _, kind = ours.partition(".")
    if name in MATRICES:
        return f"{MATRICES[name]}.{kind}"
    return f"attn.{ours}"


def _family(form: Form, title: str) -> Family:
    return Family(
        form if form == "huginn" else f"retrofit {form}",
        title,
        lambda config, tensors: _recognise(config, tensors, form),
        lambda config: _architecture(config, form),
        lambda arch, names: _tensors(arch, names, form),
        lambda name: name == "freqs_cis",  # the rotary table, which is made anew
    )


HUGINN = _family("huginn", "Huginn")
RETROFIT_LLAMA = _family("llama", "retrofitted recurrence, Llama form")
RETROFIT_OLMO = _family("olmo", "retrofitted recurrence, OLMo form")
