"""What the lens request reads: every place against the whole vocabulary, and how it behaves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from checkpoints import CONFIGS, write_checkpoint
from lens_runs import LENSES, bundled_run, job, reading_of, run_of
from recordings import synthetic_recording
from scipy.special import rel_entr, softmax
from scipy.stats import entropy as scipy_entropy

from loopscope.core.analyses import lens as request
from loopscope.core.checkpoint.loading import load, relooped
from loopscope.core.errors import Cancelled
from loopscope.core.measures.lens import READINGS
from loopscope.core.model.flops import head_flops
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.lens.compute import Options, compute


@pytest.fixture(scope="module")
def bundled() -> Stepper:
    return bundled_run()


# ---- the numbers of some readouts ----
def read(logits, last, *rest) -> tuple[torch.Tensor, ...]:
    return request.read(logits, last, request.log_norm(last), *rest)


def test_entropy_divergence_and_rank_are_scipys_and_counted_by_hand() -> None:
    rng = np.random.default_rng(0)
    logits, last = rng.normal(size=(2, 5, 30)).astype(np.float32) * 3
    kept, final = np.array([4, 11, 0]), last.argmax(-1)
    tensors = [torch.from_numpy(v) for v in (logits, last, final, kept)]
    ids, top, entropy, divergence, p, rank = (v.numpy() for v in read(*tensors, 4))
    full, end = softmax(logits.astype(np.float64), -1), softmax(last.astype(np.float64), -1)
    np.testing.assert_array_equal(ids, np.argsort(-full, -1)[:, :4])
    assert top == pytest.approx(np.sort(full, -1)[:, ::-1][:, :4], rel=1e-12)
    assert entropy == pytest.approx(scipy_entropy(full, axis=-1), rel=1e-12)
    assert divergence == pytest.approx(rel_entr(full, end).sum(-1), rel=1e-10)
    for i in range(5):
        for j, token in enumerate([*kept, final[i]]):
            assert p[i, j] == pytest.approx(full[i, token], rel=1e-12)
            assert rank[i, j] == 1 + sum(x > logits[i, token] for x in logits[i])
        assert rank[i, :3][ids[i, 0] == kept].tolist() in ([], [1.0])


def test_tied_logits_share_the_better_rank() -> None:
    logits = torch.tensor([[2.0, 5.0, 5.0, 1.0, 2.0]])
    *_, rank = read(logits, logits, torch.tensor([1]), torch.arange(5), 1)
    assert rank[0].tolist() == [3, 1, 1, 5, 3, 1]


def test_a_readout_that_is_not_finite_has_no_numbers() -> None:
    logits = torch.tensor([[1.0, float("nan"), 0.0], [float("inf"), 0.0, 1.0], [0.0, 1.0, 2.0]])
    good = torch.tensor([[0.0, 1.0, 2.0]] * 3)
    _, *numbers = read(logits, good, torch.tensor([2, 2, 2]), torch.tensor([0]), 2)
    for values in numbers:
        assert torch.isnan(values[:2]).all()
        assert torch.isfinite(values[2]).all()
    _, _, entropy, divergence, *_ = read(
        good, logits, torch.tensor([2, 2, 2]), torch.tensor([0]), 2
    )
    assert torch.isfinite(entropy).all()
    assert torch.isnan(divergence[:2]).all()


def test_probabilities_that_underflow_count_as_nothing() -> None:
    logits = torch.tensor([[0.0, -2000.0]])
    _, _, entropy, divergence, p, rank = read(
        logits, torch.tensor([[-1000.0, 0.0]]), torch.tensor([1]), torch.tensor([1]), 1
    )
    assert entropy.item() == 0
    assert divergence.item() == pytest.approx(1000)
    assert (p[0, 0].item(), rank[0, 0].item()) == (0, 2)


# ---- every place against the whole vocabulary ----
@pytest.mark.slow
@pytest.mark.parametrize("name", LENSES)
def test_the_bundled_model_layer_by_layer(bundled: Stepper, name: str) -> None:
    recording, model = bundled.recording, bundled.loaded.model
    reading = recording.result(READINGS).of(name)
    with torch.no_grad():
        full = np.empty((8, 2, recording.n_tokens, 39))
        for r, layer in np.ndindex(8, 2):
            x = torch.from_numpy(recording.layer_states[r, layer].copy())[None]
            if layer == 1:  # the end of a recurrence, as the model reads it out
                x = torch.from_numpy(recording.states[r + 1].copy())[None]
            elif name == "coda":
                x = model.closing_norm(x)
            logits = model.readout(x) if name == "coda" else model.head(x)
            full[r, layer] = softmax(logits[0].double().numpy(), -1)
    assert reading.probabilities == pytest.approx(np.sort(full, -1)[..., ::-1][..., :5], abs=1e-5)
    np.testing.assert_array_equal(reading.top, full.argmax(-1))
    assert reading.entropy == pytest.approx(scipy_entropy(full, axis=-1), abs=1e-4)
    assert reading.divergence == pytest.approx(rel_entr(full, full[-1, -1]).sum(-1), abs=1e-4)
    assert sorted(reading.kept.tolist()) == list(range(39))  # all of a small vocabulary
    order = np.argsort(reading.kept)
    assert reading.chances[..., order] == pytest.approx(full, abs=1e-5)
    by_hand = 1 + (full[..., None, :] > full[..., :, None]).sum(-1)
    assert (reading.ranks[..., order] != by_hand).mean() < 1e-3  # but for ties within rounding
    final = full[-1, -1].argmax(-1)
    own = np.take_along_axis(full, np.broadcast_to(final, (8, 2, len(final)))[..., None], -1)
    assert reading.final_chances == pytest.approx(own[..., 0], abs=1e-5)
    assert (reading.final_ranks[-1, -1] == 1).all()


@pytest.mark.parametrize("name", LENSES)
def test_recurrence_ends_are_what_the_run_read_out(bundled: Stepper, name: str) -> None:
    recording = bundled.recording
    reading, answers = recording.result(READINGS).of(name), recording.answers(name)
    np.testing.assert_array_equal(reading.ids[:, -1, :, 0], answers.ids[..., 0])
    assert reading.probabilities[:, -1] == pytest.approx(answers.probabilities, abs=1e-5)
    assert (reading.divergence[-1, -1] < 1e-9).all()
    if name == "coda":
        assert reading.entropy[:, -1] == pytest.approx(recording.coda_entropy, abs=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("which", LENSES)
def test_every_family_ends_in_its_own_readout(tmp_path, name: str, which: str) -> None:
    deep = name in ("llama", "qwen3", "olmo2", "gpt2", "gpt_neox")
    stepper = run_of(str(write_checkpoint(tmp_path / "m", name)), 1 if deep else 3)
    recording, model = stepper.recording, stepper.model
    reading = reading_of(stepper, Options(lens=which))
    answers = recording.answers(which)
    assert reading.probabilities[:, -1] == pytest.approx(answers.probabilities, abs=1e-5)
    assert np.isfinite(reading.entropy).all()
    # Within the block the head norms once; a head without a norm is given closed states.
    x = torch.from_numpy(recording.layer_states[-1, 0].copy())[None]
    arch = model.arch
    with torch.no_grad():
        if arch.closing_norm and (which == "coda" or not arch.final_norm):
            x = model.closing_norm(x)
        logits = (model.readout(x) if which == "coda" else model.head(x))[0].double().numpy()
    expected = np.sort(softmax(logits, -1), -1)[:, ::-1][:, :5]
    assert reading.probabilities[-1, 0] == pytest.approx(expected, abs=1e-5)
    data = compute(recording, Selection(), Options(lens=which))
    assert data.masked == (name in ("albert", "trm"))
    assert "token at its place" in data.lens_label or not data.masked


def test_heads_without_a_norm_are_given_one(tmp_path) -> None:
    """Ouro's closing norm is its final norm: an unnormed layer would be read at a wrong scale."""
    stepper = run_of(str(write_checkpoint(tmp_path / "m", "ouro")), 2)
    model = stepper.loaded.model
    assert not model.arch.final_norm
    reading = reading_of(stepper, Options(lens="logit"))
    x = torch.from_numpy(stepper.recording.layer_states[0, 1].copy())[None]
    with torch.no_grad():
        raw = softmax(model.head(x)[0].double().numpy(), -1).max(-1)
    assert np.abs(reading.probabilities[0, 1, :, 0] - raw).max() > 1e-2


def test_a_damped_loop_is_read_at_its_damped_end(tmp_path) -> None:
    loaded = relooped(load(str(write_checkpoint(tmp_path / "m", "llama")), "cpu"), (0, 3, 0.4))
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.from_ids((5, 17, 3, 60)))
    for _ in range(3):
        stepper.step()
    reading = reading_of(stepper, Options())
    answers = stepper.recording.answers("coda")
    assert reading.probabilities[:, -1] == pytest.approx(answers.probabilities, abs=1e-5)


def test_half_precision_is_read_in_its_own_dtype_and_summed_wide(tmp_path) -> None:
    stepper = run_of(str(write_checkpoint(tmp_path / "m", "huginn")), 3, "bfloat16")
    reading = reading_of(stepper, Options())
    answers = stepper.recording.answers("coda")
    assert reading.probabilities[:, -1] == pytest.approx(answers.probabilities, abs=2e-3)
    assert reading.entropy[:, -1] == pytest.approx(stepper.recording.coda_entropy, abs=2e-2)
    assert (reading.divergence[-1, -1] < 1e-9).all()


def test_one_token_and_one_recurrence(tmp_path) -> None:
    stepper = run_of(str(write_checkpoint(tmp_path / "m", "huginn")), 1, ids=(7,))
    reading = reading_of(stepper, Options())
    assert reading.entropy.shape == (1, 2, 1)
    data = compute(stepper.recording, Selection(), Options())
    assert data.statement.startswith("Coda lens: the final answer stands from layer ")


# ---- how the request behaves ----
def test_small_batches_read_the_same_and_report_each(
    bundled: Stepper, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bundled.recording.result(READINGS).coda
    monkeypatch.setattr(request, "MOST_LOGITS", 39 * 4)  # four rows, less than a prompt
    shares: list[float] = []

    class Spy(Job):
        def report(self, share: float) -> None:
            shares.append(share)

    found = request.run(bundled, Selection(), Options(), Spy("x")).coda
    np.testing.assert_array_equal(found.ids[..., 0], whole.ids[..., 0])
    assert found.entropy == pytest.approx(whole.entropy, abs=1e-5)
    assert found.divergence == pytest.approx(whole.divergence, abs=1e-5)
    n_tokens = bundled.recording.n_tokens
    assert len(shares) >= 16 * n_tokens / 4
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_reading_can_be_cancelled_and_leaves_the_run_alone(bundled: Stepper) -> None:
    before = bundled.recording.states.copy()
    stopped = job()
    stopped.cancel()
    with pytest.raises(Cancelled):
        request.run(bundled, Selection(), Options(), stopped)
    np.testing.assert_array_equal(bundled.recording.states, before)


def test_a_batch_of_a_large_head_is_small() -> None:
    recording = synthetic_recording()
    from dataclasses import replace

    arch = replace(recording.info.architecture, vocab_size=65536,
                   layer=replace(recording.info.architecture.layer, d_model=5280))  # fmt: skip
    recording.info = replace(recording.info, architecture=arch)
    rows = request._batch(recording)
    assert 1 <= rows <= 4
    assert rows * head_flops(arch) <= 1.5e9
