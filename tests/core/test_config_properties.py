"""Over the space of configs: what is saved is loaded and computes the same; junk is one line.

``LOOPSCOPE_FUZZ=100000`` runs the fuzzers that long.
"""

from __future__ import annotations

import copy
import json
import struct
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import CONFIGS, family_named, write_checkpoint
from fuzzing import EXAMPLES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from work import calls

from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.checkpoint.headers import read_header
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import CheckpointError
from loopscope.core.families.family import Config
from loopscope.core.model.layer_shape import LayerShape
from loopscope.core.run.trace import trace

pytestmark = pytest.mark.slow

FUZZING = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
IDS = (5, 17, 3, 60, 41, 8)
# Calls that opening a folder may take: a small model takes about 2,000. A size that is believed
# before it is checked would take millions.
MOST_CALLS = 50_000

# ---- save, load, compare ----
HEADS = st.sampled_from([(1, 1), (2, 1), (4, 2), (4, 4), (6, 3)])
ROPES = st.sampled_from([
    None,
    {"rope_type": "default", "rope_theta": 5e5},
    {"rope_type": "linear", "factor": 3.0, "rope_theta": 1e4},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
     "original_max_position_embeddings": 32, "rope_theta": 1e4},
])  # fmt: skip
NAMES = ("Llama", "Mistral", "Qwen2", "Qwen3", "Olmo2", "GPT2", "GPTNeoX", "Albert", "HrmText")


@st.composite
def published(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    """A family and a config that its published implementation accepts."""
    name = draw(st.sampled_from(NAMES))
    heads, kv = draw(HEADS)
    d_head = draw(st.sampled_from([4, 8, 10]))
    layers, d_mlp = draw(st.integers(1, 3)), draw(st.integers(3, 40))
    config: dict[str, object] = {
        "vocab_size": 64, "initializer_range": 0.2, "max_position_embeddings": 40,
        "num_attention_heads": heads, "hidden_size": heads * d_head, "intermediate_size": d_mlp,
        "num_hidden_layers": layers, "tie_word_embeddings": draw(st.booleans()),
        "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
    }  # fmt: skip
    if name == "GPT2":
        keys = ("vocab_size", "initializer_range", "tie_word_embeddings")
        config = {k: config[k] for k in (*keys, "bos_token_id", "eos_token_id")}
        config |= {"n_positions": 40, "n_embd": heads * d_head, "n_head": heads,
                   "n_layer": layers, "n_inner": draw(st.none() | st.just(d_mlp)),
                   "activation_function": draw(st.sampled_from(["gelu_new", "gelu", "relu"]))}  # fmt: skip
    elif name == "GPTNeoX":
        config |= {"rotary_pct": draw(st.sampled_from([0.5, 1.0])),
                   "use_parallel_residual": draw(st.booleans()),
                   "attention_bias": draw(st.booleans())}  # fmt: skip
        if d_head == 10:
            config["rotary_pct"] = 1.0
    elif name == "Albert":
        config |= {"embedding_size": draw(st.integers(2, 20)), "tie_word_embeddings": True,
                   "inner_group_num": draw(st.integers(1, 2)), "classifier_dropout_prob": 0.0,
                   "type_vocab_size": draw(st.integers(1, 3))}  # fmt: skip
    elif name == "HrmText":
        config |= {"head_dim": d_head, "H_cycles": draw(st.integers(1, 3)),
                   "L_cycles": draw(st.integers(1, 3)), "attention_bias": draw(st.booleans()),
                   "embedding_scale": draw(st.none() | st.just(3.0))}  # fmt: skip
    else:
        config["num_key_value_heads"] = kv
        rope = draw(ROPES)
        if rope is not None:
            config["rope_parameters"] = rope
        if name in ("Llama", "Qwen3"):
            config |= {"attention_bias": draw(st.booleans()),
                       "head_dim": draw(st.sampled_from([d_head, 6]))}  # fmt: skip
    return name, config


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(published(), st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
def test_what_the_published_implementation_saves_computes_the_same_here(
    case: tuple[str, dict[str, object]], dtype: torch.dtype
) -> None:
    name, config = case
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        import transformers

        torch.manual_seed(0)
        made = getattr(transformers, f"{name}Config")(**copy.deepcopy(config))
        kind = {"GPT2": "LMHeadModel", "Albert": "ForMaskedLM"}.get(name, "ForCausalLM")
        model = getattr(transformers, name + kind)._from_config(made, attn_implementation="eager")
        for p in model.parameters():
            if p.ndim == 1:
                p.data += 0.1 * torch.randn_like(p)
        for p in model.parameters():  # not the rotary table, which is never rounded
            p.data = p.data.to(dtype)
        model.eval().save_pretrained(folder)
        # The file holds rounded weights; both sides compute with them in float32.
        with torch.no_grad():
            truth = model.float()(torch.tensor([IDS]), output_attentions=True)
        loaded = load(folder, "cpu")
        recurrences = loaded.architecture.trained_recurrences
        arrays = trace(loaded, loaded.tokenizer.from_ids(IDS), recurrences)
    scale = max(1.0, float(truth.logits.abs().max()))
    np.testing.assert_allclose(arrays["logits"][-1] / scale, truth.logits[0] / scale, atol=1e-4)
    attention = np.stack([a[0].numpy() for a in truth.attentions])
    ours = arrays["attention"].reshape(-1, *arrays["attention"].shape[2:])
    np.testing.assert_allclose(ours, attention, atol=1e-4)


def in_our_order(whole: torch.Tensor, how: str, layer: LayerShape) -> torch.Tensor:
    """The file's rows and columns where ours are, one at a time."""
    if how == "transpose":
        return whole.T
    if how == "input_first":  # cat[e, s] in the file
        d = whole.shape[1] // 2
        return torch.stack([whole[:, (i + d) % (2 * d)] for i in range(2 * d)], 1)
    if how == "half_turn":
        width, half = layer.d_head, layer.d_head // 2
        turned = (layer.n_heads + layer.n_kv_heads) * width
        rows = [i // width * width + (i % width + half) % width for i in range(turned)]
        return torch.cat([whole[rows], whole[turned:]])
    return whole


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.data())
def test_every_tensor_of_every_family_arrives_where_it_belongs(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(CONFIGS)))
    seed = data.draw(st.integers(0, 1000))
    with tempfile.TemporaryDirectory() as folder:
        path = write_checkpoint(Path(folder) / "m", name, seed=seed)
        loaded = load(str(path), "cpu")
        checkpoint = loaded.checkpoint
        from safetensors import safe_open

        with safe_open(path / "model.safetensors", "pt") as opened:
            for ours, parameter in loaded.model.named_parameters():
                source = checkpoint.sources[ours]
                parts = [opened.get_tensor(n) for n in source.names]
                whole = torch.cat(parts) if len(parts) > 1 else parts[0]
                if source.how == "interleaved":
                    assert torch.equal(whole.flatten().sort()[0], parameter.flatten().sort()[0])
                else:
                    whole = in_our_order(whole, source.how, loaded.architecture.layer)
                    if source.rows is not None:
                        whole = whole[source.rows[0] : source.rows[1]]
                    assert torch.equal(whole, parameter), ours


# ---- junk ----
JUNK = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2) | st.dictionaries(st.text(max_size=3), st.integers(),
                                                            max_size=2)
    | st.sampled_from([0, -1, 1 << 30, 10**12, 1e308, "linear", {"rope_type": "llama3"},
                       {"type": "linear", "factor": 0}, {"rope_type": [], "rope_theta": None}])
)  # fmt: skip
KEYS = sorted({key for config in CONFIGS.values() for key in config} | {
    "rope_scaling", "rope_parameters", "sliding_window", "attention_bias", "mlp_bias", "head_dim",
    "init_values", "initial_state_mode", "embedding_scale", "num_hidden_groups", "hidden_act",
    "partial_rotary_factor", "early_exit_threshold", "tie_embeddings", "injection_type", "bias",
    "rms_norm_eps", "norm_eps", "n_inner", "activation_function", "use_parallel_residual",
})  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {name: write_checkpoint(root / name.replace(" ", "-"), name) for name in CONFIGS}


@FUZZING
@given(
    st.sampled_from(sorted(CONFIGS)),
    st.dictionaries(st.sampled_from(KEYS), JUNK, max_size=4),
    st.sets(st.sampled_from(KEYS), max_size=2),
)
@pytest.mark.timeout(0)
def test_any_config_of_any_family_ends_in_one_line_or_an_architecture(
    folders: dict[str, Path], name: str, changes: dict[str, object], missing: set[str]
) -> None:
    folder = folders[name]
    config = {k: v for k, v in (CONFIGS[name] | changes).items() if k not in missing}
    (folder / "config.json").write_text(json.dumps(config))
    try:
        calls(lambda: open_checkpoint(str(folder)), MOST_CALLS)
    except CheckpointError as error:
        assert "\n" not in str(error)
        assert str(folder) in str(error)


@FUZZING
@given(st.data())
@pytest.mark.timeout(0)
def test_a_header_with_any_bytes_changed_ends_in_one_line_or_a_header(
    folders: dict[str, Path], data: st.DataObject
) -> None:
    raw = (folders["gpt2"] / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    head = bytearray(raw[: 8 + length])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(head) - 1))
        new = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"}", b"[", b"9" * 20])
        )
        head[at : at + data.draw(st.integers(0, 3))] = new
    path = folders["gpt2"].parent / "changed.safetensors"
    path.write_bytes(bytes(head) + raw[8 + length : data.draw(st.integers(8, len(raw)))])
    try:
        read_header(path)
    except CheckpointError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)


def test_absurd_sizes_are_refused_before_they_are_counted_to(tmp_path: Path) -> None:
    cases = (
        ("llama", {"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ("llama", {"num_attention_heads": -4}, "num_attention_heads"),
        ("llama", {"hidden_size": 50, "num_attention_heads": 4}, "hidden_size"),
        ("llama", {"num_hidden_layers": 1000}, "hold only"),
        ("hrm_text", {"L_cycles": 10**6}, "L_cycles"),
        ("albert", {"num_hidden_layers": 0}, "num_hidden_layers"),
    )
    for i, (name, changes, message) in enumerate(cases):
        folder = write_checkpoint(tmp_path / str(i), name)
        (folder / "config.json").write_text(json.dumps(CONFIGS[name] | changes))
        with pytest.raises(CheckpointError, match=message):
            calls(lambda folder=folder: open_checkpoint(str(folder)), MOST_CALLS)


def test_every_family_reads_its_own_small_config() -> None:
    for name, config in CONFIGS.items():
        arch = family_named(name).architecture(Config(config, Path("config.json")))
        assert arch.n_parameters > 1000
