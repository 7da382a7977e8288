"""The page on adding a family works as it is written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import random_tensors
from safetensors.torch import save_file

from loopscope.core import families
from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import CheckpointError
from loopscope.core.families.family import Config
from loopscope.core.run.trace import trace

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-family.md"


def test_the_pages_family_is_recognised_loaded_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = re.search(r"<!-- example -->\n +```python\n(.*?)\n +```", PAGE.read_text(), re.DOTALL)
    assert found
    code = "\n".join(line[3:] for line in found[1].splitlines())
    space: dict[str, object] = {}
    exec(compile(code, str(PAGE), "exec"), space)
    config = {
        "model_type": "mine", "vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2,
        "intermediate_size": 24, "num_hidden_layers": 2, "loops": 3,
        "max_position_embeddings": 32,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    family = space["FAMILY"]
    arch = family.architecture(Config(config, tmp_path / "config.json"))
    save_file(random_tensors(family, arch, torch.float32, 0), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"'mine' is not supported; .*adding-a-family.md"):
        open_checkpoint(str(tmp_path))
    monkeypatch.setattr(families, "FAMILIES", (*families.FAMILIES, family))
    assert open_checkpoint(str(tmp_path)).recognised_by == "model_type mine"
    loaded = load(str(tmp_path), "cpu")
    arrays = trace(loaded, loaded.tokenizer.from_ids((1, 2, 3)), 3)
    # By hand: recurrence 1 starts from s_0 = 0, so the block's input is e.
    with torch.inference_mode():
        e = loaded.model.embed(torch.tensor([[1, 2, 3]]))
        by_hand = loaded.model.run_layer(e, 0).state[0].numpy()
    np.testing.assert_allclose(arrays["layer_states"][0, 0], by_hand, atol=1e-5)
