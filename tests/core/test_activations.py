"""Every activation of `transformers`' table, in the layers and in ALBERT's head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conformance.comparing import assert_same
from conformance.published import quiet, save

from loopscope.core.model.activations import FUNCTIONS
from loopscope.core.model.layer_shape import ACTIVATION_NAMES, ACTIVATION_PARAMETERS

IDS = (5, 17, 3, 3, 60, 41)
SMALL = {"vocab_size": 96, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 12,
         "num_hidden_layers": 2, "max_position_embeddings": 64, "num_key_value_heads": 2,
         "embedding_size": 8, "head_dim": 8}  # fmt: skip


def test_the_table_is_transformers() -> None:
    with quiet():
        from transformers.activations import ACT2CLS, ACT2FN

        assert set(ACTIVATION_NAMES) == set(ACT2CLS)
        assert set(FUNCTIONS) == set(ACT2CLS) - set(ACTIVATION_PARAMETERS) | {"half_relu2"}
        x = torch.linspace(-30, 30, 601)
        for name in set(FUNCTIONS) - {"half_relu2"}:
            function = FUNCTIONS[name]
            torch.testing.assert_close(function(x), ACT2FN[name](x), msg=name)


@pytest.mark.parametrize("activation", ["prelu", "xielu", "gelu_10", "quick_gelu"])
@pytest.mark.parametrize(
    "name", ["llama", "qwen2", "olmo2", "gpt_neox", "gpt2", "albert", "hrm_text"]
)
def test_families_run_with_it(name: str, activation: str, tmp_path: Path) -> None:
    key = "activation_function" if name == "gpt2" else "hidden_act"
    config: dict[str, Any] = SMALL | {"model_type": name, key: activation}
    if name == "gpt2":
        config = {"model_type": name, "vocab_size": 96, "n_embd": 16, "n_head": 2, "n_layer": 2,
                  key: activation}  # fmt: skip
    if name == "hrm_text":
        config |= {"H_cycles": 1, "L_cycles": 2}
    save(config, tmp_path)
    arch = assert_same(tmp_path, IDS).architecture
    assert arch.layer.activation == activation
