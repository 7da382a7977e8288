"""Measures over a prompt set: the same as each prompt run alone, whatever is kept of the runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import write_checkpoint

from loopscope.core.checkpoint.loading import Loaded, load, relooped
from loopscope.core.errors import Cancelled
from loopscope.core.interventions.base import END, FOREVER, Intervention
from loopscope.core.interventions.layers import FreezeHead
from loopscope.core.interventions.states import Noise
from loopscope.core.measures.base import measure
from loopscope.core.measures.intervals import bootstrap_mean
from loopscope.core.measures.over_prompts import PROMPT_MEASURES, HowRun, PromptMeasures
from loopscope.core.measures.path_independence import PATHS, Paths
from loopscope.core.measures.registry import MEASURES
from loopscope.core.over_prompts.measuring import least_capture, measure_over
from loopscope.core.over_prompts.quality import quality_over
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.results import Results
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.stepper import Stepper

pytestmark = pytest.mark.slow

HUGINN = PromptSet("p", "p", tuple(
    Item(text, None, i) for i, text in enumerate(["#5,17,3", "#60,41,8,2,9,9", "#1"], start=1)
))  # fmt: skip


@pytest.mark.parametrize("name", ["huginn", "hrm_text", "albert", "ouro"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_is_the_mean_of_the_prompts_run_alone(name: str, dtype: str, tmp_path: Path) -> None:
    loaded = load(str(write_checkpoint(tmp_path / name, name)), "cpu", dtype)
    how = HowRun(3, seed=4, start_scale=0.5)
    found = measure_over(loaded, HUGINN, list(MEASURES.values()), how)
    for key, what in MEASURES.items():
        alone = []
        for item, why in zip(HUGINN.items, found[key].missing, strict=True):
            stepper = Stepper(loaded)
            recording = stepper.begin(loaded.tokenizer.encode(item.text), seed=4, start_scale=0.5)
            for _ in range(3):
                stepper.step()
            one = measure(recording, what)
            assert one.missing == why
            alone.append(np.full(found[key].values.shape[1:], np.nan) if why else one.by_depth())
        close = {"rtol": 1e-5, "atol": 1e-5 if dtype == "float32" else 0, "err_msg": key}
        np.testing.assert_allclose(found[key].values, alone, **close)
        mean = bootstrap_mean(np.array(alone))
        np.testing.assert_allclose(found[key].mean.value, mean.value, **close)
        assert bool(found[key].why_nothing()) == (not np.isfinite(mean.value).any())


def test_only_what_a_measure_needs_is_kept() -> None:
    loaded = load("bundled:looped", "cpu")
    prompt = loaded.tokenizer.from_ids((1, 2, 3))  # nothing is repeated: no induction score
    for key, patterns, readout in (
        ("relative_step", False, False),
        ("entropy", True, False),
        ("induction", True, False),
        ("readout_entropy", False, True),
        ("exit_hazard", False, False),  # there is no gate: nothing could help
    ):
        capture = least_capture(loaded, prompt, [MEASURES[key]])
        assert capture == Capture(patterns, writes=False, readout=readout), key
    both = least_capture(loaded, prompt, [MEASURES["entropy"], MEASURES["readout_entropy"]])
    assert both == Capture(writes=False)


def test_it_can_be_cancelled_between_recurrences() -> None:
    loaded = load("bundled:looped", "cpu")
    told = []

    def report(share: float) -> None:
        told.append(share)
        if len(told) == 5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        measure_over(loaded, HUGINN_IDS, [MEASURES["relative_step"]], HowRun(8), report)
    np.testing.assert_allclose(told, np.arange(1, 6) / 8)  # both share a run


HUGINN_IDS = PromptSet("p", "p", (Item("#1,2", None, 1), Item("#3", None, 2)))


def test_how_a_run_was_made_makes_it_again() -> None:
    loaded = load("bundled:looped", "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.from_ids((1, 2)), seed=7, start="random", start_scale=0.3)
    for _ in range(2):
        stepper.step()
    how = HowRun.like(stepper.recording)
    assert how == HowRun(2, 7, "random", 0.3)
    assert HowRun.like(stepper.recording, 9).recurrences == 9
    changes = how.run_of("#1,2")
    assert changes.pop("prompt") == "#1,2"
    assert changes.pop("recurrences") == 2
    again = Stepper(loaded).begin(loaded.tokenizer.from_ids((1, 2)), **changes)
    np.testing.assert_array_equal(again.states[0], stepper.recording.states[0])


def test_runs_of_one_model_share_its_results_and_another_loop_does_not(tmp_path: Path) -> None:
    loaded = load(str(write_checkpoint(tmp_path / "deep", "llama")), "cpu")
    one, two = (Stepper(loaded).begin(loaded.tokenizer.from_ids((1, i))) for i in (2, 3))
    measures = PromptMeasures()
    one.keep(PROMPT_MEASURES, measures)
    one.keep(PATHS, Paths(np.zeros((1, 1, 2, 4), np.float32), ("the run",)))
    assert two.result(PROMPT_MEASURES) is measures
    assert two.result(PATHS) is None
    assert len(two.shared.results) == 1
    assert len(two.results) == 0
    assert len(relooped(loaded, (1, 2, 0.5)).shared.results) == 0


def test_a_result_is_of_the_class_that_its_key_says() -> None:
    results = Results()
    with pytest.raises(TypeError, match="'prompts' keeps PromptMeasures, not dict"):
        results.put(PROMPT_MEASURES, {})
    assert results.get(PROMPT_MEASURES) is None


def test_cuts_are_made_in_every_run_and_a_frozen_head_finds_its_pattern() -> None:
    loaded = load("bundled:looped", "cpu")
    texts = ("ab ba ? 1 : a b", "ab bc ca ? 2 : a b c")
    prompts = PromptSet("p", "p", tuple(Item(t, None, i) for i, t in enumerate(texts, start=1)))
    cuts = (
        Noise(recurrence=2, last=2, layer=END, size=0.5),
        FreezeHead(recurrence=3, last=FOREVER, layer=0, head=1, held=1),
    )
    step, seen = MEASURES["relative_step"], []
    how = HowRun(4, interventions=cuts)
    found = measure_over(loaded, prompts, [step], how, seen=seen.append)
    for row, text in zip(found["relative_step"].values, texts, strict=True):
        stepper = Stepper(loaded)
        recording = stepper.begin(loaded.tokenizer.encode(text), interventions=cuts)
        for _ in range(4):
            stepper.step()
        np.testing.assert_allclose(row, measure(recording, step).by_depth(), rtol=1e-5)
    assert [r.info.interventions for r in seen] == [cuts, cuts]
    scored = quality_over(loaded, prompts, how, "next")
    np.testing.assert_allclose(scored.nll[1], _surprise(loaded, texts[1], cuts), rtol=1e-5)


def _surprise(loaded: Loaded, text: str, cuts: tuple[Intervention, ...]) -> list[float]:
    prompt = loaded.tokenizer.encode(text)
    stepper = Stepper(loaded)
    stepper.begin(prompt, interventions=cuts)
    found = []
    for _ in range(4):
        stepper.step()
        log_p = torch.from_numpy(stepper.readout()).log_softmax(-1)[:-1]
        found.append(-float(log_p.gather(-1, torch.tensor(prompt.token_ids[1:])[:, None]).sum()))
    return found
