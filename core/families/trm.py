"""TRM: a tiny nested loop over puzzles, one stack for both states (``model_type: trm``).

Source: SamsungSAILMontreal/TinyRecursiveModels, `models/recursive_reasoning/trm.py` (MIT). For each
of ``H_cycles``: ``L_cycles`` times ``z_L = net(z_L + z_H + e)``, then ``z_H = net(z_H + z_L)``. One
of our recurrences is one H cycle; ``H_cycles`` of them are the published outer step, of which at
most ``halt_max_steps`` are run. Layers are post-norm without weights and read in both directions;
both states begin at a learned vector. ``e`` is the embedding times ``sqrt(d)``, with the positions
of a puzzle before the prompt's; a cell is read out at its own place. The first position's state
gives the chance to halt, which the published code asks after each outer step.

A prompt is a grid, row by row; its config says only how many cells, which is taken for a square.
A file whose layers mix positions by an MLP (``mlp_t``) has no attention and is refused.
"""

from __future__ import annotations

import math

from loopscope.core.families.family import Config, Family, Source
from loopscope.core.model.architecture import Architecture, parameter_shapes
from loopscope.core.model.layer_shape import LayerShape, NormSlot
from loopscope.core.model.rope import Rope
from loopscope.core.model.token_layout import TokenLayout

MODEL_TYPE = "trm"
CLASS = "TinyRecursiveReasoningModel_ACTV1"
NORMS: frozenset[NormSlot] = frozenset({"resid_mid", "resid_post"})
NAMED = {
    "embed.weight": "embed_tokens.embedding_weight",
    "prefix.weight": "puzzle_emb.weights",
    "positions.weight": "embed_pos.embedding_weight",
    "state_start": "H_init",
    "fast_start": "L_init",
    "unembed.weight": "lm_head.weight",
}
INSIDE = {
    "qkv.weight": "self_attn.qkv_proj.weight",
    "attn_proj.weight": "self_attn.o_proj.weight",
    "mlp_up.weight": "mlp.gate_up_proj.weight",
    "mlp_down.weight": "mlp.down_proj.weight",
}
# Layers of one recurrence; a config that claims more is damaged.
MOST_RUN = 1 << 14


def _architecture(config: Config) -> Architecture:
    d, heads = config.size("hidden_size"), config.size("num_heads")
    if d % heads or (d // heads) % 2:
        raise config.error("num_heads", f"{d} is not divisible by {heads} heads of an even width")
    if config.flag("mlp_t", False):
        raise config.error("mlp_t", "layers that mix positions by an MLP have no heads to show")
    positions = config.choice("pos_encodings", ("rope", "learned", "none"))
    inner, stack = config.size("L_cycles"), config.size("L_layers")
    if (n_block := (inner + 1) * stack) > MOST_RUN:
        raise config.error("L_cycles", f"{n_block} layers in one H cycle are too many")
    width = config.size("puzzle_emb_ndim", 0, least=0)
    prefix = config.size("puzzle_emb_len", 16, least=0) or -(-width // d)
    if width > prefix * d:
        raise config.error("puzzle_emb_len", f"{prefix} positions are too few for {width} numbers")
    learned = positions == "learned"
    return Architecture(
        family=MODEL_TYPE,
        vocab_size=config.size("vocab_size"),
        layer=LayerShape(
            d_model=d,
            n_heads=heads,
            n_kv_heads=heads,
            d_head=d // heads,
            d_mlp=_mlp_width(config.number("expansion"), d),
            norms=NORMS,
            norm_kind="bare",
            norm_eps=config.number("rms_norm_eps", 1e-5),
            causal=False,
            rope=Rope(
                theta=config.number("rope_theta", 10000.0),
                pairs="half" if positions == "rope" else "none",
            ),
        ),
        n_prelude=0,
        n_block=n_block,
        n_coda=0,
        trained_recurrences=config.size("H_cycles") * config.size("halt_max_steps"),
        max_positions=config.size("seq_len") + (prefix if width else 0),
        norm_eps=1e-5,
        embedding_scale=math.sqrt(d) * (0.707106781 if learned else 1.0),
        learned_positions=learned,
        scaled_positions=learned,
        prefix=prefix if width else 0,
        prefix_rows=config.size("num_puzzle_identifiers") if width else 0,
        prefix_width=width,
        injection="add",
        closing_norm=False,
        final_norm=False,
        initial_state="learned",
        exit_gate=True,
        exit_reads="first",
        exit_rule="hazard",
        exit_threshold=0.5 if config.flag("no_ACT_continue", True) else 1.0,
        inner_cycles=inner,
        block_weights=tuple(i % stack for i in range(n_block)),
        layout=TokenLayout.square(config.size("seq_len"), prefix if width else 0),
    )


def _mlp_width(expansion: float, d: int) -> int:
    """Width of the gated MLP: two thirds of ``expansion d``, rounded up to a multiple of 256."""
    return -(-round(expansion * d * 2 / 3) // 256) * 256


def _tensors(arch: Architecture, names: frozenset[str]) -> dict[str, Source]:
    before = next((n.removesuffix("H_init") for n in names if n.endswith("H_init")), "inner.")
    sources = {}
    for ours in parameter_shapes(arch):
        if ours in NAMED:
            sources[ours] = Source((before + NAMED[ours],))
        elif ours.startswith("exit_gate."):
            # Its first row is the chance to halt, its second one to go on.
            kind = ours.removeprefix("exit_gate.")
            sources[ours] = Source((f"{before}q_head.{kind}",), rows=(0, 1, 2))
        else:
            _, index, place = ours.split(".", 2)
            sources[ours] = Source((f"{before}L_level.layers.{index}.{INSIDE[place]}",))
    return sources


def _recognise(config: Config, tensors: frozenset[str]) -> str | None:
    if config.model_type == MODEL_TYPE:
        return f"model_type {MODEL_TYPE}"
    named = str(config.values.get("arch") or config.values.get("name") or "")
    return f"class {CLASS}" if not config.model_type and named.endswith(CLASS) else None


FAMILY = Family(
    MODEL_TYPE,
    "TRM",
    _recognise,
    _architecture,
    _tensors,
    lambda name: name.endswith(("rotary_emb.cos_cached", "rotary_emb.sin_cached")),
)
