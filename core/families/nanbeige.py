"""Nanbeige4.2: Llama layers whose whole stack runs ``num_loops`` times (``model_type: nanbeige``).

Source: Nanbeige/Nanbeige4.2-3B, as its ports in llama.cpp, mlx-lm and mlx-swift-lm state it.
``model.norm`` follows every loop, its output is fed back and read out; with
``skip_loop_final_norm`` the state stays raw and the norm comes once, before the head. Positions
and weights are the same in each loop. One loop is a deep Llama (older `nanbeige` folders, which
have no ``num_loops``). Switches that change the computation and that no published port states are
refused.
"""

from __future__ import annotations

from dataclasses import replace

from loopscope.core.families.family import Config, Family
from loopscope.core.families.llama import STYLES, llama_architecture, llama_tensors
from loopscope.core.model.architecture import Architecture

MODEL_TYPE = "nanbeige"
REFUSED = (
    "qk_layernorm",
    "emb_neighbor_num",
    "insert_ngram_layer_idx",
    "ngram_insert_all_layers",
    "enable_double_loop_split",
    "loop_middle_layers",
    "loop_share_kv",
    "enable_hyper_connection",
    "enable_mhc",
    "enable_h_res_identity",
    "enable_depth_attention",
)


def _off(value: object) -> bool:
    """Whether a switch is off; an index of 0 is a layer, and not off."""
    return value is None or value is False or value == []


def _architecture(config: Config) -> Architecture:
    for key in REFUSED:
        if not _off(config.values.get(key)):
            raise config.error(
                key, "changes what a loop computes in a way no published code states"
            )
    kinds = config.values.get("layer_types") or ()
    if not isinstance(kinds, (list, tuple)) or any(kind != "full_attention" for kind in kinds):
        raise config.error("layer_types", "only 'full_attention' is known of this family")
    arch = llama_architecture(config, STYLES["llama"])
    loops = config.size("num_loops", 1)
    normed = loops > 1 and not config.flag("skip_loop_final_norm", False)
    return replace(arch, trained_recurrences=loops, closing_norm=normed, final_norm=not normed)


FAMILY = Family(
    MODEL_TYPE,
    "Nanbeige",
    lambda config, tensors: f"model_type {MODEL_TYPE}" if config.model_type == MODEL_TYPE else None,
    _architecture,
    lambda arch, names: llama_tensors(arch, names, STYLES["llama"]),
    lambda name: name.endswith("rotary_emb.inv_freq"),
)
