"""Llama, Mistral, Qwen2, Qwen3, OLMo-2; and Ouro's looped stack, which is written like them.

Sources: the `transformers` implementations of each ``model_type``; Ouro: arXiv 2510.25741,
ByteDance/Ouro-1.4B. A deep decoder is a recurrent block applied once: its layers are the block,
``s_0`` is the embedding, there is no prelude, coda or injection; any span of its layers can be
looped (`loopscope.core.model.loop_span.with_loop`). Ouro runs its whole stack
``total_ut_steps`` times, with ``model.norm`` after every recurrence, whose output is fed back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from loopscope.core.families.family import MOST_LAYERS, Config, Family, Source, read_activation
from loopscope.core.families.mapping import mapped, prefix_of
from loopscope.core.families.rope import read_rope
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.layer_shape import LayerShape, NormSlot

OURO_NORMS: dict[NormSlot, str] = {
    "attn_in": "input_layernorm",
    "attn_out": "input_layernorm_2",
    "mlp_in": "post_attention_layernorm",
    "mlp_out": "post_attention_layernorm_2",
}
LLAMA_NORMS: dict[NormSlot, str] = {
    "attn_in": "input_layernorm",
    "mlp_in": "post_attention_layernorm",
}
OLMO_NORMS: dict[NormSlot, str] = {
    "attn_out": "post_attention_layernorm",
    "mlp_out": "post_feedforward_layernorm",
}
# What a config class takes where a key is missing.
LLAMA: Mapping[str, Any] = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": None, "head_dim": None,
    "hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False,
}  # fmt: skip
MISTRAL: Mapping[str, Any] = {
    **LLAMA, "intermediate_size": 14336, "num_key_value_heads": 8,
    "max_position_embeddings": 131072, "sliding_window": 4096,
}  # fmt: skip
QWEN2: Mapping[str, Any] = {
    **LLAMA, "vocab_size": 151936, "intermediate_size": 22016, "num_key_value_heads": 32,
    "max_position_embeddings": 32768, "use_sliding_window": False, "sliding_window": 4096,
    "max_window_layers": 28, "layer_types": None,
}  # fmt: skip
QWEN3: Mapping[str, Any] = {**QWEN2, "head_dim": 128}
OLMO2: Mapping[str, Any] = {**LLAMA, "vocab_size": 50304, "rms_norm_eps": 1e-5}
OURO: Mapping[str, Any] = {**QWEN2, "total_ut_steps": 4, "early_exit_threshold": 1.0}


@dataclass(frozen=True, slots=True)
class Style:
    """In what the families differ.

    qkv_bias : whether q, k and v have biases; None: what ``attention_bias`` says, of the output
        as well.
    mlp_bias : whether ``mlp_bias`` is read.
    windows : which layers have the window: none, all, or those that ``layer_types`` or
        ``max_window_layers`` say, if ``use_sliding_window``.
    """

    title: str
    defaults: Mapping[str, Any]
    norms: dict[NormSlot, str]
    qk_norm: Literal["none", "head", "full"] = "none"
    qkv_bias: bool | None = None
    mlp_bias: bool = False
    windows: Literal["none", "all", "by layer"] = "none"
    looped: bool = False


STYLES = {
    "llama": Style("Llama", LLAMA, LLAMA_NORMS, mlp_bias=True),
    "mistral": Style("Mistral", MISTRAL, LLAMA_NORMS, qkv_bias=False, windows="all"),
    "qwen2": Style("Qwen2", QWEN2, LLAMA_NORMS, qkv_bias=True, windows="by layer"),
    "qwen3": Style("Qwen3", QWEN3, LLAMA_NORMS, qk_norm="head", windows="by layer"),
    "olmo2": Style("OLMo-2", OLMO2, OLMO_NORMS, qk_norm="full"),
    "ouro": Style("Ouro", OURO, OURO_NORMS, qkv_bias=False, windows="by layer", looped=True),
}


def llama_architecture(config: Config, style: Style) -> Architecture:
    """Read a config with Llama's keys; raises `CheckpointError` that names the key."""
    config = config.over(style.defaults)
    layer, positions = _layer(config, style)
    n_layers = config.size("num_hidden_layers", most=MOST_LAYERS)
    windows = _windows(config, style, n_layers)
    wide = {window: replace(layer, window=window) for window in windows}
    alike = len(wide) < 2
    return Architecture(
        family=config.model_type,
        vocab_size=config.size("vocab_size"),
        layer=wide.get(windows[0], layer) if windows and alike else layer,
        n_prelude=0,
        n_block=n_layers,
        n_coda=0,
        trained_recurrences=config.size("total_ut_steps") if style.looped else 1,
        max_positions=positions,
        norm_eps=layer.norm_eps,
        injection="none",
        closing_norm=style.looped,
        final_norm=not style.looped,
        initial_state="embedding",
        exit_gate=style.looped,
        exit_threshold=config.number("early_exit_threshold") if style.looped else 1.0,
        tied_head=config.flag("tie_word_embeddings"),
        layer_shapes=() if alike else tuple(wide[window] for window in windows),
    )


def _layer(config: Config, style: Style) -> tuple[LayerShape, int]:
    """The shape of a layer, and how long a prompt may be."""
    d, heads = config.size("hidden_size"), config.size("num_attention_heads")
    kv = config.opt_size("num_key_value_heads") or heads
    d_head = config.opt_size("head_dim") or d // heads
    if heads % kv:
        raise config.error("num_key_value_heads", f"{heads} heads are not divisible by {kv}")
    if config.opt_size("head_dim") is None and d % heads:
        raise config.error("hidden_size", f"{d} is not divisible by {heads} heads")
    bias: set[str] = {"qkv"} if style.qkv_bias else set()
    if style.qkv_bias is None and config.flag("attention_bias"):
        bias |= {"qkv", "attn_proj"}
    if style.mlp_bias and config.flag("mlp_bias"):
        bias.add("mlp")
    positions = config.size("max_position_embeddings")
    rope = read_rope(config, d_head, positions)
    layer = LayerShape(
        d_model=d,
        n_heads=heads,
        n_kv_heads=kv,
        d_head=d_head,
        d_mlp=config.size("intermediate_size"),
        norms=frozenset(style.norms),
        norm_eps=config.number("rms_norm_eps"),
        activation=read_activation(config, "hidden_act"),
        rope=rope,
        qk_norm=style.qk_norm,
        bias=frozenset(bias),
    )
    return layer, rope.scaling.reach(positions)


def _windows(config: Config, style: Style, n_layers: int) -> tuple[int, ...]:
    """Keys that each layer's queries see, 0 for all; empty where no layer has a window."""
    if style.windows == "none":
        return ()
    if style.windows == "all":
        window = config.opt_size("sliding_window")
        return (window,) * n_layers if window else ()
    window = config.opt_size("sliding_window") if config.flag("use_sliding_window") else None
    types = config.values["layer_types"]
    if types is None:
        if window is None:
            return ()
        full = min(config.size("max_window_layers", least=0), n_layers)
        return (0,) * full + (window,) * (n_layers - full)
    known = {"full_attention": 0, "attention": 0, "sliding_attention": window}
    if not isinstance(types, list) or len(types) != n_layers:
        raise config.error("layer_types", f"expected a list of {n_layers} names")
    windows = [known.get(kind) if isinstance(kind, str) else None for kind in types]
    for kind, window in zip(types, windows, strict=True):
        if window is None:
            problem = "has no window" if kind == "sliding_attention" else "is not supported"
            raise config.error("layer_types", f"'{str(kind)[:30]}' {problem}")
    return tuple(window or 0 for window in windows)


def llama_tensors(arch: Architecture, names: frozenset[str], style: Style) -> dict[str, Source]:
    """Map every parameter to Llama's tensor names."""
    norm = "closing_norm" if arch.closing_norm else "final_norm"
    model = prefix_of(names, "model.")
    named = {
        "embed.weight": f"{model}embed_tokens.weight",
        f"{norm}.weight": f"{model}norm.weight",
        "unembed.weight": "lm_head.weight",
        "exit_gate.weight": f"{model}early_exit_gate.weight",
        "exit_gate.bias": f"{model}early_exit_gate.bias",
    }
    inside = {
        "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "attn_proj": ("self_attn.o_proj",),
        "mlp_up": ("mlp.gate_proj", "mlp.up_proj"),
        "mlp_down": ("mlp.down_proj",),
        "act": ("mlp.act_fn",),
        "q_norm": ("self_attn.q_norm",),
        "k_norm": ("self_attn.k_norm",),
        **{f"norms.{slot}": (theirs,) for slot, theirs in style.norms.items()},
    }
    return mapped(arch, named, inside, f"{model}layers")


def _family(model_type: str, style: Style) -> Family:
    return Family(
        model_type,
        style.title,
        lambda config, tensors: (
            f"model_type {model_type}" if config.model_type == model_type else None
        ),
        lambda config: llama_architecture(config, style),
        lambda arch, names: llama_tensors(arch, names, style),
        lambda name: name.endswith("rotary_emb.inv_freq"),
        classes=model_type.capitalize(),
        own_code=style.looped,
    )


FAMILIES: tuple[Family, ...] = tuple(_family(kind, style) for kind, style in STYLES.items())
