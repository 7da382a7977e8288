"""Windows and scales that differ by layer, against `transformers`, on prompts beyond the window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conformance.comparing import assert_same
from conformance.published import rewrite, save
from models import tiny_architecture

from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.errors import CheckpointError
from loopscope.core.model.flops import flops_per_token
from loopscope.core.model.graph import totals, unrolled_graph
from loopscope.core.model.layer_shape import LayerShape
from loopscope.core.model.layers import DecoderLayer, hidden_keys, rope_table
from loopscope.core.run.card import card, card_text

IDS = (5, 17, 3, 3, 60, 41, 8, 17, 2, 30, 31, 32)
SMALL = {"vocab_size": 96, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 24,
         "num_hidden_layers": 3, "max_position_embeddings": 64, "num_key_value_heads": 2}  # fmt: skip
SLIDING, FULL = "sliding_attention", "full_attention"
CASES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "mistral": ({"model_type": "mistral", "sliding_window": 5}, (5, 5, 5)),
    "mistral, none": ({"model_type": "mistral", "sliding_window": None}, (0, 0, 0)),
    "mistral, as its class has it": ({"model_type": "mistral"}, (4096,) * 3),
    "mistral, a key it does not have": (
        {"model_type": "mistral", "sliding_window": 4, "use_sliding_window": False}, (4, 4, 4)),
    "qwen2, not asked for": ({"model_type": "qwen2", "sliding_window": 3}, (0, 0, 0)),
    "qwen2, from a layer on": (
        {"model_type": "qwen2", "sliding_window": 3, "use_sliding_window": True,
         "max_window_layers": 1}, (0, 3, 3)),
    "qwen2, no layer": (
        {"model_type": "qwen2", "sliding_window": 3, "use_sliding_window": True}, (0, 0, 0)),
    "qwen2, layers named": (
        {"model_type": "qwen2", "sliding_window": 1, "use_sliding_window": True,
         "layer_types": [SLIDING, FULL, SLIDING]}, (1, 0, 1)),
    "qwen3": (
        {"model_type": "qwen3", "head_dim": 6, "sliding_window": 4, "use_sliding_window": True,
         "max_window_layers": 0}, (4, 4, 4)),
    "llama, a key it does not have": ({"model_type": "llama", "sliding_window": 3}, (0, 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_windows_are_those_of_the_family(case: str, tmp_path: Path) -> None:
    changes, windows = CASES[case]
    save(SMALL | changes, tmp_path)
    if "layer_types" not in changes:  # written by the saving: read our own config instead
        rewrite(tmp_path, SMALL | changes)
    arch = assert_same(tmp_path, IDS).architecture
    assert tuple(arch.shape_of("block", i).window for i in range(3)) == windows
    values = card(open_checkpoint(str(tmp_path)))
    assert tuple(values["windows"]) == (windows if any(windows) else ())
    for window in {*windows} - {0}:
        n = windows.count(window)
        assert f"64, rotary (default), window {window} on {n} of 3 layers" in card_text(values)
    assert arch.max_positions == 64


def test_operations_are_of_the_keys_that_are_seen(tmp_path: Path) -> None:
    save(SMALL | CASES["qwen2, layers named"][0], tmp_path)
    arch = open_checkpoint(str(tmp_path)).architecture
    full, windowed = (arch.shape_of("block", i).flops_per_token(10) for i in (1, 0))
    assert full - windowed == 4 * 4.5 * 4 * 8  # a token sees 5.5 keys on average, or itself
    assert totals(unrolled_graph(arch, 1, 10)).flops == flops_per_token(arch, 1, 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_types": [SLIDING, FULL, FULL]}, "'sliding_attention' has no window"),
        ({"layer_types": [FULL, "conv", FULL]}, "'conv' is not supported"),
        ({"layer_types": [FULL]}, "expected a list of 3 names"),
    ],
)
def test_layers_that_cannot_be_computed_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    config = SMALL | {"model_type": "qwen2"}
    save(config, tmp_path)
    rewrite(tmp_path, config | changes)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(str(tmp_path))


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("by_layer", [True, False])
@pytest.mark.parametrize("reordered", [True, False])
def test_gpt2_scales_scores_as_its_flags_say(
    weights: bool, by_layer: bool, reordered: bool, tmp_path: Path
) -> None:
    config = {"model_type": "gpt2", "vocab_size": 96, "n_positions": 64, "n_embd": 24, "n_head": 2,
              "n_layer": 3, "scale_attn_weights": weights, "reorder_and_upcast_attn": reordered,
              "scale_attn_by_inverse_layer_idx": by_layer}  # fmt: skip
    save(config, tmp_path)
    arch = assert_same(tmp_path, IDS).architecture
    assert len({arch.shape_of("block", i).scale for i in range(3)}) == (3 if by_layer else 1)
    # The names that other families have for the same are its names too.
    named = {
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }
    rewrite(tmp_path, {{v: k for k, v in named.items()}.get(k, k): v for k, v in config.items()})
    assert assert_same(tmp_path, IDS).architecture == arch


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [0, 1, 3, 9, 20])
@pytest.mark.parametrize("n", [1, 2, 9, 14])
def test_pairs_are_those_that_the_mask_leaves(causal: bool, window: int, n: int) -> None:
    hidden = hidden_keys(n, causal, window, torch.device("cpu"))
    left = n * n if hidden is None else int((~hidden).sum())
    shape = replace(tiny_architecture().layer, causal=causal, window=window)
    assert shape.pairs(n) == left
    attention = shape.flops_per_token(n) - 2 * shape.matrix_entries
    assert attention == round(4 * left / n * shape.n_heads * shape.d_head)


@pytest.mark.parametrize("window", [0, 40, 200])
@pytest.mark.parametrize("scale", [0.25, 0.3])
def test_a_long_pattern_made_in_parts_is_the_one_made_whole(window: int, scale: float) -> None:
    """Of 300 tokens, three parts the last of which is short; autograd takes the whole."""
    torch.manual_seed(0)
    layer = DecoderLayer(LayerShape(64, 4, 2, 16, 96, window=window, score_scale=scale)).eval()
    x = 3 * torch.randn(2, 300, 64)
    rope = rope_table(layer.shape.rope, 16, 300, x.device, x.dtype)
    whole = layer(x, rope, True)
    with torch.inference_mode():
        parts = layer(x, rope, True)
    assert whole.pattern is not None
    assert parts.pattern is not None
    torch.testing.assert_close(parts.pattern, whole.pattern, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(parts.state, whole.state, rtol=1e-5, atol=1e-5)
    assert not parts.pattern.triu(1).any()
