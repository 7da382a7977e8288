"""A model on a worker gives what it gives here, bit for bit; worker processes are real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import tiny_architecture, tiny_checkpoint
from remote import PROMPT, assert_same_rows, cluster, opened

from loopscope.core.analyses import lens, paths, prompts, stability
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import Cancelled, LoopscopeError, PromptError
from loopscope.core.generation.continuing import Plan, continue_text
from loopscope.core.generation.sampling import Sampling
from loopscope.core.generation.stops import stop_ids, stop_ids_of
from loopscope.core.interventions.layers import AblateHead, FreezeHead
from loopscope.core.interventions.states import Noise
from loopscope.core.prompts.prompt_set import read_prompts
from loopscope.core.remote.model import RemoteModel
from loopscope.core.remote.run import RemoteRun
from loopscope.core.run.beginning import begin_run
from loopscope.core.run.jobs import Job
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with cluster() as own:
        yield own.scheduler_address


@pytest.fixture(scope="module")
def there(address: str) -> Iterator[RemoteModel]:
    model = opened(address)
    yield model
    model.release()


@pytest.fixture(scope="module")
def here() -> Any:
    torch.set_num_threads(1)  # as a worker has
    return load("bundled:looped")


def begun(model: Any, **asked: Any) -> Any:
    return begin_run(model, RunRequest(PROMPT, **asked), Capture())


def advance(run: Any, layers: int, ahead: bool = False) -> Any:
    for i in range(layers):
        run.step_layer(layers - 1 - i if ahead else 0)
    return run


def test_all_but_the_weights_is_here(there: RemoteModel, here: Any) -> None:
    assert there.architecture == here.architecture
    assert there.weights_hash == here.weights_hash
    assert there.weight_identity == here.weight_identity
    assert there.nbytes == here.nbytes
    assert there.tokenizer.encode(PROMPT) == here.tokenizer.encode(PROMPT)
    assert there.checkpoint.family is here.checkpoint.family
    assert there.place
    assert there.connection.worker.memory > 1 << 28


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("asked", [{}, {"start": "random", "seed": 3, "start_scale": 2.0}])
def test_rows_are_the_same_bit_for_bit(
    there: RemoteModel, here: Any, ahead: bool, asked: dict[str, Any]
) -> None:
    layers = 7 * here.architecture.n_block + 1
    far, near = (advance(begun(model, **asked), layers, ahead) for model in (there, here))
    assert far.recording.info == near.recording.info
    assert_same_rows(far.recording, near.recording)


def test_what_was_run_ahead_is_not_shown_before_it_is_asked_for(there: RemoteModel) -> None:
    run = begun(there)
    run.step_layer(1000)
    assert run.recording.layers_done == 1
    advance(run, 3, ahead=True)
    assert run.recording.layers_done == 4


def test_patterns_travel_when_they_are_read_and_once(there: RemoteModel) -> None:
    run = advance(begun(there), 6, ahead=True)
    rows = run.recording.kept["patterns"]
    before = there.travelled
    assert rows.come == 0
    assert np.isfinite(rows[2]).all()
    assert rows.come == 1
    once = there.travelled
    assert 0 < once - before <= rows.row_bytes  # fewer where the link seems slow
    rows.rows(2, 3)
    assert there.travelled == once
    assert (rows.nbytes, rows.held) == (rows.row_bytes, rows.row_bytes)


def test_states_travel_once(there: RemoteModel) -> None:
    run, before = begun(there), there.travelled
    advance(run, 4 * run.recording.n_layers, ahead=True)
    kept = run.recording.kept
    most = sum(rows.nbytes for name, rows in kept.items() if name != "patterns")
    assert there.travelled - before < most  # ids of answers take half as many bytes on the way


CUTS = [
    (AblateHead(recurrence=2, last=2, layer=1, head=1),),
    (AblateHead(recurrence=40, last=40, layer=0, head=0),),
    (FreezeHead(recurrence=3, last=5, layer=0, head=1, held=2),),
    (Noise(recurrence=0, last=0, layer=-1, size=0.5, seed=1),),
    (Noise(recurrence=2, last=4, layer=-1, size=0.1, tokens=(3, 4)),),
]


@pytest.mark.parametrize("cuts", CUTS, ids=lambda cuts: type(cuts[0]).__name__)
@pytest.mark.parametrize("ahead", [False, True])
def test_a_branch_is_the_branch_here(
    there: RemoteModel, here: Any, cuts: tuple[Any, ...], ahead: bool
) -> None:
    both = []
    for model in (there, here):
        run = advance(begun(model), 5)
        if ahead:  # the worker has gone further than what is asked for
            run.step_layer(500)
            run.step_layer(500)
        else:
            advance(run, 2)
        branch = run.branch(cuts)
        both.append((branch.recording.layers_done, advance(branch, 8, ahead), run))
    (at, far, parent), (near_at, near, _) = both
    assert at == near_at
    assert_same_rows(far.recording, near.recording)
    assert far.recording.info == near.recording.info
    assert far.recording.effects.items() >= near.recording.effects.items()
    if at:
        assert far.recording.parent is parent.recording


def test_a_bad_cut_and_a_bad_prompt_are_told_as_here(there: RemoteModel) -> None:
    with pytest.raises(LoopscopeError, match="layer 7"):
        begun(there).branch((AblateHead(recurrence=1, layer=7, head=0),))
    with pytest.raises(PromptError, match="empty"):
        begin_run(there, RunRequest("  "))


def measured(run: Any, module: Any, key: Any, **options: Any) -> Any:
    """A measurement where the run is."""
    own = module.Options(**options)
    selection = Selection(recurrence=2, token=3)
    job: Job[Any] = Job("test")
    if isinstance(run, Stepper):
        result = module.run(run, selection, own, job)
    else:
        result = run.measure(module.run, selection, own, key, job.report, None)
    run.recording.keep(key, result)
    return result


def test_measurements_that_see_the_model_are_made_there(there: RemoteModel, here: Any) -> None:
    from loopscope.app.views import VIEW_SPECS

    keys = {spec.key: spec.request.result for spec in VIEW_SPECS if spec.request is not None}
    far, near = (advance(begun(model), 8) for model in (there, here))
    far.step_layer(400)  # the worker is ahead: what is measured is the run as far as it is here
    near.step_layer()
    for module, key in ((lens, "lens"), (paths, "paths"), (stability, "stability")):
        one, other = (measured(run, module, keys[key]) for run in (far, near))
        assert_same(one, other)
    # A second lens is added to what the worker has found before.
    one, other = (measured(run, lens, keys["lens"], lens="logit") for run in (far, near))
    assert_same(one, other)


def assert_same(one: Any, other: Any) -> None:
    """Two findings hold the same numbers."""
    from dataclasses import fields, is_dataclass

    assert type(one) is type(other)
    if is_dataclass(one):
        for f in fields(one):
            assert_same(getattr(one, f.name), getattr(other, f.name))
    elif isinstance(one, np.ndarray):
        assert np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, tuple | list):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif not callable(one):  # a measure has functions
        assert one == other or (one != one and other != other)


def test_a_prompt_set_travels_with_the_measurement(there: RemoteModel, here: Any) -> None:
    from loopscope.core.measures.over_prompts import PROMPT_MEASURES

    own = read_prompts("bundled:hops")
    few = replace(own, items=own.items[:3])
    there.shared.prompts = here.shared.prompts = few
    far, near = (advance(begun(model), 4) for model in (there, here))
    one, other = (measured(run, prompts, PROMPT_MEASURES) for run in (far, near))
    assert_same(one, other)


def test_a_text_is_continued_there(address: str, tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "m", tiny_architecture(task=""))
    there, here = opened(address, str(folder)), load(str(folder))
    prompt, plan = here.tokenizer.encode("#1,2,3"), Plan(4, 3)
    far = list(there.continued(prompt, plan, Sampling(), lambda: None))
    assert far == list(continue_text(here, prompt, plan, Sampling()))
    there_is = there.call(stop_ids_of, there.checkpoint.path, there.checkpoint.config)
    assert there_is == stop_ids(here.checkpoint)

    def stop() -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        list(there.continued(prompt, replace(plan, tokens=8), Sampling(), stop))
    there.release()


def test_half_precision_travels_in_two_bytes_and_is_compared_there(address: str) -> None:
    model = opened(address, dtype="bfloat16")
    near = advance(begun(load("bundled:looped", dtype="bfloat16")), 6)
    run = begun(model)
    before = model.travelled
    advance(run, 6, ahead=True)
    came, kept = model.travelled - before, run.recording.kept
    most = sum(rows.nbytes for name, rows in kept.items() if name != "patterns")
    assert came < most - 0.4 * (kept["layer_states"].nbytes + kept["states"].nbytes)
    assert_same_rows(run.recording, near.recording)
    from loopscope.core.run.float32_twin import Float32Twin

    errors, twin = run.in_float32(lambda share: None, readouts=True)
    exact = Float32Twin(near.loaded)
    assert np.array_equal(errors, exact.error(near.recording, readouts=True))
    assert twin is not None
    assert_same_rows(twin, exact.run)
    model.release()


def test_a_recording_is_gone_on_with_there(there: RemoteModel, here: Any) -> None:
    from loopscope.core.recordings.going_on import go_on

    whole = advance(begun(here), 9)
    part = advance(begun(here), 5)
    run = go_on(there, part.recording)
    assert isinstance(run, RemoteRun)
    assert run.recording is part.recording
    assert_same_rows(advance(run, 4, ahead=True).recording, whole.recording)


def test_what_is_wrong_is_one_line(address: str) -> None:
    cases = {
        r"'localhost' is no address such as tcp://host:8786": partial(opened, "localhost"),
        r"no scheduler answers at tcp://127.0.0.1:9: ": partial(opened, "tcp://127.0.0.1:9"),
        r"(worker tcp://\S+|on \S+): /nowhere does not exist": partial(opened, address, "/nowhere"),
        r"there is no dtype 'float8'": partial(opened, address, dtype="float8"),
    }
    for line, ask in cases.items():
        with pytest.raises(LoopscopeError, match=line) as caught:
            ask()
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one here")
def test_a_device_that_no_worker_has_is_one_line(address: str) -> None:
    with pytest.raises(LoopscopeError, match="no worker of the cluster has a CUDA device"):
        opened(address.replace("127.0.0.1", "localhost"), device="cuda")


def test_other_versions_are_one_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from loopscope.core.remote import cluster as clusters

    mine = (("loopscope", "9.9"), *clusters.versions()[1:])
    monkeypatch.setattr(clusters, "versions", lambda: mine)
    with pytest.raises(LoopscopeError, match=r"worker \S+ has loopscope \S+, here it is 9\.9"):
        opened(address.replace("127.0.0.1", "localhost"))
