"""The study of `loopscope reproduce`: its numbers, its training and its page."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from recordings import relative_steps, synthetic_recording

from loopscope.app.cli.main import main
from loopscope.app.cli.reproduce import bundled_cycle, page_text, write_page
from loopscope.app.cli.reproduce_cycle import PROMPT, cycle_words
from loopscope.core.checkpoint.loading import load
from loopscope.core.dynamics.recurrence_map import RecurrenceMap
from loopscope.core.experiments import reproduction
from loopscope.core.experiments.ablations import VARIANTS
from loopscope.core.experiments.hops import make_batch
from loopscope.core.experiments.reproduction import correlate, separation, study
from loopscope.core.experiments.small_models import is_trained, train
from loopscope.core.experiments.study import Study
from loopscope.core.experiments.twins import TWINS
from loopscope.core.measures.intervals import bootstrap_mean, wilson_interval, wilson_share
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.stepper import Stepper
from loopscope.core.sweeps.small import train_missing

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundled() -> Study:
    loaded = load("bundled:anytime", "cpu")
    return study(
        loaded, seed=0, name="bundled:anytime", hops=3, n_letters=8, recurrences=24, n_prompts=3,
        n_examples=40,
    )  # fmt: skip


def test_the_radius_of_a_causal_model_is_that_of_the_whole_jacobian() -> None:
    loaded = load("bundled:anytime", "cpu")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode(PROMPT))
    for _ in range(8):
        stepper.step()
    f, state = RecurrenceMap(stepper), recording.state(8)
    rows = torch.func.jacrev(lambda s: f(s[None])[0])(f.flat(state)[0])
    dense = np.abs(np.linalg.eigvals(rows.double().numpy())).max()
    with pytest.MonkeyPatch.context() as patch:  # Arnoldi's is an estimate: it is not asked
        patch.delattr(reproduction, "leading_eigenvalues")
        assert reproduction._radius(f, state) == pytest.approx(dense, rel=1e-4)


def test_the_bundled_model_settles_into_a_cycle(bundled: Study) -> None:
    assert bundled.n_layers == 2
    assert len(bundled.relative_step) == bundled.recurrences == 24
    assert bundled.relative_step[-1] < 1e-5
    # One token of 81 still creeps: 6e-4 a step, three times the tolerance from its limit.
    assert bundled.settled == pytest.approx(80 / 81)
    assert bundled.separation > 0.3
    assert max(bundled.radius) < 1
    assert bundled.accuracy[-1] > 0.98
    assert bundled.repeats == {}  # two layers have no curve
    assert bundled.head_settling > 0.9


def test_means_over_prompts_have_the_intervals_of_the_prompts(bundled: Study) -> None:
    """The same prompts run here, their own means resampled."""
    loaded = load("bundled:anytime", "cpu")
    batch = make_batch(np.random.default_rng(7_000_003), np.full(3, 3), n_letters=8)
    steps, apart = [], []
    for tokens in batch.tokens:
        stepper = Stepper(loaded)
        recording = stepper.begin(loaded.tokenizer.from_ids(tuple(tokens.tolist())))
        for _ in range(24):
            stepper.step()
        steps.append(np.median(relative_steps(recording), axis=1))
        apart.append([separation(recording)])
    expected = bootstrap_mean(np.array(steps))
    low, high = np.array(bundled.relative_step_interval).T
    np.testing.assert_allclose(low[:12], expected.low[:12], rtol=1e-4)
    np.testing.assert_allclose(high[:12], expected.high[:12], rtol=1e-4)
    ends = bootstrap_mean(np.array(apart))
    assert bundled.separation_interval == (
        pytest.approx(ends.low[0], rel=1e-5), pytest.approx(ends.high[0], rel=1e-5),
    )  # fmt: skip
    of_prompts = wilson_share(np.array([[26 / 27], [1.0], [1.0]]))
    assert bundled.settled_interval == (of_prompts.low[0], of_prompts.high[0])
    assert bundled.accuracy_interval[-1] == pytest.approx(
        wilson_interval(bundled.accuracy[-1] * 40, 40)
    )
    assert len(bundled.layer_relative_step_interval[5]) == 2
    assert np.isnan(bundled.head_change_interval[0]).all()  # no change at recurrence 1
    assert np.isfinite(bundled.head_change_interval[1:]).all()


def test_separation_by_hand() -> None:
    recording = synthetic_recording(recurrences=3, n_block=3, tokens=2)
    x = recording.layer_states[-1].astype(np.float64)
    by_hand = []
    for t in range(2):
        norm = np.mean([np.linalg.norm(x[i, t]) for i in range(3)])
        by_hand += [np.linalg.norm(x[i, t] - x[j, t]) / norm for i, j in ((0, 1), (0, 2), (1, 2))]
    assert separation(recording) == pytest.approx(np.mean(by_hand))
    assert np.isnan(separation(synthetic_recording(n_block=1)))


def test_correlation_leaves_rounding_noise_out() -> None:
    steps = np.array([[np.nan], [1e-1], [1e-2], [1e-3], [1e-8]])
    changes = np.array([[np.nan], [2e-1], [2e-2], [2e-3], [5.0]])
    r, n = correlate(steps, changes, 3e-8)
    assert n == 3
    assert r == pytest.approx(1)
    assert np.isnan(correlate(steps[:3], changes[:3], 3e-8)[0])


@pytest.mark.parametrize("model", [*VARIANTS, *TWINS], ids=lambda m: m.key)
def test_every_small_model_trains_and_loads_as_what_it_is(model, tmp_path) -> None:
    folder = train(model, 1, tmp_path, steps=3)
    assert is_trained(model, 1, tmp_path)
    assert load(str(folder), "cpu").architecture == model.arch
    assert train(model, 1, tmp_path) == folder  # done: nothing is trained again


def test_the_tables_change_one_thing_at_a_time() -> None:
    base = VARIANTS[0]
    for variant in VARIANTS[1:]:
        assert variant.plan == base.plan
        assert variant.arch != base.arch
    looped, deep, shallow = TWINS
    for twin in (deep, shallow):
        assert replace(twin.plan, passes=0) == looped.plan
    hops = looped.plan.data.max_hops
    assert deep.arch.effective_depth(1) == looped.arch.effective_depth(hops)
    assert replace(shallow.arch, trained_recurrences=10) == looped.arch


def test_what_is_trained_is_not_trained_again(tmp_path) -> None:
    for variant in VARIANTS:
        train(variant, 0, tmp_path, steps=1)
    said = []
    train_missing("ablations", tmp_path, (0,), lambda share, note: said.append(note), None, True)
    assert said == []


def test_the_page_says_what_the_numbers_say(bundled: Study, tmp_path) -> None:
    four = replace(bundled, name="block-4", n_layers=4,
                   repeats=dict.fromkeys(bundled.stages, (0.95, 0.94)),
                   stages={k: [[1.0, 2, 3, 4]] * 24 for k in bundled.stages})  # fmt: skip
    found = [bundled, *(replace(bundled, name=v.key) for v in VARIANTS if v.key != "block-4"), four]
    cycle = bundled_cycle()
    page = write_page(found, cycle, tmp_path).read_text()
    assert "The lowest with the next is 0.950. Withdrawn as evidence" in page
    assert page.index("**Corrected.**") < page.index("## ")
    low, high = bundled.separation_interval
    assert f"{bundled.separation:.2f} ({low:.2f}–{high:.2f}) of the state norm apart" in page
    low, high = bundled.accuracy_interval[-1]
    assert f"{bundled.accuracy[-1]:.4f} ({low:.4f}–{high:.4f}, 40 examples)" in page
    low, high = bundled.layer_relative_step_interval[-1][1]
    assert f"{bundled.layer_relative_step[-1][1]:.1e} ({low:.1e}–{high:.1e})" in page
    half = (bundled.separation_interval[1] - bundled.separation_interval[0]) / 2
    assert f"layers' ends ±{half:.2g} over 3 prompts" in page
    # The same numbers with and without injection: the claim is not upheld.
    assert "**Injection.**" in page
    assert page.count("Does not hold here") == 2
    for name in ("settling", "cycle", "stages", "ablations"):
        assert (tmp_path / "images" / f"reproduce-{name}.png").stat().st_size > 5000
    assert (tmp_path / "results.json").exists()


def test_a_model_that_does_not_settle_is_not_said_to(bundled: Study) -> None:
    wild = replace(bundled, settled=0.2)
    groups = [(VARIANTS[0], [replace(bundled, name="base")])]
    first = page_text(wild, groups, bundled, bundled_cycle()).split("##")[1]
    assert "Does not hold here" in first
    low, high = wild.settled_interval
    assert f"20.0% ({low:.1%}–{high:.1%}) of tokens are settled" in first


def test_the_cycle_is_the_papers_joint_pca_of_the_final_token() -> None:
    data = bundled_cycle()
    loaded = load("bundled:anytime", "cpu")
    # Attention is rounded otherwise when patterns are kept, and the last step is rounding.
    stepper = Stepper(loaded, Capture(patterns=False))
    recording = stepper.begin(loaded.tokenizer.encode(PROMPT))
    for _ in range(20):
        stepper.step()
    states = recording.layer_states[:, :, -1].reshape(-1, 64).astype(float)
    centred = states - states.mean(0)
    _, sigma, axes = np.linalg.svd(centred, full_matrices=False)
    mine = centred @ axes[:2].T
    np.testing.assert_allclose(np.abs(data.points[0]), np.abs(mine), atol=1e-4)
    assert sum(a.share for a in data.axes) == pytest.approx(
        (sigma[:2] ** 2).sum() / (sigma**2).sum(), abs=1e-6
    )
    words = " ".join(cycle_words(data))
    before, last = recording.layer_states[-2:, :, -1].astype(float)
    gap = np.linalg.norm(last - before, axis=-1) / np.linalg.norm(last, axis=-1)
    assert f"by at most {gap.max():.1e} of the state norm" in words
    assert "It repeats; that it has as many points as layers" in words
    assert "It does not repeat" in " ".join(cycle_words(replace(data, closing=np.array([0.5]))))


@pytest.mark.timeout(1200)  # two trainings of half a minute, however busy the machine is
def test_the_quick_version_trains_measures_and_writes_the_page(tmp_path, capsys) -> None:
    """The whole command, with trainings that learn: nothing in it is a stand-in."""
    assert main(["reproduce", "-o", str(tmp_path), "--quick"]) == 0
    page = (tmp_path / "does-a-small-loop.md").read_text()
    assert capsys.readouterr().out.strip() == str(tmp_path / "does-a-small-loop.md")
    found = {s["name"]: s for s in json.loads((tmp_path / "results.json").read_text())}
    base, free = found["base"], found["no-injection"]
    # Learnt: one hop over four letters, where a guess is right in a third.
    assert base["accuracy"][3] > 0.9
    assert free["accuracy"][3] > 0.9
    # With injection it settles and keeps its answers; without, it drifts from both.
    assert base["settled"] == 1
    assert base["relative_step"][-1] < 1e-4
    assert base["accuracy"][-1] > 0.9
    assert free["settled"] < 0.5
    assert free["relative_step"][-1] > 1e-2
    assert "**Injection.** With it (two layers) at least 100% of tokens settle" in page
    assert "**A quick version** (`--quick`)" in page
    assert "No block of four layers was measured." in page
    drawn = {path.stem for path in (tmp_path / "images").glob("*.png")}
    assert drawn == {f"reproduce-{name}" for name in ("settling", "cycle", "ablations")}
    for name in re.findall(r"\(images/([a-z-]+)\.png\)", page):
        assert name in drawn
    # A second time nothing is trained again.
    record = tmp_path / "models-quick" / "base-seed0" / "training.json"
    before = record.stat().st_mtime_ns
    train_missing("quick", tmp_path / "models-quick", (0,), lambda share, note: None, None, True)
    assert record.stat().st_mtime_ns == before
