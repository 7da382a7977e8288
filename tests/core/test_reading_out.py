"""Readouts in blocks of recurrences: the same bits whenever they are made, and no sooner."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import random_model, tiny_architecture, tiny_checkpoint

from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.interventions.base import FOREVER
from loopscope.core.interventions.states import Noise
from loopscope.core.model.looped_model import LoopedModel
from loopscope.core.run import reading_out
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.reading_out import BLOCK, block_size
from loopscope.core.run.readout import LogProbabilities, entropy_and_change, spread, top_answers
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper

PROMPT = "ab bc ca ? 2 : a b c"
# Two blocks and some of a third.
N = 2 * BLOCK + 3
ROWS = ("coda_ids", "coda_probabilities", "logit_ids", "logit_probabilities", "spread")


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    return load(str(tiny_checkpoint(tmp_path / "m")), "cpu")


def begun(loaded: Loaded) -> Stepper:
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode(PROMPT), start="random", seed=3)
    return stepper


def rows(recording: Recording) -> dict[str, np.ndarray]:
    return {name: recording.kept[name].first(recording.n_recurrences) for name in ROWS}


def same(a: Recording, b: Recording) -> None:
    for name, own in rows(a).items():
        np.testing.assert_array_equal(own, rows(b)[name], err_msg=name)


def test_asked_after_each_recurrence_or_at_the_end_the_readouts_are_the_same_bits(
    loaded: Loaded,
) -> None:
    asked, left = begun(loaded), begun(loaded)
    for r in range(1, N + 1):
        asked.step()
        assert len(asked.recording.answers("coda").ids) == r
        left.step()
    same(asked.recording, left.recording)


def test_they_are_those_of_each_state_alone(loaded: Loaded) -> None:
    stepper = begun(loaded)
    for _ in range(N):
        stepper.step()
    recording, model = stepper.recording, loaded.model
    before = None
    for r in range(1, N + 1):
        with torch.inference_mode():
            state = torch.from_numpy(recording.state(r).copy())[None]
            coda, logit = model.readout(state), model.head(state)
        read = LogProbabilities(coda)
        for lens, logits in (("coda", coda), ("logit", logit)):
            alone, own = top_answers(logits), recording.answers(lens)
            np.testing.assert_allclose(own.probabilities[r - 1], alone.probabilities, rtol=1e-5)
            likeliest = own.ids[r - 1, :, 0]
            np.testing.assert_array_equal(likeliest, alone.ids[:, 0])
        truth = spread(read, before)
        np.testing.assert_allclose(recording.coda_entropy[r - 1], truth[:, 0], rtol=1e-4)
        np.testing.assert_allclose(recording.coda_kl[r - 1], truth[:, 1], rtol=1e-3, atol=1e-9)
        before = read


@pytest.mark.parametrize("at", [2, BLOCK, BLOCK + 1, 2 * BLOCK + 1])
def test_a_branch_reads_out_the_bits_of_a_run_from_the_start(loaded: Loaded, at: int) -> None:
    parent = begun(loaded)
    for _ in range(N):
        parent.step()
    cut = Noise(recurrence=at, last=FOREVER, layer=1, seed=1)
    branch, scratch = parent.branch((cut,)), Stepper(loaded)
    scratch.begin(loaded.tokenizer.encode(PROMPT), start="random", seed=3, interventions=(cut,))
    for run in (branch, scratch):
        while run.recording.n_recurrences < N:
            run.step()
    same(branch.recording, scratch.recording)


def test_nothing_is_read_out_before_a_block_is_there_or_somebody_looks(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = LoopedModel.readout
    monkeypatch.setattr(
        LoopedModel, "readout", lambda model, state: read.append(len(state)) or real(model, state)
    )
    stepper = begun(loaded)
    for _ in range(BLOCK - 1):
        stepper.step()
    assert not read
    stepper.step()
    assert read == [BLOCK]
    stepper.step()
    stepper.recording.layer_states, stepper.recording.patterns, stepper.recording.writes  # noqa: B018
    assert read == [BLOCK]
    for _ in range(2):  # the second look finds it there
        assert len(stepper.recording.answers("logit").ids) == BLOCK + 1
    assert read == [BLOCK, BLOCK]


def test_a_large_readout_is_made_with_its_recurrence(loaded: Loaded) -> None:
    arch = replace(tiny_architecture(), vocab_size=1 << 16)
    assert block_size(arch, 9) == 1
    assert block_size(tiny_architecture(), 9) == BLOCK
    assert block_size(tiny_architecture(), 1 << 20) == 1


def test_what_is_made_of_logits_is_made_of_new_ones_only(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is given a whole block; softmax, top answers and entropies are of the new rows."""
    made: list[int] = []
    real = reading_out.both_answers
    monkeypatch.setattr(
        reading_out,
        "both_answers",
        lambda coda, logit: made.append(len(coda)) or real(coda, logit),
    )
    stepper = begun(loaded)
    for n in (1, 2, BLOCK - 3):
        for _ in range(n):
            stepper.step()
        stepper.recording.readouts.make()
    assert made == [1, 2, BLOCK - 3]


@pytest.mark.parametrize("vocabulary", [39, 512, 1003])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_answers_and_entropies_of_a_row_do_not_depend_on_the_rows_beside_it(
    vocabulary: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(vocabulary)
    logits = 7 * torch.randn(40, vocabulary, generator=generator).to(dtype)
    before = 7 * torch.randn(40, vocabulary, generator=generator).to(dtype)
    whole, change = top_answers(logits), entropy_and_change(logits, before)
    for first, last in ((0, 1), (3, 4), (7, 20), (39, 40), (1, 40)):
        part = slice(first, last)
        some = top_answers(logits[part])
        np.testing.assert_array_equal(some.ids, whole.ids[part])
        np.testing.assert_array_equal(some.probabilities, whole.probabilities[part])
        np.testing.assert_array_equal(entropy_and_change(logits[part], before[part]), change[part])


def test_a_deep_model_is_read_out_with_its_pass_and_once_for_both_lenses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arch = tiny_architecture(
        n_prelude=0, n_coda=0, trained_recurrences=1, injection="none", closing_norm=False
    )
    assert arch.runs_once
    assert arch.lenses_agree
    assert block_size(arch, 9) == 1
    deep = load(str(tiny_checkpoint(tmp_path / "deep", arch)), "cpu")
    heads: list[int] = []
    real = LoopedModel.head
    monkeypatch.setattr(
        LoopedModel, "head", lambda model, x: heads.append(len(x)) or real(model, x)
    )
    stepper = begun(deep)
    for _ in range(2):
        stepper.step()
    assert heads == [1, 1]
    coda, logit = (stepper.recording.answers(lens) for lens in ("coda", "logit"))
    with torch.inference_mode():
        state = torch.from_numpy(stepper.recording.state(2).copy())[None]
        truth = top_answers(real(deep.model, state))
    for own in (coda, logit):
        np.testing.assert_array_equal(own.ids[1], truth.ids)
        np.testing.assert_array_equal(own.probabilities[1], truth.probabilities)


@pytest.mark.parametrize("between", [{"coda_proj": True}, {"pre_coda_norm": True}, {"n_coda": 1}])
def test_lenses_differ_by_whatever_lies_between_the_loop_and_the_head(
    between: dict[str, object],
) -> None:
    model = random_model(tiny_architecture(**({"n_coda": 0} | between)))
    assert not model.arch.lenses_agree
    state = torch.randn(1, 5, model.arch.d_model)
    assert not torch.equal(model.readout(state), model.head(state))


def test_threads_that_look_while_it_steps_see_whole_readouts(loaded: Loaded) -> None:
    stepper, alone = begun(loaded), begun(loaded)
    done, wrong = threading.Event(), []

    def look() -> None:
        while not done.is_set():
            n = stepper.recording.n_recurrences
            entropy, answers = stepper.recording.coda_entropy, stepper.recording.answers("coda")
            if len(entropy) < n or len(answers.ids) < n or not np.isfinite(entropy).all():
                wrong.append(n)

    watchers = [threading.Thread(target=look) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    for _ in range(6 * BLOCK):
        stepper.step()
        alone.step()
    done.set()
    for watcher in watchers:
        watcher.join()
    assert not wrong
    same(stepper.recording, alone.recording)


def test_a_readout_that_fails_is_made_at_the_next_look(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepper, whole = begun(loaded), begun(loaded)
    for _ in range(BLOCK - 1):
        stepper.step()
    with monkeypatch.context() as patched:

        def failing(model: LoopedModel, state: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("out of memory")

        patched.setattr(LoopedModel, "readout", failing)
        with pytest.raises(RuntimeError, match="out of memory"):
            stepper.step()
    assert stepper.recording.n_recurrences == BLOCK - 1
    for _ in range(BLOCK):
        whole.step()
    while stepper.recording.n_recurrences < BLOCK:
        stepper.step()
    same(stepper.recording, whole.recording)


def test_what_keeps_no_readouts_makes_none(loaded: Loaded) -> None:
    stepper = Stepper(loaded, Capture(readout=False))
    stepper.begin(loaded.tokenizer.encode(PROMPT))
    stepper.step()
    assert stepper.recording.readouts.reading is None
    assert stepper.recording.answers("coda") is None


def test_what_waits_is_read_out_before_the_weights_go(loaded: Loaded, tmp_path: Path) -> None:
    stepper, kept = begun(loaded), begun(load(str(tmp_path / "m"), "cpu"))
    for _ in range(BLOCK + 1):
        stepper.step()
        kept.step()
    branch = stepper.branch((Noise(recurrence=4, last=FOREVER),))
    for each in (stepper, kept, branch):
        each.step()
    recording = stepper.recording
    assert recording.readouts.n < recording.n_recurrences, "nobody looked yet"
    loaded.release()
    assert not any(parameter.numel() for parameter in loaded.model.parameters())
    same(recording, kept.recording)
    assert len(branch.recording.answers("coda").ids) == branch.recording.n_recurrences


def test_weights_do_not_go_while_somebody_reads_out(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepper = begun(loaded)
    stepper.step()
    reads, goes, failed = threading.Event(), threading.Event(), []
    readout = LoopedModel.readout

    def slowly(model: LoopedModel, state: torch.Tensor) -> torch.Tensor:
        reads.set()
        goes.wait(timeout=1)  # never set where the weights wait, as they should
        return readout(model, state)

    def look() -> None:
        try:
            stepper.recording.answers("coda")
        except RuntimeError as error:
            failed.append(error)

    monkeypatch.setattr(LoopedModel, "readout", slowly)
    looking = threading.Thread(target=look)
    looking.start()
    assert reads.wait(timeout=60)
    loaded.release()
    goes.set()
    looking.join(timeout=60)
    assert not failed
    assert not any(parameter.numel() for parameter in loaded.model.parameters())
