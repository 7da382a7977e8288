"""Rotary embeddings against `transformers`: frequencies of every type, and what a config means."""

from __future__ import annotations

import importlib
import json
import logging
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import CONFIGS
from checkpoints import architecture_of as read

from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.errors import CheckpointError

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
LONG = {"rope_type": "longrope", "original_max_position_embeddings": 32,
        "short_factor": [1.0, 1.1, 1.3, 1.6, 2.0, 2.5, 3.0, 3.5],
        "long_factor": [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 9.0]}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
# A head of 16; the model has 64 positions.
TYPES: dict[str, dict[str, Any]] = {
    "default": {"rope_type": "default"},
    "linear": {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0},
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "yarn": YARN,
    "yarn not truncated": YARN | {"truncate": False, "rope_theta": 5e5},
    "yarn with betas": YARN | {"beta_fast": 8, "beta_slow": 2, "rope_theta": 100.0},
    "yarn with mscale": YARN | {"mscale": 0.7, "mscale_all_dim": 1.2},
    "yarn with one mscale": YARN | {"mscale": 0.7},
    "yarn with its attention factor": YARN | {"attention_factor": 0.6},
    "yarn without a factor": YARN | {"factor": None},
    "yarn that shrinks": YARN | {"factor": 0.5},
    "yarn with a ramp of no width": YARN | {"beta_fast": 1, "beta_slow": 1, "truncate": False},
    "longrope": LONG,
    "longrope with a factor": LONG | {"factor": 5.0},
    "longrope with its attention factor": LONG | {"attention_factor": 1.3},
    "llama3": LLAMA3 | {"original_max_position_embeddings": 32, "rope_theta": 5e5},
    "llama3 without the length": LLAMA3,
    "llama3 upside down": LLAMA3 | {"low_freq_factor": 4.0, "high_freq_factor": 1.0},
    "proportional": {"rope_type": "proportional", "partial_rotary_factor": 0.4, "factor": 2.0},
    "proportional, whole": {"rope_type": "proportional"},
}  # fmt: skip
PLAIN = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 8, "vocab_size": 16,
         "num_hidden_layers": 1, "max_position_embeddings": 64}  # fmt: skip
CLASSES = {"llama": "LlamaRotaryEmbedding", "gpt_neox": "GPTNeoXRotaryEmbedding"}


def theirs(config: dict[str, Any], n_positions: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of `transformers`, each ``[T, width]``."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        made = transformers.AutoConfig.for_model(**json.loads(json.dumps(config)))
        kind = config["model_type"]
        module = importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
        table = getattr(module, CLASSES[kind])(made)
        cos, sin = table(torch.zeros(1), torch.arange(n_positions)[None])
    return cos[0].numpy(), sin[0].numpy()


def ours(config: dict[str, Any], n_positions: int) -> tuple[np.ndarray, np.ndarray]:
    rope = read(config).layer.rope
    frequency = rope.frequencies(16, n_positions)
    angle = np.arange(n_positions)[:, None] * np.concatenate([frequency, frequency])
    factor = rope.scaling.attention_factor
    return np.cos(angle) * factor, np.sin(angle) * factor


def same(config: dict[str, Any]) -> None:
    for n_positions in (20, 64, 150):  # shorter than the original length, longer, beyond all
        for mine, published in zip(
            ours(config, n_positions), theirs(config, n_positions), strict=True
        ):
            np.testing.assert_allclose(mine, published, atol=5e-5)


@pytest.mark.parametrize("case", TYPES)
@pytest.mark.parametrize("family", CLASSES)
def test_every_type_turns_as_in_transformers(family: str, case: str) -> None:
    params = TYPES[case]
    share = {} if family == "llama" else {"partial_rotary_factor": 1.0}
    same(PLAIN | {"model_type": family, "rope_parameters": share | params})
    # The older spelling of the same.
    old = {k: v for k, v in params.items() if k not in ("rope_type", "rope_theta")}
    base = {"rope_theta": params["rope_theta"]} if "rope_theta" in params else {}
    scaling = share | old | {"type": params["rope_type"]}
    if family == "llama":
        same(PLAIN | {"model_type": family, "rope_scaling": scaling} | base)


@pytest.mark.parametrize("width", [0.1, 0.2, 0.25, 0.3, 0.44, 0.5, 0.95, 1.0])
def test_gpt_neox_rotates_odd_widths_too(width: float) -> None:
    for params in ({}, {"rope_type": "linear", "factor": 2.0}, {"rope_type": "proportional"}):
        config = PLAIN | {"model_type": "gpt_neox", "rotary_pct": width}
        same(config | ({"rope_parameters": params} if params else {}))


def test_a_head_of_which_nothing_turns_needs_no_factors() -> None:
    lists = {"short_factor": [], "long_factor": [], "partial_rotary_factor": 0.05}
    rope = read(PLAIN | {"model_type": "gpt_neox", "rope_parameters": LONG | lists}).layer.rope
    assert rope.pairs == "none"


def test_what_gpt_neox_reads_of_its_rotary_keys() -> None:
    neox = PLAIN | {"model_type": "gpt_neox"}
    for changes in (
        {"rotary_emb_base": 500, "rotary_pct": 0.5},
        {"rope_theta": 77.0, "partial_rotary_factor": 0.5},  # not its keys
        {"rope_parameters": {"rotary_pct": 0.5, "rope_theta": 500.0}},  # nor is it looked for there
        {"rope_parameters": {"partial_rotary_factor": 0.5}, "rotary_pct": 0.75},
        {"rope_scaling": {"type": "linear", "factor": 2.0}, "rotary_emb_base": 300},
    ):
        same(neox | changes)
    assert read(neox | {"rotary_pct": 0.0}).layer.rope.pairs == "none"


def test_which_of_several_places_is_read() -> None:
    llama = PLAIN | {"model_type": "llama"}
    for changes in (
        {"partial_rotary_factor": 0.5},  # whole heads all the same
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.25}},
        {"rope_parameters": {"rope_theta": 5e5}, "rope_theta": 77.0},
        {"rope_parameters": {"rope_theta": 5e5}, "rope_scaling": {"type": "yarn", "factor": 2.0}},
        {"rope_parameters": {"rope_theta": 5e5}, "rope_theta": 300.0,
         "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
        {"rope_parameters": {"rope_theta": 5e5}, "rope_scaling": {}},
        {"rope_parameters": {}, "rope_theta": 300.0},
        {"rope_parameters": YARN, "original_max_position_embeddings": 16},
    ):  # fmt: skip
        same(llama | changes)


@pytest.mark.parametrize("name", ["llama", "qwen3", "olmo2", "hrm_text", "ouro"])
def test_families_that_rotate_whole_heads_do_not_read_a_share(name: str) -> None:
    config = CONFIGS[name]
    changed = config | {"partial_rotary_factor": 0.5}
    assert read(changed) == read(config)


def test_dynamic_scaling_says_how_long_a_prompt_may_be() -> None:
    params = {"rope_type": "dynamic", "factor": 4.0}
    assert read(PLAIN | {"model_type": "llama", "rope_parameters": params}).max_positions == 256


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rope_type": "su"}, "type 'su' is not one of default, linear, dynamic, yarn"),
        ({"rope_type": None}, "type 'None' is not one of"),
        ({"rope_type": "linear"}, "'factor': is missing"),
        ({"rope_type": "yarn"}, "'factor': is missing"),
        (YARN | {"rope_theta": 1.0}, "gives no frequencies"),
        (LONG | {"short_factor": [1.0, 2.0]}, "gives no frequencies"),
        (LONG | {"long_factor": "8"}, "'long_factor': expected a list of numbers"),
        (LONG | {"original_max_position_embeddings": 1}, "1 has no logarithm"),
        (LONG | {"short_factor": []}, "gives no frequencies"),
        ({"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5},
         "a share of 0.5 does not fit a head of 16: 8 are rotated"),
        ({"rope_type": "yarn", "factor": 2.0, "partial_rotary_factor": -1}, "above 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(PLAIN | {"model_type": "llama", "rope_parameters": params})


def test_a_share_of_more_than_all_is_refused() -> None:
    with pytest.raises(CheckpointError, match="does not fit a head of 16"):
        read(PLAIN | {"model_type": "gpt_neox", "rotary_pct": 1.5})


def test_huginn_reads_its_own_key_alone() -> None:
    huginn = CONFIGS["huginn"]
    plain = read(huginn | {"rope_base": 300}, "huginn")
    assert plain.layer.rope.theta == 300
    others = {"rope_base": 300, "rope_theta": 5.0, "rope_parameters": YARN}
    assert read(huginn | others, "huginn") == plain


def test_the_bundled_models_are_not_stretched() -> None:
    assert open_checkpoint("bundled:deep").architecture.layer.rope.scaling.kind == "default"
