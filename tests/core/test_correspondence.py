"""Correspondence between two models where the answer is known."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import random_model, tiny_architecture, tiny_checkpoint
from safetensors.torch import load_file, save_file

from loopscope.core.analyses.correspondence import compare
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.architectures import twin_architecture
from loopscope.core.experiments.hops import make_batch
from loopscope.core.experiments.native_folder import save_native
from loopscope.core.measures import correspondence as measures
from loopscope.core.measures.correspondence import (
    CORRESPONDENCE,
    HEAD_DISTANCE,
    ModelCorrespondence,
    aligned,
    correspondence,
    correspondences,
    head_distance,
    monotone_alignment,
    without_position_means,
)
from loopscope.core.measures.places import Places
from loopscope.core.measures.similarity import Kernels, cka_matrix, cosine_matrix
from loopscope.core.model.looped_model import LoopedModel
from loopscope.core.over_prompts.pair_states import (
    LEAST_ALIKE,
    chosen_positions,
    most_tokens,
    pair_states,
    same_tokens,
)
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.recordings.results import MODEL_KEYS, flattened, put_results
from loopscope.core.results import Results
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.correspondence import Options, compute

R, L = 4, 2


def best_by_trying_all(s: np.ndarray) -> float:
    n, m = s.shape
    paths = (p for p in itertools.product(range(m), repeat=n) if list(p) == sorted(p))
    return max(float(s[np.arange(n), list(p)].sum()) for p in paths)


@pytest.mark.parametrize("seed", range(12))
def test_the_alignment_is_the_best_of_all_monotone_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    s = rng.normal(size=(rng.integers(1, 6), rng.integers(1, 6)))
    path = monotone_alignment(s)
    assert (np.diff(path) >= 0).all()
    assert s[np.arange(len(s)), path].sum() == pytest.approx(best_by_trying_all(s))


def test_of_equal_alignments_the_diagonal_is_taken() -> None:
    assert monotone_alignment(np.ones((5, 5))).tolist() == [0, 1, 2, 3, 4]
    path = monotone_alignment(np.zeros((3, 7)))
    assert path.tolist() == [0, 3, 6]
    s = np.full((3, 3), np.nan)
    s[1, 1] = 1.0
    assert monotone_alignment(s).tolist() == [0, 1, 2]
    assert aligned(s, np.array([0, 1, 2])) == 1.0
    assert np.isnan(aligned(s[:1], np.array([0])))


def looped_and_deep(folder: Path, order: list[int] | None = None) -> tuple[Loaded, Loaded]:
    """A looped model without injection, and a deep one whose layers are copies of its block's.

    ``order`` says which pass of the loop stands where in the deep model.
    """
    arch = tiny_architecture(
        injection="none", initial_state="embedding", closing_norm=False, n_block=L
    )
    looped = random_model(arch, seed=3)
    deep_arch = replace(twin_architecture("deep", R, d_model=16), n_block=R * L)
    deep = LoopedModel(deep_arch)
    own = looped.state_dict()
    places = order or list(range(R * L))

    def source(name: str) -> str:
        if not name.startswith("block."):
            return name
        _, i, rest = name.split(".", 2)
        return f"block.{places[int(i)] % L}.{rest}"

    deep.load_state_dict({name: own[source(name)] for name in deep.state_dict()})
    save_native(folder / "looped", looped)
    save_native(folder / "deep", deep)
    return load(str(folder / "looped"), "cpu"), load(str(folder / "deep"), "cpu")


def prompts_of(loaded: Loaded, n: int = 12) -> list[Prompt]:
    batch = make_batch(np.random.default_rng(0), np.full(n, 2), n_letters=5)
    return [loaded.tokenizer.from_ids(tuple(row.tolist())) for row in batch.tokens]


def test_a_deep_model_made_of_copies_is_the_loop_itself(tmp_path: Path) -> None:
    looped, deep = looped_and_deep(tmp_path)
    with torch.inference_mode():
        tokens = torch.tensor([prompts_of(looped)[0].token_ids])
        assert torch.equal(looped.model(tokens, R), deep.model(tokens, 1))
    prompts = prompts_of(looped)
    pair = pair_states(looped, deep, (prompts, prompts), (R, 1))
    np.testing.assert_allclose(pair.first, pair.second, atol=1e-5)
    for measure in ("cka", "cka_debiased", "cosine"):
        found = correspondence(
            list(pair.first), list(pair.second), measure=measure, n_prompts=len(prompts)
        )
        np.testing.assert_allclose(np.diagonal(found.values), 1.0, atol=1e-5)
        assert found.path.tolist() == list(range(R * L))
        assert found.aligned == pytest.approx(1.0, abs=1e-5)
        assert found.above
        assert found.baseline.max() < 0.99
    np.testing.assert_allclose(np.diagonal(pair.heads), 0.0, atol=1e-5)
    heads = looped.architecture.layer.n_heads
    assert (pair.heads.argmin(1) == np.arange(R * L * heads)).all()
    assert np.diagonal(pair.heads_null).min() > 0.05  # another prompt: other patterns


def test_shuffled_layers_are_found_where_they_are() -> None:
    """The states of one model, its places in another order: the matrix is that permutation."""
    rng = np.random.default_rng(1)
    states = [rng.normal(size=(60, 8)) for _ in range(6)]
    order = [2, 0, 1, 5, 3, 4]
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    shuffled = [3.0 * states[i] @ rotation for i in order]
    found = correspondence(states, shuffled, n_prompts=12)
    best = found.values.argmax(1)
    assert [order[j] for j in best] == list(range(6))
    np.testing.assert_allclose(found.values[np.arange(6), best], 1.0, atol=1e-6)
    # No monotone path follows a shuffled order all the way.
    assert found.aligned < 0.8


def test_the_baseline_keeps_what_all_prompts_have_in_common() -> None:
    """States that depend on the position alone are alike whichever prompts are put together."""
    rng = np.random.default_rng(2)
    position = rng.normal(size=(5, 16))
    xs, ys = (
        [np.tile(position, (20, 1)) + 0.01 * rng.normal(size=(100, 16)) for _ in range(3)]
        for _ in range(2)
    )
    found = correspondence(xs, ys, n_prompts=20)
    assert found.values.min() > 0.99  # a bright matrix that means nothing
    assert abs(found.drop) < 1e-4
    # States that depend on the prompt are not.
    content = [rng.normal(size=(100, 16)) for _ in range(3)]
    own = correspondence(content, content, n_prompts=20)
    assert own.above
    assert own.drop > 0.8
    assert own.level.max() < 0.3


def test_one_prompt_has_no_baseline() -> None:
    states = [np.random.default_rng(i).normal(size=(9, 4)) for i in range(2)]
    found = correspondence(states, states, n_prompts=1)
    assert len(found.baseline) == 0
    assert not found.above
    assert np.isnan(found.drop)
    assert np.isnan(found.level).all()


def test_values_are_those_of_the_similarity_measures() -> None:
    rng = np.random.default_rng(5)
    xs = [rng.normal(size=(40, 7)) for _ in range(3)]
    ys = [rng.normal(size=(40, 5)) for _ in range(2)]
    found = correspondence(xs, ys, measure="cka", n_prompts=8, permutations=3)
    np.testing.assert_allclose(found.values, cka_matrix(xs, ys))
    assert found.values.shape == (3, 2)
    assert len(found.baseline) == 3
    with pytest.raises(ValueError, match=r".+"):
        correspondence(xs, ys, measure="cosine", n_prompts=8)  # widths differ


@pytest.mark.parametrize(("tokens", "d"), [(40, 5), (12, 9)], ids=["features", "grams"])
def test_permuted_prompts_are_compared_as_permuted_states_would_be(tokens: int, d: int) -> None:
    rng = np.random.default_rng(6)
    xs = [rng.normal(size=(tokens, d)) for _ in range(3)]
    ys = [x + rng.normal(size=(tokens, d)) for x in xs[:2]]
    keys = ("cka_debiased", "cka", "cosine")
    found = correspondences(xs, ys, measures=keys, n_prompts=4, permutations=3, seed=2)
    drawn = np.random.default_rng(2)
    for i in range(3):
        order = drawn.permutation(4)
        rows = np.concatenate(
            [np.arange(p * (tokens // 4), (p + 1) * (tokens // 4)) for p in order]
        )
        permuted = [y[rows] for y in ys]
        truth = {
            "cka_debiased": cka_matrix(xs, permuted, debiased=True),
            "cka": cka_matrix(xs, permuted),
            "cosine": cosine_matrix(xs, permuted),
        }
        for key in keys:
            along = aligned(truth[key], monotone_alignment(truth[key]))
            assert found[key].baseline[i] == pytest.approx(along, rel=1e-10), (key, i)


def test_several_measures_cost_one_comparison_of_the_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(8)
    states = [rng.normal(size=(40, 5)) for _ in range(3)]
    done: list[str] = []
    dots, made = Kernels.dots, measures.directions
    monkeypatch.setattr(Kernels, "dots", lambda a, b: done.append("dots") or dots(a, b))
    monkeypatch.setattr(measures, "directions", lambda x: done.append("directions") or made(x))
    correspondences(
        states, states, measures=("cka_debiased", "cka", "cosine"), n_prompts=8, permutations=6
    )
    assert done.count("dots") == 7  # the prompts in order, and six times permuted
    assert done.count("directions") == 2  # of either model


def test_head_distances_by_hand() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.random((2, 4, 4)), rng.random((3, 4, 4))
    found = head_distance(a, b)
    for i, j in np.ndindex(2, 3):
        assert found[i, j] == pytest.approx(np.linalg.norm(a[i] - b[j]))
    a[1, 0, 0] = np.nan
    assert np.isnan(head_distance(a, b)[1]).all()


def test_pairs_of_prompts_of_different_lengths(tmp_path: Path) -> None:
    one = load(str(tiny_checkpoint(tmp_path / "a", seed=1)), "cpu")
    other = load(str(tiny_checkpoint(tmp_path / "b", seed=2)), "cpu")
    texts = ["ab ba ? 1 : a b", "ab bc ca ? 2 : a b c", "cd dc ? 1 : c d"]
    prompts = [one.tokenizer.encode(text) for text in texts]
    pair = pair_states(one, other, (prompts, prompts), (2, 3))
    assert pair.first.shape == (4, 3 * 9, 16)  # as many tokens of each as the shortest has
    assert pair.second.shape == (6, 3 * 9, 16)
    by_hand = []
    for prompt in prompts:
        sides = []
        for model, n in ((one, 2), (other, 3)):
            stepper = Stepper(model)
            stepper.begin(prompt)
            for _ in range(n):
                stepper.step()
            sides.append(
                stepper.recording.patterns.reshape(-1, *stepper.recording.patterns.shape[3:])
            )
        by_hand.append(head_distance(*sides))
    np.testing.assert_allclose(pair.heads, np.mean(by_hand, axis=0), rtol=1e-6)
    # No two prompts in a row are of one length: there is nothing to hold the heads against.
    assert pair.heads_null is None
    again = pair_states(one, other, ([prompts[0], prompts[2]],) * 2, (2, 3))
    assert again.heads_null.shape == again.heads.shape


def test_prompts_that_diverge_are_left_out_and_counted(tmp_path: Path) -> None:
    """One of NaN would make NaN of every number: the others are what they are without it."""
    folder = tiny_checkpoint(tmp_path / "a", seed=1)
    other = load(str(tiny_checkpoint(tmp_path / "b", seed=2)), "cpu")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["embed.weight"][9] = 3e38
    save_file(tensors, file)
    one = load(str(folder), "cpu")
    ids = [(4, 5, 6), (5, 9, 7), (10, 11, 12), (6, 7, 9), (13, 14, 4), (8, 5, 10)]
    prompts = [one.tokenizer.from_ids(i) for i in ids]
    fine = [p for p in prompts if 9 not in p.token_ids]
    found = pair_states(one, other, (prompts, prompts), (2, 2))
    alone = pair_states(one, other, (fine, fine), (2, 2))
    assert found.n_prompts == 4
    for name in ("first", "second", "positions", "heads"):
        np.testing.assert_allclose(getattr(found, name), getattr(alone, name), atol=1e-5)
    bad = [prompts[1], prompts[3]]
    with pytest.raises(LoopscopeError, match="NaN or infinite: none is compared"):
        pair_states(one, other, (bad, bad), (2, 2))
    runs = [Stepper(model) for model in (one, other)]
    for run in runs:
        run.begin(one.tokenizer.from_ids((4, 5)))
        run.step()
    items = tuple(Item("#" + ",".join(map(str, i)), None, n + 1) for n, i in enumerate(ids))
    one.shared.prompts = PromptSet("p.txt", "p.txt", items)
    options = Options(permutations=3)
    result = compare(runs[0].recording, one, runs[1], options)
    assert (result.n_prompts, result.n_diverged) == (4, 2)
    assert all(np.isfinite(own.values).all() for own in result.states.values())
    runs[0].recording.keep(CORRESPONDENCE, result)
    said = compute(runs[0].recording, Selection(), options).statement
    assert "of 4 prompts of p.txt (2 more left out: their states are not finite)" in said


def test_positions_are_the_same_for_both_models_and_bounded() -> None:
    first, again = chosen_positions([10, 20, 30]), chosen_positions([10, 20, 30])
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert {len(p) for p in first} == {10}
    few = chosen_positions([50] * 100, most=200)
    assert {len(p) for p in few} == {2}
    assert all((np.diff(p) > 0).all() for p in few)
    assert {len(p) for p in chosen_positions([5] * 10, most=3)} == {1}


def test_prompts_share_their_positions_with_many_others() -> None:
    """Else a baseline that permutes prompts would permute positions with them."""
    chosen = np.stack(chosen_positions([27] * 256))
    sets, counts = np.unique(chosen, axis=0, return_counts=True)
    assert chosen.shape == (256, 4)
    assert len(sets) == 6
    assert counts.min() >= LEAST_ALIKE
    assert len(np.unique(sets)) == 24  # no position is in two of them
    # Which prompts share does not follow what comes in turns of six.
    kinds = {tuple(row) for row in sets[:1]}
    of_first = [i % 6 for i, row in enumerate(chosen) if tuple(row) in kinds]
    assert len(set(of_first)) == 6
    long = np.stack(chosen_positions([900, 1000] * 128))
    assert np.unique(long, axis=0, return_counts=True)[1].min() >= LEAST_ALIKE
    assert len(np.unique(np.stack(chosen_positions([27] * 20)), axis=0)) == 1


def test_the_baseline_permutes_prompts_at_the_same_positions() -> None:
    """States of the position alone, of which each prompt shows a few: nothing beats permuting."""
    rng = np.random.default_rng(3)
    position = rng.normal(size=(27, 32))
    chosen = np.stack(chosen_positions([27] * 256))
    states = [position[chosen].reshape(-1, 32) @ rng.normal(size=(32, 32)) for _ in range(3)]
    found = correspondence(states, states, n_prompts=256, positions=chosen, permutations=5)
    np.testing.assert_allclose(found.baseline, found.aligned)
    assert not found.above
    # Positions that no two prompts share leave nothing to permute.
    apart = correspondence(states, states, n_prompts=256, positions=np.arange(1024).reshape(256, 4))
    assert len(apart.baseline) == 0


def test_heads_that_attend_alike_on_any_prompt_count_for_nothing(tmp_path: Path) -> None:
    """Only a head that is closer to another on the same prompts than on others has a partner."""
    loaded = load(str(tiny_checkpoint(tmp_path / "m")), "cpu")
    stepper = Stepper(loaded)
    recording = stepper.begin(prompts_of(loaded, 1)[0])
    stepper.step()
    places = Places((1,), ("0", "1"))
    heads_null = np.full((2, 2, 2, 2), 0.5)
    heads_null[0] = 0.001  # of any prompt alike
    heads = heads_null * 0.999
    heads[1, 0, 0, 0] = 0.3
    found = ModelCorrespondence(
        "a", "b", places, places, np.arange(2), np.arange(2), 4, 8, "prompts", {},
        heads=heads, heads_null=heads_null,
    )  # fmt: skip
    recording.keep(CORRESPONDENCE, found)
    data = compute(recording, Selection(recurrence=1), Options(compared="heads", above=True))
    assert "; 1 of 4 have a head in the second run that is at least 5 % closer" in data.statement
    assert np.argwhere(np.isfinite(data.drawn)).tolist() == [[2, 0]]
    assert data.measure.formula is HEAD_DISTANCE  # not the mean over heads of two places


def test_prompts_that_are_read_differently_are_refused(tmp_path: Path) -> None:
    a = [Prompt("abc", (1, 2, 3), ("a", "b", "c"))]
    with pytest.raises(LoopscopeError, match="“abc” as 3 and 2 tokens"):
        same_tokens(a, [Prompt("abc", (1, 2), ("ab", "c"))])
    same_tokens(a, a)


def test_progress_reaches_the_end_and_heads_can_be_left_out(tmp_path: Path) -> None:
    loaded = load(str(tiny_checkpoint(tmp_path / "m")), "cpu")
    prompts = prompts_of(loaded, 3)
    shares: list[float] = []
    found = pair_states(
        loaded, loaded, (prompts, prompts), (2, 1), heads=False, report=shares.append
    )
    assert shares == [1 / 3, 2 / 3, 1.0]
    assert found.heads is None
    assert found.heads_null is None
    assert found.first.shape == (4, 3 * 18, 16)
    assert most_tokens(4, 16) == 1024
    assert most_tokens(10_000, 5280) == 64


# ---- position means taken out, answers alone, references ----
def test_position_means_are_those_of_prompts_at_the_same_positions() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3, 5)) + 7 * rng.normal(size=(1, 3, 5))
    out = without_position_means(x.reshape(60, 5), 20).reshape(20, 3, 5)
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(out - out[0], x - x[0], atol=1e-12)  # nothing else is changed
    # Two sets of positions, each with a mean of its own.
    positions = np.array([[0, 1, 2]] * 10 + [[3, 4, 5]] * 10)
    apart = without_position_means(x.reshape(60, 5), 20, positions).reshape(20, 3, 5)
    for part in (slice(10), slice(10, 20)):
        np.testing.assert_allclose(apart[part].mean(0), 0, atol=1e-12)
    with pytest.raises(ValueError, match="1 prompts"):
        without_position_means(x.reshape(60, 5), 20, np.array([[0] * 3] * 19 + [[1] * 3]))


def test_what_is_position_alone_does_not_correspond_once_means_are_out() -> None:
    """Two models that share nothing but what a position is like, and two that share the rest."""
    rng = np.random.default_rng(1)
    n, t, d = 64, 8, 20
    position = 5 * rng.normal(size=(t, d))
    a = position + rng.normal(size=(n, t, d))
    b = position @ rng.normal(size=(d, d)) + rng.normal(size=(n, t, d))
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    c = (a - a.mean(0)) @ turn + 3 * position

    def found(y: np.ndarray, out: bool) -> tuple[float, float]:
        sides = [z.reshape(-1, d) for z in (a, y)]
        if out:
            sides = [without_position_means(z, n) for z in sides]
        got = correspondence([sides[0]], [sides[1]], n_prompts=n)
        return got.aligned, float(np.percentile(got.baseline, 95))

    raw, null = found(b, False)
    assert raw > 0.3  # the raw number is high, and so is its baseline
    assert null > 0.9 * raw
    assert abs(found(b, True)[0]) < 0.06
    assert found(c, True)[0] == pytest.approx(1.0, abs=1e-6)


def beside(first: Loaded, second: Loaded, n: int, options: Options) -> ModelCorrespondence:
    run, other = Stepper(first), Stepper(second)
    for stepper in (run, other):
        stepper.begin(prompts_of(stepper.loaded, 1)[0])
        for _ in range(n):
            stepper.step()
    return compare(run.recording, first, other, options)


def test_a_model_and_itself_turned_correspond_and_an_unrelated_one_does_not(tmp_path: Path) -> None:
    arch = tiny_architecture()
    one = load(str(tiny_checkpoint(tmp_path / "a", arch, seed=1)), "cpu")
    other = str(tiny_checkpoint(tmp_path / "b", arch, seed=2))
    options = Options(prompts=48, permutations=5, tokens="answers", reference=f"{other}, {other}")
    found = beside(one, one, 2, options)
    assert found.n_tokens == 48 * 8  # the queries: 8 letters
    same = found.without_means["cka_debiased"]
    np.testing.assert_allclose(np.diag(same.values), 1.0, atol=1e-6)
    assert same.above
    assert len(found.references) == 2
    apart = [r.without_means["cka_debiased"].aligned for r in found.references]
    assert apart[0] == apart[1] < same.aligned
    assert {(r.first, r.second) for r in found.references} == {("a", "b")}
    # What is drawn is what the setting says, with the references in words.
    recording = Stepper(one).begin(prompts_of(one, 1)[0])
    recording.keep(CORRESPONDENCE, found)
    for means, of in (("out", found.without_means), ("kept", found.states)):
        data = compute(recording, Selection(), Options(means=means))  # type: ignore[arg-type]
        np.testing.assert_array_equal(data.values, of["cka_debiased"].values)
        assert ("position means taken out" in data.statement) == (means == "out")
        assert "two of a kind, a and b" in data.statement


def test_a_reference_of_another_kind_and_too_few_prompts_say_so(tmp_path: Path) -> None:
    one = load(str(tiny_checkpoint(tmp_path / "a")), "cpu")
    wide = str(tiny_checkpoint(tmp_path / "c", tiny_architecture(n_coda=2)))
    with pytest.raises(LoopscopeError, match="of the kind of neither model"):
        beside(one, one, 1, Options(prompts=16, reference=wide))
    found = beside(one, one, 1, Options(prompts=1, permutations=2))
    assert found.without_means == {}
    recording = Stepper(one).begin(prompts_of(one, 1)[0])
    recording.keep(CORRESPONDENCE, found)
    assert "over 2 prompts or more" in compute(recording, Selection(), Options()).missing
    one.shared.prompts = PromptSet("p.txt", "p.txt", (Item("ab ba ? 1 : a b", None, 1),))
    with pytest.raises(LoopscopeError, match=r"p.txt gives no answers"):
        beside(one, one, 1, Options(tokens="answers"))


def test_a_result_of_before_there_were_references_is_still_read(tmp_path: Path) -> None:
    one = load(str(tiny_checkpoint(tmp_path / "a")), "cpu")
    results = Results()
    results.put(CORRESPONDENCE, beside(one, one, 1, Options(prompts=16, permutations=2)))
    arrays = flattened(results, MODEL_KEYS)
    words = json.loads(bytes(arrays["results"]))
    for name in ("without_means", "tokens", "references"):
        del words["correspondence"][name]
    again = Results()
    put_results(again, words, arrays, "f", MODEL_KEYS)
    kept = again.get(CORRESPONDENCE)
    assert kept is not None
    assert kept.tokens == "drawn"
    assert kept.references == ()
    del words["correspondence"]["depths"]
    with pytest.raises(LoopscopeError, match="is no ModelCorrespondence"):
        put_results(Results(), words, arrays, "f", MODEL_KEYS)


def test_the_bundled_pair_corresponds_beyond_position() -> None:
    """As a study of other code found it: 0.43 over 0.06 at the queries, of the model taught."""
    pair = [load(f"bundled:{name}", "cpu") for name in ("anytime", "deep")]
    run, other = (Stepper(loaded) for loaded in pair)
    for stepper, n in ((run, 6), (other, 1)):
        stepper.begin(prompts_of(stepper.loaded, 1)[0])
        for _ in range(n):
            stepper.step()
    found = compare(run.recording, pair[0], other, Options(prompts=96, tokens="answers"))
    rest = found.without_means["cka_debiased"]
    assert rest.aligned > 0.3
    assert np.percentile(rest.baseline, 95) < 0.1
