"""Prompts that share a run give what each gives alone, in every family, at any lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import CONFIGS, write_checkpoint

from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.over_prompts import measuring
from loopscope.core.over_prompts.batches import MOST_TOKENS, batches
from loopscope.core.over_prompts.measuring import run_each
from loopscope.core.over_prompts.quality import quality_over
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper
from loopscope.core.run.together import Begin, Together

HOW = HowRun(3, seed=5, start_scale=0.7)
LENGTHS = (5, 11, 1, 7, 11, 7, 2)
# A window shorter than the prompts, and positions that turn slower the longer a prompt is.
DYNAMIC = {
    "rope_scaling": {"rope_type": "dynamic", "factor": 4.0}, "max_position_embeddings": 4,
}  # fmt: skip
CASES = [(name, {}) for name in CONFIGS] + [("llama", DYNAMIC)]


def prompts_for(loaded: Loaded, lengths: Sequence[int] = LENGTHS) -> list[Prompt]:
    rng = np.random.default_rng(3)
    drawn = [tuple(map(int, rng.integers(0, 39, n))) for n in lengths]
    return [loaded.tokenizer.from_ids(ids) for ids in drawn]


def alone(loaded: Loaded, prompt: Prompt, capture: Capture) -> Recording:
    stepper = Stepper(loaded, capture)
    recording = stepper.begin(prompt, seed=HOW.seed, start=HOW.start, start_scale=HOW.start_scale)
    for _ in range(HOW.recurrences):
        stepper.step()
    return recording


def same(together: Recording, one: Recording) -> None:
    assert together.info == one.info
    assert together.n_recurrences == one.n_recurrences
    for name, rows in one.kept.items():
        expected = rows.first(len(rows))
        found = together.kept[name].first(len(rows))
        if name.endswith("_ids"):  # two answers as likely as each other may change places
            continue
        close = np.abs(found - expected) / (1 + np.abs(expected))
        if name.endswith("states"):  # of a state, relative to its norm
            close = np.linalg.norm(found - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), err_msg=name)
        # Untrained logits are as large as 30: what is made of them shows a float32 more.
        assert np.nanmax(close, initial=0) <= (3e-5 if name == "spread" else 1e-5), name


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), CASES, ids=lambda case: str(case)[:20])
def test_a_shared_run_is_that_of_each_alone(
    name: str, changes: dict[str, object], tmp_path: Path
) -> None:
    loaded = load(str(write_checkpoint(tmp_path / "m", name, changes)), "cpu")
    prompts = prompts_for(loaded)
    prompts = [p for p in prompts if len(p.token_ids) <= loaded.architecture.max_positions]
    ids = {p.token_ids for p in prompts}
    seen = []
    for i, recording in run_each(loaded, prompts, HOW, Capture()):
        seen.append(i)
        same(recording, alone(loaded, prompts[i], Capture()))
    assert sorted(seen) == list(range(len(prompts)))
    assert len(ids) == len(prompts)
    sizes = {len(places) for places in measuring.runs_of(loaded, prompts, HOW, Capture())}
    assert max(sizes) > 1, "no two prompts shared a run: nothing was tested"


def test_what_a_padded_prompt_is_given_cannot_change_it(tmp_path: Path) -> None:
    """Whatever stands in the padding, here other tokens, is not seen."""
    loaded = load(str(write_checkpoint(tmp_path / "m", "looped_nanochat")), "cpu")
    short, long = prompts_for(loaded, (4, 11))
    states = []
    for filler in (1, 17):
        padded = replace(short, token_ids=short.token_ids + (filler,) * 7)
        with torch.inference_mode():
            run = Together(loaded, [padded, long], Begin())
            states.append(run.step()[0, :4].numpy())
    np.testing.assert_array_equal(*states)


@pytest.mark.slow
def test_quality_together_is_that_of_each_alone(tmp_path: Path) -> None:
    loaded = load(str(write_checkpoint(tmp_path / "m", "huginn")), "cpu")
    texts = ["#" + ",".join(map(str, p.token_ids)) for p in prompts_for(loaded)]
    both = quality_over(loaded, _set(texts), HOW)
    for i, text in enumerate(texts):
        one = quality_over(loaded, _set([text]), HOW)
        np.testing.assert_allclose(both.nll[i], one.nll[0], rtol=1e-5, atol=1e-5)
    assert np.isnan(both.nll[2]).all()  # of one token


def _set(texts: list[str]) -> PromptSet:
    return PromptSet("p", "p", tuple(Item(t, None, i) for i, t in enumerate(texts, start=1)))


@pytest.mark.slow
def test_where_padding_is_not_finite_each_prompt_is_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(str(write_checkpoint(tmp_path / "m", "huginn")), "cpu")
    prompts = prompts_for(loaded)
    embed = loaded.model.embed.weight
    with torch.no_grad():
        embed[prompts[0].token_ids[-1]] = torch.inf
    finite = [i for i, p in enumerate(prompts) if prompts[0].token_ids[-1] not in p.token_ids]
    found = dict(run_each(loaded, prompts, HOW, Capture(patterns=False)))
    for i in finite:
        assert np.isfinite(found[i].states).all()
    one = alone(loaded, prompts[0], Capture(patterns=False))
    np.testing.assert_array_equal(found[0].states, one.states)


# ---- which prompts share a run ----
def small(loaded: Loaded, lengths: Sequence[int], size: int = 1000) -> list[list[int]]:
    return batches([loaded], lengths, lambda n: size * n)


def test_every_prompt_is_in_one_run_and_shorter_ones_come_first() -> None:
    loaded = load("bundled:looped", "cpu")
    lengths = list(np.random.default_rng(0).integers(1, 200, 300))
    made = small(loaded, lengths)
    assert sorted(i for places in made for i in places) == list(range(300))
    flat = [lengths[i] for places in made for i in places]
    assert flat == sorted(flat)
    assert all(len(places) * lengths[places[-1]] <= MOST_TOKENS for places in made)
    assert len(made) < 60


def test_prompts_that_must_go_alone_do(tmp_path: Path) -> None:
    masked = load(str(write_checkpoint(tmp_path / "albert", "albert")), "cpu")
    assert small(masked, [5, 7, 5, 7, 7]) == [[0, 2], [1, 3, 4]]
    half = load("bundled:looped", "cpu", "bfloat16")
    assert small(half, [5, 5, 7]) == [[0], [1], [2]]
    looped = load("bundled:looped", "cpu")
    assert small(looped, [5, 5, 7]) == [[0, 1, 2]]
    assert small(looped, [5, 5, 7], size=10_000_000) == [[0], [1], [2]]  # too much would be kept
    both = batches([looped, masked], [5, 7, 5], lambda n: n)
    assert both == [[0, 2], [1]]


def test_a_long_prompt_does_not_wait_for_short_ones_of_a_large_model() -> None:
    """Where sums cost more than calls, padding costs more than it saves."""
    looped = load("bundled:looped", "cpu")
    arch = looped.architecture
    layer = replace(arch.layer, d_model=768, n_heads=12, n_kv_heads=12, d_head=64, d_mlp=3072)
    checkpoint = replace(looped.checkpoint, architecture=replace(arch, layer=layer))
    large = replace(looped, checkpoint=checkpoint)
    assert small(large, [10, 40, 250, 250, 260]) == [[0], [1], [2], [3], [4]]
    assert small(looped, [10, 40]) == [[0, 1]]
