"""The lens against full softmaxes computed here, scipy, and the readouts of the run itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from checkpoints import write_checkpoint
from lens_runs import LENSES, bundled_run, job, reading_of, run_of
from models import tiny_architecture, tiny_checkpoint
from recordings import synthetic_recording, writable

from loopscope.core.analyses import lens as request
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.measures.lens import READINGS, Reading, Readings, final_since
from loopscope.core.measures.readout import NO_ANSWER
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.answers_data import Shade
from loopscope.core.views.lens import compute as lens
from loopscope.core.views.lens.compute import LACKS, NOT_YET, Options, compute, table
from loopscope.core.views.lens.data import Data
from loopscope.core.views.lens.token import find_token


@pytest.fixture(scope="module")
def bundled() -> Stepper:
    return bundled_run()


def test_the_other_lens_stays_with_the_run(bundled: Stepper) -> None:
    both = bundled.recording.result(READINGS)
    assert both.coda is not None
    assert both.logit is not None


# ---- where the final answer begins ----
def test_final_since_by_hand() -> None:
    answers = np.array([[1, 5, 3, 9], [2, 5, 4, 9], [1, 5, 4, 7], [1, 5, 4, 8]])
    final = np.array([1, 5, 4, 9])
    np.testing.assert_array_equal(final_since(answers, final), [2, 0, 1, 4])
    final = np.array([1, NO_ANSWER, 4, 8])
    np.testing.assert_array_equal(final_since(answers, final), [2, 4, 1, 3])
    np.testing.assert_array_equal(final_since(answers[:0], final), [0, 0, 0, 0])


def made(top: np.ndarray, p: np.ndarray | None = None) -> tuple[Reading, np.ndarray]:
    """A reading with top answers ``[R, L, T]``; answer ``i`` has probability ``(i + 1) / 20``."""
    n, layers, t = top.shape
    ids = np.stack([top, np.full_like(top, 9)], -1)
    chances = np.tile(((np.arange(10) + 1) / 20).astype(np.float32), (n, layers, t, 1))
    ranks = np.tile(np.arange(10, 0, -1).astype(np.float32), (n, layers, t, 1))
    first = np.full(top.shape, 0.5) if p is None else p
    probabilities = np.stack([first, np.full(top.shape, 0.1)], -1).astype(np.float32)
    entropy = np.arange(top.size, dtype=np.float32).reshape(top.shape) / 10
    final = top[-1, -1]
    own = np.broadcast_to((final + 1) / 20, top.shape).astype(np.float32)
    own_rank = np.broadcast_to(10 - final, top.shape).astype(np.float32)
    reading = Reading(ids, probabilities, entropy, entropy[::-1, ::-1, ::-1], np.arange(10),
                      chances, ranks, own, own_rank)  # fmt: skip
    return reading, top


def shown(top, options: Options | None = None, selection: Selection | None = None,
          p: np.ndarray | None = None) -> Data:  # fmt: skip
    top = np.asarray(top)
    recording = synthetic_recording(
        recurrences=len(top), n_block=top.shape[1], tokens=top.shape[2],
        labels=list("abcdef")[: top.shape[2]],
    )  # fmt: skip
    recording.label = lambda i: "klmnopqrst"[i]
    options = options or Options()
    recording.keep(READINGS, Readings().put(options.lens, made(top, p)[0]))
    return compute(recording, selection or Selection(), options)


# Three recurrences of two layers, two tokens; the final answers are 4 and 5.
TOP = [[[0, 1], [4, 1]], [[0, 5], [4, 5]], [[4, 5], [4, 5]]]


def test_flip_depth_and_flip_recurrence_by_hand() -> None:
    data = shown(TOP)
    np.testing.assert_array_equal(data.final, [4, 5])
    np.testing.assert_array_equal(data.final_since, [4, 3])  # places 2.1 and 2.0
    np.testing.assert_array_equal(data.final_recurrence, [1, 2])
    assert [data.since(0), data.since(1)] == ["2:1", "2:0"]
    np.testing.assert_array_equal(np.argwhere(data.marked), [[2, 1], [3, 0]])
    assert data.statement == (
        "Coda lens: at recurrence ends the final answers of 2 tokens stand from recurrence 2 on "
        "(median 1.5), within recurrence 3 from layer 0 on (median 0)"
    )


def test_by_layer_each_layer_has_its_own_mark_and_texts() -> None:
    data = shown(TOP, Options(order="layer"))
    assert data.column_labels == ("1:0", "2:0", "3:0", "1:1", "2:1", "3:1")
    np.testing.assert_array_equal(data.top[:, 0], [0, 0, 4, 4, 4, 4])
    # Token 0: layer 0 from recurrence 3, layer 1 from 1; token 1: both from 2.
    assert {tuple(x) for x in np.argwhere(data.marked)} == {(2, 0), (3, 0), (1, 1), (4, 1)}
    spans = [(s.first, s.last, s.answer) for s in data.spans() if s.row == 0]
    assert spans == [(1, 2, 0), (3, 3, 4), (4, 6, 4)]
    assert data.name(5) == "recurrence 2, layer 1"
    np.testing.assert_array_equal(data.final_since, shown(TOP).final_since)


def test_an_answer_that_is_not_finite_at_the_end_is_no_final_answer() -> None:
    p = np.full((3, 2, 2), 0.5)
    p[-1, -1, 0] = np.nan
    p[0, 0, 1] = np.nan
    data = shown(TOP, p=p)
    np.testing.assert_array_equal(data.final, [NO_ANSWER, 5])
    assert data.since(0) == "–"
    assert "1 of 2 tokens have no finite last readout" in data.statement
    assert data.text(int(data.top[0, 1])) == "–"
    p[-1, -1] = np.nan
    assert "not finite at any token" in shown(TOP, p=p).statement
    cursor = shown(TOP, Options(quantity="rank"), p=p)
    assert cursor.missing == "The last readout at the cursor's token is not finite."


def test_states_that_are_not_finite_are_read_as_none(tmp_path) -> None:
    arch = tiny_architecture()
    loaded = load(str(tiny_checkpoint(tmp_path / "m", arch)), "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("ab ? 1 : a"))
    stepper.step()
    stepper.step()
    writable(stepper.recording.layer(1, 0).state)[2] = np.nan
    for which in LENSES:
        reading = reading_of(stepper, Options(lens=which))
        assert np.isnan(reading.entropy[0, 0, 2])
        assert np.isnan(reading.ranks[0, 0, 2]).all()
        assert np.isfinite(reading.entropy[1]).all()
        assert reading.top[0, 0, 2] == NO_ANSWER
    # Tokens before it do not see it; the coda attends, so later ones do.
    assert np.isfinite(reading.entropy[0, 0, [0, 1, 3]]).all()


# ---- the chosen token ----
def test_the_chosen_token_is_the_cursors_final_answer_by_default() -> None:
    data = shown(TOP, Options(quantity="chance"), Selection(token=1))
    np.testing.assert_array_equal(data.chosen, [5, 5])
    assert (data.values == np.float32(6 / 20)).all()
    assert data.shade.label == "probability of 'p'"
    data = shown(TOP, Options(quantity="rank"), Selection(token=0))
    assert (data.values == 6).all()
    assert data.shade.label == "rank of 'o'"


def test_each_token_can_have_its_own_or_a_written_one() -> None:
    own = shown(TOP, Options(quantity="rank", target="own"))
    np.testing.assert_array_equal(own.values[0], [6, 5])
    written = shown(TOP, Options(quantity="chance", target="written", token="q"))
    assert (written.values == np.float32(7 / 20)).all()
    by_id = shown(TOP, Options(quantity="chance", target="written", token="#6"))
    np.testing.assert_array_equal(by_id.values, written.values)
    other = shown(TOP, Options(quantity="chance", target="written", token="z"))
    assert other.missing == "'z' is not among the tokens that were kept."
    assert other.lacks == LACKS
    unwritten = shown(TOP, Options(quantity="chance", target="written"))
    assert "No token is written" in unwritten.missing
    assert unwritten.lacks is None
    # What is shaded otherwise does not need it.
    assert not shown(TOP, Options(target="written", token="z")).missing


def test_another_token_needs_no_reading_and_one_that_was_not_kept_says_so(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepper = run_of(str(write_checkpoint(tmp_path / "m", "huginn")), 3)
    monkeypatch.setattr(request, "MOST_KEPT", 8)
    cursor = Selection(token=2)
    reading = reading_of(stepper, Options(), cursor)
    recording = stepper.recording
    final = recording.answers("coda").ids[-1, :, 0]
    assert reading.kept[0] == final[2]
    assert set(final.tolist()) <= set(reading.kept.tolist())
    assert len(reading.kept) == 8
    stepper.loaded.model.head = None  # reading again would fail
    shown = compute(recording, Selection(token=0), Options(quantity="rank"))
    assert (shown.chosen == final[0]).all()
    assert shown.rank[-1, 0] == 1
    absent = next(i for i in range(96) if i not in reading.kept)
    wanted = Options(quantity="rank", target="written", token=f"#{absent}")
    assert "not among the tokens" in compute(recording, cursor, wanted).missing
    del stepper.loaded.model.head
    reading_of(stepper, wanted, cursor)
    data = compute(recording, cursor, wanted)
    assert not data.missing
    with torch.no_grad():
        logits = stepper.loaded.model.readout(torch.from_numpy(recording.states[2].copy())[None])[0]
    column = data.places.index(2, 1)
    expected = 1 + (logits > logits[:, absent, None]).sum(-1)
    np.testing.assert_array_equal(data.rank[column], expected)


def test_a_token_that_no_model_has_is_an_error(bundled: Stepper) -> None:
    for text in ("zz", "#39"):
        with pytest.raises(LoopscopeError, match="no token of this model is written"):
            request.run(bundled, Selection(), Options(target="written", token=text), job())


def test_tokens_are_found_by_text_by_number_and_after_a_space() -> None:
    words = ["the", " the", " cat", "#1", ""]
    label = words.__getitem__
    assert find_token("the", range(5), label) == 0
    assert find_token("␣the", range(5), label) == 1
    assert find_token("cat", range(5), label) == 2
    assert find_token("#1", range(5), label) == 1
    assert find_token("#9", range(5), label) is None
    assert find_token("", range(5), label) is None


# ---- the data ----
def test_nothing_to_show_says_what_to_do(bundled: Stepper) -> None:
    empty = synthetic_recording(recurrences=0)
    assert lens.REQUEST.missing(empty) == "Run a recurrence first: its layers are read out."
    assert not lens.REQUEST.missing(synthetic_recording())
    for recording in (empty, synthetic_recording()):
        data = compute(recording, Selection(), Options(order="layer", quantity="rank"))
        assert data.missing == data.statement == NOT_YET
        assert list(table(data).rows) == []
        assert list(data.spans()) == []
    half = synthetic_recording(recurrences=3)
    half.keep(READINGS, Readings(logit=made(np.asarray(TOP))[0]))
    assert "with the coda lens" in compute(half, Selection(), Options()).missing


def test_a_run_that_has_gone_on_says_how_far_it_was_read(tmp_path) -> None:
    stepper = run_of(str(write_checkpoint(tmp_path / "m", "huginn")), 2)
    reading_of(stepper, Options())
    stepper.step()
    data = compute(stepper.recording, Selection(), Options())
    assert data.statement.endswith("read at 2 of 3 recurrences")
    assert data.n_columns == 4


@pytest.mark.parametrize("order", ["depth", "layer"])
def test_long_runs_show_every_so_many_recurrences(order: str) -> None:
    rng = np.random.default_rng(0)
    top = rng.integers(0, 10, (200, 8, 3))
    data = shown(top, Options(order=order))
    assert data.places.step == 4
    assert data.n_columns == 51 * 8
    assert "recurrence 1 and every 4th are shown" in data.statement
    at = data.order.tolist().index(data.places.index(100, 3))
    np.testing.assert_array_equal(data.top[at], top[99, 3])
    assert data.column_labels[at] == "100:3"


def test_only_chosen_tokens_are_shown() -> None:
    top = np.tile(np.arange(5), (2, 2, 1))
    data = shown(top, selection=Selection(tokens=(1, 3)))
    assert data.tokens == (1, 3)
    assert data.labels == ("b", "d")
    np.testing.assert_array_equal(data.final, [1, 3])
    assert data.n_columns == 4


def test_shades_reach_as_far_as_the_values() -> None:
    entropy = shown(TOP, Options(quantity="entropy"))
    assert (entropy.shade.low, entropy.shade.high) == (0, pytest.approx(1.1))
    levels = entropy.shade.levels(entropy.values)
    assert levels[0, 0] == 1  # sure is bright
    assert levels.min() == 0
    far = shown(TOP, Options(quantity="divergence"))
    assert far.shade.low == pytest.approx(0.1)  # the smallest above rounding, not 0
    levels = far.shade.levels(far.values)
    assert levels[-1, -1] == 0
    assert levels[0, 0] == 1
    rank = Shade("rank", "rank", "rank", 1, 100, log=True, low_is_bright=True, digits=".0f")
    assert rank.levels(np.array([1.0, 10, 100, np.nan])) == pytest.approx(
        [1, 0.5, 0, np.nan], nan_ok=True
    )
    assert rank.ends == ("100", "1")
    assert rank.text(12.0) == "12"
    assert rank.text(float("nan")) == "–"
    flat = Shade("x", "x", "x", 2, 2)
    assert flat.levels(np.array([2.0, 3.0])).tolist() == [0, 1]


def test_the_table_holds_the_curves_by_depth() -> None:
    for order in ("depth", "layer"):
        data = shown(TOP, Options(order=order))
        found = table(data)
        rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
        assert [r["effective depth"] for r in rows] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
        assert rows[5] == {
            "effective depth": 3, "recurrence": 2, "layer": 0, "token index": 1, "token": "b",
            "lens": "coda", "answer 1 id": 5, "answer 1": "p", "p 1": 0.5, "answer 2 id": 9,
            "answer 2": "t", "p 2": float(np.float32(0.1)),
            "entropy [nats]": float(np.float32(0.5)),
            "KL to the last [nats]": float(np.float32(0.6)), "chosen token id": 4,
            "chosen token": "o", "p of the chosen token": 0.25, "rank of the chosen token": 6.0,
            "final since depth": 3, "final since recurrence": 2,
        }  # fmt: skip
