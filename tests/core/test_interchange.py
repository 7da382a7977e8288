"""Interchange and going on from the middle: against the stepper's own cuts and against a study of
other code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import random_model, tiny_architecture, tiny_checkpoint

from loopscope.core.analyses.interchange import pairs_of_queries
from loopscope.core.analyses.interchange import run as exchange
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.architectures import comparison_architecture
from loopscope.core.experiments.hops import prompt_lines
from loopscope.core.experiments.native_folder import save_native
from loopscope.core.interventions.base import END, Source
from loopscope.core.interventions.states import Replace
from loopscope.core.measures.interchange import INTERCHANGE, Interchange
from loopscope.core.over_prompts.going_on import GoingOn, entries_of
from loopscope.core.over_prompts.interchange import interchange, others_of
from loopscope.core.over_prompts.quality import asked_of
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.recordings.results import MODEL_KEYS, flattened, put_results
from loopscope.core.results import Results
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.interchange import NOT_YET, Options, compute, table

ARCHS = {
    "looped": tiny_architecture(),
    "deep": comparison_architecture("deep", tiny_architecture(), 3),
    "untied": comparison_architecture("untied", tiny_architecture(), 3),
    "nested": replace(tiny_architecture(), inner_cycles=2, n_block=6, injection="none"),
    "damped": replace(tiny_architecture(), damping=0.5, looped_span=(0, 2)),
}


def loaded_of(folder: Path, arch: object) -> Loaded:
    save_native(folder, random_model(arch), with_tokenizer=True)  # type: ignore[arg-type]
    return load(str(folder), "cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load(str(tiny_checkpoint(tmp_path_factory.mktemp("m"), seed=4)), "cpu")


def stepped(loaded: Loaded, recurrences: int, prompt: str = "ab bc ca ? 2 : a b c") -> Stepper:
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode(prompt))
    for _ in range(recurrences):
        stepper.step()
    return stepper


# ---- going on ----
@pytest.mark.parametrize("kind", ["looped", "deep", "untied"])
def test_going_on_from_any_place_ends_where_the_run_does(kind: str, tmp_path: Path) -> None:
    loaded = loaded_of(tmp_path, ARCHS[kind])
    texts = [line["prompt"] for line in prompt_lines(2)] + ["ab ba ? 1 : a b"]
    n = 4 if kind == "looped" else 1
    run = GoingOn(loaded, [loaded.tokenizer.encode(text) for text in texts])
    ends = [stepped(loaded, n, text).recording.states[-1] for text in texts]
    places = entries_of(loaded.architecture, n)
    states = run.states(n)
    assert len(places) == len(states) == (4 if kind == "looped" else 6)
    for place, state in zip(places, states, strict=True):
        with torch.no_grad():
            end = run.end(state, place, n)
        for row, expected in zip(end, ends, strict=True):
            np.testing.assert_allclose(row[: len(expected)], expected, atol=2e-6)


def test_both_states_of_a_nested_loop_are_carried() -> None:
    model = random_model(ARCHS["nested"])
    tokens = torch.arange(12)[None]
    with torch.no_grad():
        e = model.prelude(tokens)
        recurrent = model.begin(model.initial_state(e))
        made = []
        for r in range(3):
            recurrent = model.recur(recurrent, e, first=r == 0, recurrence=r + 1)
            made.append(recurrent)
        run = GoingOn.__new__(GoingOn)
        run.model, run.e, run.start = model, e, model.begin(model.initial_state(e))
        states = run.states(3)
        assert states[0].shape == (1, 12, 32)
        for r, place in enumerate(entries_of(model.arch, 3)):
            np.testing.assert_array_equal(states[r][..., :16], made[r].state)
            np.testing.assert_array_equal(states[r][..., 16:], made[r].fast)
            torch.testing.assert_close(run.end(states[r], place, 3), made[2].state)


# ---- the exchange ----
def test_an_exchange_is_the_cut_of_a_run_that_does_the_same(tiny: Loaded) -> None:
    """Each pair by the stepper with `Replace`, token by token."""
    prompts = pairs_of_queries(12, 7)
    asked = asked_of(tiny, prompts)
    found = interchange(tiny, asked, True, 3, "answers", "prompts")
    others = others_of(asked, True)

    def says(i: int, cuts: tuple[Replace, ...] = ()) -> np.ndarray:
        stepper = Stepper(tiny)
        stepper.begin(asked[i].prompt, interventions=cuts)
        for _ in range(3):
            stepper.step()
        return stepper.readout()[list(asked[i].positions)].argmax(-1)

    for r in (1, 2, 3):
        followed, kept, third = [], [], []
        for i, (j, k) in enumerate(others):
            source = Source(token_ids=asked[j].prompt.token_ids, recurrence=r)
            cut = Replace(recurrence=r, last=r, layer=END, tokens=asked[i].positions, source=source)
            now, own, other, last = says(i, (cut,)), says(i), says(j), says(k)
            differ = own != other
            apart = differ & (last != own) & (last != other)
            for into, hits, of in (
                (followed, now == other, differ), (kept, now == own, differ),
                (third, now == last, apart),
            ):  # fmt: skip
                into.append((hits & of).sum() / of.sum() if of.any() else np.nan)
        for estimate, by_hand in (
            (found.followed, followed),
            (found.kept, kept),
            (found.third, third),
        ):
            assert estimate.value[r - 1] == pytest.approx(np.nanmean(by_hand), nan_ok=True)
    right = [np.mean(says(i) == asked[i].targets) for i in range(12)]
    assert found.right == pytest.approx(np.mean(right))


def test_what_each_part_is(tiny: Loaded) -> None:
    """After the last recurrence of a model without a coda the exchanged tokens say the other's."""
    asked = asked_of(tiny, pairs_of_queries(20, 1))
    found = {
        part: interchange(tiny, asked, True, 2, part, "p")  # type: ignore[arg-type]
        for part in ("answer", "answers", "others")
    }
    assert found["answer"].n_prompts == 20
    assert found["answer"].n_tokens == 27
    assert 2 <= found["answer"].different <= 8
    # Of one token the share of a prompt is 0 or 1; nothing else of the prompt is counted.
    whole = found["answer"].followed.value * found["answer"].followed.n
    np.testing.assert_allclose(whole, np.round(whole), atol=1e-9)
    assert found["others"].kept.value[-1] > found["answers"].kept.value[-1]


def test_the_other_prompt_is_the_one_most_alike_of_its_kind(tiny: Loaded) -> None:
    texts = [
        "ab ba ? 1 : a b",
        "ab ba ? 1 : b a",
        "cd dc ? 1 : c d",
        "ab ba ? 1 : a b",
        "ab ? 1 : a",
    ]
    items = tuple(Item(text, "a b" if len(text) > 12 else "b", i) for i, text in enumerate(texts))
    asked = asked_of(tiny, PromptSet("p", "p", items))
    others = others_of(asked, True)
    assert others[0] == (1, 2)  # not itself, nor its like
    assert others[1] == (3, 0)  # of equally many the next in the file
    assert others[2][0] in (3, 0)
    assert others[4] == ()  # none is as short
    with pytest.raises(LoopscopeError, match="no two prompts can be exchanged"):
        interchange(tiny, [asked[0], asked[4]], True, 1, "answer", "p")


def test_the_pointer_is_in_the_state_where_another_study_found_it() -> None:
    """The taught model: 0.000 follow after 1 recurrence, 0.995 to 0.999 after 2 to 6; a deep one: 1."""
    stepper = stepped(load("bundled:anytime", "cpu"), 6)
    found = exchange(stepper, Selection(), Options(prompts=120), Job("i"))
    assert found.followed.value[0] < 0.05
    assert found.followed.value[1:].min() > 0.97
    assert np.nanmax(found.third.value) < 0.05
    assert found.right > 0.99
    deep = exchange(
        stepped(load("bundled:deep", "cpu"), 1), Selection(), Options(prompts=60), Job("i")
    )
    assert deep.after_layers
    assert deep.places.tolist() == list(range(12))
    assert deep.followed.value.min() > 0.95


# ---- the view ----
def test_the_view_draws_what_follows_and_what_stays(tiny: Loaded) -> None:
    stepper = stepped(tiny, 3)
    recording = stepper.recording
    assert compute(recording, Selection(), Options()).missing == NOT_YET
    assert "Run a recurrence" in compute(stepped(tiny, 0).recording, Selection(), Options()).missing
    found = exchange(stepper, Selection(), Options(prompts=16, recurrences=4), Job("i"))
    recording.keep(INTERCHANGE, found)
    data = compute(recording, Selection(), Options())
    followed, kept, third = data.curves
    np.testing.assert_array_equal(followed.y, found.followed.value)
    np.testing.assert_array_equal(kept.y, found.kept.value)
    assert third.dashed
    assert followed.x.tolist() == [1, 2, 3, 4]
    assert followed.places[2] == {"recurrence": 3}
    assert "16 of the generated prompts of 6 hops" in data.statement
    assert "differ in 8 of 27 tokens" in data.statement
    assert len(list(table(data).rows)) == 12
    results, again = Results(), Results()
    results.put(INTERCHANGE, found)
    arrays = flattened(results, MODEL_KEYS)
    put_results(again, json.loads(bytes(arrays["results"])), arrays, "f", MODEL_KEYS)
    kept_result = again.get(INTERCHANGE)
    assert isinstance(kept_result, Interchange)
    np.testing.assert_array_equal(kept_result.followed.value, found.followed.value)


def test_prompts_that_say_the_same_have_nothing_to_follow(tiny: Loaded) -> None:
    stepper = stepped(tiny, 1)
    found = exchange(stepper, Selection(), Options(prompts=4), Job("i"))
    nothing = np.full(1, np.nan)
    empty = replace(found.followed, value=nothing, low=nothing, high=nothing)
    stepper.recording.keep(INTERCHANGE, replace(found, followed=empty, kept=empty, third=empty))
    data = compute(stepper.recording, Selection(), Options())
    assert "nothing can be seen to follow" in data.statement
