"""The paper's figures: every number against NumPy by hand, and what happens to a folder of them."""

from __future__ import annotations

import errno
import gc
import math
import os
import signal
import subprocess
import sys
import time
import tracemalloc
import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from checkpoints import CONFIGS, write_checkpoint
from models import _layer, plain_forward, random_model, tiny_architecture

from loopscope.core.checkpoint.loading import load
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.native_folder import save_native
from loopscope.core.interventions.layers import SkipLayer
from loopscope.core.measures.limiting_behaviour import Behaviour
from loopscope.core.model.looped_model import LoopedModel
from loopscope.core.paper import running
from loopscope.core.paper.findings import Findings, findings
from loopscope.core.paper.folder import Folder
from loopscope.core.paper.numbers import SIDE, numbers_of
from loopscope.core.paper.plan import STAGES, Plan, check_looped
from loopscope.core.paper.pool import Pool
from loopscope.core.paper.running import keys_of, run_prompts, subject_of, tasks_left
from loopscope.core.paper.sections import sections
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.run.recording import Recording

TEXTS = ("ab ba ? 1 : a b", "ha bc de fg gh cd ab ef ? 3 : a b c d")
SHOWN, DEEP = 3, 16
ROOT = Path(__file__).parents[2]


def prompt_set(texts: tuple[str, ...] = TEXTS) -> PromptSet:
    return PromptSet("p.txt", "p.txt", tuple(Item(t, None, i + 1) for i, t in enumerate(texts)))


def made(path: str, folder: Path, texts: tuple[str, ...] = TEXTS, **how: int) -> Findings:
    plan = Plan(LoadRequest(path, "cpu"), **{"shown": SHOWN, "deep": DEEP} | how)  # type: ignore[arg-type]
    prompts = prompt_set(texts)
    subject = subject_of(plan.request, prompts, plan)
    plan = replace(plan, longest=subject.longest)
    keys = keys_of(prompts, plan, subject.weights)
    with Folder(folder) as own:
        tasks = tasks_left(prompts, keys, plan, subject.weights, own)
        assert run_prompts(tasks, own) == {}
        pool = Pool(own.get, tuple(keys), keys[0])
        return findings(pool, plan, subject.architecture, subject.dtype)


# ---- by hand: the whole run in float64 NumPy, and the definitions as they are printed ----
class ByHand:
    """One prompt: states ``x[r, l]``, patterns, and those of prelude and coda."""

    def __init__(self, model: LoopedModel, ids: tuple[int, ...]) -> None:
        arch = model.arch
        run = plain_forward(model, ids, DEEP)
        w = {k: v.double().numpy() for k, v in model.state_dict().items()}
        self.x, self.patterns = run["layers"], run["patterns"]
        self.s = run["states"]
        x = w["embed.weight"][list(ids)] * arch.embedding_scale
        self.before = []
        for i in range(arch.n_prelude):
            x, pattern, _ = _layer(w, f"prelude_layers.{i}", x, arch)
            self.before.append((x, pattern))
        self.after = []
        y = self.s[SHOWN - 1]
        for i in range(arch.n_coda):
            y, pattern, _ = _layer(w, f"coda_layers.{i}", y, arch)
            self.after.append((y, pattern))

    def places(self) -> list[tuple[np.ndarray, np.ndarray]]:
        inside = [
            (self.x[r, i], self.patterns[r, i])
            for r in range(SHOWN)
            for i in range(self.x.shape[1])
        ]
        return [*self.before, *inside, *self.after]


def stage(key: str, x: np.ndarray, patterns: np.ndarray) -> float:
    t = len(x)
    if key == "column_concentration":
        share = patterns.sum(1) / t
        logs = np.where(share > 0, share * np.log(np.where(share > 0, share, 1)), 0)
        return float(np.mean([1 + one.sum() / math.log(t) for one in logs]))
    if key == "entropy":
        return float(np.mean([
            -sum(p * math.log(p) for row in head for p in row if p > 0) / t for head in patterns
        ]))  # fmt: skip
    if key == "sink_rate":
        return float(np.mean([head[:, 0].sum() / t >= 0.3 for head in patterns]))
    if key == "residual_norm":
        return float(np.median(np.sqrt((x * x).sum(1))))
    p = np.linalg.svd(x, compute_uv=False) ** 2 / (x * x).sum()
    return float(-(p * np.log(p)).sum())


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> tuple[Findings, list[ByHand]]:
    folder = tmp_path_factory.mktemp("paper")
    model = random_model(tiny_architecture(n_block=3, n_prelude=2, n_coda=1), seed=5)
    save_native(folder / "m", model)
    tokenizer = load(str(folder / "m"), "cpu").tokenizer
    hands = [ByHand(model, tokenizer.encode(text).token_ids) for text in TEXTS]
    return made(str(folder / "m"), folder / "out"), hands


def near(found: object, expected: object, tolerance: float = 2e-4) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), tolerance, tolerance)


def test_steps_and_the_way_to_the_end(subject: tuple[Findings, list[ByHand]]) -> None:
    found, hands = subject
    steps = [np.median(np.linalg.norm(np.diff(h.x, axis=0), axis=-1), -1) for h in hands]
    near(found.steps["step_size"].value[1:], np.mean(steps, 0))
    turns = [cosine(h.x[1:], h.x[:-1]).mean(-1) for h in hands]
    near(found.steps["step_cosine"].value[1:], np.mean(turns, 0))
    assert np.isnan(found.steps["step_size"].value[0]).all()
    apart = [np.median(np.linalg.norm(h.x - h.x[-1], axis=-1), -1) for h in hands]
    near(found.ends["distance"].value, np.mean(apart, 0))
    near(
        found.ends["distance_cosine"].value,
        np.mean([cosine(h.x, h.x[-1]).mean(-1) for h in hands], 0),
    )
    assert found.n == 2
    assert found.tokens == tuple(sorted(h.x.shape[2] for h in hands))


@pytest.mark.parametrize("key", STAGES)
def test_stages(subject: tuple[Findings, list[ByHand]], key: str) -> None:
    found, hands = subject
    own = found.stages[key]
    every = np.array([
        [[stage(key, h.x[r, i], h.patterns[r, i]) for i in range(3)] for r in range(DEEP)]
        for h in hands
    ])  # fmt: skip
    near(own.curve.value, every.mean(0))
    near(own.prelude.value, np.mean([[stage(key, *at) for at in h.before] for h in hands], 0))
    near(own.coda.value, np.mean([[stage(key, *at) for at in h.after] for h in hands], 0))
    ends = every[:, [SHOWN - 1, DEEP - 1]]
    if key == "sink_rate":  # which may not vary from layer to layer
        assert 0 < every.mean() < 1
    else:
        drift = np.abs(ends[:, 1] - ends[:, 0]).mean(1) / np.abs(ends[:, 0]).mean(1)
        pairs = [[np.corrcoef(a, b)[0, 1] for a, b in pairwise(one[:SHOWN])] for one in every]
        near(own.repeat.value, np.mean(pairs), 2e-3)
        near(own.kept.value, np.mean([np.corrcoef(*one)[0, 1] for one in ends]), 2e-3)
        near(own.drift.value, drift.mean(), 2e-3)


def test_null_lines_are_of_even_causal_attention(subject: tuple[Findings, list[ByHand]]) -> None:
    found, hands = subject
    for key in ("column_concentration", "entropy"):
        evens = []
        for h in hands:
            t = h.x.shape[2]
            even = np.tril(np.ones((t, t))) / np.arange(1, t + 1)[:, None]
            evens.append(stage(key, h.x[0, 0], even[None]))
        near(found.stages[key].null, np.full(3, np.mean(evens)))
    assert found.stages["residual_norm"].null is None


def test_maps_with_prelude_and_coda(subject: tuple[Findings, list[ByHand]]) -> None:
    found, hands = subject
    attention, residual = [], []
    for h in hands:
        at = h.places()
        attention.append(
            [[np.linalg.norm(a - b, axis=(1, 2)).mean() for _, b in at] for _, a in at]
        )
        residual.append([[cosine(a, b).mean() for b, _ in at] for a, _ in at])
    own = found.maps["attention", "shown"]
    near(own.values, np.mean(attention, 0), 1e-3)
    near(found.maps["cosine", "shown"].values, np.mean(residual, 0), 1e-3)
    assert own.names == ("p0", "p1", *(f"{r}:{i}" for r in (1, 2, 3) for i in range(3)), "c0")
    assert found.maps["attention", "long"].recurrences == tuple(range(1, DEEP + 1))
    # The contrast: pairs of different recurrences of equal and of different layers.
    same = [
        [
            d[2 + 3 * r + i][2 + 3 * q + i]
            for r in range(3)
            for q in range(3)
            if r != q
            for i in range(3)
        ]
        for d in attention
    ]
    other = [
        [
            d[2 + 3 * r + i][2 + 3 * q + m]
            for r in range(3)
            for q in range(3)
            if r != q
            for i in range(3)
            for m in range(3)
            if i != m
        ]
        for d in attention
    ]
    near(
        found.cycles["attention"].value,
        [np.mean(same), np.mean(other), np.mean(other) - np.mean(same)],
        1e-3,
    )


def test_the_trajectory_is_in_the_plane_of_most_variance(
    subject: tuple[Findings, list[ByHand]],
) -> None:
    found, hands = subject
    shares, closings, nearest = [], [], []
    for h, points in zip(hands, found.trajectories, strict=True):
        path = h.x[:, :, -1]  # of the final token; all 16 recurrences, fewer than 32
        flat = path.reshape(-1, path.shape[-1])
        centred = flat - flat.mean(0)
        u, s, _ = np.linalg.svd(centred, full_matrices=False)
        shares.append((s[:2] ** 2).sum() / (s**2).sum())
        plane = (u * s)[:, :2].reshape(*path.shape[:2], 2)
        near(np.abs(points), np.abs(plane), 2e-3)  # the sign of a component is arbitrary
        step = np.linalg.norm(path[-1] - path[-2], axis=-1) / np.linalg.norm(path[-1], axis=-1)
        closings.append(step.max())
        gaps = [
            2 * np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b))
            for i, a in enumerate(path[-1]) for b in path[-1][:i]
        ]  # fmt: skip
        nearest.append((min(gaps), max(gaps)))
    near(found.plane.value[0], np.mean(shares), 1e-3)
    near(found.plane.value[1], np.mean(closings), 1e-2)
    near(found.plane.value[2:], np.mean(nearest, 0), 1e-3)


def test_limits_are_those_of_algorithm_1(subject: tuple[Findings, list[ByHand]]) -> None:
    found, hands = subject
    fixed = n = 0
    per_prompt = []
    for h in hands:
        series = np.array([cosine(s, h.s[-1]) for s in h.s[:-1]])
        own = (series >= 0.95).sum(0) >= 0.9 * len(series)
        fixed, n = fixed + own.sum(), n + own.size
        per_prompt.append(own.any())
    kind = list(Behaviour).index(Behaviour.FIXED_POINT)
    near(found.token_shares.value[0, kind], fixed / n)
    near(found.prompt_shares.value[0, kind], np.mean(per_prompt))
    near(found.token_shares.value.sum(1), 1)


def test_the_floorplan_is_every_pattern(subject: tuple[Findings, list[ByHand]]) -> None:
    found, hands = subject
    expected = np.stack([pattern for _, pattern in hands[0].places()])
    assert found.floorplan is not None
    assert found.floorplan.shape == expected.shape
    assert np.abs(found.floorplan / 255 - expected).max() <= 0.5 / 255 + 1e-3


def test_a_large_pattern_keeps_its_largest_entries() -> None:
    from loopscope.core.paper.numbers import _smaller

    patterns = np.random.default_rng(0).random((2, 100, 100)).astype(np.float32)
    small = _smaller(patterns)
    assert small.shape == (2, 50, 50)
    assert SIDE >= 50
    assert small[1, 7, 49] == round(float(patterns[1, 14:16, 98:100].max()) * 255)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_any_family(name: str, tmp_path: Path) -> None:
    path = str(write_checkpoint(tmp_path / "m", name))
    loaded = load(path, "cpu")
    arch = loaded.architecture
    if arch.runs_once:
        with pytest.raises(LoopscopeError, match="not looped; --loop A:B loops a span"):
            check_looped(arch, path)
        return
    plan = Plan(LoadRequest(path), 2, 16, longest=6)
    prompt = loaded.tokenizer.encode("#5,9,11,5,9,7")
    numbers = numbers_of(loaded, prompt, plan, floorplan=True)
    places = arch.n_prelude + 2 * arch.n_block + arch.n_coda
    assert numbers["map.attention.shown"].shape == (places, places)
    assert len(numbers["floorplan"]) == places
    for key in STAGES:
        assert np.isfinite(numbers[f"stage.{key}"]).all()
        assert numbers[f"prelude.{key}"].shape == (arch.n_prelude,)


# ---- the folder ----
def test_finished_prompts_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    real = running.numbers_of
    monkeypatch.setattr(
        running,
        "numbers_of",
        lambda *a, **k: ran.append(1) or real(*a, **k),  # type: ignore[func-returns-value]
    )
    first = made("bundled:looped", tmp_path / "o")
    assert len(ran) == 2
    again = made("bundled:looped", tmp_path / "o")
    assert len(ran) == 2
    np.testing.assert_array_equal(first.plane.value, again.plane.value)
    made("bundled:looped", tmp_path / "o", (*TEXTS, "xn ns sx ? 1 : x n s"))
    assert len(ran) == 3  # the new one alone
    made("bundled:looped", tmp_path / "o", shown=4)
    assert len(ran) == 5  # another plan, other numbers


def test_a_cut_is_made_in_every_prompt(tmp_path: Path) -> None:
    plain = made("bundled:looped", tmp_path / "a")
    cut = SkipLayer(recurrence=1, last=DEEP, layer=1)
    with_cut = made("bundled:looped", tmp_path / "b", interventions=(cut,))  # type: ignore[arg-type]
    norms = with_cut.stages["residual_norm"].curve.value
    np.testing.assert_allclose(norms[:, 0], norms[:, 1])  # a layer that is skipped changes nothing
    assert not np.allclose(norms[:, 0], plain.stages["residual_norm"].curve.value[:, 0])


def test_memory_does_not_grow_with_prompts(tmp_path: Path) -> None:
    alive: list[weakref.ref[Recording]] = []
    begun = Recording.__init__

    def noted(self: Recording, *a: object, **k: object) -> None:
        gc.collect()
        assert sum(one() is not None for one in alive) <= 1  # never those of two prompts
        alive.append(weakref.ref(self))
        begun(self, *a, **k)  # type: ignore[arg-type]

    texts = tuple(f"{a}b bc c{a} ? {1 + i % 3} : {a} b c" for i, a in enumerate("adefghijklmnopqr"))
    made("bundled:looped", tmp_path / "warm", texts[:1])
    peaks = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recording, "__init__", noted)
        for n in (4, 16):
            tracemalloc.start()
            made("bundled:looped", tmp_path / str(n), texts[:n])
            peaks[n] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert len(alive) >= 20
    assert peaks[16] < 1.15 * peaks[4]


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_paper import made, LONG
made("bundled:looped", Path(sys.argv[1]), LONG)
"""
LONG = tuple(f"{a}b bc c{a} ? {1 + i % 3} : {a} b c" for i, a in enumerate("adefgh"))


@pytest.mark.slow
def test_a_kill_anywhere_leaves_a_folder_that_goes_on(tmp_path: Path) -> None:
    whole = made("bundled:looped", tmp_path / "whole", LONG)
    tests = str(Path(__file__).parent)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / ".dev"), str(ROOT / "tests")])}
    for least in (1, 3):  # finished prompts before the kill
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD.format(tests=tests), str(tmp_path / "broken")], env=env
        )
        while child.poll() is None and len(list(tmp_path.glob("broken/prompts/*.npz"))) < least:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
    done = len(list(tmp_path.glob("broken/prompts/*.npz")))
    assert done >= 3
    broken = made("bundled:looped", tmp_path / "broken", LONG)
    for key, own in whole.stages.items():
        np.testing.assert_array_equal(own.curve.value, broken.stages[key].curve.value)
        np.testing.assert_array_equal(own.curve.low, broken.stages[key].curve.low)
    np.testing.assert_array_equal(
        whole.maps["attention", "long"].values, broken.maps["attention", "long"].values
    )


def test_bad_input_is_told_in_a_line(tmp_path: Path) -> None:
    request = LoadRequest("bundled:looped", "cpu")
    for how, told in (
        ({"shown": 1}, "--recurrences 1 shows no loop"),
        ({"shown": 8, "deep": 9}, "--deep 9 is no end to compare with; ask for 16 or more"),
        ({"shown": 40, "deep": 40}, "ask for 41 or more"),
    ):
        with pytest.raises(LoopscopeError, match=told):
            Plan(request, **how).check()
    with pytest.raises(LoopscopeError, match="bundled:deep is not looped; --loop A:B"):
        made("bundled:deep", tmp_path / "o")
    with pytest.raises(LoopscopeError, match=r"p\.txt, line 2: "):
        made("bundled:looped", tmp_path / "o", (TEXTS[0], "#99999"))
    with Folder(tmp_path / "o"), pytest.raises(LoopscopeError, match="another process writes"):
        Folder(tmp_path / "o")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    made("bundled:looped", tmp_path / "o")
    file = next(tmp_path.glob("o/prompts/*.npz"))
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(LoopscopeError, match=f"{file.name}: cannot be read.*delete it"):
        made("bundled:looped", tmp_path / "o")
    file.unlink()
    made("bundled:looped", tmp_path / "o")


def test_sections_judge_by_intervals(
    subject: tuple[Findings, list[ByHand]], tmp_path: Path
) -> None:
    found, _ = subject
    said = {own.key: own for own in sections(found)}
    assert len(said) == 8
    assert said["floorplan"].verdict == ""
    assert all(
        own.verdict in ("As expected", "Not as expected", "Left open")
        for key, own in said.items()
        if key != "floorplan"
    )
    one = made("bundled:looped", tmp_path / "o", TEXTS[:1])
    assert [own.holds for own in sections(one)] == [None] * 8  # one prompt has no interval
    settled = {
        own.key: own
        for own in sections(made("bundled:looped", tmp_path / "p", LONG, shown=8, deep=64))
    }
    assert [settled[key].holds for key in ("maps", "steps", "ends")] == [True] * 3
    # Every token settles, but six prompts say no more than that most do.
    assert settled["limits"].verdict == "Left open"


def test_a_full_disk_is_told_here_and_where_the_runs_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(LoadRequest("bundled:looped", "cpu"), 2, 16, longest=40)
    prompts = prompt_set()
    weights = subject_of(plan.request, prompts, plan).weights
    keys = keys_of(prompts, plan, weights)

    def full(*arguments: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Folder(tmp_path / "o") as folder:
        tasks = tasks_left(prompts, keys, plan, weights, folder)
        with monkeypatch.context() as patch:
            patch.setattr(np, "savez_compressed", full)
            with pytest.raises(
                LoopscopeError, match=r"cannot write .*\.npz: No space left on device"
            ):
                run_prompts(tasks, folder)
        assert not list((tmp_path / "o/prompts").iterdir())  # nothing half written
        with monkeypatch.context() as patch:  # what a run keeps goes to the disk of the worker
            patch.setattr("loopscope.core.paper.numbers.MOST_HELD", 1)
            patch.setattr("loopscope.core.run.file_blocks.FileSource.append", full)
            failures = run_prompts(tasks, folder)
        assert sorted(failures) == [1, 2]
        assert all("the disk takes no more: No space left" in why for why in failures.values())
        assert run_prompts(tasks, folder) == {}
