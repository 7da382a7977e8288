"""What the configs of the looped research families say, in each spelling, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import CONFIGS, architecture_of, write_checkpoint
from safetensors.torch import load_file, save_file

from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import CheckpointError
from loopscope.core.model.architecture import Architecture
from loopscope.core.run.stepper import Stepper


def read(name: str, **changes: Any) -> Architecture:
    """The architecture of a family's small config with ``changes``."""
    return architecture_of(CONFIGS[name] | changes, name)


def test_keys_of_loopformer_may_have_their_other_names() -> None:
    config = dict(CONFIGS["loopformer"])
    other = {"block_size": "n_positions", "n_embd": "hidden_size", "n_head": "num_attention_heads",
             "n_layer": "num_hidden_layers"}  # fmt: skip
    renamed = {other.get(key, key): value for key, value in config.items()} | {"n_inner": 37}
    assert architecture_of(renamed) == read("loopformer", intermediate_dim=37)


@pytest.mark.parametrize("name", ["base_loop", "loopformer"])
def test_a_wrapped_file_may_hold_the_head_alone(name: str, tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path / name, name) / "model.safetensors"
    whole = load(str(tmp_path / name), "cpu")
    tensors = load_file(file)
    tensors["lm_head.weight"] = tensors.pop("transformer.wte.weight")
    save_file({f"gpt.{key}": value for key, value in tensors.items()}, file)
    wrapped = load(str(tmp_path / name), "cpu")
    ids = whole.tokenizer.from_ids((1, 2, 3)).token_ids
    tokens = whole.model.embed.weight.new_tensor([ids]).long()
    assert wrapped.model(tokens, 3).equal(whole.model(tokens, 3))


def test_nanochats_mean_is_a_whole_number_and_its_cap_can_be_off() -> None:
    assert read("looped_nanochat", train_recur_mean=3.9).trained_recurrences == 3
    assert read("looped_nanochat", train_recur_mean=0.5).trained_recurrences == 1
    assert [read("looped_nanochat", logit_softcap=cap).logit_cap for cap in (None, 0, 7)] == [
        0, 0, 7,
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["nanochat_recursive", "looped_nanochat"])
def test_nanochat_reads_ten_times_the_length_of_its_training(name: str) -> None:
    """As its code does, whose rotary tables are that long."""
    assert read(name, sequence_len=24).max_positions == 240


def test_an_exit_gate_of_looped_nanochat_reads_the_normed_state(tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path / "m", "looped_nanochat") / "model.safetensors"
    tensors, d = load_file(file), int(CONFIGS["looped_nanochat"]["n_embd"])
    assert not load(str(tmp_path / "m"), "cpu").architecture.exit_gate
    gate = {"exit_gate.proj.weight": torch.randn(1, d), "exit_gate.proj.bias": torch.randn(1)}
    save_file(tensors | gate, file)
    loaded = load(str(tmp_path / "m"), "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.from_ids((1, 2, 3)))
    for _ in range(2):
        stepper.step()
    states = torch.from_numpy(stepper.recording.states[1:].copy()).double()
    weight, bias = (gate[f"exit_gate.proj.{kind}"].double() for kind in ("weight", "bias"))
    truth = torch.sigmoid((states @ weight[0]) + bias)
    found = torch.from_numpy(stepper.recording.hazards.copy())
    torch.testing.assert_close(found.double(), truth, atol=1e-5, rtol=1e-5)


def test_the_middle_of_loopus_may_repeat_layers_of_the_ends() -> None:
    arch = read("lds", reasoning_layer_indices=[1, 2, 3, 4])
    assert (arch.n_prelude, arch.n_block, arch.n_coda) == (2, 4, 1)


def test_parcaes_block_has_its_own_width_and_no_grouped_heads() -> None:
    arch = read("parcae", num_key_value_heads=2, n_layers_in_recurrent_block=1,
                n_layers_in_prelude=1, n_layers_in_coda=1,
                recurrent_intermediation_embedding_dimension=33)  # fmt: skip
    block, outer = arch.shape_of("block", 0), arch.shape_of("prelude", 0)
    assert (block.n_kv_heads, block.d_mlp) == (4, 33)
    assert (outer.n_kv_heads, outer.d_mlp) == (2, 80)


REFUSED = [
    ("nanbeige", {"qk_layernorm": True}, "qk_layernorm"),
    ("nanbeige", {"insert_ngram_layer_idx": 0}, "insert_ngram_layer_idx"),
    ("lds", {"base_config_dict": {"model_type": "qwen3", "use_sliding_window": True}}, "windows"),
    ("lds", {"decoder_layer_indices": [1, 4]}, "overlap"),
    ("lds", {"encoder_layer_indices": [0, 1, 2, 3]}, "no layer is left"),
    ("parcae", {"qk_bias": True, "num_key_value_heads": 2}, "qk_bias"),
    ("parcae", {"recurrent_num_attention_heads": 2}, "recurrent_num_attention_heads"),
    ("parcae", {"recurrent_embedding_dimension": 24}, "recurrent_embedding_dimension"),
    ("parcae", {"num_key_value_heads": 2}, "table of other heads"),
    ("trm", {"mlp_t": True}, "mlp_t"),
    ("trm", {"puzzle_emb_ndim": 97}, "too few"),
    ("nanochat_recursive", {"inject_mode": "sum"}, "inject_mode"),
    ("parcae", {"init_strategy": "takase"}, "init_strategy"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "said"), REFUSED)
def test_what_is_refused_says_why(name: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        read(name, **changes)
    off = dict.fromkeys(("qk_layernorm", "insert_ngram_layer_idx"))
    assert read("nanbeige", **off, ngram_insert_all_layers=False).trained_recurrences == 3
