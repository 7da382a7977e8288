"""Looped models grown from nanochat: its recursive branch, and looped_nanochat.

Sources: TrelisResearch/nanochat (branch recursive) and kschwethelm/looped_nanochat, each
`nanochat/gpt.py` (MIT). Prelude, recurrent block and coda of layers without biases: rotary
embedding by the opposite sign of Hugging Face's, kept in bfloat16; queries and keys normed after
rotation; ReLU squared; logits capped by tanh. ``u = inject(cat[e, s])`` with ``e`` first, ``e`` the
prelude's output, ``s_0 = e`` or normal with standard deviation ``d^-0.5``; without injection
("passthrough") ``u = s``. What warm-starts generation from the token before is no part of a
forward pass and is not used here.

The recursive branch norms without weights, the embeddings too, and feeds the block's output back
as it is. looped_nanochat has weights in its norms, four in a layer, one on the embeddings and one
that closes a recurrence; some layers attend within a window. Its later code trains an exit gate,
``sigmoid(w s_r + b)``; the file says whether there is one.
"""

from __future__ import annotations

from dataclasses import replace

from loopscope.core.families.family import MOST_LAYERS, Arrangement, Config, Family, Source
from loopscope.core.families.nanogpt import NO_EPS
from loopscope.core.model.architecture import Architecture, parameter_shapes
from loopscope.core.model.layer_shape import PRE_NORM, LayerShape, NormSlot
from loopscope.core.model.rope import Rope

SANDWICH: dict[NormSlot, str] = {
    "attn_in": "n1",
    "resid_mid": "n2",
    "mlp_in": "n3",
    "resid_post": "n4",
}
# Rotary tables are so many times as long as the sequences of its training.
POSITIONS = 10
EXIT_GATE = "exit_gate.proj.weight"
INJECTIONS = ("inject_init_prelude", "inject_init_random", "passthrough")
STACKS = {
    "prelude_layers": "transformer.prelude",
    "block": "transformer.recur",
    "coda_layers": "transformer.coda",
}
NAMED = {
    "embed": "transformer.wte",
    "embed_norm": "norm_emb",
    "adapter": "inject",
    "closing_norm": "norm_recur",
    "final_norm": "norm_final",
    "exit_gate": "exit_gate.proj",
    "unembed": "lm_head",
}
INSIDE = {
    "qkv": ("attn.c_q", "attn.c_k", "attn.c_v"),
    "attn_proj": ("attn.c_proj",),
    "mlp_up": ("mlp.c_fc",),
    "mlp_down": ("mlp.c_proj",),
    **{f"norms.{slot}": (theirs,) for slot, theirs in SANDWICH.items()},
}


def _layer(config: Config, *, sandwich: bool) -> LayerShape:
    d, heads = config.size("n_embd", 1280), config.size("n_head", 10)
    kv = config.size("n_kv_head", heads)
    if d % heads or heads % kv or (d // heads) % 2:
        raise config.error("n_head", f"{d} is not divisible by {heads} heads of {kv} groups")
    eps = 1e-6 if sandwich else NO_EPS
    return LayerShape(
        d_model=d,
        n_heads=heads,
        n_kv_heads=kv,
        d_head=d // heads,
        d_mlp=4 * d,
        norms=frozenset(SANDWICH) if sandwich else PRE_NORM,
        norm_kind="rms" if sandwich else "bare",
        norm_eps=eps,
        activation="relu2",
        gated=False,
        rope=Rope(rounded=True),
        qk_norm="bare",
        qk_eps=eps,
    )


def _architecture(config: Config, *, sandwich: bool) -> Architecture:
    layer = _layer(config, sandwich=sandwich)
    injection = config.choice("input_injection", INJECTIONS) if sandwich else INJECTIONS[0]
    if not sandwich and config.values.get("inject_mode", "concat_linear") != "concat_linear":
        raise config.error("inject_mode", "only 'concat_linear' is known of this family")
    random = injection == "inject_init_random"
    return Architecture(
        family="looped_nanochat" if sandwich else "nanochat_recursive",
        vocab_size=config.size("vocab_size"),
        layer=layer,
        n_prelude=config.size("n_prelude", 2, least=0),
        n_block=config.size("n_recur_block", 4),
        n_coda=config.size("n_coda", 2, least=0),
        trained_recurrences=max(1, int(config.number("train_recur_mean", 4.0))),
        max_positions=POSITIONS * config.size("sequence_len", 2048),
        norm_eps=layer.norm_eps,
        injection="none" if injection == "passthrough" else "concat",
        closing_norm=sandwich,
        embed_norm=True,
        initial_state="normal" if random else "embedding",
        start_std=layer.d_model**-0.5 if random else 1.0,
        exit_gate=sandwich and EXIT_GATE in config.tensors,
        logit_cap=_logit_cap(config),
        layer_shapes=_windowed(config, layer) if sandwich else (),
    )


def _logit_cap(config: Config) -> float:
    """15, or what ``logit_softcap`` says; null and 0 leave the logits as they are."""
    if config.values.get("logit_softcap", 15.0) is None:
        return 0.0
    return config.zero_number("logit_softcap", 15.0)


def _windowed(config: Config, layer: LayerShape) -> tuple[LayerShape, ...]:
    """Each layer with its window: a pattern of L and S over prelude, block and coda.

    S attends to ``sequence_len // 2`` keys before a query and itself; the last layer to all.
    """
    n = sum(
        config.size(key, default, least=0, most=MOST_LAYERS)
        for key, default in (("n_prelude", 2), ("n_recur_block", 4), ("n_coda", 2))
    )
    pattern = config.values.get("window_pattern", "LLSSSLLL")
    if not isinstance(pattern, str) or not pattern or set(pattern.upper()) - set("SL"):
        raise config.error("window_pattern", "expected a text of L and S")
    letters = [pattern.upper()[i % len(pattern)] for i in range(n - 1)] + ["L"]
    if "S" not in letters:
        return ()
    short = replace(layer, window=config.size("sequence_len", 2048) // 2 + 1)
    return tuple(short if letter == "S" else layer for letter in letters)


def _tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    sources = {}
    for ours in parameter_shapes(arch):
        place, kind = ours.rsplit(".", 1)
        how: Arrangement = "stack"
        if place in NAMED:
            how = "input_first" if place == "adapter" else "stack"
            # Rows beyond the vocabulary only fill it up to a multiple of 64.
            padded = place in ("embed", "unembed")
            rows = (0, arch.vocab_size, 0) if padded else None
            sources[ours] = Source((f"{NAMED[place]}.{kind}",), how, rows)
            continue
        stack, index, inner = place.split(".", 2)
        if inner == "qkv":
            how = "half_turn"
        parts = tuple(f"{STACKS[stack]}.{index}.{name}.{kind}" for name in INSIDE[inner])
        sources[ours] = Source(parts, how)
    return sources


RECURSIVE = Family(
    "nanochat_recursive",
    "nanochat, recursive",
    lambda config, tensors: (
        "model_type nanochat_recursive"
        if config.model_type == "nanochat_recursive"
        else "n_recur_block and layers without norms"
        if not config.model_type
        and "n_recur_block" in config.values
        and {"inject.weight", "transformer.wte.weight"} <= tensors
        and "norm_emb.weight" not in tensors
        else None
    ),
    lambda config: _architecture(config, sandwich=False),
    _tensors,
    lambda name: name in ("cos", "sin"),
)
LOOPED = Family(
    "looped_nanochat",
    "looped nanochat",
    lambda config, tensors: (
        "model_type looped_nanochat"
        if config.model_type == "looped_nanochat"
        else "n_recur_block and norm_emb"
        if not config.model_type and {"norm_emb.weight", "norm_recur.weight"} <= tensors
        else None
    ),
    lambda config: _architecture(config, sandwich=True),
    _tensors,
    lambda name: name in ("cos", "sin"),
)
