"""A branch is the run that was begun with its interventions, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint
from edits import NAMES, PROMPT, N, cases, run, three_layers
from models import tiny_checkpoint

from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.interventions.base import END, FOREVER
from loopscope.core.interventions.layers import (
    DropInjection,
    ScaleWrite,
    SkipLayer,
)
from loopscope.core.interventions.states import Mean, Noise, Zero
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return three_layers(tmp_path_factory.mktemp("m"))


@pytest.mark.parametrize("name", NAMES)
def test_a_branch_is_a_rerun_from_scratch_bit_for_bit(loaded: Loaded, name: str) -> None:
    cut = cases(loaded)[name]
    parent = Stepper(loaded)
    parent.begin(loaded.tokenizer.encode(PROMPT))
    for _ in range(N):
        parent.step()
    before = parent.recording.layer_states.copy()
    branch = parent.branch((cut,))
    first = cut.starts_at(3)
    assert branch.recording.layers_done == first  # what comes before is not run again
    while branch.recording.n_recurrences < N:
        branch.step_layer()
    scratch = run(loaded, cut)
    same_run(branch.recording, scratch)
    np.testing.assert_array_equal(parent.recording.layer_states, before)
    parent.step()  # it goes on as if nothing had been
    np.testing.assert_array_equal(parent.recording.layer_states, run(loaded, n=N + 1).layer_states)


def same_run(a: Recording, b: Recording) -> None:
    assert a.info == b.info
    for name in ("states", "layer_states", "patterns", "writes", "coda_entropy", "coda_kl"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    for lens in ("coda", "logit"):
        np.testing.assert_array_equal(a.answers(lens).ids, b.answers(lens).ids)
        np.testing.assert_array_equal(a.answers(lens).probabilities, b.answers(lens).probabilities)
    assert a.effects == b.effects


def test_branches_of_branches_and_cuts_at_the_start(loaded: Loaded) -> None:
    cuts = [
        Noise(recurrence=4, last=FOREVER, layer=1, seed=1),
        SkipLayer(recurrence=2, last=4, layer=2),
        Noise(recurrence=0, last=0, layer=END, seed=3, size=1.0),
        Zero(recurrence=5, last=5, layer=END, tokens=(0,)),
    ]
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode(PROMPT), start="random", seed=4)
    for i in range(len(cuts)):
        for _ in range(N):
            stepper.step()
        stepper = stepper.branch((cuts[i],))
    while stepper.recording.n_recurrences < N:
        stepper.step()
    same_run(stepper.recording, run(loaded, *cuts, start="random", seed=4))


@pytest.mark.parametrize("layer", [1, END])
def test_a_branch_does_not_keep_what_a_cut_did_after_it(loaded: Loaded, layer: int) -> None:
    """The first cut acts on, beyond the place of the second: its effect there is measured anew."""
    cuts = (Mean(recurrence=1, last=FOREVER, layer=layer), Zero(recurrence=3, last=3, layer=0))
    parent = Stepper(loaded)
    parent.begin(loaded.tokenizer.encode(PROMPT), interventions=cuts[:1])
    for _ in range(N):
        parent.step()
    branch = parent.branch(cuts[1:])
    assert sorted(branch.recording.effects) == [(0, 1), (0, 2)]
    while branch.recording.n_recurrences < N:
        branch.step()
    same_run(branch.recording, run(loaded, *cuts))


def test_a_cut_without_a_layer_acts_where_the_recurrence_begins(loaded: Loaded) -> None:
    cut = DropInjection(recurrence=2, last=2, layer=2)  # as a file may have it
    parent = Stepper(loaded)
    parent.begin(loaded.tokenizer.encode(PROMPT))
    for _ in range(3):
        parent.step()
    branch = parent.branch((cut,))
    assert branch.recording.layers_done == 3
    while branch.recording.n_recurrences < 3:
        branch.step()
    same_run(branch.recording, run(loaded, cut, n=3))


FAMILIES = ["huginn", "retrofit olmo", "ouro", "hrm_text", "albert", "llama", "gpt2"]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("at", [0, 1, 2, 3, 5, 7])
def test_branching_restores_every_family_in_mid_run(tmp_path: Path, family: str, at: int) -> None:
    """Also the fast state of a nested loop, wherever in a recurrence the branch begins."""
    loaded = load(str(write_checkpoint(tmp_path / "m", family)), "cpu")
    prompt = loaded.tokenizer.from_ids((5, 2, 9, 1))
    r, layer = divmod(at, loaded.architecture.n_block)
    cut = Noise(recurrence=r + 1, last=r + 1, layer=layer, size=0.5)
    runs = []
    for cuts in ((), (cut,)):
        stepper = Stepper(loaded)
        stepper.begin(prompt, seed=3, interventions=cuts)
        while stepper.recording.n_recurrences <= r + 1:
            stepper.step()
        runs.append(stepper)
    branch = runs[0].branch((cut,))
    while branch.recording.n_recurrences <= r + 1:
        branch.step()
    same_run(branch.recording, runs[1].recording)
    assert branch.recording.effects[0, r + 1] == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_branching_is_exact_in_half_precision(tmp_path: Path, dtype: str) -> None:
    loaded = load(str(tiny_checkpoint(tmp_path / "m")), "cpu", dtype)
    cut = ScaleWrite(recurrence=2, last=FOREVER, layer=1, factor=0.5)
    parent = Stepper(loaded)
    parent.begin(loaded.tokenizer.encode(PROMPT))
    for _ in range(4):
        parent.step()
    branch = parent.branch((cut,))
    while branch.recording.n_recurrences < 4:
        branch.step()
    same_run(branch.recording, run(loaded, cut, n=4))
