"""Deep decoders: Llama, Mistral, Qwen2, Qwen3, OLMo-2, GPT-2, GPT-NeoX; and Ouro's looped stack.

Sources: the Hugging Face `transformers` implementations of each ``model_type``; Ouro: arXiv
2510.25741, ByteDance/Ouro-1.4B. A deep decoder is a recurrent block applied once: its layers are
the block, ``s_0`` is the embedding, there is no prelude, coda or injection; any span of its layers
can be looped (`loopscope.core.model.architecture.with_loop`). Ouro runs its whole stack
``total_ut_steps`` times, with ``model.norm`` after every recurrence, whose output is fed back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from loopscope.core.families.family import Config, Family, Source, read_activation
from loopscope.core.families.rope import read_rope
from loopscope.core.model.architecture import (
    PRE_NORM,
    Architecture,
    LayerShape,
    NormSlot,
    parameter_shapes,
)
from loopscope.core.model.rope import Rope

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


@dataclass(frozen=True, slots=True)
class Style:
    """In what the Llama-like families differ."""

    title: str
    norms: dict[NormSlot, str]
    qk_norm: Literal["none", "head", "full"] = "none"
    qkv_bias: bool | None = None  # None: config's attention_bias, which then covers o_proj too
    looped: bool = False


STYLES = {
    "llama": Style("Llama", LLAMA_NORMS),
    "mistral": Style("Mistral", LLAMA_NORMS, qkv_bias=False),
    "qwen2": Style("Qwen2", LLAMA_NORMS, qkv_bias=True),
    "qwen3": Style("Qwen3", LLAMA_NORMS, qk_norm="head"),
    "olmo2": Style("OLMo-2", OLMO_NORMS, qk_norm="full"),
    "ouro": Style("Ouro", OURO_NORMS, qkv_bias=False, looped=True),
}


# ---- Llama and those that are written like it ----
def llama_architecture(config: Config, style: Style) -> Architecture:
    """Read a config with Llama's keys; raises `CheckpointError` that names the key."""
    d, heads = config.size("hidden_size"), config.size("num_attention_heads")
    kv = config.opt_size("num_key_value_heads") or heads
    d_head = config.opt_size("head_dim") or d // heads
    if heads % kv:
        raise config.error("num_key_value_heads", f"{heads} heads are not divisible by {kv}")
    if config.opt_size("head_dim") is None and d % heads:
        raise config.error("hidden_size", f"{d} is not divisible by {heads} heads")
    bias: set[str] = {"qkv"} if style.qkv_bias else set()
    if style.qkv_bias is None and config.flag("attention_bias", False):
        bias |= {"qkv", "attn_proj"}
    if config.flag("mlp_bias", False):
        bias.add("mlp")
    eps = config.number("rms_norm_eps", 1e-6)
    positions = config.size("max_position_embeddings", 2048)
    if config.values.get("use_sliding_window", True) and config.opt_size("sliding_window"):
        # Beyond the window attention would differ; prompts are kept within it.
        positions = min(positions, config.size("sliding_window"))
    rope = read_rope(config, d_head, config.size("max_position_embeddings", 2048))
    return Architecture(
        family=config.model_type,
        vocab_size=config.size("vocab_size"),
        layer=LayerShape(
            d_model=d,
            n_heads=heads,
            n_kv_heads=kv,
            d_head=d_head,
            d_mlp=config.size("intermediate_size"),
            norms=frozenset(style.norms),
            norm_eps=eps,
            activation=read_activation(config, "hidden_act", "silu"),
            rope=rope,
            qk_norm=style.qk_norm,
            bias=frozenset(bias),
        ),
        n_prelude=0,
        n_block=config.size("num_hidden_layers"),
        n_coda=0,
        trained_recurrences=config.size("total_ut_steps", 4) if style.looped else 1,
        max_positions=rope.scaling.reach(positions),
        norm_eps=eps,
        injection="none",
        closing_norm=style.looped,
        final_norm=not style.looped,
        initial_state="embedding",
        exit_gate=style.looped,
        exit_threshold=config.number("early_exit_threshold", 1.0) if style.looped else 1.0,
        tied_head=config.flag("tie_word_embeddings", False),
    )


def llama_tensors(arch: Architecture, names: frozenset[str], style: Style) -> dict[str, Source]:
    """Map every parameter to Llama's tensor names."""
    norm = "closing_norm" if arch.closing_norm else "final_norm"
    named = {
        "embed.weight": "model.embed_tokens.weight",
        f"{norm}.weight": "model.norm.weight",
        "unembed.weight": "lm_head.weight",
        "exit_gate.weight": "model.early_exit_gate.weight",
        "exit_gate.bias": "model.early_exit_gate.bias",
    }
    inside = {
        "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "attn_proj": ("self_attn.o_proj",),
        "mlp_up": ("mlp.gate_proj", "mlp.up_proj"),
        "mlp_down": ("mlp.down_proj",),
        "q_norm": ("self_attn.q_norm",),
        "k_norm": ("self_attn.k_norm",),
        **{f"norms.{slot}": (theirs,) for slot, theirs in style.norms.items()},
    }
    return _mapped(arch, named, inside, "model.layers")


def _mapped(
    arch: Architecture,
    named: dict[str, str],
    inside: Mapping[str, tuple[str, ...]],
    layers: str,
    how: Callable[[str], Literal["stack", "transpose", "interleaved"]] = lambda ours: "stack",
) -> dict[str, Source]:
    """Map every parameter: by its own name, or by its place in layer ``i`` of the whole stack."""
    first = {"prelude_layers": 0, "block": arch.n_prelude}
    first["coda_layers"] = arch.n_prelude + arch.n_block
    sources = {}
    for ours in parameter_shapes(arch):
        if ours in named:
            sources[ours] = Source((named[ours],))
            continue
        stack, index, rest = ours.split(".", 2)
        place, kind = rest.rsplit(".", 1)
        layer = first[stack] + int(index)
        parts = tuple(f"{layers}.{layer}.{name}.{kind}" for name in inside[place])
        sources[ours] = Source(parts, how(rest))
    return sources


def _llama_family(model_type: str, style: Style) -> Family:
    return Family(
        model_type,
        style.title,
        lambda config, tensors: (
            f"model_type {model_type}" if config.model_type == model_type else None
        ),
        lambda config: llama_architecture(config, style),
        lambda arch, names: llama_tensors(arch, names, style),
        lambda name: name == "lm_head.weight" or name.endswith("rotary_emb.inv_freq"),
    )


# ---- GPT-2 ----
def _gpt2_architecture(config: Config) -> Architecture:
    d, heads = config.size("n_embd"), config.size("n_head")
    if d % heads:
        raise config.error("n_embd", f"{d} is not divisible by {heads} heads")
    for key in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"):
        if config.values.get(key):
            raise config.error(key, "is not supported")
    if config.values.get("scale_attn_weights", True) is not True:
        raise config.error("scale_attn_weights", "only true is supported")
    eps = config.number("layer_norm_epsilon", 1e-5)
    return Architecture(
        family="gpt2",
        vocab_size=config.size("vocab_size"),
        layer=LayerShape(
            d_model=d,
            n_heads=heads,
            n_kv_heads=heads,
            d_head=d // heads,
            d_mlp=config.opt_size("n_inner") or 4 * d,
            norms=PRE_NORM,
            norm_kind="layer",
            norm_eps=eps,
            activation=read_activation(config, "activation_function", "gelu_new"),
            gated=False,
            rope=Rope(pairs="none"),
            bias=frozenset({"qkv", "attn_proj", "mlp"}),
        ),
        n_prelude=0,
        n_block=config.size("n_layer"),
        n_coda=0,
        trained_recurrences=1,
        max_positions=config.size("n_positions", 1024),
        norm_eps=eps,
        learned_positions=True,
        injection="none",
        closing_norm=False,
        initial_state="embedding",
        tied_head=config.flag("tie_word_embeddings", True),
    )


def _gpt2_tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    prefix = "transformer." if "transformer.wte.weight" in names else ""
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
        "norms.attn_in": ("ln_1",),
        "norms.mlp_in": ("ln_2",),
    }

    def how(ours: str) -> Literal["stack", "transpose"]:
        matrix = ours.endswith(".weight") and not ours.startswith("norms")
        return "transpose" if matrix else "stack"

    return _mapped(arch, named, inside, f"{prefix}h", how)


GPT2 = Family(
    "gpt2",
    "GPT-2",
    lambda config, tensors: "model_type gpt2" if config.model_type == "gpt2" else None,
    _gpt2_architecture,
    _gpt2_tensors,
    lambda name: name == "lm_head.weight" or name.endswith((".attn.bias", ".attn.masked_bias")),
)


# ---- GPT-NeoX (Pythia) ----
def _neox_architecture(config: Config) -> Architecture:
    d, heads = config.size("hidden_size"), config.size("num_attention_heads")
    if d % heads:
        raise config.error("hidden_size", f"{d} is not divisible by {heads} heads")
    eps = config.number("layer_norm_eps", 1e-5)
    bias = {"mlp"} | ({"qkv", "attn_proj"} if config.flag("attention_bias", True) else set())
    positions = config.size("max_position_embeddings", 2048)
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
            activation=read_activation(config, "hidden_act", "gelu"),
            gated=False,
            rope=rope,
            parallel=config.flag("use_parallel_residual", True),
            bias=frozenset(bias),
        ),
        n_prelude=0,
        n_block=config.size("num_hidden_layers"),
        n_coda=0,
        trained_recurrences=1,
        max_positions=rope.scaling.reach(positions),
        norm_eps=eps,
        injection="none",
        closing_norm=False,
        initial_state="embedding",
        tied_head=config.flag("tie_word_embeddings", False),
    )


def _neox_tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    named = {
        "embed.weight": "gpt_neox.embed_in.weight",
        "final_norm.weight": "gpt_neox.final_layer_norm.weight",
        "final_norm.bias": "gpt_neox.final_layer_norm.bias",
        "unembed.weight": "embed_out.weight",
    }
    inside = {
        "qkv": ("attention.query_key_value",),
        "attn_proj": ("attention.dense",),
        "mlp_up": ("mlp.dense_h_to_4h",),
        "mlp_down": ("mlp.dense_4h_to_h",),
        "norms.attn_in": ("input_layernorm",),
        "norms.mlp_in": ("post_attention_layernorm",),
    }
    return _mapped(
        arch, named, inside, "gpt_neox.layers",
        lambda ours: "interleaved" if ours.startswith("qkv") else "stack",
    )  # fmt: skip


GPT_NEOX = Family(
    "gpt_neox",
    "GPT-NeoX",
    lambda config, tensors: "model_type gpt_neox" if config.model_type == "gpt_neox" else None,
    _neox_architecture,
    _neox_tensors,
    lambda name: (
        name == "embed_out.weight"
        or name.endswith(("rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias"))
    ),
)

LLAMA_LIKE: tuple[Family, ...] = tuple(
    _llama_family(model_type, style) for model_type, style in STYLES.items()
)
