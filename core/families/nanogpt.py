"""Looped models grown from nanoGPT: Base-Loop, LoopFormer and nanoLOOP.

Base-Loop (``model_type: base_loop``): armenjeddi/loopformer, `models/base_loop.py`, arXiv
2602.11451. All ``n_layer`` layers run again and again on the raw state; ``s_0`` is the embedding;
one norm before the tied head.

LoopFormer (``model_type: loopformer``): the same repository, `models/loopformer.py`. An embedding
of the loop's time ``t`` and step ``dt`` scales what attention and MLP read and write; norms have no
weights. Loop r of the R it was trained with has ``dt = 1 / R`` and ``t = (r - 1) / R``.

nanoLOOP (``model_type: nanoloop``): LoopedLMs/nanoLOOP, `model.py`. Prelude, recurrent block and
coda; ``u = inject(cat[e, s])`` (``e`` first), ``s = norm_recur(block(u))``; ``s_0 = e``, or normal
with standard deviation ``d^-0.5`` ("inject_random"); without injection ("passthrough") ``u = s``.

Their norms are ``nn.RMSNorm`` without an epsilon, which is float32's smallest step from 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from loopscope.core.families.family import Config, Family, Source
from loopscope.core.model.architecture import Architecture, parameter_shapes
from loopscope.core.model.layer_shape import PRE_NORM, LayerShape
from loopscope.core.model.rope import Rope

# What torch's RMSNorm takes where no epsilon is given: finfo(float32).eps.
NO_EPS = 2.0**-23
# Layers that a published Base-Loop or LoopFormer runs in all: its loops are this over its layers.
PUBLISHED_DEPTH = 24
LOOP_KEYS = ("num_loops", "n_loops", "n_loop", "max_loops")
# Names of keys, and what the published loader reads where they are missing or null.
OTHER_NAMES = {
    "block_size": ("n_positions", "max_position_embeddings"),
    "n_layer": ("num_hidden_layers",),
    "n_head": ("num_attention_heads",),
    "n_embd": ("hidden_size",),
    "intermediate_dim": ("n_inner",),
}
INJECTIONS = ("inject", "inject_random", "passthrough")
INSIDE = {
    "qkv": "attn.c_attn",
    "attn_proj": "attn.c_proj",
    "mlp_up": "mlp.c_fc",
    "mlp_down": "mlp.c_proj",
}


def nano_layer(config: Config, d_mlp: int) -> LayerShape:
    """The layer that these families share; its four matrices have a bias where ``bias`` is set.

    Raises `CheckpointError` for sizes that are missing or do not fit together.
    """
    d, heads = config.size("n_embd"), config.size("n_head")
    if d % heads:
        raise config.error("n_embd", f"{d} is not divisible by {heads} heads")
    biased = config.flag("bias", False)
    return LayerShape(
        d_model=d,
        n_heads=heads,
        n_kv_heads=heads,
        d_head=d // heads,
        d_mlp=d_mlp,
        norms=PRE_NORM,
        norm_eps=NO_EPS,
        activation="gelu",
        gated=False,
        rope=Rope(pairs="none"),
        bias=frozenset({"qkv", "attn_proj", "mlp"} if biased else ()),
    )


def loops_of(config: Config) -> int:
    """Loops of its training: from the config where it says, else from the folder's name.

    The published config holds no such key; a folder is called ``…-3block-8iterations``. Without
    either, what makes up the published depth of 24 layers.
    """
    for key in LOOP_KEYS:
        if config.values.get(key) is not None:
            return config.size(key)
    named = re.search(r"(\d+)[-_ ]?iterations", str(config.path.absolute().parent))
    if named and 0 < int(named[1]) <= 10_000:
        return int(named[1])
    return max(1, PUBLISHED_DEPTH // config.size("n_layer"))


# ---- Base-Loop ----
def _named_as_published(config: Config) -> Config:
    """The config under one set of names: the published loader takes these others as well."""
    values = dict(config.values)
    for name, others in OTHER_NAMES.items():
        for other in others:
            if values.get(name) is None and values.get(other) is not None:
                values[name] = values[other]
    return Config(values, config.path, config.tensors)


def _base_loop(config: Config) -> Architecture:
    config = _named_as_published(config)
    layer = nano_layer(config, config.opt_size("intermediate_dim") or 4 * config.size("n_embd"))
    return Architecture(
        family="base_loop",
        vocab_size=config.size("vocab_size"),
        layer=layer,
        n_prelude=0,
        n_block=config.size("n_layer"),
        n_coda=0,
        trained_recurrences=loops_of(config),
        max_positions=config.size("block_size", 1024),
        norm_eps=NO_EPS,
        learned_positions=True,
        injection="none",
        closing_norm=False,
        initial_state="embedding",
        tied_head=config.flag("tie_word_embeddings", True),
    )


def _base_loop_tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    prefix = _prefix(names)
    named = {
        "embed": f"{prefix}transformer.wte",
        "positions": f"{prefix}transformer.wpe",
        "final_norm": f"{prefix}transformer.norm_f",
        "unembed": f"{prefix}lm_head",
    }
    inside = INSIDE | {"norms.attn_in": "norm_1", "norms.mlp_in": "norm_2"}
    return nano_tensors(arch, named, {"block": f"{prefix}transformer.h.blocks"}, inside)


def _prefix(names: frozenset[str]) -> str:
    """What stands before the names of the file: nothing, or the wrapper's ``gpt.``."""
    positions = "transformer.wpe.weight"
    return next((n.removesuffix(positions) for n in names if n.endswith(positions)), "")


def nano_tensors(
    arch: Architecture,
    named: Mapping[str, str],
    stacks: Mapping[str, str],
    inside: Mapping[str, str],
) -> dict[str, Source]:
    """Map every parameter: by its own place, or by its stack, number and place in the layer."""
    sources = {}
    for ours in parameter_shapes(arch):
        place, kind = ours.rsplit(".", 1)
        if place in named:
            how = "input_first" if ours == "adapter.weight" else "stack"
            sources[ours] = Source((f"{named[place]}.{kind}",), how)  # type: ignore[arg-type]
        else:
            stack, index, inner = place.split(".", 2)
            sources[ours] = Source((f"{stacks[stack]}.{index}.{inside[inner]}.{kind}",))
    return sources


BASE_LOOP = Family(
    "base_loop",
    "Base-Loop",
    lambda config, tensors: (
        f"model_type {config.model_type}"
        if config.model_type in ("base_loop", "base_loop_ee")
        else None
    ),
    _base_loop,
    _base_loop_tensors,
    lambda name: name.endswith(".attn.bias"),
)


# ---- LoopFormer ----
def _loopformer(config: Config) -> Architecture:
    arch = _base_loop(config)
    layer = replace(arch.layer, norm_kind="bare", modulated=True)
    return replace(arch, family="loopformer", layer=layer, loop_norm_kind="rms")


def _loopformer_tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    prefix = _prefix(names)
    named = {
        "embed": f"{prefix}transformer.wte",
        "positions": f"{prefix}transformer.wpe",
        "final_norm": f"{prefix}transformer.norm_f",
        "unembed": f"{prefix}lm_head",
        "time_embed.0": f"{prefix}time_embedder.mlp.0",
        "time_embed.2": f"{prefix}time_embedder.mlp.2",
        "step_embed.0": f"{prefix}dt_embedder.mlp.0",
        "step_embed.2": f"{prefix}dt_embedder.mlp.2",
    }
    inside = INSIDE | {"modulation": "adaLN_modulation.1"}
    return nano_tensors(arch, named, {"block": f"{prefix}transformer.h.blocks"}, inside)


LOOPFORMER = Family(
    "loopformer",
    "LoopFormer",
    lambda config, tensors: "model_type loopformer" if config.model_type == "loopformer" else None,
    _loopformer,
    _loopformer_tensors,
    lambda name: name.endswith(".attn.bias"),
)


# ---- nanoLOOP ----
def _nanoloop(config: Config) -> Architecture:
    layer = nano_layer(config, 4 * config.size("n_embd"))
    injection = config.choice("input_injection", INJECTIONS)
    random = injection == "inject_random"
    return Architecture(
        family="nanoloop",
        vocab_size=config.size("vocab_size", 50304),
        layer=layer,
        n_prelude=config.size("n_prelude", 2, least=0),
        n_block=config.size("n_block", 2),
        n_coda=config.size("n_coda", 2, least=0),
        trained_recurrences=config.size("n_loop", 4),
        max_positions=config.size("block_size", 1024),
        norm_eps=NO_EPS,
        learned_positions=True,
        injection="none" if injection == "passthrough" else "concat",
        adapter_bias="qkv" in layer.bias and injection != "passthrough",
        initial_state="normal" if random else "embedding",
        start_std=layer.d_model**-0.5 if random else 1.0,
        tied_head=True,
    )


def _nanoloop_tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    named = {
        "embed": "transformer.wte",
        "positions": "transformer.wpe",
        "adapter": "inject",
        "closing_norm": "norm_recur",
        "final_norm": "transformer.ln_f",
        "unembed": "lm_head",
    }
    stacks = {
        "prelude_layers": "transformer.prelude",
        "block": "transformer.recur",
        "coda_layers": "transformer.coda",
    }
    inside = INSIDE | {"norms.attn_in": "ln_1", "norms.mlp_in": "ln_2"}
    return nano_tensors(arch, named, stacks, inside)


NANOLOOP = Family(
    "nanoloop",
    "nanoLOOP",
    lambda config, tensors: (
        "model_type nanoloop"
        if config.model_type == "nanoloop"
        else "norm_recur beside learned positions"
        if not config.model_type
        and {"norm_recur.weight", "transformer.wpe.weight", "transformer.ln_f.weight"} <= tensors
        else None
    ),
    _nanoloop,
    _nanoloop_tensors,
    lambda name: name.endswith(".attn.bias"),
)
