"""Folders that are wrong, each told in one line that names the file and the key or tensor."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzzing import EXAMPLES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import tiny_architecture, tiny_checkpoint

from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.checkpoint.hashing import weights_hash
from loopscope.core.checkpoint.headers import read_header
from loopscope.core.checkpoint.loading import load
from loopscope.core.checkpoint.places import bundled_names
from loopscope.core.errors import CheckpointError
from loopscope.core.labels import count, size
from loopscope.core.run.card import card, card_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_checkpoint(tmp_path / "m")


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        if value is None:
            del config[key]
        else:
            config[key] = value
    (folder / "config.json").write_text(json.dumps(config))


def edit_header(folder: Path, change: Callable[[dict[str, dict[str, object]]], None]) -> None:
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    (n,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + n])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + n :])


def test_a_good_folder_is_read_from_headers(folder: Path) -> None:
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.architecture == tiny_architecture()
    assert checkpoint.family.name == "native"
    assert checkpoint.recognised_by == "model_type loopscope_looped"
    values = card(checkpoint)
    assert values["parameters"] == values["parameters_stored"]
    assert "unique 4, effective 14" in card_text(values)


def test_the_hash_is_that_of_the_weights(folder: Path) -> None:
    import hashlib

    truth = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert weights_hash(open_checkpoint(str(folder))) == truth


def test_the_bundled_model_is_there_and_small() -> None:
    assert "looped" in bundled_names()
    checkpoint = open_checkpoint("bundled:looped")
    assert sum(f.stat().st_size for f in checkpoint.path.iterdir()) < 4 << 20
    with pytest.raises(CheckpointError, match="no bundled checkpoint 'x'; there is bundled:"):
        open_checkpoint("bundled:x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": None}, "key 'hidden_size': is missing"),
        ({"hidden_size": -16}, "key 'hidden_size': -16 is not between"),
        ({"hidden_size": "16"}, "expected a whole number"),
        ({"num_attention_heads": 3}, "16 is not divisible by 3 heads"),
        ({"n_layers_in_recurrent_block": 10**9}, "not between 1 and"),
        ({"n_layers_in_recurrent_block": 10**6}, "says 1000002 layers"),
        ({"rope_theta": float("nan")}, "finite number above 0"),
        ({"rope_theta": 10**400}, "finite number above 0"),
        ({"injection": "magic"}, "expected one of"),
        ({"model_type": "gpt9"}, "model_type 'gpt9' is not supported; supported: Loopscope"),
        ({"intermediate_size": 65}, "has shape .* config.json asks for"),
        ({"injection": "add"}, "'adapter.weight' is not one this family has"),
        ({"n_layers_in_coda": 2}, "tensor 'coda_layers.1.* is missing"),
    ],
)
def test_a_bad_config_names_the_key(folder: Path, change: dict[str, object], message: str) -> None:
    edit_config(folder, **change)
    with pytest.raises(CheckpointError, match=message) as error:
        open_checkpoint(str(folder))
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


def test_a_folder_that_is_none(tmp_path: Path, folder: Path) -> None:
    for path, message in (
        (tmp_path / "no", "does not exist"),
        (folder / "config.json", "is a file, not a folder"),
        (tmp_path, "not a checkpoint folder: config.json is missing"),
    ):
        with pytest.raises(CheckpointError, match=message):
            open_checkpoint(str(path))
    (folder / "config.json").write_text("[1, 2")
    with pytest.raises(CheckpointError, match="cannot be read as JSON"):
        open_checkpoint(str(folder))
    (folder / "model.safetensors").unlink()
    (folder / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="neither model.safetensors nor"):
        open_checkpoint(str(folder))


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def lengthen(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"\0" * 100)


def ten_gigabyte_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 10 << 30) + path.read_bytes()[8:])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "outside the file; cut short|bytes, but its tensors end"),
        (lengthen, "bytes, but its tensors end at"),
        (ten_gigabyte_header, "header claims 10737418240 bytes"),
        (
            lambda f: edit_header(f, lambda h: h["embed.weight"].update(shape=[4, 4])),
            "'embed.weight': shape .* does not take",
        ),
        (
            lambda f: edit_header(f, lambda h: h["embed.weight"].update(dtype="F99")),
            "'embed.weight': dtype 'F99' is not supported",
        ),
        (
            lambda f: edit_header(f, lambda h: h["embed.weight"].update(data_offsets=[0, 1 << 61])),
            "'embed.weight': its bytes lie outside",
        ),
        (lambda f: edit_header(f, lambda h: h.pop("embed.weight")), "overlap or leave a gap"),
        (lambda f: (f / "model.safetensors").write_bytes(b"abc"), "cut short"),
    ],
)
def test_damaged_weights_name_the_file_and_the_tensor(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=message) as error:
        open_checkpoint(str(folder))
    assert "model.safetensors" in str(error.value)


def test_nan_weights_name_the_tensor(folder: Path) -> None:
    path = folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-4:] = np.array([np.nan], "<f4").tobytes()
    path.write_bytes(bytes(raw))
    with pytest.raises(CheckpointError, match="tensor '.*' holds NaN or infinite"):
        load(str(folder), "cpu")


def shard(folder: Path, weight_map: dict[str, object]) -> None:
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))


def test_shards_are_read_and_their_names_may_not_leave_the_folder(
    folder: Path, tmp_path: Path
) -> None:
    names = list(open_checkpoint(str(folder)).tensors)
    whole = load(str(folder), "cpu").model.state_dict()
    shard(folder, dict.fromkeys(names, "a.safetensors"))
    sharded = load(str(folder), "cpu").model.state_dict()
    assert all((sharded[k] == v).all() for k, v in whole.items())
    index = folder / "model.safetensors.index.json"
    (tmp_path / "out.safetensors").write_bytes((folder / "a.safetensors").read_bytes())
    (folder / "nowhere.safetensors").symlink_to("nowhere")
    for file, message in (
        ("../out.safetensors", "outside the folder"),
        ("a/../../out.safetensors", "outside the folder"),
        ("..\\out.safetensors", "outside the folder"),
        ("C:out.safetensors", "outside the folder"),
        (str(tmp_path / "out.safetensors"), "outside the folder"),
        ("/etc/passwd", "outside the folder"),
        ("", "outside the folder"),
        ("b.safetensors", "shard 'b.safetensors' is missing"),
        ("nowhere.safetensors", "shard 'nowhere.safetensors' is missing"),
        ("x" * 5000, "shard 'x{80}': File name too long"),
        (7, "is not text"),
    ):
        index.write_text(json.dumps({"weight_map": dict.fromkeys(names, file)}))
        with pytest.raises(CheckpointError, match=message):
            open_checkpoint(str(folder))


def test_shards_may_be_linked_by_hand(folder: Path, tmp_path: Path) -> None:
    names = list(open_checkpoint(str(folder)).tensors)
    shard(folder, dict.fromkeys(names, "link.safetensors"))
    (folder / "a.safetensors").rename(tmp_path / "elsewhere")
    (folder / "link.safetensors").symlink_to(tmp_path / "elsewhere")
    assert list(open_checkpoint(str(folder)).tensors) == names


@pytest.fixture
def cache(folder: Path, tmp_path: Path) -> Path:
    """The folder as the Hugging Face cache keeps it: files are links into blobs/."""
    names = list(open_checkpoint(str(folder)).tensors)
    shard(folder, dict.fromkeys(names, "a.safetensors"))
    cache = tmp_path / "models--org--tiny--b"
    snapshot = cache / "snapshots" / "0123abcd"
    for made in (cache / "blobs", cache / "refs", snapshot):
        made.mkdir(parents=True)
    (cache / "refs" / "main").write_text("0123abcd")
    for file in folder.iterdir():
        file.rename(cache / "blobs" / f"sha-of-{file.name}")
        (snapshot / file.name).symlink_to(f"../../blobs/sha-of-{file.name}")
    return cache


def test_a_model_in_the_hugging_face_cache_goes_by_its_own_name(
    cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").symlink_to(cache)
    for path in (cache, cache / "snapshots" / "0123abcd", tmp_path / "mine"):
        checkpoint = open_checkpoint(str(path))
        assert checkpoint.name == "tiny--b"
        assert checkpoint.path.name == "0123abcd"
    other = cache / "snapshots" / "9999"
    other.mkdir()
    assert open_checkpoint(str(cache)).path.name == "0123abcd"
    (cache / "refs" / "main").unlink()
    with pytest.raises(CheckpointError, match="several snapshots .* such as snapshots/0123abcd"):
        open_checkpoint(str(cache))
    other.rmdir()
    assert open_checkpoint(str(cache)).path.name == "0123abcd"
    (cache / "refs" / "main").write_text("../../elsewhere")
    assert open_checkpoint(str(cache)).path.name == "0123abcd"


@pytest.mark.slow
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_any_bytes_end_in_an_error_or_a_header(tmp_path: Path, data: st.DataObject) -> None:
    entry = st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.sampled_from(["F32", "BF16", "X", 3, None]),
            "shape": st.lists(st.integers(-2, 9), max_size=3) | st.integers() | st.none(),
            "data_offsets": st.lists(st.integers(-1, 1 << 63), max_size=3) | st.text(max_size=3),
        },
    )
    header = data.draw(
        st.binary(max_size=60)
        | st.dictionaries(st.text(max_size=4), entry | st.none(), max_size=4).map(
            lambda d: json.dumps(d).encode()
        )
    )
    length = data.draw(st.just(len(header)) | st.integers(0, 2**64 - 1))
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", length) + header + data.draw(st.binary(max_size=64)))
    try:
        read_header(path)
    except CheckpointError as error:
        assert "\n" not in str(error)


@pytest.mark.slow
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.dictionaries(
        st.sampled_from(
            ["hidden_size", "num_attention_heads", "rope_theta", "injection", "vocab_size",
             "n_layers_in_coda", "closing_norm", "trained_recurrences", "model_type"]
        ),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
        | st.lists(st.integers(), max_size=2),
    )
)  # fmt: skip
def test_any_config_ends_in_an_error_or_an_architecture(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    folder = tmp_path / "m"
    if not folder.exists():
        tiny_checkpoint(folder)
    original = (folder / "config.json").read_text()
    try:
        (folder / "config.json").write_text(json.dumps(json.loads(original) | changes))
        open_checkpoint(str(folder))
    except CheckpointError as error:
        assert "\n" not in str(error)
    finally:
        (folder / "config.json").write_text(original)


def test_counts_and_sizes_have_three_digits() -> None:
    assert [count(n) for n in (7, 999, 210_432, 999_600, 3.5e9)] == [
        "7", "999", "210 k", "1.00 M", "3.50 G",
    ]  # fmt: skip
    assert [size(n) for n in (12, 2048, 841_728, 3 << 30)] == [
        "12 B", "2.00 KiB", "822 KiB", "3.00 GiB",
    ]  # fmt: skip


# ---- what else lies on disks ----
def with_tensor(folder: Path, name: str, dtype: str = "F32") -> None:
    def add(header: dict[str, dict[str, object]]) -> None:
        header[name] = {"dtype": dtype, "shape": [0], "data_offsets": [0, 0]}

    edit_header(folder, add)


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        (
            "l.q_proj.qweight",
            {"quant_method": "gptq", "bits": 4},
            "quantised .gptq; tensor 'l.q_proj",
        ),
        ("l.q_proj.qweight", {"quant_method": "awq"}, "quantised .awq"),
        ("l.q_proj.qweight", None, "quantised .GPTQ or AWQ"),
        ("l.weight.absmax", {"quant_method": "bitsandbytes"}, "quantised .bitsandbytes"),
        ("l.SCB", None, "bitsandbytes, 8 bits"),
        ("l.weight_packed", [3], "compressed-tensors"),
    ],
)
def test_quantised_weights_are_refused_with_the_way_out(
    folder: Path, name: str, config: object, said: str
) -> None:
    with_tensor(folder, name)
    edit_config(folder, quantization_config=config or {})
    with pytest.raises(CheckpointError, match=f"{said}.*dequantise it first"):
        open_checkpoint(str(folder))


def test_weights_that_were_dequantised_open_whatever_the_config_still_says(folder: Path) -> None:
    edit_config(folder, quantization_config={"quant_method": "gptq"})
    assert open_checkpoint(str(folder)).name == "m"


def test_fp8_is_refused_with_the_way_out(folder: Path) -> None:
    with_tensor(folder, "l.weight", "F8_E4M3")
    with pytest.raises(CheckpointError, match="F8_E4M3; .*loopscope convert .* dequantises"):
        open_checkpoint(str(folder))
    with_tensor(folder, "l.weight", "F4")
    with pytest.raises(CheckpointError, match="'F4' is not supported; .* dequantise it first"):
        open_checkpoint(str(folder))


def test_scales_are_refused_with_the_way_out(folder: Path) -> None:
    with_tensor(folder, "l.weight_scale_inv")
    with pytest.raises(CheckpointError, match="FP8; tensor 'l.weight_scale_inv'.*dequantises them"):
        open_checkpoint(str(folder))


def test_adapters_and_other_formats_are_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"an adapter \(LoRA\), .*--base FOLDER"):
        open_checkpoint(str(tmp_path))
    (tmp_path / "adapter_config.json").unlink()
    (tmp_path / "a.gguf").write_text("")
    way_out = r"`loopscope convert .*a.gguf -o FOLDER` makes one"
    for path in (tmp_path, tmp_path / "a.gguf"):
        with pytest.raises(CheckpointError, match=way_out):
            open_checkpoint(str(path))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_text("")
    with pytest.raises(CheckpointError, match="a pickle, .*; `loopscope convert .* -o FOLDER`"):
        open_checkpoint(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html><body>Sign in to continue</body></html>" * 9, "it is a web page"),
        (b"\n <HTML><body>404</body></HTML>", "it is a web page"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_what_lies_there_in_place_of_the_file_is_named(
    folder: Path, name: str, content: bytes, message: str
) -> None:
    """As a clone without Git LFS leaves it, or a download that was refused."""
    (folder / name).write_bytes(content)
    if name == "tokenizer.json":  # token ids can still be given
        problem = load(str(folder), "cpu").tokenizer.problem
        assert name in problem
        assert message in problem
        return
    with pytest.raises(CheckpointError, match=message) as error:
        open_checkpoint(str(folder))
    assert name in str(error.value)
