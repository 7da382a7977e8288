"""A text continued with keys and values kept is the text run again, by the rule that is stated."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import CONFIGS, write_checkpoint
from models import tiny_architecture, tiny_checkpoint

from loopscope.core.checkpoint.loading import Loaded, load_model
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import LoopscopeError
from loopscope.core.generation.continuing import (
    NewToken,
    Plan,
    continue_text,
    rotates_alike,
    why_not,
)
from loopscope.core.generation.exit_rules import ExitRule, parse_rule
from loopscope.core.generation.sampling import Sampling
from loopscope.core.model.caching import Cache
from loopscope.core.model.layers import hidden_keys
from loopscope.core.model.rope import Dynamic, Rope
from loopscope.core.run.start import drawn, resolved

IDS = (3, 17, 5, 9, 9, 30)
# A native model that is looped in each way there is.
NATIVE = {
    "concat": {},
    "add": {"injection": "add"},
    "no injection": {"injection": "none", "closing_norm": False},
    "damped": {"damping": 0.5},
}


def native(tmp_path: Path, **changes: object) -> Loaded:
    return load_model(
        LoadRequest(
            str(tiny_checkpoint(tmp_path / "m", tiny_architecture(task="", **changes))), "cpu"
        )
    )


def of_family(tmp_path: Path, name: str) -> Loaded:
    return load_model(LoadRequest(str(write_checkpoint(tmp_path / "m", name)), "cpu"))


@torch.inference_mode()
def logits_of(
    loaded: Loaded, ids: tuple[int, ...], r: int, length: int, seed: int = 0
) -> torch.Tensor:
    """All of it run again: logits ``[T, V]`` after ``r`` recurrences."""
    arch, tokens = loaded.architecture, torch.tensor([ids])
    model = loaded.model.bound(tokens)
    e = model.prelude(tokens)
    noise = None
    if resolved("default", arch) == "random":
        noise = drawn(arch, (1, length, arch.d_model), seed)[:, : len(ids)]
    recurrent = model.begin(model.initial_state(e, noise))
    for i in range(r):
        recurrent = model.recur(recurrent, e, first=i == 0, recurrence=i + 1)
    return model.readout(recurrent.state)[0]


def check_against_running_again(loaded: Loaded, r: int, n: int = 8) -> list[NewToken]:
    prompt = loaded.tokenizer.from_ids(IDS)
    new = list(continue_text(loaded, prompt, Plan(n, r)))
    assert len(new) == n
    ids = prompt.token_ids
    for token in new:
        logits = logits_of(loaded, ids, r, len(prompt.token_ids) + n)[-1].double()
        p = logits.softmax(-1)
        exact = loaded.model.unembed.weight.dtype == torch.float64
        within = 1e-10 if exact else 1e-5
        assert token.probability == pytest.approx(float(p[token.token_id]), abs=within)
        assert float(logits.max() - logits[token.token_id]) < 1e-4  # a tie may fall either way
        assert token.recurrences == r
        ids = (*ids, token.token_id)
    return new


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_family_continues_as_if_run_again_or_says_why_not(tmp_path: Path, name: str) -> None:
    loaded = of_family(tmp_path, name)
    loaded.model.double()  # so that a difference is one of the rule and not of rounding
    with torch.no_grad():  # so that every bias and norm matters, and answers are not all alike
        for p in loaded.model.parameters():
            p += 0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    if why_not(loaded.architecture):
        assert name in ("albert", "trm")
        with pytest.raises(LoopscopeError, match="cannot continue a text"):
            continue_text(loaded, loaded.tokenizer.from_ids(IDS), Plan(2, 2))
        return
    once = loaded.architecture.runs_once or loaded.architecture.untied_passes
    # One of them has positions for 12 tokens.
    check_against_running_again(loaded, 1 if once else 3, 6)


@pytest.mark.parametrize("changes", NATIVE.values(), ids=NATIVE)
def test_native_loops(tmp_path: Path, changes: dict[str, object]) -> None:
    check_against_running_again(native(tmp_path, **changes), 4)


@pytest.mark.parametrize("window", [1, 3, 7])
def test_windows_shorter_than_the_text(tmp_path: Path, window: int) -> None:
    layer = dataclasses.replace(tiny_architecture().layer, window=window)
    check_against_running_again(native(tmp_path, layer=layer), 3)


def test_keys_whose_angles_change_with_the_length_are_made_anew(tmp_path: Path) -> None:
    rope = Rope(scaling=Dynamic(factor=2.0, original_positions=8))
    layer = dataclasses.replace(tiny_architecture().layer, rope=rope)
    assert not rotates_alike(rope, 8, 6, 14)
    assert rotates_alike(rope, 8, 3, 8)
    loaded = native(tmp_path)
    # Not a setting of the native family: the loaded model is changed in place.
    arch = dataclasses.replace(loaded.architecture, layer=layer)
    loaded.model.arch = arch
    for part in (loaded.model.prelude_layers, loaded.model.block, loaded.model.coda_layers):
        for one in part:
            one.shape = layer
    loaded = dataclasses.replace(
        loaded, checkpoint=dataclasses.replace(loaded.checkpoint, architecture=arch)
    )
    prompt, n = loaded.tokenizer.from_ids(IDS), 8
    ids = prompt.token_ids
    for token in continue_text(loaded, prompt, Plan(n, 3)):
        p = loaded.model(torch.tensor([ids]), 3)[0, -1].softmax(-1)
        assert token.probability == pytest.approx(float(p[token.token_id]), abs=1e-5)
        ids = (*ids, token.token_id)


# ---- tokens that leave early: a forward of its own, token by token, from the equations ----
def by_hand(loaded: Loaded, ids: tuple[int, ...], taken: list[int]) -> np.ndarray:
    """Logits ``[V]`` of the last token, when token t takes ``taken[t]`` recurrences.

    Float64, native family. At recurrence r a token attends to each earlier one's keys and values of
    recurrence min(r, taken).
    """
    arch = loaded.architecture
    w = {k: v.double().numpy() for k, v in loaded.model.state_dict().items()}
    s, heads = arch.layer, arch.layer.n_heads
    hd = s.d_head

    def rms(x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x * x).mean() + arch.norm_eps) * w[name + ".weight"]

    def turn(x: np.ndarray, at: int) -> np.ndarray:
        angle = at * s.rope.theta ** (-np.arange(0, hd, 2) / hd)
        a, b = x[: hd // 2], x[hd // 2 :]
        return np.concatenate(
            [a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)]
        )

    kept: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}

    def layer(x: np.ndarray, name: str, place: tuple, t: int, lend) -> np.ndarray:
        q, k, v = (w[f"{name}.qkv.weight"] @ rms(x, f"{name}.norms.attn_in")).reshape(3, heads, hd)
        q = np.stack([turn(one, t) for one in q])
        kept[(*place, t)] = np.stack([turn(one, t) for one in k]), v
        mixed = np.zeros((heads, hd))
        for h in range(heads):
            pairs = [kept[(*lend(place, j), j)] for j in range(t + 1)]
            scores = np.array([q[h] @ key[h] for key, _ in pairs]) / math.sqrt(hd)
            a = np.exp(scores - scores.max())
            mixed[h] = sum(
                weight * value[h] for weight, (_, value) in zip(a / a.sum(), pairs, strict=True)
            )
        x = x + w[f"{name}.attn_proj.weight"] @ mixed.ravel()
        up = w[f"{name}.mlp_up.weight"] @ rms(x, f"{name}.norms.mlp_in")
        gelu = np.array([0.5 * u * (1 + math.erf(u / math.sqrt(2))) for u in up])
        return x + w[f"{name}.mlp_down.weight"] @ gelu

    here = lambda place, j: place  # noqa: E731
    for t, token in enumerate(ids):
        e = w["embed.weight"][token] * arch.embedding_scale
        for i in range(arch.n_prelude):
            e = layer(e, f"prelude_layers.{i}", ("prelude", 0, i), t, here)
        state = np.zeros_like(e)
        for r in range(1, taken[t] + 1):
            x = w["adapter.weight"] @ np.concatenate([state, e])
            for i in range(arch.n_block):
                x = layer(
                    x,
                    f"block.{i}",
                    ("block", r, i),
                    t,
                    lambda place, j: (place[0], min(place[1], taken[j]), place[2]),
                )
            state = rms(x, "closing_norm")
        x = state
        for i in range(arch.n_coda):
            x = layer(x, f"coda_layers.{i}", ("coda", 0, i), t, here)
    return w["unembed.weight"] @ rms(x, "final_norm")


@pytest.mark.parametrize("rule", ["step:0.2", "kl:0.003", "step:1e-9"])
def test_a_token_that_left_lends_its_last_keys(tmp_path: Path, rule: str) -> None:
    loaded = native(tmp_path)
    prompt, most = loaded.tokenizer.from_ids(IDS), 9
    new = list(continue_text(loaded, prompt, Plan(7, most, exit=parse_rule(rule))))
    taken = [most] * (len(IDS) - 1) + [token.recurrences for token in new]
    if rule != "step:1e-9":
        assert len(set(taken[-7:])) > 1, "tokens leave at different recurrences"
        assert min(taken[-7:]) < most
    ids = IDS
    for i, token in enumerate(new):
        logits = by_hand(loaded, ids, taken[: len(IDS) + i])
        p = np.exp(logits - logits.max())
        assert token.probability == pytest.approx(p[token.token_id] / p.sum(), abs=1e-5)
        ids = (*ids, token.token_id)


def test_the_step_rule_leaves_at_the_first_step_below(tmp_path: Path) -> None:
    loaded = native(tmp_path)
    prompt = loaded.tokenizer.from_ids(IDS)
    (token,) = continue_text(loaded, prompt, Plan(1, 20, exit=ExitRule("step", 0.05)))
    with torch.inference_mode():
        e = loaded.model.prelude(torch.tensor([IDS]))
        states = [loaded.model.initial_state(e)]
        recurrent = loaded.model.begin(states[0])
        for r in range(20):
            recurrent = loaded.model.recur(recurrent, e, first=r == 0, recurrence=r + 1)
            states.append(recurrent.state)
    # The last token alone may stop; all before it went on to the end.
    steps = [float((b - a)[0, -1].norm() / b[0, -1].norm()) for a, b in itertools.pairwise(states)]
    assert token.recurrences == next(r for r, step in enumerate(steps, 1) if step < 0.05)


def test_the_gate_leaves_where_its_own_threshold_says(tmp_path: Path) -> None:
    loaded = of_family(tmp_path, "ouro")
    prompt = loaded.tokenizer.from_ids(IDS)
    for threshold in (0.3, 0.6, 0.9):
        rule = ExitRule("gate", threshold)
        (token,) = continue_text(loaded, prompt, Plan(1, 8, exit=rule))
        with torch.inference_mode():
            e = loaded.model.prelude(torch.tensor([IDS]))
            recurrent, stay, expected = loaded.model.begin(loaded.model.initial_state(e)), 1.0, 8
            for r in range(1, 9):
                recurrent = loaded.model.recur(recurrent, e, first=r == 1, recurrence=r)
                stay *= 1 - float(loaded.model.hazard(recurrent)[0, -1])
                if 1 - stay >= threshold:
                    expected = r
                    break
        assert token.recurrences == expected
    with pytest.raises(LoopscopeError, match="no exit gate"):
        continue_text(native(tmp_path / "n"), prompt, Plan(1, 2, exit=ExitRule("gate", 0.5)))


def test_a_model_that_answers_in_place_has_no_next_token(tmp_path: Path) -> None:
    loaded = load_model(LoadRequest("bundled:looped", "cpu"))
    with pytest.raises(LoopscopeError, match="where they are asked"):
        continue_text(loaded, loaded.tokenizer.from_ids(IDS), Plan(1, 2))


# ---- sampling, stopping, refusals ----
def test_temperature_draws_as_the_softmax_says() -> None:
    logits = torch.tensor([1.0, 2.0, 0.0, -1.0])
    sampling = Sampling(0.7, seed=3)
    drawn_tokens = [sampling.draw(logits)[0] for _ in range(4000)]
    p = np.exp(logits.double().numpy() / 0.7)
    p /= p.sum()
    counts = np.bincount(drawn_tokens, minlength=4) / 4000
    np.testing.assert_allclose(counts, p, atol=4 * np.sqrt(p * (1 - p) / 4000).max())
    again = Sampling(0.7, seed=3)
    assert [again.draw(logits)[0] for _ in range(20)] == drawn_tokens[:20]
    # The probability told is the model's own, not the temperature's.
    own = np.exp(logits.double().numpy())
    assert Sampling().draw(logits) == (1, pytest.approx(own[1] / own.sum()))
    with pytest.raises(LoopscopeError, match="not finite"):
        Sampling().draw(torch.tensor([1.0, float("nan")]))
    with pytest.raises(LoopscopeError, match="temperature"):
        Sampling(-1.0)


def test_it_ends_at_a_stop_token_and_when_nobody_asks(tmp_path: Path) -> None:
    loaded = native(tmp_path)
    prompt = loaded.tokenizer.from_ids(IDS)
    every = [t.token_id for t in continue_text(loaded, prompt, Plan(6, 2))]
    stop = every[2]
    ended = [t.token_id for t in continue_text(loaded, prompt, Plan(6, 2, stops=frozenset({stop})))]
    assert ended == every[: every.index(stop) + 1]
    text = continue_text(loaded, prompt, Plan(6, 2))
    assert next(text).token_id == every[0]


def test_one_token_is_a_prompt(tmp_path: Path) -> None:
    loaded = native(tmp_path)
    (token,) = continue_text(loaded, loaded.tokenizer.from_ids((5,)), Plan(1, 3))
    p = loaded.model(torch.tensor([[5]]), 3)[0, -1].softmax(-1)
    assert token.probability == pytest.approx(float(p.max()), abs=1e-6)


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        (Plan(10**9, 1), "positions for"),
        (Plan(0, 1), "at least one token"),
        (Plan(1, 0), "at least one token"),
    ],
)
def test_refusals(tmp_path: Path, plan: Plan, problem: str) -> None:
    loaded = native(tmp_path)
    with pytest.raises(LoopscopeError, match=problem):
        continue_text(loaded, loaded.tokenizer.from_ids(IDS), plan)


@pytest.mark.parametrize(
    "text", ["soon", "step:", "step:0", "step:x", "kl:-1", "step:inf", "step:nan"]
)
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(LoopscopeError):
        parse_rule(text)


def test_rules_are_written_as_they_are_read() -> None:
    for text in ("step:0.01", "kl:0.0005", "gate:0.5", "gate"):
        assert parse_rule(text).text() == text


# ---- the cache itself ----
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [0, 1, 2, 5])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_last_queries_see_what_they_see_of_the_whole(causal: bool, window: int, n: int) -> None:
    whole = hidden_keys(6, causal, window, torch.device("cpu"))
    last = hidden_keys(6, causal, window, torch.device("cpu"), n)
    assert (whole is None) == (last is None)
    if whole is not None and last is not None:
        assert torch.equal(whole[-n:], last)


def test_a_cache_lends_and_counts_once() -> None:
    cache = Cache(4)
    one = torch.arange(2.0).reshape(1, 1, 2, 1)
    for r in (1, 2):
        cache.at("block", r, 0).extended(one + 10 * r, one)
    cache.keep(2, 2)
    third = cache.at("block", 3, 0).extended(torch.full((1, 1, 1, 1), 30.0), one[:, :, :1])[0]
    assert third.flatten().tolist() == [20, 21, 30]  # those of recurrence 2, then its own
    cache.at("block", 1, 0).extended(torch.full((1, 1, 1, 1), 10.0), one[:, :, :1])
    cache.at("block", 2, 0).extended(torch.full((1, 1, 1, 1), 20.0), one[:, :, :1])
    cache.keep(1, 3)
    # The next leaves after recurrence 1: 2 and 3 get its last.
    cache.at("block", 1, 0).extended(torch.full((1, 1, 1, 1), 77.0), one[:, :, :1])
    cache.keep(1, 1)
    assert cache.n_kept == 4
    ends = [float(cache.at("block", r, 0).kept[0].flatten()[-1]) for r in (1, 2, 3)]
    assert ends == [77, 77, 77]
