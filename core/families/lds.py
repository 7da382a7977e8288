"""LoopUS: a pretrained decoder cut in three, its middle looped (``model_type: lds``).

Source: Thrillcrazyer/LoopUS, `models/modeling_lds.py` (Apache-2.0). The layers of a Llama or Qwen3
are its encoder (our prelude), reasoning (the block) and decoder (the coda); ``s_0`` is the
encoder's output and nothing is injected. A gate closes each loop: ``s <- a u + (1 - a) s`` with
``a = exp(-softplus(W_d W_i (u - s) + b) exp(A_log))`` for the block's output u. The exit score is a
LayerNorm and a linear layer on the change ``u - s`` before the gate, as in training; the published
code reads it at the last token only, here it is shown at each. It leaves when one score passes
``q_threshold`` ("threshold"), or their distribution does ("cdf"); "convergence" uses no score.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loopscope.core.families.family import Config, Family, Source
from loopscope.core.families.llama import (
    LLAMA_NORMS,
    OLMO_NORMS,
    STYLES,
    Style,
    llama_architecture,
)
from loopscope.core.model.architecture import Architecture, parameter_shapes

MODEL_TYPE = "lds"
BASES = ("qwen3", "llama", "qwen2", "mistral", "olmo2")
STACKS = {
    "prelude_layers": ("encoder.layers",),
    "block": ("reasoning.layers", "plateau.layers"),
    "coda_layers": ("decoder.layers",),
}
NAMED = {
    "embed.weight": "encoder.embed_tokens.weight",
    "closing_gate.down.weight": "gate.dt_input_proj.weight",
    "closing_gate.up.weight": "gate.delta_proj.weight",
    "closing_gate.up.bias": "gate.delta_proj.bias",
    "closing_gate.decay": "gate.A_log",
    "exit_norm.weight": "q_head.0.weight",
    "exit_norm.bias": "q_head.0.bias",
    "exit_gate.weight": "q_head.1.weight",
    "exit_gate.bias": "q_head.1.bias",
    "final_norm.weight": "decoder.norm.weight",
    "unembed.weight": "decoder.lm_head.weight",
}


def _base(config: Config) -> tuple[Config, Style]:
    """The config of the model that was cut, and its style."""
    base = config.section("base_config_dict")
    if base is None:
        raise config.error("base_config_dict", "the config of the base model is missing")
    inner = base.section("text_config") if "num_hidden_layers" not in base.values else None
    base = inner or base
    if base.model_type not in BASES:
        raise config.error(
            "base_config_dict",
            f"model_type '{base.model_type[:30]}' is not one of {', '.join(BASES)}",
        )
    if base.values.get("use_sliding_window"):
        raise config.error(
            "base_config_dict", "its windows are applied or not, by the version of transformers"
        )
    # Mistral's window never reaches the layers of the published code.
    values: dict[str, Any] = {
        **base.values, "tie_word_embeddings": False, "sliding_window": None,
    }  # fmt: skip
    return Config(values, config.path), STYLES[base.model_type]


def _indices(config: Config, key: str, n: int) -> list[int] | None:
    """Layer numbers of a block; ``[-k]`` is all from k on, and a missing key None."""
    value = config.values.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(type(i) is int for i in value):
        raise config.error(key, "expected a list of layer numbers")
    if len(value) == 1 and value[0] < 0:
        return list(range(-value[0], n))
    if len(set(value)) < len(value) or any(not 0 <= i < n for i in value):
        raise config.error(key, f"expected different layers of 0 to {n - 1}")
    return sorted(value)


def _architecture(config: Config) -> Architecture:
    base, style = _base(config)
    arch = llama_architecture(base, style)
    n = arch.n_block
    encoder = _indices(config, "encoder_layer_indices", n) or []
    decoder = _indices(config, "decoder_layer_indices", n) or []
    rest = [i for i in range(n) if i not in encoder and i not in decoder]
    block = _indices(config, "reasoning_layer_indices", n)
    block = rest if block is None else block
    if not block or set(encoder) & set(decoder):
        raise config.error("reasoning_layer_indices", "no layer is left, or the others overlap")
    strategy = config.choice("halting_strategy", ("threshold", "cdf", "convergence"))
    shapes = arch.layer_shapes and tuple(arch.layer_shapes[i] for i in (*encoder, *block, *decoder))
    return replace(
        arch,
        family=MODEL_TYPE,
        n_prelude=len(encoder),
        n_block=len(block),
        n_coda=len(decoder),
        layer_shapes=shapes,
        trained_recurrences=config.size("N", 6),
        closing_gate=-(-arch.d_model // 16),
        exit_gate=True,
        exit_reads="change",
        exit_rule="distribution" if strategy == "cdf" else "hazard",
        exit_threshold=1.0 if strategy == "convergence" else config.number("q_threshold", 0.9),
    )


def _tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    inside = {
        "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "attn_proj": ("self_attn.o_proj",),
        "mlp_up": ("mlp.gate_proj", "mlp.up_proj"),
        "mlp_down": ("mlp.down_proj",),
        "q_norm": ("self_attn.q_norm",),
        "k_norm": ("self_attn.k_norm",),
        **{f"norms.{slot}": (theirs,) for slot, theirs in (LLAMA_NORMS | OLMO_NORMS).items()},
    }
    # Older files call the looped block a plateau.
    older = "plateau.gate.A_log" in names
    loop = "plateau" if older else "reasoning"
    sources = {}
    for ours in parameter_shapes(arch):
        if ours in NAMED:
            theirs = NAMED[ours]
            sources[ours] = Source((f"{loop}.{theirs}" if ours.startswith("closing") else theirs,))
            continue
        stack, index, rest = ours.split(".", 2)
        place, kind = rest.rsplit(".", 1)
        layers = STACKS[stack][-1 if older else 0]
        parts = tuple(f"{layers}.{index}.{name}.{kind}" for name in inside[place])
        sources[ours] = Source(parts)
    return sources


FAMILY = Family(
    MODEL_TYPE,
    "LoopUS",
    lambda config, tensors: f"model_type {MODEL_TYPE}" if config.model_type == MODEL_TYPE else None,
    _architecture,
    _tensors,
    lambda name: name.endswith("rotary_emb.inv_freq"),
)
