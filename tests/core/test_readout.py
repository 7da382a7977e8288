"""The readout's data: flips, since when an answer has not changed, exact tables."""

from __future__ import annotations

import numpy as np
import pytest
from recordings import synthetic_recording

from loopscope.core.labels import at_position, visible
from loopscope.core.measures.base import NO_READOUTS, NO_RUN
from loopscope.core.measures.readout import NO_ANSWER, flips, unchanged_since
from loopscope.core.options import settings_of
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.states import LayerState, TopAnswers
from loopscope.core.selection import Selection
from loopscope.core.views.readout import Options, compute, table

ONLY_READOUT = Capture(patterns=False, writes=False)


def recorded(top: np.ndarray, p: np.ndarray | None = None, words: str = "abcdefghij") -> Recording:
    """A recording whose coda lens has the top answers ``top [R, T]`` (logit lens: one more)."""
    n, t = top.shape
    like = synthetic_recording(recurrences=0, tokens=t)
    recording = Recording(like.info, like.states[0], ONLY_READOUT, label=lambda i: words[i])
    for r in range(n):
        for layer in range(2):
            recording.append_layer(LayerState(r + 1, layer, like.states[0]))
        ids = np.stack([top[r], *([np.full(t, 9 - k) for k in range(4)])], 1).astype(np.int64)
        rest = np.tile([0.1, 0.05, 0.02, 0.01], (t, 1))
        first = np.full(t, 0.5) if p is None else p[r]
        probabilities = np.column_stack([first, rest]).astype(np.float32)
        coda = TopAnswers(ids, probabilities)
        logit = TopAnswers((ids + 1) % 10, probabilities)
        recording.append_end(like.states[0], coda, logit)
    return recording


def test_flips_and_since_by_hand() -> None:
    top = np.array([[1, 5, 2], [1, 6, 3], [1, 6, 2], [1, 6, 4]])
    changed = flips(top)
    np.testing.assert_array_equal(changed, [[0, 0, 0], [0, 1, 1], [0, 0, 1], [0, 0, 1]])
    np.testing.assert_array_equal(unchanged_since(changed), [1, 2, 4])
    np.testing.assert_array_equal(unchanged_since(flips(np.zeros((0, 3), np.int64))), [0, 0, 0])


def test_the_known_recording_flips_once_for_every_token() -> None:
    # The synthetic recording answers id 0 up to recurrence 3 and id 1 from 4 on.
    data = compute(synthetic_recording(recurrences=12, tokens=5), Selection(), Options())
    assert data.ids.shape == (12, 5, 5)
    np.testing.assert_array_equal(np.argwhere(data.flip), [[3, t] for t in range(5)])
    np.testing.assert_array_equal(data.unchanged_since, [4] * 5)
    assert data.text(1) == "tok1"
    assert data.statement == (
        "The answers of all 5 tokens have not changed since recurrence 4 (coda lens)."
    )
    spans = [(s.row, s.first, s.last, s.answer) for s in data.spans()]
    assert spans[:2] == [(0, 1, 3, 0), (0, 4, 12, 1)]
    assert len(spans) == 10


def test_only_chosen_tokens_are_shown_in_order() -> None:
    top = np.array([[0, 1, 2, 3], [0, 4, 2, 3]])
    data = compute(recorded(top), Selection(tokens=(1, 3)), Options())
    assert data.tokens == (1, 3)
    assert data.labels == ("b", "d")
    np.testing.assert_array_equal(data.top, [[1, 3], [4, 3]])
    assert data.statement == (
        "The answer of 1 of 2 tokens has not changed since recurrence 1; "
        "1 changed at recurrence 2, the latest (coda lens)."
    )


def test_the_lens_chooses_the_answers() -> None:
    top = np.array([[0, 1], [2, 3]])
    recording = recorded(top)
    np.testing.assert_array_equal(compute(recording, Selection(), Options()).top, top)
    logit = compute(recording, Selection(), Options(lens="logit"))
    np.testing.assert_array_equal(logit.top, top + 1)
    assert "norm" in logit.formula.formula
    assert "coda" in compute(recording, Selection(), Options()).formula.formula
    assert [o.kind for o in settings_of(Options)] == ["choice", "flag"]


def test_the_table_is_exact_and_tidy() -> None:
    p = np.array([[0.123456789, 0.5], [0.25, 0.75]])
    recording = recorded(np.array([[0, 1], [2, 1]]), p)
    data = compute(recording, Selection(tokens=(0,)), Options())
    found = table(data)
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    assert len(rows) == 2 * 1 * 5
    assert rows[0] == {
        "recurrence": 1, "token index": 0, "token": "a", "lens": "coda", "rank": 1,
        "answer id": 0, "answer": "a", "probability": float(np.float32(0.123456789)), "flip": 0,
        "unchanged since recurrence": 2,
    }  # fmt: skip
    assert [(r["rank"], r["answer id"], r["flip"]) for r in rows[5:7]] == [(1, 2, 1), (2, 9, 1)]


def test_nothing_to_show_says_what_to_do() -> None:
    empty = compute(synthetic_recording(recurrences=0), Selection(), Options())
    assert empty.missing == empty.statement == NO_RUN
    assert list(table(empty).rows) == []
    assert list(empty.spans()) == []
    bare = synthetic_recording(capture=Capture(readout=False))
    assert compute(bare, Selection(), Options()).statement == NO_READOUTS
    one = compute(synthetic_recording(recurrences=1, tokens=1), Selection(), Options())
    assert "second one" in one.statement


def test_a_readout_that_is_not_finite_is_no_answer() -> None:
    p = np.array([[0.5, 0.5], [np.nan, 0.5], [np.nan, 0.5]])
    data = compute(recorded(np.array([[0, 1], [3, 1], [0, 1]]), p), Selection(), Options())
    assert data.top[1:, 0].tolist() == [NO_ANSWER, NO_ANSWER]
    assert data.flip[:, 0].tolist() == [False, True, False]
    assert data.text(NO_ANSWER) == "–"
    assert (
        data.statement == "The readout of 1 of 2 tokens is not finite at recurrence 3 (coda lens)."
    )


def test_long_runs_are_quick() -> None:
    rng = np.random.default_rng(0)
    data = compute(recorded(rng.integers(0, 10, (200, 64))), Selection(), Options())
    assert data.ids.shape == (200, 64, 5)
    every = [s for s in data.spans() if s.row == 7]
    assert [s.last + 1 for s in every[:-1]] == [s.first for s in every[1:]]
    assert (every[0].first, every[-1].last) == (1, 200)


@pytest.mark.parametrize(
    ("text", "shown"),
    [(" ", "␣"), ("\n", "⏎"), ("a b\t", "a␣b⇥"), ("", "∅"), ("\x07", "\\x07"), ("Ġa", "Ġa")],
)
def test_special_characters_can_be_seen(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_position_and_a_number_or_a_sign_are_told_apart() -> None:
    assert [at_position(22, text) for text in ("75", "a", "␣7", "7b", "::", "⏎", "$x$")] == [
        "22 '75'", "22 a", "22 ␣7", "22 '7b'", "22 '::'", "22 ⏎", "22 $x$",
    ]  # fmt: skip
