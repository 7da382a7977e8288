"""Random small configs of every family, as `transformers` and the published codes accept them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from loopscope.core.model.layer_shape import ACTIVATION_NAMES

Head = Literal["as saved", "a copy", "different", "alone"]
Generation = Literal["v5", "v4", "both"]
VOCABULARY = 64
PUBLISHED = (
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "olmo2",
    "gpt2",
    "gpt_neox",
    "albert",
    "hrm_text",
)
PLAIN = ("ouro", "huginn", "retrofit llama", "retrofit olmo", "nanbeige", "base_loop", "nanoloop",
         "native", "loopformer", "nanochat_recursive", "looped_nanochat", "parcae", "lds", "trm")  # fmt: skip
SHAPES = ((1, 1), (2, 1), (2, 2), (3, 1), (4, 1), (4, 2), (4, 4), (6, 3))  # heads, key/value heads


@dataclass(frozen=True, slots=True)
class Case:
    """One model and one prompt.

    config : as it is given to `transformers`, which saves the model.
    written : the `config.json` that is put beside the weights instead.
    head : what is done to the head of a tied model in the file.
    bare : whether the names in the file lose the model's prefix.
    """

    family: str
    seed: int
    config: dict[str, Any]
    written: dict[str, Any]
    ids: tuple[int, ...]
    head: Head = "as saved"
    bare: bool = False


def draw(seed: int, families: tuple[str, ...] = PUBLISHED) -> Case:
    """Draw a case of one of `PUBLISHED`."""
    rng = Random(seed)
    family = rng.choice(families)
    config = _OF_FAMILY[family](rng)
    config["model_type"] = family
    rope = config.get("rope_parameters") or {}
    positions = config.get("max_position_embeddings", config.get("n_positions"))
    reach = positions
    if rope.get("rope_type") == "dynamic":
        reach = max(positions, int(positions * rope["factor"]))
    length = rng.choice([1, 2, positions // 2, positions, rng.randint(3, reach), reach])
    ids = tuple(rng.randrange(VOCABULARY) for _ in range(max(1, length)))
    tied = config.get("tie_word_embeddings", family in ("gpt2", "albert"))
    head = rng.choice(("as saved", "as saved", "a copy", "different", "alone"))
    bare = tied and family != "albert" and rng.random() < 0.15
    if bare:
        head = "as saved"
    return Case(family, seed, config, written(rng, config), ids, head if tied else "as saved", bare)


def written(rng: Random, config: dict[str, Any]) -> dict[str, Any]:
    """The same config in one of its spellings."""
    rope = config.get("rope_parameters")
    generation = rng.choice(("v5", "v4", "both"))
    if rope is None or generation == "v5":
        return dict(config)
    old = {k: v for k, v in config.items() if k != "rope_parameters"}
    scaling = {k: v for k, v in rope.items() if k not in ("rope_theta", "rope_type")}
    theta = "rotary_emb_base" if config["model_type"] == "gpt_neox" else "rope_theta"
    if "rope_theta" in rope:
        old[theta] = rope["rope_theta"]
    if config["model_type"] != "gpt_neox" and "partial_rotary_factor" in scaling:
        old["partial_rotary_factor"] = scaling.pop("partial_rotary_factor")
    if "rope_type" in rope:
        scaling[rng.choice(("type", "rope_type"))] = rope["rope_type"]
    if scaling:
        old["rope_scaling"] = scaling
    if generation == "both":  # as where a model card told to add the older key
        old["rope_parameters"] = {"rope_type": "default", "rope_theta": 77.0} if scaling else rope
    return old


def _maybe(rng: Random, values: dict[str, Any]) -> dict[str, Any]:
    """Some of these keys; the class's defaults stand for the others."""
    return {key: value for key, value in values.items() if rng.random() < 0.6}


def _activation(rng: Random) -> str:
    return rng.choice(("silu", "gelu_new", *ACTIVATION_NAMES))


def _base(rng: Random, heads: int, d_head: int) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": heads * d_head,
        "num_attention_heads": heads,
        "intermediate_size": rng.randint(3, 40),
        "num_hidden_layers": rng.randint(1, 4),
        "max_position_embeddings": rng.choice((12, 20, 32)),
        **_maybe(rng, {"tie_word_embeddings": rng.random() < 0.5, "hidden_act": _activation(rng)}),
        "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
    }  # fmt: skip


def rope(rng: Random, d_head: int, positions: int, *, partial: bool) -> dict[str, Any]:
    """Rotary parameters of any type; ``partial``: the family rotates part of a head."""
    kind = rng.choice(
        ("default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional")
    )
    params: dict[str, Any] = {"rope_type": kind}
    if rng.random() < 0.7:
        params["rope_theta"] = rng.choice((10.0, 500.0, 1e4, 1e6))
    share = 1.0
    if kind in ("default", "proportional") or partial:
        share = rng.choice((1.0, 1.0, 0.25, 0.5, 0.3, 0.75))
        params["partial_rotary_factor"] = share
    if kind != "default":
        params["factor"] = rng.choice((1.5, 2.0, 4.0, 8.0))
    if kind in ("yarn", "longrope", "llama3") and rng.random() < 0.7:
        params["original_max_position_embeddings"] = rng.choice((6, 10, positions))
    if kind == "yarn":
        params |= _maybe(rng, {
            "beta_fast": rng.choice((4, 32)), "beta_slow": rng.choice((1, 2)),
            "truncate": rng.random() < 0.5, "mscale": 0.7, "mscale_all_dim": rng.choice((0.0, 1.3)),
        })  # fmt: skip
    if kind in ("yarn", "longrope") and rng.random() < 0.3:
        params["attention_factor"] = rng.choice((0.8, 1.2))
    if kind == "longrope":
        width = math.ceil(int(d_head * share) / 2)
        params["short_factor"] = [1 + 0.3 * rng.random() for _ in range(width)]
        params["long_factor"] = [1 + 3 * rng.random() for _ in range(width)]
    if kind == "llama3":
        params |= {"low_freq_factor": rng.choice((1.0, 2.0)), "high_freq_factor": 4.0}
    return params


def _llama_like(rng: Random, *, own_head: bool = True) -> dict[str, Any]:
    heads, kv = rng.choice(SHAPES)
    d_head = rng.choice((2, 4, 6, 8, 10, 16))
    config = _base(rng, heads, d_head)
    config["num_key_value_heads"] = kv
    if kv == heads and rng.random() < 0.3:
        config["num_key_value_heads"] = None
    if own_head and rng.random() < 0.5:
        d_head = config["head_dim"] = rng.choice((2, 4, 6, 8, 12))
    config |= _maybe(rng, {"rms_norm_eps": rng.choice((1e-6, 1e-3, 0.1))})
    if rng.random() < 0.7:
        config["rope_parameters"] = rope(
            rng, d_head, config["max_position_embeddings"], partial=False
        )
    return config


def _llama(rng: Random) -> dict[str, Any]:
    flags = {"attention_bias": rng.random() < 0.7, "mlp_bias": rng.random() < 0.7}
    return _llama_like(rng) | _maybe(rng, flags)


def _mistral(rng: Random) -> dict[str, Any]:
    config = _llama_like(rng)
    config["num_key_value_heads"] = config["num_key_value_heads"] or config["num_attention_heads"]
    return config | _maybe(rng, {
        "sliding_window": rng.choice((None, 1, 3, 7, 50)), "use_sliding_window": False,
    })  # fmt: skip


def _windows(rng: Random, n_layers: int) -> dict[str, Any]:
    keys = {"sliding_window": rng.choice((1, 3, 7)), "use_sliding_window": rng.random() < 0.8,
            "max_window_layers": rng.randint(0, n_layers)}  # fmt: skip
    if keys["use_sliding_window"] and rng.random() < 0.4:
        kinds = ("full_attention", "sliding_attention")
        keys["layer_types"] = [rng.choice(kinds) for _ in range(n_layers)]
    return keys if rng.random() < 0.7 else {"sliding_window": 3}


def _qwen2(rng: Random) -> dict[str, Any]:
    config = _llama_like(rng)
    return config | _windows(rng, config["num_hidden_layers"])


def _qwen3(rng: Random) -> dict[str, Any]:
    config = _llama_like(rng)
    config.setdefault("head_dim", config["hidden_size"] // config["num_attention_heads"])
    config |= _maybe(rng, {"attention_bias": rng.random() < 0.7})
    return config | _windows(rng, config["num_hidden_layers"])


def _olmo2(rng: Random) -> dict[str, Any]:
    return _llama_like(rng, own_head=False) | _maybe(rng, {"attention_bias": rng.random() < 0.7})


def _gpt2(rng: Random) -> dict[str, Any]:
    heads, d_head = rng.choice((1, 2, 3, 4)), rng.choice((1, 3, 4, 8))
    return {
        "vocab_size": VOCABULARY, "n_embd": heads * d_head, "n_head": heads,
        "n_layer": rng.randint(1, 4), "n_positions": rng.choice((12, 20, 32)),
        "bos_token_id": None, "eos_token_id": None,
        **_maybe(rng, {
            "n_inner": rng.choice((None, 7, 20)), "activation_function": _activation(rng),
            "layer_norm_epsilon": rng.choice((1e-5, 1e-2)),
            "tie_word_embeddings": rng.random() < 0.5,
            "scale_attn_weights": rng.random() < 0.5,
            "scale_attn_by_inverse_layer_idx": rng.random() < 0.5,
            "reorder_and_upcast_attn": rng.random() < 0.5,
            "add_cross_attention": rng.random() < 0.2,
        }),
    }  # fmt: skip


def _gpt_neox(rng: Random) -> dict[str, Any]:
    heads, d_head = rng.choice((1, 2, 3, 4)), rng.choice((2, 4, 6, 8, 12, 16))
    config = _base(rng, heads, d_head)
    positions = config["max_position_embeddings"]
    config |= _maybe(rng, {
        "rotary_pct": rng.choice((0.1, 0.25, 0.3, 0.5, 0.75, 1.0)), "rotary_emb_base": 500,
        "use_parallel_residual": rng.random() < 0.5, "attention_bias": rng.random() < 0.5,
        "layer_norm_eps": rng.choice((1e-5, 1e-2)),
    })  # fmt: skip
    if rng.random() < 0.6:
        config["rope_parameters"] = rope(rng, d_head, positions, partial=True)
    return config


def _albert(rng: Random) -> dict[str, Any]:
    heads, d_head = rng.choice((1, 2, 3, 4)), rng.choice((1, 3, 4, 8))
    config = _base(rng, heads, d_head)
    layers = config["num_hidden_layers"] = rng.randint(1, 6)
    return config | {"embedding_size": rng.randint(2, 20), "classifier_dropout_prob": 0.0} | _maybe(
        rng, {
            "inner_group_num": rng.randint(1, 3), "num_hidden_groups": rng.randint(1, layers),
            "type_vocab_size": rng.randint(1, 3), "layer_norm_eps": rng.choice((1e-12, 1e-2)),
        }
    )  # fmt: skip


def _hrm_text(rng: Random) -> dict[str, Any]:
    heads, d_head = rng.choice((1, 2, 3, 4)), rng.choice((2, 4, 6, 8))
    config = _base(rng, heads, rng.choice((2, 4, 5)))
    config["num_hidden_layers"] = rng.randint(1, 2)
    config |= {"head_dim": d_head} | _maybe(rng, {
        "H_cycles": rng.randint(1, 3), "L_cycles": rng.randint(1, 3),
        "embedding_scale": rng.choice((None, 1.0, 3.0)), "initializer_range": 0.1,
        "attention_bias": rng.random() < 0.5, "mlp_bias": rng.random() < 0.5,
        "rms_norm_eps": rng.choice((1e-6, 1e-2)),
    })  # fmt: skip
    if rng.random() < 0.6:
        positions = config["max_position_embeddings"]
        config["rope_parameters"] = rope(rng, d_head, positions, partial=False)
    return config


_OF_FAMILY = {
    "llama": _llama, "mistral": _mistral, "qwen2": _qwen2, "qwen3": _qwen3, "olmo2": _olmo2,
    "gpt2": _gpt2, "gpt_neox": _gpt_neox, "albert": _albert, "hrm_text": _hrm_text,
}  # fmt: skip
