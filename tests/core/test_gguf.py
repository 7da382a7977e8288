"""GGUF files become folders that compute what the model in the file computes in transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

gguf = pytest.importorskip("gguf")

from loopscope.core.checkpoint.loading import load  # noqa: E402
from loopscope.core.convert.convert import Source, convert  # noqa: E402
from loopscope.core.convert.gguf_file import config_of, in_halves, published_name  # noqa: E402
from loopscope.core.convert.gguf_rope import rope_scaling  # noqa: E402
from loopscope.core.convert.gguf_tokenizer import tokenizer_of  # noqa: E402
from loopscope.core.errors import LoopscopeError  # noqa: E402
from loopscope.core.run.stepper import Stepper  # noqa: E402

ROOT = Path(__file__).parents[2]
D, HEADS, KV, LAYERS, VOCABULARY, MLP = 64, 4, 2, 2, 96, 96
IDS = [1, 5, 9, 40, 3, 77]


@pytest.fixture(autouse=True)
def this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that reads the file is of this checkout too."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / ".dev"))


def published(arch: str, **rope: Any) -> torch.nn.Module:
    """A random model of transformers, in float32."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        arch, vocab_size=VOCABULARY, hidden_size=D, intermediate_size=MLP, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KV, head_dim=D // HEADS, rms_norm_eps=1e-5,
        max_position_embeddings=64, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0} | rope,
    )  # fmt: skip
    torch.manual_seed(0)
    model: torch.nn.Module = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(
                torch.randn_like(p) * 1.5 / D**0.5 if p.ndim > 1 else 1 + 0.1 * torch.randn_like(p)
            )
    return model.eval()


def in_pairs(rows: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's `permute`: the rows of Llama's heads as its files have them."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))


def write(
    path: Path,
    model: torch.nn.Module,
    arch: str,
    keys: dict[str, Any] | None = None,
    divisors: dict[str, Any] | None = None,
) -> Path:
    """Write a model, its matrices in Q8_0; the model's weights become what the file holds."""
    writer = gguf.GGUFWriter(path, arch)
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(D)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV)
    writer.add_rope_freq_base(5000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    for key, value in (keys or {}).items():
        kinds: dict[type, Any] = {str: writer.add_string, float: writer.add_float32}
        kinds.get(type(value), writer.add_uint32)(key, value)
    for name, values in (divisors or {}).items():
        writer.add_tensor(name, np.array(values, dtype=np.float32))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, LAYERS)
    if arch.startswith("qwen"):
        names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[arch.upper()], LAYERS)
    kind = gguf.GGMLQuantizationType.Q8_0
    for name, weight in model.state_dict().items():
        rows = weight.numpy()
        there = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if rows.ndim == 1:
            writer.add_tensor(there, rows)
            continue
        quantised = gguf.quants.quantize(rows, kind)
        weight.copy_(torch.from_numpy(gguf.quants.dequantize(quantised, kind)))
        if arch == "llama" and "q_proj" in name:
            quantised = in_pairs(quantised, HEADS)
        if arch == "llama" and "k_proj" in name:
            quantised = in_pairs(quantised, KV)
        writer.add_tensor(there, quantised, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["llama", "qwen2", "qwen3"])
def test_logits_are_those_of_transformers(tmp_path: Path, arch: str) -> None:
    keys = {"qwen3.attention.key_length": D // HEADS} if arch == "qwen3" else {}
    reference = published(arch)
    file = write(tmp_path / "m.gguf", reference, arch, keys)
    with torch.inference_mode():
        truth = reference(torch.tensor([IDS])).logits[0]
    assert convert(Source(file), tmp_path / "new").family.name == arch
    loaded = load(str(tmp_path / "new"), "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.from_ids(tuple(IDS)))
    stepper.step()
    torch.testing.assert_close(torch.from_numpy(stepper.readout(1)), truth, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "keys", "message"),
    [
        ("mamba", {}, "architecture 'mamba' is not read; llama, qwen2, qwen3 are"),
        ("llama", {"llama.rope.scaling.type": "su"}, "'llama.rope.scaling.type' is 'su', not read"),
        ("llama", {"llama.rope.scaling.type": "yarn"}, "'llama.rope.scaling.factor' is missing"),
        ("llama", {"llama.rope.scaling.type": "longrope"}, "are not both there"),
        ("llama", {"llama.rope.dimension_count": 8}, "rotates a part of each head"),
        ("llama", None, "cannot be converted"),
    ],
)
def test_what_would_give_other_numbers_is_refused(
    tmp_path: Path, arch: str, keys: dict[str, Any] | None, message: str
) -> None:
    file = write(tmp_path / "m.gguf", published("llama"), arch, keys)
    if keys is None:
        file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(LoopscopeError, match=message) as error:
        convert(Source(file), tmp_path / "new")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "new").exists()


SHORT, LONG = [1.0 + 0.25 * i for i in range(8)], [2.0 + 0.5 * i for i in range(8)]
ORIGINAL = {"original_max_position_embeddings": 16}
# Keys of the file, its divisors, and what transformers is given for the same.
STRETCHED: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "linear": ({"type": "linear", "factor": 2.5}, {}, {"rope_type": "linear", "factor": 2.5}),
    "yarn": (
        {"type": "yarn", "factor": 4.0, "original_context_length": 16, "yarn_beta_fast": 2.5},
        {},
        {"rope_type": "yarn", "factor": 4.0, "beta_fast": 2.5} | ORIGINAL,
    ),
    "longrope": (
        {"type": "longrope", "original_context_length": 16, "attn_factor": 1.2},
        {"rope_factors_short.weight": SHORT, "rope_factors_long.weight": LONG},
        {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG, "factor": 4.0}
        | {"attention_factor": 1.2} | ORIGINAL,
    ),
    # Llama 3's rule lies in the file as what it divides by, which the test takes from the model.
    "llama3": (
        {},
        {"rope_freqs.weight": []},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
        | ORIGINAL,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", STRETCHED)
def test_a_stretched_rotary_embedding_is_that_of_transformers(tmp_path: Path, kind: str) -> None:
    keys, divisors, rope = STRETCHED[kind]
    reference = published("llama", **rope)
    if kind == "llama3":
        plain = 5000.0 ** -(torch.arange(0, 16, 2) / 16)
        inv_freq: Any = reference.get_submodule("model.rotary_emb").inv_freq
        divisors = {"rope_freqs.weight": (plain / inv_freq).tolist()}
    keys = {f"llama.rope.scaling.{key}": value for key, value in keys.items()}
    file = write(tmp_path / "m.gguf", reference, "llama", keys, divisors)
    convert(Source(file), tmp_path / "new")
    loaded = load(str(tmp_path / "new"), "cpu")
    for length in (12, 40):  # within the length it was first trained to, and beyond
        ids = [(7 * i + 3) % VOCABULARY for i in range(length)]
        with torch.inference_mode():
            truth = reference(torch.tensor([ids])).logits[0]
        stepper = Stepper(loaded)
        stepper.begin(loaded.tokenizer.from_ids(tuple(ids)))
        stepper.step()
        found = torch.from_numpy(stepper.readout(1))
        torch.testing.assert_close(found, truth, atol=1e-4, rtol=1e-4)


def test_what_no_config_can_say_of_a_rotary_embedding_is_refused() -> None:
    keys = {"llama.context_length": 64, "llama.rope.scaling.type": "yarn",
            "llama.rope.scaling.factor": 2.0}  # fmt: skip
    with pytest.raises(ValueError, match="scales its rotary frequencies twice"):
        rope_scaling(keys, "llama", {"rope_freqs.weight": SHORT})
    with pytest.raises(ValueError, match="yarn_ext_factor' is not read"):
        rope_scaling(keys | {"llama.rope.scaling.yarn_ext_factor": 0.5}, "llama", {})
    with pytest.raises(ValueError, match="are not both there"):
        rope_scaling({"llama.context_length": 64}, "llama", {"rope_factors_long.weight": LONG})
    old = {"llama.rope.scale_linear": 2.0}
    assert rope_scaling(old, "llama", {}) == {"rope_type": "linear", "factor": 2.0}


def test_rows_in_pairs_are_put_in_halves() -> None:
    """Row 2 j + h of a head there is row j + h d/2 here."""
    rows = np.arange(12, dtype=np.float32)[:, None]  # two heads of six
    assert in_halves(rows, 2)[:, 0].tolist() == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]


def test_names_and_keys() -> None:
    assert published_name("blk.11.ffn_down.weight") == "model.layers.11.mlp.down_proj.weight"
    for name in ("blk.0.ffn_gate_exps.weight", "v.blk.0.x", "blk.0.attn_q"):
        with pytest.raises(ValueError, match="is not one these architectures have"):
            published_name(name)
    fields = {"general.architecture": "llama"}
    with pytest.raises(ValueError, match=r"'llama.attention.head_count' is missing"):
        config_of(fields, {"token_embd.weight": (9, 8)}, {})


def byte_level(pre: str, **more: Any) -> dict[str, Any]:
    tokens = ["<s>", "Ġ", "a", "b", "1", "2", "ab", "Ġab", "12"]
    return {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": ["a b", "Ġ ab", "1 2"], "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.token_type": [3] + [1] * 8,
    } | {f"tokenizer.ggml.{k}": v for k, v in more.items()}  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        (byte_level("gpt-2"), ["ab", "Ġab", "Ġ", "12", "<s>"]),
        (byte_level("smollm"), ["ab", "Ġab", "Ġ", "1", "2", "<s>"]),
        (byte_level("qwen2"), ["ab", "Ġab", "Ġ", "1", "2", "<s>"]),
        (byte_level("llama-bpe"), ["<s>", "ab", "Ġab", "Ġ", "12", "<s>"]),
        (byte_level("llama-bpe", add_bos_token=False), ["ab", "Ġab", "Ġ", "12", "<s>"]),
    ],
)
def test_byte_level_tokenizers_split_as_their_kind_does(
    fields: dict[str, Any], tokens: list[str]
) -> None:
    from tokenizers import Tokenizer

    text = tokenizer_of(fields)
    assert text is not None
    assert Tokenizer.from_str(text).encode("ab ab 12<s>").tokens == tokens


def test_sentence_pieces_are_merged_by_their_scores() -> None:
    from tokenizers import Tokenizer

    pieces = {"<unk>": 0.0, "<s>": 0.0, "<0xC3>": 0.0, "<0xA9>": 0.0, "▁": -9.0, "a": -8.0,
              "b": -8.0, "ab": -2.0, "▁a": -3.0, "▁ab": -4.0, "bb": -1.0}  # fmt: skip
    text = tokenizer_of({
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": list(pieces),
        "tokenizer.ggml.scores": list(pieces.values()), "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.token_type": [2, 3, 6, 6, 1, 1, 1, 1, 1, 1, 1],
        "tokenizer.ggml.unknown_token_id": 0,
    })  # fmt: skip
    assert text is not None
    tokenizer = Tokenizer.from_str(text)
    # "bb" has the best score, so that "abb" is a + bb; é is no piece, but bytes.
    assert tokenizer.encode("ab abb é").tokens == [
        "<s>", "▁ab", "▁a", "bb", "▁", "<0xC3>", "<0xA9>",
    ]  # fmt: skip


def test_an_unknown_kind_leaves_token_ids() -> None:
    assert tokenizer_of(byte_level("some-other")) is None
    assert tokenizer_of({"tokenizer.ggml.model": "bert"}) is None
