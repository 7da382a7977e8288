"""Weights of 8 bits and LoRA adapters become folders that compute what their numbers stand for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from loopscope.app.cli.main import main
from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.convert.convert import Source, convert
from loopscope.core.convert.fp8 import dequantised
from loopscope.core.convert.lora import merged, read_adapter
from loopscope.core.errors import LoopscopeError

FP8 = torch.float8_e4m3fn
CONFIG = {
    "model_type": "llama", "vocab_size": 20, "hidden_size": 12, "intermediate_size": 20,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
    "max_position_embeddings": 32, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
}  # fmt: skip
SHAPES = {
    "self_attn.q_proj": (12, 12), "self_attn.k_proj": (6, 12), "self_attn.v_proj": (6, 12),
    "self_attn.o_proj": (12, 12), "mlp.gate_proj": (20, 12), "mlp.up_proj": (20, 12),
    "mlp.down_proj": (12, 20),
}  # fmt: skip


def llama(tied: bool = False) -> dict[str, Tensor]:
    torch.manual_seed(0)
    tensors = {f"model.layers.0.{n}.weight": torch.randn(s) for n, s in SHAPES.items()}
    for name in ("layers.0.input_layernorm", "layers.0.post_attention_layernorm", "norm"):
        tensors[f"model.{name}.weight"] = torch.randn(12)
    tensors["model.embed_tokens.weight"] = torch.randn(20, 12)
    return tensors if tied else tensors | {"lm_head.weight": torch.randn(20, 12)}


def folder_of(path: Path, tensors: dict[str, Tensor], **config: Any) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG | config))
    save_file(tensors, path / "model.safetensors")
    return path


def by_blocks(q: Tensor, scale: Tensor, block: tuple[int, int]) -> Tensor:
    """Each number times the scale of its block, one by one."""
    true = torch.empty(q.shape)
    for i in range(q.shape[0]):
        for j in range(q.shape[1]):
            true[i, j] = float(q[i, j]) * float(scale[i // block[0], j // block[1]])
    return true


def test_blocks_as_deepseek_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Blocks of 8 x 5, the last ones cut short; half of them in a second shard."""
    tensors, true = {}, {}
    for name, weight in llama().items():
        true[name] = weight
        if "proj" not in name:
            tensors[name] = weight.bfloat16()
            true[name] = weight.bfloat16().float()
            continue
        rows, columns = weight.shape
        scale = torch.rand(-(-rows // 8), -(-columns // 5)) + 0.1
        tensors[name] = q = weight.to(FP8)
        tensors[f"{name}_scale_inv"] = scale
        true[name] = by_blocks(q, scale, (8, 5))
    quantization = {"quant_method": "fp8", "weight_block_size": [8, 5]}
    source = folder_of(tmp_path / "fp8", tensors, quantization_config=quantization)
    shards = {name: f"{i % 2}.safetensors" for i, name in enumerate(sorted(tensors))}
    for shard in ("0.safetensors", "1.safetensors"):
        save_file({n: tensors[n] for n, s in shards.items() if s == shard}, source / shard)
    (source / "model.safetensors").unlink()
    index = source / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}))
    assert main(["inspect", str(source)]) == 2
    assert f"`loopscope convert {source} -o FOLDER` dequantises" in capsys.readouterr().err
    assert main(["convert", str(source), "-o", str(tmp_path / "new")]) == 0
    found = load_file(tmp_path / "new" / "model.safetensors")
    assert set(found) == set(true)
    for name, tensor in found.items():
        assert torch.equal(tensor.float(), true[name]), name
    assert "quantization_config" not in open_checkpoint(str(tmp_path / "new")).config


@pytest.mark.parametrize(
    ("scale", "zero"),
    [
        (torch.tensor(0.25), None),
        (torch.tensor([0.25]), None),
        (torch.rand(6), None),
        (torch.rand(6, 1).bfloat16(), torch.randint(-9, 9, (6, 1), dtype=torch.int8)),
    ],
)
@pytest.mark.parametrize("dtype", [FP8, torch.float8_e5m2, torch.int8])
def test_one_scale_or_one_a_row(dtype: torch.dtype, scale: Tensor, zero: Tensor | None) -> None:
    q = (20 * torch.randn(6, 4)).to(dtype)
    tensors = {"a.weight": q, "a.weight_scale": scale, "a.input_scale": torch.ones(1)}
    tensors |= {} if zero is None else {"a.weight_zero_point": zero}
    found = dequantised(tensors, {})
    rows = scale.float().reshape(-1).expand(6) if scale.numel() == 1 else scale.float().reshape(6)
    offsets = torch.zeros(6) if zero is None else zero.float().reshape(6)
    true = [[(float(q[i, j]) - float(offsets[i])) * float(rows[i]) for j in range(4)]
            for i in range(6)]  # fmt: skip
    assert set(found) == {"a.weight"}
    torch.testing.assert_close(found["a.weight"], torch.tensor(true), rtol=1e-6, atol=0)


def test_scales_that_are_powers_of_two_and_fp8_without_any() -> None:
    two = torch.tensor([[0.5, 4.0]]).to(torch.float8_e8m0fnu)
    q = torch.ones(128, 256).to(FP8)
    found = dequantised({"a.weight": q, "a.weight_scale_inv": two, "b": q}, {})
    assert found["a.weight"][0, 127] == 0.5
    assert found["a.weight"][127, 128] == 4
    assert torch.equal(found["b"], torch.ones(128, 256))


@pytest.mark.parametrize(
    ("tensors", "config", "message"),
    [
        ({"a": (4, 4, FP8), "a_scale": (3, 1)}, {}, "ask for .1, 1."),
        ({"a": (4, 4, torch.int8)}, {}, "integers without a scale"),
        ({"a": (4, 4, FP8), "b_scale": (1, 1)}, {}, "a scale of no weight"),
        ({"a": (4, 4, torch.uint8), "a_scale": (1, 1)}, {}, "uint8: neither FP8 nor int8"),
        (
            {"a": (4, 4, FP8), "a_scale": (2, 2)},
            {"quantization_config": {"weight_block_size": [0, 4]}},
            "a block of .0, 4. is no size",
        ),
    ],
)
def test_scales_that_do_not_fit_are_told(
    tensors: dict[str, Any], config: dict[str, Any], message: str
) -> None:
    made = {n: torch.ones(s[:2]).to(s[2] if len(s) > 2 else torch.float32)
            for n, s in tensors.items()}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        dequantised(made, config)


def test_what_only_its_quantiser_can_read_is_refused(tmp_path: Path) -> None:
    for end, method in (("qweight", "gptq"), ("qweight", "awq"), ("SCB", "bitsandbytes")):
        tensors = {f"model.layers.0.mlp.up_proj.{end}": torch.ones(4, 4, dtype=torch.int32)}
        quantization = {"quant_method": method}
        source = folder_of(tmp_path / f"{method}", tensors, quantization_config=quantization)
        with pytest.raises(LoopscopeError, match=f"quantised .{method}; .*dequantise it first"):
            convert(Source(source), tmp_path / "new")
    plain = folder_of(tmp_path / "plain", llama())
    with pytest.raises(LoopscopeError, match="floating point: open it as it is"):
        convert(Source(plain), tmp_path / "new")
    assert not (tmp_path / "new").exists()


# ---- LoRA ----
def adapter_of(path: Path, tensors: dict[str, Tensor], **config: Any) -> Path:
    path.mkdir()
    values = {"peft_type": "LORA", "r": 3, "lora_alpha": 12} | config
    (path / "adapter_config.json").write_text(json.dumps(values))
    save_file(tensors, path / "adapter_model.safetensors")
    return path


def pair(module: str, rows: int, columns: int, rank: int = 3) -> dict[str, Tensor]:
    return {
        f"base_model.model.{module}.lora_A.weight": torch.randn(rank, columns),
        f"base_model.model.{module}.lora_B.weight": torch.randn(rows, rank),
    }


Q, UP = "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj"


@pytest.mark.parametrize("rooted", [False, True])
def test_an_adapter_is_added_into_its_base(tmp_path: Path, rooted: bool) -> None:
    """By the way a layer runs with it: ``W x + s B (A x)``, in float64."""
    base = llama()
    added = pair(Q, 12, 12) | pair(UP, 20, 12, rank=2)
    added["base_model.model.lm_head.weight"] = torch.randn(20, 12)
    source = adapter_of(tmp_path / "a", added, use_rslora=rooted, alpha_pattern={"up_proj": 5})
    folder = folder_of(tmp_path / "base", {n: t.bfloat16() for n, t in base.items()})
    convert(Source(source, base=folder), tmp_path / "new")
    found = load_file(tmp_path / "new" / "model.safetensors")
    x = torch.randn(12, dtype=torch.float64)
    for module, alpha, rank in ((Q, 12, 3), (UP, 5, 2)):
        a, b = (added[f"base_model.model.{module}.lora_{k}.weight"].double() for k in "AB")
        scale = alpha / (math.sqrt(rank) if rooted else rank)
        true = base[f"{module}.weight"].bfloat16().double() @ x + scale * (b @ (a @ x))
        found_here = found[f"{module}.weight"].double() @ x
        torch.testing.assert_close(found_here, true, atol=1e-5, rtol=1e-5)
    assert torch.equal(found["lm_head.weight"], added["base_model.model.lm_head.weight"])
    same = "model.layers.0.mlp.down_proj.weight"
    assert torch.equal(found[same], base[same].bfloat16())


def test_dora_turned_matrices_and_embeddings() -> None:
    base = {"h.0.c_attn.weight": torch.randn(4, 6), "wte.weight": torch.randn(9, 4)}
    a, b, length = torch.randn(2, 4), torch.randn(6, 2), torch.rand(6) + 1
    turned = "base_model.model.transformer.h.0.c_attn"
    added = {
        f"{turned}.lora_A.weight": a, f"{turned}.lora_B.weight": b,
        f"{turned}.lora_magnitude_vector": length,
        "base_model.model.transformer.wte.lora_embedding_A": torch.randn(2, 9),
        "base_model.model.transformer.wte.lora_embedding_B": torch.randn(4, 2),
    }  # fmt: skip
    adapter = read_adapter({"peft_type": "LORA", "lora_alpha": 3, "fan_in_fan_out": True})
    found = merged(adapter, added, base)
    for j in range(6):  # an output of Conv1D is a column
        column = base["h.0.c_attn.weight"][:, j] + 1.5 * (b[j] @ a)
        true = length[j] * column / column.norm()
        torch.testing.assert_close(found["h.0.c_attn.weight"][:, j], true)
    down, up = (added[f"base_model.model.transformer.wte.lora_embedding_{k}"] for k in "AB")
    for token in range(9):
        true = base["wte.weight"][token] + 1.5 * (up @ down[:, token])
        torch.testing.assert_close(found["wte.weight"][token], true)


@pytest.mark.parametrize(
    ("added", "config", "message"),
    [
        (pair(Q, 12, 12), {"peft_type": "IA3"}, "'peft_type': 'IA3' is not read"),
        (pair(Q, 12, 12), {"lora_bias": True}, "'lora_bias' is not read"),
        (pair(Q, 12, 12), {"init_lora_weights": "pissa_niter_4"}, "changed the base's weights too"),
        (pair(Q, 12, 12), {"lora_alpha": "many"}, "'lora_alpha': expected a number"),
        (pair(Q, 12, 12), {"alpha_pattern": {"(a+)+b": 1}}, "expression .* is not read"),
        (pair(Q, 12, 14), {}, "makes .12, 14., the base has .12, 12.: it is not of this base"),
        (pair("model.layers.7.mlp.up_proj", 20, 12), {}, "the base has no tensor 'model.layers.7"),
        (pair("model.embed_tokens", 20, 12), {}, "shares between embedding and head"),
        ({f"base_model.model.{Q}.lora_A.weight": torch.ones(3, 12)}, {}, "one of its two matrices"),
    ],
)
def test_an_adapter_that_cannot_be_added_is_told(
    tmp_path: Path, added: dict[str, Tensor], config: dict[str, Any], message: str
) -> None:
    source = adapter_of(tmp_path / "a", added, **config)
    base = folder_of(tmp_path / "base", llama(tied=True), tie_word_embeddings=True)
    with pytest.raises(LoopscopeError, match=message):
        convert(Source(source, base=base), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_way_from_an_adapter_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = adapter_of(tmp_path / "a", pair(Q, 12, 12), base_model_name_or_path="org/base")
    assert main(["inspect", str(source)]) == 2
    assert f"`loopscope convert {source} --base FOLDER -o NEW`" in capsys.readouterr().err
    assert main(["convert", str(source), "-o", str(tmp_path / "new")]) == 2
    assert "(org/base) with --base FOLDER" in capsys.readouterr().err
    plain = folder_of(tmp_path / "plain", llama())
    torch.save(load_file(source / "adapter_model.safetensors"), source / "adapter_model.bin")
    (source / "adapter_model.safetensors").unlink()
    command = ["convert", str(source), "--base", str(plain), "-o", str(tmp_path / "new")]
    assert main(command) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["m.gguf", "--config", "c.json"], "--config is not for a GGUF file"),
        (["m.gguf", "--map", "m.toml"], "--map is for a file of weights"),
        (["m.pt", "--base", "b"], "--base is for a folder with an adapter"),
    ],
)
def test_what_says_nothing_of_a_source_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("m.gguf", "m.pt"):
        (tmp_path / name).touch()
    assert main(["convert", *arguments, "-o", "new"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
