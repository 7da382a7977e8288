"""Opening a checkpoint: what is asked travels with the request, and what is begun follows from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from models import tiny_checkpoint

from loopscope.app.window.opening import HOPS_PROMPT, FirstRun, Opening, OpenRequest, first_token
from loopscope.app.window.settings import Settings
from loopscope.core.checkpoint.loading import Loaded, load_model
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.interventions.registry import as_json
from loopscope.core.interventions.states import Zero
from loopscope.core.run.requests import RunRequest

ZERO = Zero(recurrence=2, last=2, layer=-1)


class BenchOfOne:
    """A bench that loads nothing: what is asked of it is kept."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.begun: list[RunRequest] = []
        self.open = self.reloop = self.asked.append
        self.begin = self.begun.append


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tiny_checkpoint(tmp_path / "m"))


def opened(settings: Settings, path: str, first_run: FirstRun | None = None) -> RunRequest:
    """Open a checkpoint as the window does; returns the run that is begun on it."""
    bench = BenchOfOne()
    opening = Opening(bench, settings)  # type: ignore[arg-type]
    opening.open(path, first_run, device="cpu")
    (request,) = bench.asked
    opening.begin(load_model(request))
    (run,) = bench.begun
    return run


def test_the_request_comes_back_with_the_model(folder: str) -> None:
    request = OpenRequest(folder, "cpu", first_run=FirstRun("ab ba ? 1 : a", 3))
    assert load_model(request).request is request
    assert load_model(LoadRequest(folder, "cpu")).request == LoadRequest(folder, "cpu")


def test_each_model_begins_with_what_was_asked_with_it(folder: str) -> None:
    """Two openings under way: the first to arrive is not given the prompt of the second."""
    bench = BenchOfOne()
    opening = Opening(bench, Settings())  # type: ignore[arg-type]
    opening.open(folder, FirstRun("ab ba ? 1 : a", 3), device="cpu")
    opening.open(folder, FirstRun("cd dc ? 1 : c", 5), device="cpu")
    first, second = (load_model(request) for request in bench.asked)
    opening.begin(first)
    opening.begin(second)
    assert [(r.prompt, r.recurrences) for r in bench.begun] == [
        ("ab ba ? 1 : a", 3),
        ("cd dc ? 1 : c", 5),
    ]


def test_start_and_scale_are_of_one_checkpoint(folder: str) -> None:
    remembered = Settings(checkpoint=folder, start="random", start_scale=2.5, seed=4)
    run = opened(remembered, folder)
    assert (run.start, run.start_scale, run.seed) == ("random", 2.5, 4)
    run = opened(replace(remembered, checkpoint="/another"), folder)
    assert (run.start, run.start_scale, run.seed) == ("default", 1.0, 4)
    # A start that this model cannot have is not taken, whoever asks.
    assert opened(replace(remembered, start="embedding"), folder).start == "default"


def test_interventions_of_the_last_time_come_back_with_their_prompt(folder: str) -> None:
    def settings(**changes: Any) -> Settings:
        kept = Settings(checkpoint=folder, prompts={folder: "ab ba ? 1 : a"})
        return replace(kept, interventions=as_json((ZERO,)), **changes)

    run = opened(settings(), folder)
    assert (run.prompt, run.interventions) == ("ab ba ? 1 : a", (ZERO,))
    assert opened(settings(), folder, FirstRun("cd dc ? 1 : c")).interventions == ()
    assert opened(settings(checkpoint="/another"), folder).interventions == ()
    assert opened(settings(), folder, FirstRun(interventions=())).interventions == ()
    damaged = replace(settings(), interventions=[{"kind": "no such"}])
    assert opened(damaged, folder).interventions == ()
    other = replace(ZERO, recurrence=3, last=3)
    asked = FirstRun("cd dc ? 1 : c", interventions=(other,))
    assert opened(settings(), folder, asked).interventions == (other,)


def test_recurrences_of_the_last_time_are_bounded_by_the_training(folder: str) -> None:
    trained = load_model(LoadRequest(folder, "cpu")).architecture.trained_recurrences
    assert opened(Settings(recurrences=3), folder).recurrences == 3
    assert opened(Settings(recurrences=90_000), folder).recurrences == 2 * trained
    assert opened(Settings(recurrences=3), folder, FirstRun(recurrences=0)).recurrences == 0


def test_a_relative_path_is_remembered_absolute(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(folder).parent)
    settings = Settings()
    assert opened(settings, "m").prompt == HOPS_PROMPT
    assert settings.checkpoint == folder
    assert settings.recent == [folder]


def test_the_first_token_is_the_one_that_is_answered() -> None:
    class Tokenizer:
        mask_token: str | None = None

    class Model:
        tokenizer = Tokenizer()

    loaded: Loaded = Model()  # type: ignore[assignment]
    assert first_token(loaded, ("a", "b", "c")) == 2
    Tokenizer.mask_token = "[MASK]"
    assert first_token(loaded, ("[MASK]", "b", "[MASK]", "c")) == 2
    assert first_token(loaded, ("a", "b")) == 1
