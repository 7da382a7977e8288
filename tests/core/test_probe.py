"""The probe: its scores, displacement, intervals and recovery against plain loops."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from models import tiny_architecture, tiny_checkpoint
from scipy.stats import sem
from scipy.stats import t as student

from loopscope.core.checkpoint.loading import Loaded, load, relooped
from loopscope.core.errors import Cancelled, LoopscopeError
from loopscope.core.experiments.architectures import twin_architecture
from loopscope.core.experiments.evaluation import evaluate_hops
from loopscope.core.experiments.probe import memory, running
from loopscope.core.experiments.probe.conditions import Plan, conditions, plan_for
from loopscope.core.experiments.probe.running import Batch, hops_batch, probe
from loopscope.core.interventions.layers import SkipLayer
from loopscope.core.measures.intervals import two_way_mean
from loopscope.core.measures.probe import Condition, Cuts, Outcome, Probe
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views import probe as view

pytestmark = pytest.mark.slow

PLAN = Plan(recurrences=8, mid=2, late=5, draws=2, sizes=(0.1, 1.0))


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load("bundled:anytime", "cpu")


@pytest.fixture(scope="module")
def batch(loaded: Loaded) -> Batch:
    return hops_batch(loaded, 6, (1, 2, 3))


@pytest.fixture(scope="module")
def found(loaded: Loaded, batch: Batch) -> Probe:
    return probe(loaded, batch, PLAN)


def by_hand(loaded: Loaded, batch: Batch, change) -> tuple[np.ndarray, list[torch.Tensor]]:  # type: ignore[no-untyped-def]
    """A plain loop over the model's own modules; ``change(r, layer, before, x)`` edits states."""
    model, answers = loaded.model, batch.answers
    with torch.inference_mode():
        e = model.prelude(batch.tokens)
        s, scores, states = torch.zeros_like(e), [], []
        for r in range(1, 9):
            x = torch.cat([s, e], -1) @ model.adapter.weight.T
            for layer in range(2):
                before = x
                x = change(r, layer, before, model.block[layer](x, model.rope(x)).state)
            s = change(r, -1, s, model.closing_norm(x))
            states.append(s)
            top = model.readout(s)[:, -answers.shape[1] :].argmax(-1)
            scores.append((top == answers).double().mean(1).numpy())
    return np.array(scores), states


def outcome(found: Probe, name: str) -> Outcome:
    return next(o for o in found.outcomes if o.condition.name == name)


def test_the_uncut_scores_are_those_of_the_evaluation(loaded: Loaded, found: Probe) -> None:
    batch = hops_batch(loaded, 40, (3,), seed=5)
    short = probe(loaded, batch, Plan(3, 1, 2, draws=1, sizes=()))
    evaluation = evaluate_hops(loaded, hops=(3,), recurrences=3, n_examples=40, seed=5)
    accuracy = [evaluation.cell(3, r).accuracy for r in (1, 2, 3)]
    np.testing.assert_allclose(short.baseline.mean(1), accuracy)
    assert found.longer.shape == (16, 6)
    np.testing.assert_array_equal(found.longer[:8], found.baseline)


def test_a_skipped_layer_by_hand(loaded: Loaded, batch: Batch, found: Probe) -> None:
    def skip(r: int, layer: int, before: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return before if layer == 1 and r <= 2 else x

    scores, states = by_hand(loaded, batch, skip)
    cut = outcome(found, "layer 1 skipped in the first 2 of 8 recurrences")
    np.testing.assert_allclose(cut.scores[0], scores)
    _, plain = by_hand(loaded, batch, lambda r, layer, before, x: x)
    moved = (states[0] - plain[0]).flatten(1).norm(dim=1) / plain[0].flatten(1).norm(dim=1)
    np.testing.assert_allclose(cut.displacement[0], moved.numpy(), rtol=1e-5)
    assert cut.condition.size == 0.25


def test_exchanged_states_by_hand(loaded: Loaded, batch: Batch, found: Probe) -> None:
    def exchange(r: int, layer: int, before: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return x.roll(1, 0) if layer == -1 and r == 5 else x

    scores, _ = by_hand(loaded, batch, exchange)
    cut = outcome(found, "another prompt's state put in after recurrence 5")
    np.testing.assert_allclose(cut.scores[0], scores)
    assert cut.donor is not None
    # Read out at once, the state that was put in says what its own prompt's answers were.
    np.testing.assert_allclose(cut.donor[0, 4], np.roll(found.baseline[4], 1), atol=0.3)


def test_the_back_edge_cut_starts_the_walk_again(found: Probe) -> None:
    """The state is the start again: what follows is the run from its first recurrence."""
    cut = outcome(found, "the start state put in after recurrence 2")
    np.testing.assert_allclose(cut.scores[0, 2:], found.baseline[:6])
    assert found.recovery(cut) == 3  # hops of 1 to 3


def test_another_way_to_the_right_end_is_taken_only_where_it_ended_right(found: Probe) -> None:
    cut = outcome(found, "the right end state of another start put in after recurrence 5")
    known = np.isfinite(cut.scores[0]).all(0)
    assert known.any()
    assert (cut.scores[0, 4:, known] == 1).all()
    assert cut.displacement.mean() < 0.2  # it is almost the same place


def test_draws_differ_and_shared_noise_is_shared(found: Probe) -> None:
    large = outcome(found, "weights, the same noise, ε = 1")
    assert not np.allclose(large.displacement[0], large.displacement[1])
    assert large.lost.mean > 0.5
    small = outcome(found, "weights, the same noise, ε = 0.1")
    assert small.displacement.mean() < 0.3 * large.displacement.mean()
    noise = outcome(found, "noise on the state at 2, ε = 0.1")
    np.testing.assert_allclose(noise.displacement, 0.1, rtol=1e-4)


def test_every_condition_ends_with_what_it_lost(found: Probe) -> None:
    listed = conditions(load("bundled:looped", "cpu").architecture, PLAN)
    assert [o.condition.name for o in found.outcomes] == [c.name for c in listed]
    for o in found.outcomes:
        lost = o.lost
        known = np.isfinite(o.scores[:, -1]).all(0)
        by_mean = (found.baseline[-1] - o.scores[:, -1])[:, known].mean()
        assert lost.mean == pytest.approx(by_mean)
        assert lost.low <= lost.mean <= lost.high
        assert math.isnan(found.recovery(o)) == o.condition.lasting


def test_the_interval_against_scipy() -> None:
    values = np.random.default_rng(0).beta(2, 5, size=(1, 60))
    ours = two_way_mean(values)
    theirs = student.interval(0.95, 59, values.mean(), sem(values[0]) * (1 + 3.8 / 60))
    assert ours.mean == values.mean()
    np.testing.assert_allclose((ours.low, ours.high), theirs, rtol=1e-12)
    # Draws that differ widen it: what is random is a sample as well.
    apart = two_way_mean(np.concatenate([values, values + 0.3]))
    assert apart.high - apart.low > 2 * (ours.high - ours.low)
    assert math.isnan(two_way_mean(values[:, :1]).low)


def test_recovery_of_known_curves() -> None:
    def made(
        curve: list[float], recurrence: int, lasting: bool = False, draws: tuple[Cuts, ...] = ((),)
    ) -> float:
        baseline = np.ones((6, 3))
        c = Condition("graph", "g", "n", math.nan, "", draws, recurrence, lasting)
        scores = np.array(curve)[None, :, None] * np.ones((1, 6, 3))
        o = Outcome(c, scores, None, np.ones((1, 3)), two_way_mean(1 - scores[:, -1]))
        p = Probe("m", "h", "t", 6, 6, 2, 4, 0.1, baseline, np.ones((12, 3)), (o,))
        return p.recovery(o)

    assert made([1, 1, 1, 1, 1, 1], 2) == 0
    assert made([1, 0.2, 0.5, 0.99, 1, 1], 2) == 2
    assert made([1, 0.2, 1, 0.5, 1, 1], 2) == 3  # it has to stay
    assert made([1, 1, 1, 1, 1, 0.5], 5) == math.inf
    assert math.isnan(made([1, 0, 0, 0, 0, 0], 2, lasting=True))
    assert made([1, 0.98, 0.98, 0.98, 0.98, 0.98], 2) == 0  # just as much, but for rounding
    # A cut into the first three is over after the third: that is where counting begins.
    skip: Cuts = (SkipLayer(recurrence=1, last=3, layer=0),)
    assert made([0, 0, 0, 0, 1, 1], 1, draws=(skip,)) == 2
    assert made([0, 0, 1, 1, 1, 1], 1, draws=(skip,)) == 0


def test_it_is_written_as_json_without_nan(found: Probe, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    found.write(path)
    read = json.loads(path.read_text())
    assert read["prompts"] == 6
    assert len(read["conditions"]) == len(found.outcomes)
    one = next(
        c for c in read["conditions"] if c["name"] == "the start state put in after recurrence 2"
    )
    assert (one["size"], one["recovers_in"], one["draws"]) == (None, 3.0, 1)


def test_what_cannot_be_probed_says_why(tmp_path: Path, loaded: Loaded, batch: Batch) -> None:
    deep = load(str(tiny_checkpoint(tmp_path / "d", twin_architecture("deep", 2, d_model=16))))
    with pytest.raises(LoopscopeError, match="a deep model runs once"):
        probe(deep, hops_batch(deep, 2, (1,)), PLAN)
    with pytest.raises(LoopscopeError, match="do not lie in order within 5 recurrences"):
        probe(loaded, batch, Plan(5, 2, 5))
    other = tiny_checkpoint(tmp_path / "v", tiny_architecture(vocab_size=50), tokenizer=False)
    with pytest.raises(LoopscopeError, match="has 50 tokens"):
        hops_batch(load(str(other)), 2, (1,))

    def give_up(share: float) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        probe(loaded, batch, PLAN, give_up)


def test_a_looped_span_of_a_deep_model_is_a_loop(tmp_path: Path) -> None:
    deep = load(str(tiny_checkpoint(tmp_path / "d", twin_architecture("deep", 2, d_model=16))))
    span = relooped(deep, (1, 3, 0.5))
    found = probe(span, hops_batch(span, 2, (1,)), PLAN)
    with torch.inference_mode():
        batch = hops_batch(span, 2, (1,))
        top = span.model(batch.tokens, 8)[:, -8:].argmax(-1)
    right = (top == batch.answers).double().mean(1).numpy()
    np.testing.assert_array_equal(found.baseline[-1], right)


def test_a_block_without_injection_has_no_injection_to_cut(tmp_path: Path) -> None:
    bare = tiny_architecture(injection="none", initial_state="embedding", n_block=1)
    names = [c.group for c in conditions(bare, PLAN)]
    assert "injection cut" not in names
    assert "first and last layer swapped" not in names
    model = load(str(tiny_checkpoint(tmp_path / "b", bare)))
    assert probe(model, hops_batch(model, 2, (1,)), PLAN).n_prompts == 2


def test_too_few_recurrences_are_refused_with_what_to_do(tmp_path: Path) -> None:
    deep = load(str(tiny_checkpoint(tmp_path / "d", twin_architecture("deep", 2, d_model=16))))
    shallow = load(str(tiny_checkpoint(tmp_path / "s", tiny_architecture(trained_recurrences=1))))
    for loaded in (shallow, relooped(deep, (1, 3, 0.5)), relooped(deep, (1, 3, 1.0))):
        batch = hops_batch(loaded, 2, (1,))
        for n in (0, 2):
            with pytest.raises(LoopscopeError, match="at least 3 recurrences .* --recurrences"):
                probe(loaded, batch, plan_for(1, recurrences=n))
        assert probe(loaded, batch, plan_for(1, recurrences=3, draws=1)).recurrences == 3
        recording = Stepper(loaded).begin(loaded.tokenizer.encode("ab ba ? 1 : a b"))
        assert view.why_not(recording) == ""
        for n, says in ((0, "at least 3 recurrences"), (2, "at least 3"), (3, "Nothing has been")):
            data = view.compute(recording, Selection(), view.Options(recurrences=n))
            assert says in data.missing
    recording = Stepper(deep).begin(deep.tokenizer.encode("ab ba ? 1 : a b"))
    assert view.why_not(recording).startswith("A deep model runs once")


def test_how_often_a_cut_is_made_is_said_in_words() -> None:
    arch = load("bundled:looped", "cpu").architecture
    names = [c.name for c in conditions(arch, plan_for(20)) if c.group == "layer 0 skipped"]
    assert names == [
        "layer 0 skipped in the first recurrence",
        "layer 0 skipped in the first 2 of 20 recurrences",
        "layer 0 skipped in the first 4 of 20 recurrences",
        "layer 0 skipped in the first 8 of 20 recurrences",
        "layer 0 skipped in the first 16 of 20 recurrences",
        "layer 0 skipped always",
    ]


def test_cancelling_is_seen_before_every_recurrence(loaded: Loaded, batch: Batch) -> None:
    """Also in the uncut runs that come first."""
    plan = Plan(3, 1, 2, draws=1, sizes=(0.1,))
    shares: list[float] = []
    whole = probe(loaded, batch, plan, shares.append)
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    runs = 2 + 2 + sum(len(o.condition.draws) for o in whole.outcomes)  # two starts found all
    assert len(shares) >= runs * plan.recurrences
    model, ran = loaded.model, 0
    for last in (0, 1, 2, 5, 40):
        ran, told = 0, 0

        def count(*_: object) -> None:
            nonlocal ran
            ran += 1

        def report(share: float, last: int = last) -> None:
            nonlocal told
            told += 1
            if told > last:
                raise Cancelled("enough")

        hook = model.block[0].register_forward_hook(count)
        with pytest.raises(Cancelled):
            probe(loaded, batch, plan, report)
        hook.remove()
        assert ran <= last


def test_what_is_kept_is_what_was_announced(found: Probe) -> None:
    todo = [o.condition for o in found.outcomes]
    kept = sum(o.scores.nbytes + (0 if o.donor is None else o.donor.nbytes) for o in found.outcomes)
    kept += found.longer.nbytes + found.baseline.nbytes
    assert memory.result_bytes(PLAN, todo, found.n_prompts) == kept


def test_a_probe_that_does_not_fit_is_refused_before_it_runs(
    loaded: Loaded, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object) -> None:
        raise AssertionError("it ran")

    monkeypatch.setattr(running, "free_bytes", lambda device: 2**31)
    monkeypatch.setattr(loaded.model, "prelude", run)
    many = Batch(batch.tokens[:1].expand(5000, -1), batch.answers[:1].expand(5000, -1), 0.1, "many")
    with pytest.raises(LoopscopeError, match=r"needs [\d.]+ GiB of memory and 2.00 GiB are free"):
        probe(loaded, many, Plan(1000, 3, 600, draws=2))


@pytest.mark.parametrize(
    ("free", "free_host", "one_memory", "refused"),
    [
        (100, 100, False, False),
        (99, 100, False, True),
        (100, 49, False, True),
        (150, None, True, False),
        (149, 10**9, True, True),
        (None, None, False, False),
    ],
)
def test_memory_is_counted_where_it_is_taken(
    free: int | None, free_host: int | None, one_memory: bool, refused: bool
) -> None:
    refusal = pytest.raises(LoopscopeError, match="ask for fewer prompts, recurrences or draws")
    with refusal if refused else contextlib.nullcontext():
        memory.check_memory(100, 50, free, free_host, one_memory=one_memory)
