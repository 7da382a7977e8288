"""Readouts in blocks of recurrences: the same bits whenever they are made, and no sooner."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import tiny_architecture, tiny_checkpoint

from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.interventions.base import FOREVER
from loopscope.core.interventions.states import Noise
from loopscope.core.model.looped_model import LoopedModel
from loopscope.core.run.reading_out import BLOCK, block_size
from loopscope.core.run.readout import LogProbabilities, spread, top_answers
from loopscope.core.run.recording import Capture, Recording
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
