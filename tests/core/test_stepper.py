"""The stepper against a plain forward pass that shares no code with it."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import write_checkpoint
from models import plain_forward, probabilities, tiny_architecture, tiny_checkpoint
from scipy.stats import kstest, truncnorm

from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.states import Noise
from loopscope.core.model.layers import NO_CONTEXT, DecoderLayer, rope_table
from loopscope.core.model.looped_model import LoopedModel
from loopscope.core.run.budget import Budget, NoRoom
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import iteration
from loopscope.core.run.stepper import Stepper

PROMPT = "ab bc ca ? 2 : a b c"
VARIANTS = {
    "bundled shape": {},
    "add": {"injection": "add"},
    "no injection": {"injection": "none", "initial_state": "embedding"},
    "no closing norm": {"closing_norm": False},
    "tied, four layers, no prelude": {"tied_head": False, "n_block": 4, "n_prelude": 0},
    "no coda": {"n_coda": 0},
}


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    return load(str(tiny_checkpoint(tmp_path / "m")), "cpu")


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_state_pattern_write_and_logit_equals_a_plain_forward(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    loaded = load(str(tiny_checkpoint(tmp_path / "m", tiny_architecture(**changes))), "cpu")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode(PROMPT))
    logits = []
    for _ in range(9):  # past the trained six
        stepper.step()
        logits.append(stepper.readout())
    truth = plain_forward(loaded.model, recording.info.token_ids, 9)
    tolerance = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(recording.layer_states, truth["layers"], **tolerance)
    np.testing.assert_allclose(recording.states[1:], truth["states"], **tolerance)
    np.testing.assert_allclose(recording.patterns, truth["patterns"], **tolerance)
    np.testing.assert_allclose(recording.writes, truth["writes"], **tolerance)
    np.testing.assert_allclose(np.stack(logits), truth["logits"], **tolerance)
    coda = recording.answers("coda")
    assert coda is not None
    best = probabilities(truth["logits"])
    np.testing.assert_allclose(coda.probabilities, -np.sort(-best, -1)[..., :5], atol=1e-5)
    assert (coda.ids[..., 0] == best.argmax(-1)).all()


def test_step_sizes_are_those_of_the_states(loaded: Loaded) -> None:
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode(PROMPT))
    for _ in range(3):
        stepper.step()
    state = iteration(recording, 3)
    truth = plain_forward(loaded.model, recording.info.token_ids, 3)["states"]
    step = np.linalg.norm(truth[2] - truth[1], axis=-1)
    np.testing.assert_allclose(state.step_size, step, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(
        state.relative_step, step / np.linalg.norm(truth[2], axis=-1), rtol=1e-3, atol=1e-6
    )


def test_readout_of_an_earlier_recurrence_is_the_same_later(loaded: Loaded) -> None:
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode(PROMPT))
    stepper.step()
    then = stepper.readout(1)
    for _ in range(5):
        stepper.step()
    np.testing.assert_array_equal(stepper.readout(1), then)
    with pytest.raises(LoopscopeError, match="recurrence 7 has not been run"):
        stepper.readout(7)


def test_stepping_by_layer_and_by_recurrence_gives_the_same_run(loaded: Loaded) -> None:
    by_layer, whole = Stepper(loaded), Stepper(loaded)
    prompt = loaded.tokenizer.encode(PROMPT)
    a, b = by_layer.begin(prompt), whole.begin(prompt)
    for _ in range(7):
        by_layer.step_layer()
    assert (a.n_recurrences, a.layers_done) == (3, 7)
    assert a.layer(4, 0).state.shape == (12, 16)
    with pytest.raises(IndexError):
        a.layer(4, 1)
    by_layer.step()  # finishes the recurrence under way, not one more
    for _ in range(4):
        whole.step()
    assert a.n_recurrences == b.n_recurrences == 4
    np.testing.assert_array_equal(a.layer_states, b.layer_states)


def test_nothing_is_computed_twice(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode(PROMPT))
    ran = []
    run_layer = loaded.model.run_layer
    monkeypatch.setattr(loaded.model, "run_layer", lambda *a: (ran.append(a[1]), run_layer(*a))[1])
    for _ in range(40):
        stepper.step()
        stepper.readout()
    assert ran == [0, 1] * 40


def test_a_truncated_start_is_normal_cut_at_three_standard_deviations(tmp_path: Path) -> None:
    loaded = load(str(write_checkpoint(tmp_path / "m", "huginn")), "cpu")
    prompt = loaded.tokenizer.from_ids(tuple(range(64)))
    # Huginn draws with std sqrt(2 / (5 d)) and scales by its embedding's sqrt(d).
    std = np.sqrt(2 / (5 * 48)) * np.sqrt(48)
    starts = [Stepper(loaded).begin(prompt, seed=seed).states[0].ravel() for seed in range(4)]
    values = np.concatenate(starts) / std
    assert len(values) == 4 * 64 * 48
    assert 2.9 < np.abs(values).max() <= 3 + 1e-6
    assert kstest(values, truncnorm(-3, 3).cdf).pvalue > 0.01


def test_a_skip_adapter_injects_from_the_second_recurrence_on(loaded: Loaded) -> None:
    arch = replace(loaded.architecture, skip_first_injection=True)
    model = LoopedModel(arch).requires_grad_(False).eval()
    model.load_state_dict(loaded.model.state_dict())
    loaded = replace(loaded, model=model, checkpoint=replace(loaded.checkpoint, architecture=arch))
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode(PROMPT), start="random", seed=1)
    for _ in range(4):
        stepper.step()
    start = recording.states[0]
    truth = plain_forward(model, recording.info.token_ids, 4, start)
    np.testing.assert_allclose(recording.states[1:], truth["states"], rtol=1e-5, atol=1e-5)
    # The prompt is seen from recurrence 2 on, and not before.
    other = stepper.begin(loaded.tokenizer.encode(PROMPT[::-1]), initial_state=start)
    for _ in range(2):
        stepper.step()
    np.testing.assert_array_equal(other.states[1], recording.states[1])
    assert not np.allclose(other.states[2], recording.states[2], rtol=1e-2)


def test_a_seed_gives_the_same_random_start_and_another_another(loaded: Loaded) -> None:
    prompt = loaded.tokenizer.encode(PROMPT)

    def start(seed: int, scale: float = 1.0) -> np.ndarray:
        stepper = Stepper(loaded)
        return stepper.begin(prompt, seed=seed, start="random", start_scale=scale).states[0]

    np.testing.assert_array_equal(start(3), start(3))
    assert np.abs(start(3) - start(4)).max() > 0.5
    np.testing.assert_allclose(start(3, 2.0), 2 * start(3), rtol=1e-6)
    assert 0.8 < start(3).std() < 1.2


def test_a_given_initial_state_is_used(loaded: Loaded) -> None:
    state = np.random.default_rng(0).normal(size=(1, 12, 16))
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode(PROMPT), initial_state=state)
    stepper.step()
    truth = plain_forward(loaded.model, recording.info.token_ids, 1, start=state[0])
    np.testing.assert_allclose(recording.states[1], truth["states"][0], atol=1e-5)
    for bad, message in (
        (np.zeros((3, 16)), r"shape \[3, 16\]; this prompt needs \[1, 12, 16\]"),
        (np.full((12, 16), np.nan), "NaN"),
    ):
        with pytest.raises(LoopscopeError, match=message):
            stepper.begin(loaded.tokenizer.encode(PROMPT), initial_state=bad)


def test_what_is_not_captured_is_not_kept(loaded: Loaded) -> None:
    stepper = Stepper(loaded, Capture(patterns=False, writes=False, readout=False))
    recording = stepper.begin(loaded.tokenizer.encode(PROMPT))
    state = iteration(recording, stepper.step())
    assert recording.patterns is recording.writes is recording.answers("coda") is None
    assert state.patterns is state.coda_lens is None
    full = Stepper(loaded)
    other = full.begin(loaded.tokenizer.encode(PROMPT))
    np.testing.assert_allclose(other.state(full.step()), state.state, atol=1e-5)


def test_beyond_the_memory_budget_rows_go_to_the_disk_and_nothing_is_lost(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopscope.core.run.rows.LARGEST_BLOCK", 1 << 12)
    monkeypatch.setattr("loopscope.core.run.rows.SMALLEST_BLOCK", 1 << 10)
    budget = Budget(60_000, tmp_path)
    stepper, other = Stepper(loaded, budget=budget), Stepper(loaded)
    recording, expected = (s.begin(loaded.tokenizer.encode(PROMPT)) for s in (stepper, other))
    for _ in range(100):
        stepper.step()
        other.step()
    assert budget.spilled > 100_000
    assert recording.held == budget.held < recording.nbytes
    for name, rows in expected.kept.items():
        np.testing.assert_array_equal(recording.kept[name].first(len(rows)), rows.first(len(rows)))
    # A branch off rows that lie on the disk goes on from them.
    cut = (Noise(recurrence=3, last=3, layer=0, size=0.5),)
    a, b = stepper.branch(cut), other.branch(cut)
    a.step()
    b.step()
    np.testing.assert_array_equal(a.recording.states, b.recording.states)


@pytest.mark.parametrize(
    "cut", [(), (Noise(recurrence=1, layer=0, seed=1),)], ids=["no cut", "cut"]
)
def test_a_run_that_is_let_go_gives_its_memory_back_at_once(
    loaded: Loaded, cut: tuple[Noise, ...]
) -> None:
    """Not when garbage is collected, which hundreds of megabytes of patterns do not bring about."""
    budget = Budget(1 << 30)
    gc.disable()
    try:
        stepper = Stepper(loaded, budget=budget)
        stepper.begin(loaded.tokenizer.encode(PROMPT), interventions=cut)
        stepper.step()
        stepper.recording.readouts.make()
        assert budget.held > 0
        del stepper
        assert budget.held == 0
    finally:
        gc.enable()


def test_a_full_disk_stops_before_anything_is_lost(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopscope.core.run.rows.LARGEST_BLOCK", 1 << 12)
    monkeypatch.setattr("loopscope.core.run.rows.SMALLEST_BLOCK", 1 << 10)
    budget = Budget(500_000, tmp_path / "gone")
    stepper = Stepper(loaded, budget=budget)
    recording = stepper.begin(loaded.tokenizer.encode(PROMPT))
    with pytest.raises(
        NoRoom, match="memory budget of 488 KiB is used up, and the disk takes no more"
    ):
        for _ in range(1000):
            stepper.step()
    done = recording.n_recurrences
    assert 1 <= done < 1000
    budget.limit = 1 << 30  # given more, it goes on from where it was
    stepper.step()
    truth = plain_forward(loaded.model, recording.info.token_ids, done + 1)
    np.testing.assert_allclose(recording.states[1:], truth["states"], atol=1e-5)


def test_recorded_arrays_cannot_be_written(loaded: Loaded) -> None:
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode(PROMPT))
    stepper.step()
    with pytest.raises(ValueError, match="read-only"):
        recording.states[0, 0, 0] = 1.0


def test_reduced_precision_runs_and_is_close(tmp_path: Path) -> None:
    folder = str(tiny_checkpoint(tmp_path / "m"))
    states = {}
    for dtype in ("float32", "bfloat16"):
        stepper = Stepper(load(folder, "cpu", dtype))
        stepper.begin(stepper.loaded.tokenizer.encode(PROMPT))
        states[dtype] = stepper.recording.state(stepper.step())
        assert stepper.recording.info.dtype == dtype
    error = np.abs(states["bfloat16"] - states["float32"]).max() / np.abs(states["float32"]).max()
    assert 1e-5 < error < 0.1


def test_the_model_has_the_parameters_its_architecture_says(tmp_path: Path) -> None:
    from loopscope.core.model.architecture import parameter_shapes
    from loopscope.core.model.looped_model import LoopedModel

    for changes in VARIANTS.values():
        arch = tiny_architecture(**changes)
        with torch.device("meta"):
            model = LoopedModel(arch)
        shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()}
        assert shapes == parameter_shapes(arch)
        assert arch.n_parameters == sum(p.numel() for p in model.parameters())


def test_another_thread_may_run_a_prompt_of_another_length_meanwhile() -> None:
    class Raced(LoopedModel):
        """At the worst moment another thread puts its table in the place of this one's."""

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, {} if name == "_rope" else value)

    model = Raced(tiny_architecture())
    cos, _ = model.rope(torch.zeros(1, 7, model.arch.d_model))
    assert cos.shape[-2] == 7


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("t", [1, 7, 33, 600])
def test_a_pattern_made_in_place_is_the_same_to_the_bit(dtype: torch.dtype, t: int) -> None:
    arch = tiny_architecture()
    layer = DecoderLayer(arch.layer).to(dtype)
    generator = torch.Generator().manual_seed(t)
    x = torch.randn(1, t, arch.d_model, generator=generator).to(dtype)
    table = rope_table(arch.layer.rope, arch.layer.d_head, t, x.device, dtype)
    with torch.inference_mode():
        made = layer(x, table, want_pattern=True)
    again = layer(x, table, want_pattern=True)
    assert torch.equal(made.pattern, again.pattern)
    assert torch.equal(made.state, again.state)
    # And what is derived through it is what it was.
    with torch.no_grad():
        heads = layer._queries_keys_values(layer._norm("attn_in", x), table, NO_CONTEXT)[:2]
    q, k = (z.detach().double() for z in heads)
    scores = (q @ k.transpose(-1, -2) * arch.layer.scale).masked_fill(
        torch.ones(t, t, dtype=torch.bool).triu(1), -torch.inf
    )
    torch.testing.assert_close(made.pattern.double(), scores.softmax(-1), rtol=1e-2, atol=4e-3)
