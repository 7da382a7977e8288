"""Exit rules by hand, against plain loops, and on models whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint
from models import tiny_checkpoint
from recordings import recording_of, relative_steps, synthetic_recording
from safetensors.torch import load_file, save_file

from loopscope.core.analyses.exits import run
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.measures.exit_gate import exit_recurrence
from loopscope.core.measures.exits import (
    BY_KEY,
    RULES,
    Signals,
    agrees,
    exit_at,
    exits_at,
    final_since,
    signals_of,
    still_running,
    stops,
)
from loopscope.core.measures.exits_over_prompts import EXITS_OVER_PROMPTS
from loopscope.core.measures.readout import NO_ANSWER
from loopscope.core.prompts.prompt_set import Item, PromptSet, read_prompts
from loopscope.core.run.jobs import Job
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views import exits as view

OURO = Path(__file__).parents[1] / "data" / "reference" / "ouro-tiny"
nan = np.nan


def test_the_rules_by_hand() -> None:
    values = np.array([[nan, 0.5], [0.2, 0.05], [0.05, 0.2], [0.05, 0.05], [0.3, 0.05]])
    at, stopped = exit_at(still_running(BY_KEY["step"], values, 0.1))
    assert at.tolist() == [3, 2]
    assert stopped.all()
    at, stopped = exit_at(still_running(BY_KEY["acceleration"], values, 0.1))
    assert at.tolist() == [4, 5]  # twice running: not at the first of the two
    at, stopped = exit_at(still_running(BY_KEY["kl"], values, 0.05))  # below, not at
    assert at.tolist() == [5, 5]
    assert not stopped.any()  # all recurrences were used without stopping
    at, stopped = exit_at(still_running(BY_KEY["kl"], values[:, :1], 0.31))
    assert at.tolist() == [2]  # NaN is never below
    at, stopped = exit_at(still_running(BY_KEY["step"], values[:0], 0.1))
    assert (at.tolist(), stopped.tolist()) == ([0, 0], [False, False])


def test_a_run_of_a_single_recurrence() -> None:
    values = np.array([[0.01, 0.5]])
    at, stopped = exit_at(still_running(BY_KEY["step"], values, 0.1))
    assert (at.tolist(), stopped.tolist()) == ([1, 1], [True, False])
    _, stopped = exit_at(still_running(BY_KEY["acceleration"], values, 0.1))
    assert not stopped.any()


@pytest.mark.parametrize("key", ["step", "acceleration", "kl"])
@pytest.mark.parametrize("seed", range(4))
def test_any_values_against_a_plain_loop(key: str, seed: int) -> None:
    values = np.random.default_rng(seed).random((12, 30))
    values[np.random.default_rng(seed + 9).random(values.shape) < 0.1] = nan
    for threshold in (0.1, 0.3, 0.7, 2.0):
        at, stopped = exit_at(still_running(BY_KEY[key], values, threshold))
        for t in range(30):
            expected = None
            for r in range(1, 13):
                rows = [r] if key != "acceleration" else [r - 1, r]
                if rows[0] >= 1 and all(values[i - 1, t] < threshold for i in rows):
                    expected = r
                    break
            assert at[t] == (expected or 12)
            assert stopped[t] == (expected is not None)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.key)
def test_a_sweep_is_every_threshold_on_its_own(rule) -> None:
    rng = np.random.default_rng(1)
    values = rng.random((9, 25)) * (0.4 if rule.gate else 1)
    values[rng.random(values.shape) < 0.1] = nan
    thresholds = np.sort(np.concatenate([rng.random(20), values[:, 3], [0.0, 1.0, 50.0]]))
    thresholds = thresholds[np.isfinite(thresholds)]
    found = exits_at(rule, values, thresholds)
    for row, threshold in zip(found, thresholds, strict=True):
        at, _ = exit_at(still_running(rule, values, threshold))
        np.testing.assert_array_equal(row, at)


def test_the_gate_stops_where_its_own_function_says() -> None:
    hazards = np.random.default_rng(0).random((6, 40)).astype(np.float32)
    for q in (0.0, 0.3, 0.9, 1.0):
        at, _ = exit_at(still_running(BY_KEY["gate"], hazards.astype(float), q))
        np.testing.assert_array_equal(at, exit_recurrence(hazards, q))


def test_agreement_and_the_last_change_by_hand() -> None:
    answers = np.array([[1, 5, 3, 7], [2, 5, 3, 9], [2, 4, NO_ANSWER, 9], [2, 5, 3, NO_ANSWER]])
    same = agrees(answers)
    np.testing.assert_array_equal(
        same, [[0, 1, 1, nan], [1, 1, 1, nan], [1, 0, nan, nan], [1, 1, 1, nan]]
    )
    np.testing.assert_array_equal(final_since(same), [2, 4, nan, nan])


def test_sums_over_tokens_by_hand() -> None:
    answers = np.array([[1, 1, 0], [2, 2, 0], [2, 1, 0], [2, 1, NO_ANSWER]])
    values = np.array([[0.5, 0.05, 0.0], [0.05, 0.5, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    signals = Signals({"step": values}, {}, agrees(answers), answers)
    found = stops(BY_KEY["step"], signals, np.array([0.01, 0.1, 1.0]))
    # Never: both use 4. At 0.1: token 0 stops at 2 with its last answer, token 1 at 1 with its.
    assert found.used.tolist() == [8, 3, 2]
    assert found.agree.tolist() == [2, 2, 1]
    assert found.n == 2  # the third has no last answer to agree with


def test_a_contraction_stops_where_its_step_says() -> None:
    r = np.arange(31)
    states = (5 + 0.5**r)[:, None, None] * np.ones((1, 2, 4))
    recording = recording_of(states)
    from loopscope.core.measures.base import measure
    from loopscope.core.measures.registry import MEASURES

    steps = measure(recording, MEASURES["relative_step"]).values
    at, _ = exit_at(still_running(BY_KEY["step"], steps, 1e-3))
    # |Δ_r| = 0.5^r, |s| ≈ 5: below 1e-3 from 0.5^r < 5e-3 on, r = 8.
    assert at.tolist() == [8, 8]
    acceleration = measure(recording, MEASURES["relative_acceleration"]).values
    at, _ = exit_at(still_running(BY_KEY["acceleration"], acceleration, 1e-3))
    # |Δ_r − Δ_{r−1}| = 0.5^r as well, and it must hold twice.
    assert at.tolist() == [9, 9]


# ---- the view ----
def stepped(loaded: Loaded, prompt: str, n: int, capture: Capture | None = None) -> Stepper:
    stepper = Stepper(loaded, capture)
    stepper.begin(loaded.tokenizer.encode(prompt))
    for _ in range(n):
        stepper.step()
    return stepper


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load("bundled:anytime", "cpu")


@pytest.fixture
def stepper(loaded: Loaded) -> Stepper:
    loaded.shared.prompts = None
    loaded.shared.results.clear()
    return stepped(loaded, "ab bc cd de ea ? 3 : a b c d e", 20)


@pytest.mark.slow
def test_the_outcomes_are_those_of_stopping_there(stepper: Stepper) -> None:
    recording = stepper.recording
    data = view.compute(recording, Selection(tokens=(11, 13)), view.Options(step=0.5))
    assert data.tokens == (11, 13)
    outcome = data.outcomes[0]
    coda = recording.answers("coda")
    for i, token in enumerate((11, 13)):
        first = int(np.argmax(relative_steps(recording)[:, token] < 0.5)) + 1
        assert outcome.at[i] == first
        # Running only so far and reading out says the same.
        short = stepped(stepper.loaded, recording.info.prompt, first)
        said = int(short.readout()[token].argmax())
        assert outcome.answers[i] == recording.label(said)
        assert outcome.agrees[i] == (said == coda.ids[-1, token, 0])
    assert outcome.name == "relative step < 0.5"
    assert data.outcomes[1].name == "acceleration < 0.01 twice"
    assert data.outcomes[3].missing == "This model has no exit gate."
    assert "relative step < 0.5 uses" in data.statement
    assert "2 tokens" in data.statement


def test_the_curve_goes_from_stopping_at_once_to_the_full_run(stepper: Stepper) -> None:
    data = view.compute(stepper.recording, Selection(), view.Options())
    sweep, chosen = data.curves[0], data.curves[1]
    assert (sweep.x[0], sweep.y[0]) == (20, 1)
    assert sweep.x[-1] == 1  # τ above every step
    assert (np.diff(sweep.x) <= 0).all()
    outcome = data.outcomes[0]
    assert chosen.x.tolist() == [pytest.approx(outcome.at.mean())]
    assert chosen.y.tolist() == [pytest.approx(outcome.agrees.mean())]
    assert sweep.low is None  # one prompt has no interval
    # What is shown at first reaches past every threshold chosen and every loss, and no further.
    low, high = data.x_shown
    assert low == 1
    assert max(c.x[0] for c in data.curves if not c.name) < high < 20
    assert all((c.y[c.x > high] == 1).all() for c in data.curves)
    assert data.marks[0][0] == pytest.approx(
        np.mean(final_since(signals_of(stepper.recording).same))
    )
    for c, at in zip(data.curves, data.thresholds, strict=True):
        assert len(c.x) == len(at)


def test_what_is_missing_is_said(loaded: Loaded) -> None:
    assert (
        "two recurrences"
        in view.compute(synthetic_recording(recurrences=1), Selection(), view.Options()).missing
    )
    kept_nothing = stepped(loaded, "ab", 3, Capture(readout=False)).recording
    assert (
        "did not keep its readouts"
        in view.compute(kept_nothing, Selection(), view.Options()).missing
    )
    two = view.compute(stepped(loaded, "ab ba", 2).recording, Selection(), view.Options())
    assert not two.missing
    assert (two.outcomes[1].at == 2).all()
    loaded.shared.prompts = None
    data = view.compute(stepped(loaded, "ab", 3).recording, Selection(),
                        view.Options(over="prompts"))  # fmt: skip
    assert data.lacks.kind == "prompts"
    assert data.bundled
    assert data.outcomes  # the tokens of the run are there all the same


def test_ouros_gate_stops_at_its_threshold_and_is_swept() -> None:
    loaded = load(str(OURO), "cpu")
    recording = stepped(loaded, "#5,17,3,60,41,8,2", 4).recording
    data = view.compute(recording, Selection(), view.Options())
    gate = data.outcomes[3]
    threshold = recording.info.architecture.exit_threshold
    np.testing.assert_array_equal(gate.at, exit_recurrence(recording.hazards, threshold))
    assert gate.name == f"exit gate ≥ {threshold:g}"
    assert len(data.curves) == 8
    sweep = data.curves[6]
    assert sweep.name == "exit gate ≥ q"
    q = data.thresholds[6]
    for i in range(len(q)):
        at = exit_recurrence(recording.hazards, q[i])
        assert sweep.x[i] == pytest.approx(at.mean())


def simulated(stepper: Stepper, prompts: PromptSet, **options: object) -> view.Data:
    stepper.loaded.shared.prompts = prompts
    chosen = view.Options(**options)
    found = run(stepper, Selection(), chosen, Job("test"))
    stepper.recording.keep(EXITS_OVER_PROMPTS, found)
    return view.compute(stepper.recording, Selection(), chosen)


def test_prompts_that_diverge_are_counted_beside_the_others(tmp_path: Path) -> None:
    """There is no answer of the full run to agree with; that they are left out is said."""
    folder = tiny_checkpoint(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    tensors["embed.weight"][9] = 3e38
    save_file(tensors, folder / "model.safetensors")
    stepper = stepped(load(str(folder), "cpu"), "#4,5,6", 3)
    ids = ["4,5,6", "5,9,7", "10,11,12", "9,7,6"]
    items = tuple(Item(f"#{i}", None, n + 1) for n, i in enumerate(ids))
    data = simulated(stepper, PromptSet("p", "p", items))
    assert "6 tokens of p (6 more left out: their readout is not finite): " in data.statement
    assert data.n_prompts == 2
    assert np.isnan(data.rows.columns[0].at(1, 0)[[1, 3]]).all()
    assert [bool(why) for why in data.rows.missing] == [False, True, False, True]


def test_over_a_prompt_set_only_the_answers_are_looked_at(stepper: Stepper) -> None:
    prompts = read_prompts("bundled:hops")
    some = PromptSet("p", "p", (*prompts.items[:6], Item("ab ba ? 1 : a", None, 99)))
    data = simulated(stepper, some)
    assert data.over == "prompts"
    assert "48 answer tokens of p" in data.statement
    used, agree = np.zeros(6), np.zeros(6)
    for i, item in enumerate(some.items[:6]):
        recording = stepped(stepper.loaded, item.text, 20).recording
        steps, top = relative_steps(recording)[:, -8:], recording.answers("coda").ids[:, -8:, 0]
        at = np.argmax(steps < 1e-2, axis=0) + 1
        used[i], agree[i] = at.sum(), (top[at - 1, np.arange(8)] == top[-1]).sum()
    chosen = data.curves[1]
    assert chosen.x[0] == pytest.approx(used.sum() / 48)
    assert chosen.y[0] == pytest.approx(agree.sum() / 48)
    sweep = data.curves[0]
    assert (sweep.low <= sweep.y).all()
    assert (sweep.y <= sweep.high).all()
    assert (sweep.low < sweep.high).any()
    # Level, kind and n stand with every interval: on the screen, in the file, on the page.
    assert (data.n_prompts, data.bands) == (6, "95 % Wilson, n = 6 prompts")
    assert f"95 % {100 * chosen.low[0]:.3g} to {100 * chosen.high[0]:.3g}, n = 6)" in data.statement
    rows = [dict(zip(view.table(data).columns, r, strict=True)) for r in view.table(data).rows]
    assert {r["prompts"] for r in rows if r["agreement low"] != ""} == {6}
    assert data.rows.missing[6] == "The file gives no answer for this prompt."
    np.testing.assert_allclose(data.rows.columns[0].at(1, 0)[:6], used / 8)
    assert np.isnan(data.rows.columns[0].at(1, 0)[6])
    # One of one hop is final from recurrence 1 on, one of six from six.
    assert 1 < data.marks[0][0] < 6
    stays = view.compute(stepped(stepper.loaded, "ab ba ? 1 : a", 3).recording, Selection(),
                         view.Options())  # fmt: skip
    assert stays.statement == data.statement
    assert (stays.n_run, stays.n_recurrences) == (3, 20)
    own = view.compute(stepper.recording, Selection(), view.Options(over="run"))
    assert own.over == "run"
    assert len(list(view.table(own).rows)) > 3 * 14
    assert len(list(view.table(data).rows)) > 3 * 7


def test_without_answers_every_token_is(stepper: Stepper) -> None:
    prompts = PromptSet("p", "p", (Item("ab ba ? 1 : a", None, 1), Item("xy yx", None, 2)))
    data = simulated(stepper, prompts)
    assert "12 tokens of p" in data.statement
    assert not data.result.only_answers


def test_another_prompt_set_has_to_be_simulated_again(stepper: Stepper) -> None:
    simulated(stepper, PromptSet("p", "p", (Item("ab ba ? 1 : a", "b", 1),)))
    stepper.loaded.shared.prompts = PromptSet("q", "q", (Item("ab", None, 1),))
    data = view.compute(stepper.recording, Selection(), view.Options(over="prompts"))
    assert "not been simulated over q" in data.missing
    assert view.compute(stepper.recording, Selection(), view.Options()).over == "run"


@pytest.mark.parametrize("name", ["huginn", "hrm_text", "albert", "llama", "ouro", "lds"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_family(name: str, dtype: str, tmp_path: Path) -> None:
    loaded = load(str(write_checkpoint(tmp_path / name, name)), "cpu", dtype)
    stepper = stepped(loaded, "#5,17,3", 3)
    prompts = PromptSet("p", "p", (Item("#5,17,3", None, 1), Item("#7", None, 2)))
    data = simulated(stepper, prompts)
    assert not data.missing
    gates = {"ouro": {"gate"}, "lds": {"hazard"}}.get(name, set())
    assert {r.key for r in data.rules} == {r.key for r in RULES if not r.gate} | gates


@pytest.mark.slow
def test_the_bundled_models_exits_make_sense(loaded: Loaded) -> None:
    """What docs/exits.md says of it."""
    loaded.shared.results.clear()
    stepper = stepped(loaded, "ab bc cd de ea ? 3 : a b c d e", 20)
    data = simulated(stepper, read_prompts("bundled:hops"))
    chosen = {r.key: c for c, r in zip(data.curves, data.rules, strict=True) if not c.name}
    assert {key: c.y[0] for key, c in chosen.items()} == {"step": 1, "acceleration": 1, "kl": 1}
    assert chosen["kl"].x[0] < chosen["step"].x[0] < chosen["acceleration"].x[0] < 11
    assert data.marks[0][0] == pytest.approx(3.45, abs=0.05)


def test_an_exit_below_what_the_dtype_resolves_is_counted_and_said() -> None:
    loaded = load("bundled:looped", "cpu", "bfloat16")
    recording = stepped(loaded, "ab bc ca ? 2 : a b c", 12).recording
    data = view.compute(recording, Selection(), view.Options())
    # By hand: 32 floors of 2^-7 / √12, and the step at which the KL rule stops each token.
    noise = 32 * 2**-7 / np.sqrt(12)
    states = recording.states.astype(np.float64)
    step = np.linalg.norm(np.diff(states, axis=0), axis=-1) / np.linalg.norm(states[1:], axis=-1)
    kl = next(o for o in data.outcomes if o.rule.key == "kl")
    wanted = kl.stopped & (step[kl.at - 1, np.arange(len(kl.at))] <= noise)
    np.testing.assert_array_equal(kl.unresolved, wanted)
    assert kl.unresolved.any()
    assert f"{int(wanted.sum())} by KL" in data.statement
    assert "stopped below what bfloat16 resolves" in data.statement
    assert data.unresolved
    # A threshold above the noise is one that rounding cannot cross.
    coarse = view.compute(recording, Selection(), view.Options(step=0.3))
    assert not next(o for o in coarse.outcomes if o.rule.key == "step").unresolved.any()
    exact = stepped(load("bundled:looped", "cpu"), "ab bc ca ? 2 : a b c", 12).recording
    in_float32 = view.compute(exact, Selection(), view.Options())
    assert not in_float32.unresolved
    assert not any(o.unresolved.any() for o in in_float32.outcomes)
