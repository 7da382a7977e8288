"""A head that a config ties to the embedding, and what the file says of it; against `transformers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import CONFIGS, architecture_of, write_checkpoint
from conformance.comparing import assert_same
from conformance.published import rewrite, save
from safetensors.torch import load_file, save_file

from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import CheckpointError
from loopscope.core.run.card import card, card_text
from loopscope.core.run.trace import trace

IDS = (5, 17, 3, 3, 60, 41, 8, 17, 2)
LLAMA = {"vocab_size": 96, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 24,
         "num_hidden_layers": 2, "max_position_embeddings": 64, "num_key_value_heads": 4,
         "tie_word_embeddings": True}  # fmt: skip
# Config, head and embedding of each family.
FAMILIES: dict[str, tuple[dict[str, Any], str, str]] = {
    **{name: (LLAMA | {"model_type": name}, "lm_head.weight", "model.embed_tokens.weight")
       for name in ("llama", "mistral", "qwen2", "qwen3", "olmo2")},
    "hrm_text": (LLAMA | {"model_type": "hrm_text", "head_dim": 8, "H_cycles": 2, "L_cycles": 1},
                 "lm_head.weight", "model.embed_tokens.weight"),
    "gpt_neox": (LLAMA | {"model_type": "gpt_neox"}, "embed_out.weight",
                 "gpt_neox.embed_in.weight"),
    "gpt2": ({"model_type": "gpt2", "vocab_size": 96, "n_positions": 64, "n_embd": 24, "n_head": 2,
              "n_layer": 2}, "lm_head.weight", "transformer.wte.weight"),
    "albert": (LLAMA | {"model_type": "albert", "embedding_size": 24}, "predictions.decoder.weight",
               "albert.embeddings.word_embeddings.weight"),
}  # fmt: skip


def change(folder: Path, changes: dict[str, Any]) -> None:
    """Put tensors into the file, or take them out (None)."""
    file = folder / "model.safetensors"
    tensors = load_file(file) | {k: v for k, v in changes.items() if v is not None}
    kept = {k: v.contiguous() for k, v in tensors.items() if changes.get(k, v) is not None}
    save_file(kept, file, {"format": "pt"})


@pytest.mark.parametrize("name", FAMILIES)
def test_the_files_head_is_used_where_it_is_not_the_embedding(name: str, tmp_path: Path) -> None:
    config, head, embedding = FAMILIES[name]
    save(config, tmp_path)
    weight = load_file(tmp_path / "model.safetensors")[embedding]
    change(tmp_path, {head: weight + 0.1 * torch.randn_like(weight)})
    loaded = assert_same(tmp_path, IDS)
    assert not loaded.architecture.tied_head
    assert loaded.checkpoint.notes == (
        f"tensor '{head}' is not '{embedding}', although the config ties them: each is used",
    )
    said = card(loaded.checkpoint)
    assert said["notes"] == list(loaded.checkpoint.notes)
    assert f"note         tensor '{head}' is not" in card_text(said)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_copy_of_the_embedding_is_tied(name: str, tmp_path: Path) -> None:
    config, head, embedding = FAMILIES[name]
    save(config, tmp_path)
    before = assert_same(tmp_path, IDS).architecture
    assert before.tied_head
    change(tmp_path, {head: load_file(tmp_path / "model.safetensors")[embedding].clone()})
    loaded = assert_same(tmp_path, IDS)
    assert loaded.architecture == before
    assert loaded.checkpoint.notes == ()
    assert loaded.model.unembed.weight is loaded.model.embed.weight


@pytest.mark.parametrize("name", FAMILIES)
def test_a_head_stands_for_an_embedding_that_is_missing(name: str, tmp_path: Path) -> None:
    config, head, embedding = FAMILIES[name]
    save(config, tmp_path)
    weight = load_file(tmp_path / "model.safetensors")[embedding].clone()
    change(tmp_path, {head: weight, embedding: None})
    loaded = assert_same(tmp_path, IDS)
    assert loaded.architecture.tied_head
    assert torch.equal(loaded.model.embed.weight, weight)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_untied_head_that_is_missing_is_refused(name: str, tmp_path: Path) -> None:
    config, _, _ = FAMILIES[name]
    save(config, tmp_path)
    rewrite(tmp_path, config | {"tie_word_embeddings": False})
    with pytest.raises(
        CheckpointError, match=r"tensor '(lm_head|embed_out|predictions.decoder)\.\w+' is missing"
    ):
        open_checkpoint(str(tmp_path))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_file_without_the_models_prefix_is_read(name: str, tmp_path: Path) -> None:
    config, _, embedding = FAMILIES[name]
    save(config, tmp_path)
    prefix = embedding.split(".")[0] + "."
    file = tmp_path / "model.safetensors"
    save_file(
        {k.removeprefix(prefix): v for k, v in load_file(file).items()}, file, {"format": "pt"}
    )
    assert_same(tmp_path, IDS)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bias", ["predictions.bias", "predictions.decoder.bias", "both"])
def test_albert_has_two_biases_and_uses_its_decoders(tied: bool, bias: str, tmp_path: Path) -> None:
    config, head, embedding = FAMILIES["albert"]
    save(config, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    names = ("predictions.bias", "predictions.decoder.bias")
    biases = {name: torch.randn(96) if bias in (name, "both") else None for name in names}
    change(tmp_path, biases | ({} if tied else {head: torch.randn_like(tensors[embedding])}))
    rewrite(tmp_path, config | {"tie_word_embeddings": tied})
    if not tied and bias == "predictions.bias":
        with pytest.raises(CheckpointError, match=r"'predictions\.decoder\.bias' is missing"):
            open_checkpoint(str(tmp_path))
        return
    loaded = assert_same(tmp_path, IDS)
    assert loaded.architecture.tied_head == tied
    assert len(loaded.checkpoint.notes) == (tied and bias == "both")


def test_two_spellings_of_one_value_count_as_two_tensors(tmp_path: Path) -> None:
    config, head, embedding = FAMILIES["llama"]
    save(config, tmp_path)
    weight = load_file(tmp_path / "model.safetensors")[embedding].bfloat16()
    change(tmp_path, {head: weight, embedding: weight.float()})
    assert not assert_same(tmp_path, IDS).architecture.tied_head


def test_a_difference_in_the_last_bytes_of_a_large_head_is_seen(tmp_path: Path) -> None:
    config, head, embedding = FAMILIES["llama"]
    save(config | {"vocab_size": 40_000}, tmp_path)  # more than one piece
    weight = load_file(tmp_path / "model.safetensors")[embedding].clone()
    change(tmp_path, {head: weight.clone()})
    assert open_checkpoint(str(tmp_path)).architecture.tied_head
    weight[-1, -1] += 1
    change(tmp_path, {head: weight})
    assert not open_checkpoint(str(tmp_path)).architecture.tied_head


@pytest.mark.parametrize("name", ["huginn", "retrofit llama", "ouro", "nanbeige", "base_loop"])
def test_looped_families_keep_the_files_head_too(name: str, tmp_path: Path) -> None:
    apart = write_checkpoint(tmp_path / "apart", name, {"tie_word_embeddings": False})
    truth = load(str(apart), "cpu")
    (apart / "config.json").write_text(json.dumps(CONFIGS[name] | {"tie_word_embeddings": True}))
    loaded = load(str(apart), "cpu")
    assert len(loaded.checkpoint.notes) == 1
    ours, theirs = (trace(x, x.tokenizer.from_ids(IDS), 2)["logits"] for x in (loaded, truth))
    np.testing.assert_array_equal(ours, theirs)


def test_the_scale_of_the_embedding_is_as_each_published_code_has_it() -> None:
    said = {"init_values": {"embed_scale": 3.0}}
    for name in ("retrofit llama", "retrofit olmo"):
        arch = architecture_of(CONFIGS[name] | said, name)
        assert arch.embedding_scale == 3.0
        assert arch.start_std == pytest.approx(3.0 * np.sqrt(2 / (5 * 48)))
        assert architecture_of(CONFIGS[name], name).embedding_scale == 1.0
    for config in (CONFIGS["huginn"], CONFIGS["huginn"] | said):
        assert architecture_of(config, "huginn").embedding_scale == pytest.approx(np.sqrt(48))
