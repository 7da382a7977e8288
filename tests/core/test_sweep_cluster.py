"""Sweeps on a Dask cluster of real processes, some of which are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopscope.core.checkpoint.loading import load
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.probe.running import hops_batch, probe
from loopscope.core.remote import cluster as clusters
from loopscope.core.remote.cluster import check_workers, connected, facts, local_cluster
from loopscope.core.sweeps import running
from loopscope.core.sweeps.cell import Outcome, do_task
from loopscope.core.sweeps.grid import Task
from loopscope.core.sweeps.parts import read_rows
from loopscope.core.sweeps.probing import Asked, probe_there, subject_there
from loopscope.core.sweeps.running import calibrate, run_study
from loopscope.core.sweeps.store import Store
from loopscope.core.sweeps.study import OpenedStudy, open_study

distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
psutil = pytest.importorskip("psutil")
pytestmark = [
    pytest.mark.slow,
    # A worker that is killed leaves what only it could have closed.
    pytest.mark.filterwarnings("default"),
]

STUDY = """
checkpoints = ["bundled:looped", "bundled:orbit"]
prompts = [{path = "bundled:hops", first = 6}]
R = [1, 3]
measures = ["relative_step", "quality:accuracy"]
seeds = [0, 1]
prompts_per_task = 2
"""
BUNDLED = (("bundled:looped", ""),)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with connected(None, 2) as own:
        yield own


@pytest.fixture
def opened(tmp_path: Path) -> OpenedStudy:
    (tmp_path / "s.toml").write_text(STUDY)
    return open_study(str(tmp_path / "s.toml"))


def sweep(opened: OpenedStudy, folder: Path, client: Any, **more: Any) -> Store:
    with Store(folder) as store:
        run_study(opened, store, client, check_workers(client, BUNDLED), **more)
    return store


def pids(client: Any) -> list[int]:
    return sorted(client.run(os.getpid).values())


def test_a_sweep_with_killed_workers_and_a_break_is_an_unbroken_one(
    client: Any, opened: OpenedStudy, tmp_path: Path
) -> None:
    whole = sweep(opened, tmp_path / "whole", client)
    assert whole.failures == []
    before, told = pids(client), []

    class Broken(Exception):
        pass

    def kill_and_break(done: int, left: int) -> None:
        told.append(done)
        if len(told) == 2:
            os.kill(before[0], signal.SIGKILL)
        if len(told) == 5:
            raise Broken

    with pytest.raises(Broken):
        sweep(opened, tmp_path / "broken", client, report=kill_and_break)
    some = read_rows(tmp_path / "broken").num_rows
    last = sweep(opened, tmp_path / "broken", client)
    assert last.failures == []
    assert before[0] not in pids(client)
    rows = read_rows(tmp_path / "broken")
    assert 0 < some < rows.num_rows
    assert rows.equals(read_rows(tmp_path / "whole"))
    assert rows.num_rows == opened.n_cells  # none of these measures has places, and none is doubled


def test_a_model_is_loaded_once_on_each_worker(
    client: Any, opened: OpenedStudy, tmp_path: Path
) -> None:
    def loads() -> int:  # asks the worker's own
        from loopscope.core.remote.models import MODELS

        return MODELS.loads

    before = client.run(loads)
    sweep(opened, tmp_path / "out", client)
    after = client.run(loads)
    assert sum(after.values()) >= 2
    assert all(n - before.get(worker, 0) <= 2 for worker, n in after.items())  # of twelve tasks


def test_a_run_that_costs_the_worker_its_life_is_left_out_alone(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.toml").write_text(STUDY.replace(', "bundled:orbit"', ""))
    opened = open_study(str(tmp_path / "s.toml"))

    def deadly(task: Task) -> Outcome:
        if any(run.item.line == 3 and run.seed == 1 for run in task.runs):
            os.kill(os.getpid(), signal.SIGKILL)
        return do_task(task)

    monkeypatch.setattr(running, "do_task", deadly)
    store = sweep(opened, tmp_path / "out", client)
    (lost,) = store.failures
    assert (lost.line, lost.seed) == (3, 1)
    assert "worker died" in lost.why
    rows = read_rows(tmp_path / "out")
    # Whoever stood beside it is made.
    assert rows.num_rows == opened.n_cells - 4
    monkeypatch.undo()
    assert sweep(opened, tmp_path / "out", client).failures == []
    assert read_rows(tmp_path / "out").num_rows == opened.n_cells


def test_calibration_asks_each_checkpoint_once(client: Any, opened: OpenedStudy) -> None:
    found = calibrate(opened, client)
    assert [one.checkpoint for one in found] == ["bundled:looped", "bundled:orbit"]
    assert all(one.seconds > 0 and one.memory > 50 << 20 for one in found)


def test_nothing_listens_beyond_loopback(client: Any) -> None:
    own = psutil.Process()
    processes = [own, *own.children(recursive=True)]
    open_ports = [
        c.laddr for p in processes for c in p.net_connections("inet") if c.status == "LISTEN"
    ]
    assert len(open_ports) >= 3  # the scheduler and two workers at the least
    assert {place.ip for place in open_ports} == {"127.0.0.1"}


def test_what_is_wrong_with_workers_is_one_line(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        LoopscopeError, match=r"worker tcp://127.0.0.1:\d+: /nowhere does not exist"
    ):
        check_workers(client, (("/nowhere", ""),))
    other = tuple((name, "0.0" if name == "torch" else v) for name, v in clusters.versions())
    monkeypatch.setattr(clusters, "versions", lambda: other)
    with pytest.raises(LoopscopeError, match=r"worker tcp://.* has torch .*, here it is 0.0"):
        check_workers(client, ())
    assert facts(()).problem == ""


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:9", "127.0.0.1:8786", "tcp://nobody.invalid:1"]
)
def test_a_wrong_address_is_one_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 1)
    with (
        pytest.raises(
            LoopscopeError, match=f"{address}' is no address|no scheduler answers at {address}"
        ),
        connected(address),
    ):
        pass


def test_a_cluster_that_is_lost_keeps_what_came(opened: OpenedStudy, tmp_path: Path) -> None:
    cluster = local_cluster(1)

    def close(done: int, left: int) -> None:
        if done:
            cluster.close()

    try:
        with (
            pytest.raises(LoopscopeError, match="connection to the cluster is lost"),
            connected(cluster.scheduler_address) as own,
        ):
            sweep(opened, tmp_path / "out", own, report=close)
    finally:
        cluster.close()
    assert 0 < read_rows(tmp_path / "out").num_rows < opened.n_cells


def test_a_paper_on_workers_that_die_is_one_made_here(client: Any, tmp_path: Path) -> None:
    from loopscope.core.paper.folder import Folder
    from loopscope.core.paper.plan import Plan
    from loopscope.core.paper.running import (
        keys_of,
        run_prompts,
        subject_of,
        subject_there,
        tasks_left,
    )
    from loopscope.core.prompts.prompt_set import read_prompts

    prompts = read_prompts("bundled:hops")
    prompts = replace(prompts, items=prompts.items[:6])
    plan = Plan(LoadRequest("bundled:looped", "cpu"), 2, 16, longest=40)
    subject = subject_there(plan.request, prompts, plan, client)
    assert subject == subject_of(plan.request, prompts, plan)
    keys = keys_of(prompts, plan, subject.weights)
    nowhere = replace(plan, request=LoadRequest("/nowhere", "cpu"))
    with pytest.raises(LoopscopeError, match="/nowhere does not exist"):
        subject_there(nowhere.request, prompts, nowhere, client)
    before = pids(client)

    def kill(done: int, left: int) -> None:
        if done == 2:
            os.kill(before[0], signal.SIGKILL)

    with Folder(tmp_path / "there") as there, Folder(tmp_path / "here") as here:
        tasks = tasks_left(prompts, keys, plan, subject.weights, there)
        assert len(tasks) == 6
        assert run_prompts(tasks, there, client, kill) == {}
        assert run_prompts(tasks, here) == {}
        for key in keys:
            for name in ("map.attention.long", "stage.matrix_entropy", "limits", "trajectory"):
                np.testing.assert_array_equal(there.get(key, name), here.get(key, name))
    assert before[0] not in pids(client)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_within_a_destructor_is_not_lost(
    client: Any, opened: OpenedStudy, tmp_path: Path
) -> None:
    class Dying:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    told = []

    def interrupt(done: int, left: int) -> None:
        told.append(done)
        if len(told) == 2:
            Dying()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            sweep(opened, tmp_path / "out", client, report=interrupt)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(told) == 2
    assert 0 < read_rows(tmp_path / "out").num_rows < opened.n_cells


def shortened() -> None:
    """Runs on a worker: its small models are trained for three steps."""
    from loopscope.core.sweeps import small

    real = small.models_of
    small.models_of = lambda table: tuple(  # type: ignore[assignment]
        replace(own, plan=replace(own.plan, steps=3, finishing_steps=1)) for own in real(table)
    )


def whole() -> None:
    import importlib

    from loopscope.core.sweeps import small

    importlib.reload(small)


def test_small_models_are_trained_and_measured_by_workers(client: Any, tmp_path: Path) -> None:
    from loopscope.app.cli.twins import evaluate_all
    from loopscope.core.checkpoint.loading import load
    from loopscope.core.experiments.small_models import folder_of, train
    from loopscope.core.experiments.twins import TWINS
    from loopscope.core.sweeps.small import train_missing

    cache = str(tmp_path / "cache")
    client.run(lambda: os.environ.__setitem__("XDG_CACHE_HOME", cache))
    client.run(shortened)
    try:
        said: list[str] = []
        for name, here in (("here", True), ("elsewhere", False)):
            train_missing(
                "twins", tmp_path / name, (0,), lambda share, note: said.append(note), client, here
            )
    finally:
        client.run(whole)
    assert said[2] == said[5] == "3 of 3 models trained"
    assert not list((tmp_path / "cache").glob("loopscope/trainings/*/*"))  # what was sent is gone
    for own in TWINS:
        mine = replace(own, plan=replace(own.plan, steps=3, finishing_steps=1))
        train(mine, 0, tmp_path / "alone")
        hashes = {
            load(str(folder_of(own, 0, tmp_path / name)), "cpu").weights_hash
            for name in ("here", "elsewhere", "alone")
        }
        assert len(hashes) == 1
    by_workers = evaluate_all(tmp_path / "elsewhere", (0,), 8, lambda share, note: None, client)
    alone = evaluate_all(tmp_path / "here", (0,), 8, lambda share, note: None)
    assert by_workers == alone


def test_a_probe_by_workers_is_one_made_here(client: Any) -> None:
    """Also where a worker dies on the way."""
    asked = Asked((1, 2), 4, 6, 2, 4, 2)
    request = LoadRequest("bundled:looped", "cpu")
    subject = subject_there(request, client)
    before, shares = pids(client), []

    def kill(share: float) -> None:
        shares.append(share)
        if len(shares) == 3:
            os.kill(before[0], signal.SIGKILL)

    found = probe_there(request, subject, asked, client, kill)
    assert before[0] not in pids(client)
    loaded = load("bundled:looped", "cpu")
    here = probe(loaded, hops_batch(loaded, 4, (1, 2)), asked.plan(loaded.architecture))
    assert shares == sorted(shares)
    assert (found.checkpoint, found.weights_hash) == (here.checkpoint, here.weights_hash)
    assert np.array_equal(found.longer, here.longer)
    assert len(found.outcomes) == len(here.outcomes) > 40
    for one, other in zip(found.outcomes, here.outcomes, strict=True):
        assert repr(one.condition) == repr(other.condition)  # NaN is the dose of some
        assert np.array_equal(one.scores, other.scores, equal_nan=True)
        assert np.array_equal(one.displacement, other.displacement)
        assert (one.donor is None) == (other.donor is None)
        assert str(one.lost) == str(other.lost)
    with pytest.raises(LoopscopeError, match="do not lie in order"):
        probe_there(request, subject, replace(asked, late=6), client)
    with pytest.raises(LoopscopeError, match="does not exist"):
        subject_there(LoadRequest("/no/such/folder"), client)
