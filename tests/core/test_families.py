"""Every family against its published implementation: states, attention and logits within 1e-4."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import write_checkpoint
from conformance.comparing import assert_same
from conformance.published import rewrite, save
from models import tiny_architecture

from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.checkpoint.loading import load, relooped
from loopscope.core.errors import CheckpointError, LoopscopeError
from loopscope.core.model.graph import totals, unrolled_graph
from loopscope.core.model.loop_span import with_loop
from loopscope.core.run.recording import iteration
from loopscope.core.run.stepper import Stepper
from loopscope.core.run.trace import trace
from loopscope.core.selection import Selection
from loopscope.core.views.state_space import compute as state_space

REFERENCE = Path(__file__).parents[1] / "data" / "reference"
IDS = (5, 17, 3, 3, 60, 41, 8, 17, 2)
SMALL = {"vocab_size": 96, "max_position_embeddings": 64, "initializer_range": 0.2,
         "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}  # fmt: skip
LLAMA = SMALL | {"hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 80,
                 "num_hidden_layers": 3}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "huginn-tiny",
        "retrofit-llama-tiny",
        "retrofit-olmo-tiny",
        "ouro-tiny",
        "nanbeige",
        "nanbeige-raw",
        "base_loop",
        "nanoloop",
        "nanochat_recursive",
        "looped_nanochat",
        "lds",
        "parcae",
        "loopformer",
    ],
)
def test_looped_families_equal_the_recorded_reference(name: str) -> None:
    truth = np.load(REFERENCE / name / "expected.npz")
    loaded = load(str(REFERENCE / name), "cpu")
    ids = tuple(int(i) for i in truth["input_ids"][0])
    start = truth.get("initial_state", None)
    arrays = trace(
        loaded, loaded.tokenizer.from_ids(ids), len(truth["logits"]), initial_state=start
    )
    for key in ("layer_states", "attention", "logits"):
        np.testing.assert_allclose(arrays[key], truth[key], atol=1e-4, err_msg=key)
    assert loaded.architecture.n_parameters == sum(
        p.numel() for p in {id(p): p for p in loaded.model.parameters()}.values()
    )


def test_ouro_feeds_back_the_normed_state_and_has_its_gate() -> None:
    truth = np.load(REFERENCE / "ouro-tiny" / "expected.npz")
    loaded = load(str(REFERENCE / "ouro-tiny"), "cpu")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.from_ids(tuple(truth["input_ids"][0].tolist())))
    for _ in range(4):
        stepper.step()
    np.testing.assert_allclose(recording.states[1:], truth["iteration_states"], atol=1e-4)
    with torch.inference_mode():
        gate = loaded.model.exit_gate(torch.from_numpy(recording.states[1:].copy()))[..., 0]
    np.testing.assert_allclose(gate.numpy(), truth["exit_gate_logits"], atol=1e-4)


def test_loopus_closes_each_loop_by_its_gate_and_scores_the_change() -> None:
    truth = np.load(REFERENCE / "lds" / "expected.npz")
    loaded = load(str(REFERENCE / "lds"), "cpu")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.from_ids(tuple(truth["input_ids"][0].tolist())))
    for _ in range(len(truth["logits"])):
        stepper.step()
    np.testing.assert_allclose(recording.states[0], truth["prelude_out"], atol=1e-4)
    np.testing.assert_allclose(recording.states[1:], truth["iteration_states"], atol=1e-4)
    score = 1 / (1 + np.exp(-truth["exit_gate_logits"][:, 0].astype(float)))
    np.testing.assert_allclose(recording.hazards[:, -1], score, atol=1e-5)


def test_trms_two_states_and_its_halting_score_equal_the_recorded_reference() -> None:
    truth = np.load(REFERENCE / "trm" / "expected.npz")
    loaded = load(str(REFERENCE / "trm"), "cpu")
    stepper, cycles = Stepper(loaded), 2  # H cycles in one published step
    puzzle, n = int(truth["puzzle_identifiers"][0]), loaded.architecture.vocab_size
    ids = tuple(truth["input_ids"][0].tolist())
    assert loaded.tokenizer.from_ids(ids).token_ids == (n, n + 1, *ids)  # none is said: puzzle 0
    prompt = loaded.tokenizer.from_ids((n + 2 * puzzle, n + 2 * puzzle + 1, *ids))
    assert prompt.labels[:3] == (f"puzzle {puzzle}·0", f"puzzle {puzzle}·1", str(ids[0]))
    recording = stepper.begin(prompt)
    np.testing.assert_allclose(stepper.injected[0].numpy(), truth["input_embeddings"], atol=1e-4)
    for _ in range(len(truth["layer_states"])):
        stepper.step()
    states = recording.layer_states
    np.testing.assert_allclose(states, truth["layer_states"], atol=1e-4)
    np.testing.assert_allclose(recording.patterns, truth["attention"], atol=1e-4)
    ends = slice(cycles, None, cycles)
    np.testing.assert_allclose(recording.states[ends], truth["iteration_states"], atol=1e-4)
    fast = states[cycles - 1 :: cycles, -loaded.architecture.n_stack - 1]
    np.testing.assert_allclose(fast, truth["fast_states"], atol=1e-4)
    halt = 1 / (1 + np.exp(-truth["q_logits"][:, 0].astype(float)))
    hazards = recording.hazards[cycles - 1 :: cycles]
    np.testing.assert_allclose(hazards, np.repeat(halt[:, None], hazards.shape[1], 1), atol=1e-5)
    arrays = trace(loaded, prompt, 4)
    np.testing.assert_allclose(arrays["logits"][cycles - 1 :: cycles], truth["logits"], atol=1e-4)
    np.testing.assert_array_equal(arrays["input_ids"], truth["input_ids"])


CASES = {
    "llama": ("Llama", LLAMA | {"num_key_value_heads": 2}),
    "llama tied, head_dim, biases": (
        "Llama",
        LLAMA | {"tie_word_embeddings": True, "head_dim": 16, "attention_bias": True,
                 "mlp_bias": True},
    ),
    "llama rope llama3": ("Llama", LLAMA | {"rope_parameters": LLAMA3 | {"rope_theta": 5e5}}),
    "llama rope linear": (
        "Llama",
        LLAMA | {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}},
    ),
    "mistral": ("Mistral", LLAMA | {"num_key_value_heads": 2, "sliding_window": None}),
    "qwen2": ("Qwen2", LLAMA | {"num_key_value_heads": 4}),
    "qwen3": ("Qwen3", LLAMA | {"num_key_value_heads": 2, "head_dim": 24}),
    "olmo2": ("Olmo2", LLAMA | {"num_key_value_heads": 2}),
    "gpt2": (
        "GPT2",
        {"vocab_size": 96, "n_positions": 64, "n_embd": 48, "n_head": 4, "n_layer": 3,
         "initializer_range": 0.2, "bos_token_id": None, "eos_token_id": None},
    ),
    "gpt-neox": ("GPTNeoX", LLAMA | {"rotary_pct": 0.5}),
    "gpt-neox sequential": ("GPTNeoX", LLAMA | {"use_parallel_residual": False, "rotary_pct": 1.0}),
    "gpt-neox no attention bias": ("GPTNeoX", LLAMA | {"attention_bias": False, "rotary_pct": 0.5}),
}  # fmt: skip


def published(name: str, config: dict[str, object], folder: Path, **save: object):
    """A random model of `transformers`, saved; and what it computes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        torch.manual_seed(0)
        made = getattr(transformers, f"{name}Config")(**config)
        model = getattr(transformers, f"{name}{'LMHeadModel' if name == 'GPT2' else 'ForCausalLM'}")
        model = model._from_config(made, attn_implementation="eager").float().eval()
        for p in model.parameters():  # biases and norms that do something
            if p.ndim == 1:
                p.data += 0.1 * torch.randn_like(p)
        states: list[torch.Tensor] = []
        body = model.transformer.h if name == "GPT2" else None
        layers = body or getattr(model, "gpt_neox", None) or model.model
        layers = layers if body else layers.layers

        def keep(module: object, inputs: object, output: object) -> None:
            states.append(output[0] if isinstance(output, tuple) else output)

        for layer in layers:
            layer.register_forward_hook(keep)
        with torch.no_grad():
            out = model(torch.tensor([IDS]), output_attentions=True, use_cache=False)
        model.save_pretrained(folder, **save)
    return (
        np.stack([s[0].numpy() for s in states]),
        np.stack([a[0].numpy() for a in out.attentions]),
        out.logits[0].numpy(),
    )


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_deep_decoders_equal_transformers(case: str, tmp_path: Path) -> None:
    name, config = CASES[case]
    states, attention, logits = published(name, config, tmp_path)
    loaded = load(str(tmp_path), "cpu")
    arrays = trace(loaded, loaded.tokenizer.from_ids(IDS), 1)
    np.testing.assert_allclose(arrays["layer_states"][0], states, atol=1e-4)
    np.testing.assert_allclose(arrays["attention"][0], attention, atol=1e-4)
    np.testing.assert_allclose(arrays["logits"][0], logits, atol=1e-4)
    assert loaded.architecture.trained_recurrences == 1


HRM = SMALL | {"hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 80, "head_dim": 16}
HRM_CASES = {
    "hrm": HRM | {"num_hidden_layers": 2, "H_cycles": 2, "L_cycles": 3},
    "hrm tied, biases, scale": HRM | {
        "num_hidden_layers": 1, "H_cycles": 3, "L_cycles": 1, "tie_word_embeddings": True,
        "attention_bias": True, "mlp_bias": True, "embedding_scale": 2.5},
    "hrm deep inner": HRM | {"num_hidden_layers": 3, "H_cycles": 1, "L_cycles": 2},
}  # fmt: skip


@pytest.mark.parametrize("case", HRM_CASES)
def test_hrm_text_equals_transformers_in_every_inner_and_outer_cycle(
    case: str, tmp_path: Path
) -> None:
    config = HRM_CASES[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        torch.manual_seed(0)
        made = transformers.HrmTextConfig(**config)
        model = transformers.HrmTextForCausalLM._from_config(made, attn_implementation="eager")
        model = model.float().eval()
        model.model.z_L_init.data.normal_()
        for p in model.parameters():
            if p.ndim == 1:
                p.data += 0.1 * torch.randn_like(p)
        states: list[torch.Tensor] = []
        slow: list[torch.Tensor] = []
        for stack in (model.model.L_module, model.model.H_module):
            for layer in stack.layers:
                layer.register_forward_hook(lambda m, i, o: states.append(o))
        model.model.H_module.register_forward_hook(lambda m, i, o: slow.append(o))
        with torch.no_grad():
            out = model(torch.tensor([IDS]), output_attentions=True, use_cache=False)
            logits = torch.stack([model.lm_head(z)[0] for z in slow]).numpy()
        model.save_pretrained(tmp_path)
    loaded = load(str(tmp_path), "cpu")
    arch = loaded.architecture
    n, inner, outer = config["num_hidden_layers"], config["L_cycles"], config["H_cycles"]
    assert (arch.trained_recurrences, arch.n_block) == (outer, (inner + 1) * n)
    assert arch.unique_depth == 2 * n
    arrays = trace(loaded, loaded.tokenizer.from_ids(IDS), outer)
    shape = (outer, arch.n_block, len(IDS), 48)
    truth = torch.stack(states).numpy().reshape(shape)
    np.testing.assert_allclose(arrays["layer_states"], truth, atol=1e-4)
    attention = torch.stack(out.attentions).numpy().reshape(*shape[:2], 4, len(IDS), len(IDS))
    np.testing.assert_allclose(arrays["attention"], attention, atol=1e-4)
    np.testing.assert_allclose(arrays["logits"], logits, atol=1e-4)
    np.testing.assert_allclose(arrays["logits"][-1], out.logits[0].numpy(), atol=1e-4)
    assert arch.n_parameters == sum(p.numel() for p in model.parameters())


def test_layers_of_a_nested_loop_say_which_cycle_they_are_in() -> None:
    arch = replace(tiny_architecture(), inner_cycles=2, n_block=6, injection="none")
    assert [arch.layer_mark(i) for i in range(6)] == ["L1.0", "L1.1", "L2.0", "L2.1", "H.0", "H.1"]
    assert arch.layer_name(3) == "L cycle 2, layer 1"
    assert arch.layer_name(4) == "H, layer 0"
    assert [arch.weights_of_layer(i) for i in range(6)] == [0, 1, 0, 1, 2, 3]


ALBERT = SMALL | {"embedding_size": 24, "hidden_size": 48, "num_attention_heads": 4,
                  "intermediate_size": 80, "num_hidden_layers": 5,
                  "classifier_dropout_prob": 0.0}  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"inner_group_num": 2, "hidden_act": "gelu"}])
@pytest.mark.parametrize("head", ["AlbertForMaskedLM", "AlbertForPreTraining"])
def test_albert_equals_transformers(changes: dict, head: str, tmp_path: Path) -> None:
    config = ALBERT | changes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        torch.manual_seed(0)
        made = transformers.AlbertConfig(**config)
        model = getattr(transformers, head)._from_config(made, attn_implementation="eager")
        model = model.float().eval()
        for p in model.parameters():
            if p.ndim == 1:
                p.data += 0.1 * torch.randn_like(p)
        with torch.no_grad():
            out = model(torch.tensor([IDS]), output_hidden_states=True, output_attentions=True)
            n = config.get("inner_group_num", 1)
            ends = out.hidden_states[1:][n - 1 :: n]
            logits = torch.stack([model.predictions(s)[0] for s in ends]).numpy()
        model.save_pretrained(tmp_path)
    loaded = load(str(tmp_path), "cpu")
    assert loaded.architecture.masked
    arrays = trace(loaded, loaded.tokenizer.from_ids(IDS), 5)
    shape = (5, n, len(IDS), 48)
    np.testing.assert_allclose(
        arrays["layer_states"], torch.stack(out.hidden_states[1:]).numpy().reshape(shape), atol=1e-4
    )
    attention = torch.stack(out.attentions).numpy().reshape(5, n, 4, len(IDS), len(IDS))
    np.testing.assert_allclose(arrays["attention"], attention, atol=1e-4)
    np.testing.assert_allclose(arrays["logits"], logits, atol=1e-4)
    used = [
        p for name, p in model.named_parameters() if not name.startswith(("sop", "albert.pool"))
    ]
    assert loaded.architecture.n_parameters == sum(p.numel() for p in used)


@pytest.mark.parametrize(
    ("layers", "groups", "inner"), [(4, 2, 1), (5, 3, 2), (3, 3, 1), (6, 4, 1)]
)
def test_alberts_groups_are_layers_that_share_weights(
    layers: int, groups: int, inner: int, tmp_path: Path
) -> None:
    sizes = {"num_hidden_layers": layers, "num_hidden_groups": groups, "inner_group_num": inner}
    save(ALBERT | sizes | {"model_type": "albert"}, tmp_path)
    arch = assert_same(tmp_path, IDS).architecture
    assert (arch.n_block, arch.trained_recurrences) == (layers * inner, 1)
    assert arch.unique_depth == groups * inner
    assert arch.layer_names == tuple(f"layer {i}" for i in range(layers * inner))
    assert totals(unrolled_graph(arch, 1)).effective_depth == layers * inner
    assert totals(unrolled_graph(arch, 1)).parameters == arch.n_parameters
    assert totals(unrolled_graph(arch, 1)).deep_parameters == arch.effective_parameters(1)
    rewrite(tmp_path, ALBERT | sizes | {"model_type": "albert", "num_hidden_groups": 7})
    with pytest.raises(CheckpointError, match=f"7 groups, but only {layers} of them would run"):
        open_checkpoint(str(tmp_path))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_files_and_shards_are_read(dtype: str, tmp_path: Path) -> None:
    published("Llama", LLAMA, tmp_path / "whole")
    whole = load(str(tmp_path / "whole"), "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        model = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "whole")
        model.to(getattr(torch, dtype)).save_pretrained(tmp_path / "s", max_shard_size="60KB")
    assert len(list((tmp_path / "s").glob("*.safetensors"))) > 2
    loaded = load(str(tmp_path / "s"), "cpu")
    for key, value in whole.model.state_dict().items():
        rounded = value.to(getattr(torch, dtype)).float()
        assert torch.equal(loaded.model.state_dict()[key], rounded), key


def test_both_generations_of_rope_config_read_alike(tmp_path: Path) -> None:
    published("Llama", LLAMA | {"rope_parameters": LLAMA3 | {"rope_theta": 5e5}}, tmp_path)
    new = open_checkpoint(str(tmp_path)).architecture
    config = json.loads((tmp_path / "config.json").read_text())
    del config["rope_parameters"]
    old = config | {"rope_theta": 5e5, "rope_scaling": LLAMA3}
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert open_checkpoint(str(tmp_path)).architecture == new
    old["rope_scaling"] = {"rope_type": "su", "factor": 2.0}
    (tmp_path / "config.json").write_text(json.dumps(old))
    with pytest.raises(CheckpointError, match="type 'su' is not one of default, linear"):
        open_checkpoint(str(tmp_path))


@pytest.mark.parametrize("mode", ["random", "embed-init", "skip-adapter"])
def test_retrofit_initial_states(mode: str, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    source = REFERENCE / "retrofit-llama-tiny"
    config = json.loads((source / "config.json").read_text()) | {"initial_state_mode": mode}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes())
    truth = np.load(source / "expected.npz")
    loaded = load(str(folder), "cpu")
    stepper = Stepper(loaded)
    ids = tuple(truth["input_ids"][0].tolist())
    recording = stepper.begin(loaded.tokenizer.from_ids(ids), seed=1)
    e = truth["prelude_out"]
    if mode == "random":
        std = np.sqrt(2 / (5 * 48))
        assert np.abs(recording.states[0]).max() <= 3 * std + 1e-6
        assert 0.8 * std < recording.states[0].std() < 1.1 * std
        return
    np.testing.assert_allclose(recording.states[0], e, atol=1e-4)
    first = iteration(recording, stepper.step()).layers[0]
    adapter = loaded.model.adapter.weight.numpy()
    entered = e if mode == "skip-adapter" else np.concatenate([e, e], -1) @ adapter.T
    with torch.inference_mode():
        x = torch.from_numpy(entered.astype(np.float32))[None]
        by_hand = loaded.model.run_layer(x, 0).state[0].numpy()
    np.testing.assert_allclose(first, by_hand, atol=1e-4)


def test_a_span_of_a_deep_model_is_looped_in_damped_steps(tmp_path: Path) -> None:
    states, _, logits = published("Llama", LLAMA | {"num_hidden_layers": 5}, tmp_path)
    loaded = load(str(tmp_path), "cpu", loop=(1, 4, 1.0))
    arrays = trace(loaded, loaded.tokenizer.from_ids(IDS), 1)
    np.testing.assert_allclose(arrays["layer_states"][0], states[1:4], atol=1e-4)
    np.testing.assert_allclose(arrays["logits"][0], logits, atol=1e-4)  # once is the model itself
    damped = load(str(tmp_path), "cpu", loop=(1, 4, 0.25))
    stepper = Stepper(damped)
    recording = stepper.begin(damped.tokenizer.from_ids(IDS))
    stepper.step()
    stepper.step()
    for r in (1, 2):
        before, block = recording.states[r - 1], recording.layer_states[r - 1, -1]
        np.testing.assert_allclose(recording.states[r], before + 0.25 * (block - before), atol=1e-5)
    arch = open_checkpoint(str(tmp_path)).architecture
    for span, message in (((3, 3), "cannot loop layers 3:3"), ((0, 9), "the model has 0:5")):
        with pytest.raises(LoopscopeError, match=message):
            with_loop(arch, *span, 1.0)
    with pytest.raises(LoopscopeError, match="damping 2 is not above 0"):
        with_loop(arch, 0, 2, 2.0)
    with pytest.raises(LoopscopeError, match="only the layers of a deep model"):
        load(str(REFERENCE / "huginn-tiny"), "cpu", loop=(0, 1, 1.0))


@pytest.mark.parametrize("span", [(3, 5), (0, 14), (1, 13), (0, 1), (13, 14)])
def test_any_span_of_a_native_deep_model_can_be_looped(span: tuple[int, int]) -> None:
    deep = load("bundled:deep", "cpu")
    prompt = deep.tokenizer.from_ids(range(1, 13))
    logits = trace(deep, prompt, 1)["logits"]
    for looped in (load("bundled:deep", "cpu", loop=(*span, 1.0)), relooped(deep, (*span, 1.0))):
        arch = looped.architecture
        assert (arch.n_prelude, arch.n_prelude + arch.n_block) == span
        np.testing.assert_allclose(trace(looped, prompt, 1)["logits"], logits, atol=1e-5)
        # Back to the layers as they were read, through the names of the span.
        again = relooped(looped, (1, 13, 1.0))
        np.testing.assert_allclose(trace(again, prompt, 1)["logits"], logits, atol=1e-5)


def test_a_looped_span_is_a_loop_whatever_its_damping() -> None:
    arch = open_checkpoint("bundled:deep").architecture
    assert arch.deep
    assert arch.runs_once
    for span in ((3, 5, 1.0), (3, 5, 0.5), (1, 13, 1.0), (0, 14, 0.5)):
        looped = with_loop(arch, *span)
        assert looped.deep
        assert not looped.runs_once
    assert with_loop(with_loop(arch, 3, 5, 0.5), 0, 14, 1.0).runs_once  # the deep model again


def test_looping_another_span_of_what_is_loaded_equals_loading_it_so(tmp_path: Path) -> None:
    published("Llama", LLAMA | {"num_hidden_layers": 5}, tmp_path)
    loaded = load(str(tmp_path), "cpu")
    memory = {p.data_ptr() for p in loaded.model.parameters()}
    for span in ((1, 4, 0.5), (0, 2, 1.0), (3, 5, 0.25), (0, 5, 1.0)):
        loaded = relooped(loaded, span)
        fresh = load(str(tmp_path), "cpu", loop=span)
        assert loaded.checkpoint.name == fresh.checkpoint.name
        assert loaded.architecture == fresh.architecture
        ours, theirs = (trace(x, x.tokenizer.from_ids(IDS), 3) for x in (loaded, fresh))
        for key, value in ours.items():
            np.testing.assert_array_equal(value, theirs[key], err_msg=key)
        assert {p.data_ptr() for p in loaded.model.parameters()} == memory  # nothing was copied
    assert loaded.checkpoint.name == tmp_path.name


def test_albert_has_no_readout_directions_and_says_why(tmp_path: Path) -> None:
    loaded = load(str(write_checkpoint(tmp_path / "m", "albert")), "cpu")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.from_ids(IDS))
    stepper.step()
    with pytest.raises(LoopscopeError, match="not linear in the state"):
        stepper.readout_direction(3)
    data = state_space.compute(recording, Selection(), state_space.Options(axes="readout"))
    assert "not linear in the state" in data.statement
