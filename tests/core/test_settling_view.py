"""The settling view: its curves, its statement, its classes by layer and its table."""

from __future__ import annotations

import numpy as np
import pytest
from recordings import recording_of, relative_steps, synthetic_recording
from trajectories import R, contraction, rotation

from loopscope.core.measures.base import NO_RUN
from loopscope.core.measures.settling_classes import settling_class
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.states import LayerState
from loopscope.core.run.steps import relative_step
from loopscope.core.selection import Selection
from loopscope.core.views.settling import (
    ONE_PER_LAYER,
    Options,
    compute,
    short_number,
    table,
)


# ---- the view's data ----
def test_curves_are_the_closed_form_of_the_contraction() -> None:
    recording = synthetic_recording(recurrences=12, rate=0.7)
    data = compute(recording, Selection(), Options(measure="absolute"))
    offset = np.linalg.norm((recording.states[0] - recording.states[-1]) / (1 - 0.7**12), axis=-1)
    expected = offset * 0.3 * 0.7 ** np.arange(12)[:, None]
    np.testing.assert_allclose(data.values, expected, rtol=1e-4)
    np.testing.assert_allclose(data.median, np.median(expected, axis=1), rtol=1e-4)
    np.testing.assert_array_equal(data.recurrences, np.arange(1, 13))
    relative = compute(recording, Selection(), Options())
    np.testing.assert_allclose(relative.values, relative_steps(recording), rtol=1e-5)
    assert relative.rate == pytest.approx(0.7, abs=0.01)


def test_statement_counts_the_classes_at_the_tolerance() -> None:
    states = np.stack(
        [
            contraction(0.6),
            contraction(0.5),
            rotation(5),
            1.2 ** np.arange(R + 1)[:, None] * np.ones(3),
        ],
        1,
    )
    recording = recording_of(states)
    data = compute(recording, Selection(), Options())
    assert data.statement.startswith(
        "2 of 4 tokens (50 %) have settled at tolerance 1e-2 (relative step, 3 recurrences running); "
        "1 orbit of period 5, 1 diverged"
    )
    assert data.unsettled() == [2, 3]
    one = compute(recording, Selection(tokens=(1,)), Options(tolerance=5e-3, window=1))
    assert one.statement == (
        "1 of 1 token has settled at tolerance 5e-3 (relative step, 1 recurrence); "
        "median ×0.5 per recurrence"
    )


def test_only_the_shown_tokens() -> None:
    recording = synthetic_recording(tokens=5)
    data = compute(recording, Selection(tokens=(1, 3)), Options())
    assert (data.tokens, data.labels) == ((1, 3), ("b", "d"))
    np.testing.assert_allclose(data.values, relative_steps(recording)[:, [1, 3]], rtol=1e-5)
    assert len(data.settling) == 2


def test_per_layer_is_the_median_over_tokens() -> None:
    recording = synthetic_recording(recurrences=12, n_block=3, rate=0.6)
    data = compute(recording, Selection(), Options(per_layer=True))
    x = recording.layer_states.astype(float)
    steps = np.linalg.norm(x[1:] - x[:-1], axis=-1) / np.linalg.norm(x[1:], axis=-1)
    np.testing.assert_allclose(data.values, np.median(steps, axis=2))
    np.testing.assert_array_equal(data.recurrences, np.arange(2, 13))
    np.testing.assert_allclose(data.layer_rates, 0.6, atol=0.02)
    assert data.curve_name(1) == "layer 1"


def test_tolerance_and_floor_are_in_the_unit_of_the_curves() -> None:
    recording = synthetic_recording()
    norm = np.median(np.linalg.norm(recording.states[1:], axis=-1), axis=1)
    data = compute(recording, Selection(), Options(measure="absolute", tolerance=0.1))
    np.testing.assert_allclose(data.tolerance_line, 0.1 * norm, rtol=1e-5)
    np.testing.assert_allclose(data.floor_line, norm * 2.0**-23 / 12**0.5, rtol=1e-5)
    data = compute(recording, Selection(), Options(tolerance=0.1))
    np.testing.assert_allclose(data.tolerance_line, 0.1)


@pytest.mark.parametrize("options", [Options(), Options("absolute"), Options(per_layer=True)])
@pytest.mark.parametrize("n", [0, 1, 2, 200])
def test_any_number_of_recurrences(n: int, options: Options) -> None:
    data = compute(synthetic_recording(recurrences=n, tokens=1), Selection(), options)
    shown = max(n - options.per_layer, 0)
    assert data.values.shape == (shown, 2 if options.per_layer else 1)
    missing = NO_RUN if n == 0 else ONE_PER_LAYER if shown == 0 else ""
    assert data.missing == missing
    if missing:
        assert data.statement == missing
    assert len(list(table(data).rows)) == data.values.size + len(data.median)


def test_partial_recurrence_is_not_shown() -> None:
    recording = synthetic_recording(recurrences=3)
    before = compute(recording, Selection(), Options())
    recording.append_layer(LayerState(4, 0, *(a[-1, 0] for a in (recording.layer_states,
        recording.patterns, recording.writes))))  # fmt: skip
    after = compute(recording, Selection(), Options())
    np.testing.assert_array_equal(before.values, after.values)


def test_broken_states() -> None:
    states = np.stack([contraction(0.6), contraction(0.5)], 1)
    states[20:, 1] = np.nan
    data = compute(recording_of(states), Selection(), Options())
    assert np.isnan(data.values[25, 1])
    assert data.median[25] == data.values[25, 0]
    assert "1 diverged" in data.statement


# ---- classes after each layer ----
def two_layers(n: int = R) -> Recording:
    """Token 0 settles after both layers; token 1 after layer 0 alone and goes round after 1."""
    like = synthetic_recording(recurrences=0, n_block=2, tokens=2, d=3, heads=1)
    first = np.stack([contraction(0.6, n), contraction(0.5, n)], 1).astype(np.float32)
    second = np.stack([contraction(0.6, n), rotation(5, n=n)], 1).astype(np.float32)
    recording = Recording(like.info, second[0], Capture(False, False, False))
    for i in range(1, n + 1):
        recording.append_layer(LayerState(i, 0, first[i]))
        recording.append_layer(LayerState(i, 1, second[i]))
        recording.append_end(second[i], None, None)
    return recording


def test_each_layer_has_its_own_classes() -> None:
    data = compute(two_layers(), Selection(), Options())
    assert [(p.where, p.layer, p.labels()) for p in data.classes] == [
        ("recurrence end", -1, ("settled", "orbit")),
        ("layer 0", 0, ("settled", "settled")),
        ("layer 1", 1, ("settled", "orbit")),
    ]
    assert data.class_words() == ("settled", "orbit")
    assert "1 of 2 tokens (50 %) have settled" in data.statement
    assert "after each layer 2, 1" in data.statement
    one = compute(two_layers(), Selection(tokens=(1,)), Options())
    assert [p.labels() for p in one.classes] == [("orbit",), ("settled",), ("orbit",)]


def test_classes_of_cached_rows_are_those_of_the_states() -> None:
    recording = two_layers()
    for n in (9, 17, R):  # as it goes on
        short = two_layers(n)
        data = compute(short, Selection(), Options())
        assert data.settling == settling_class(short.states)
        for layer in range(2):
            assert data.classes[1 + layer].of == settling_class(short.layer_states[:, layer])
    assert compute(recording, Selection(), Options(window=40)).classes[1].labels() == (
        "not enough steps", "not enough steps",
    )  # fmt: skip


def test_the_last_state_counts_after_a_layer_too() -> None:
    like = synthetic_recording(recurrences=0, n_block=2, tokens=1, d=3, heads=1)
    path = rotation(5)[:, None].astype(np.float32)
    for thrown in (False, True):
        recording = Recording(like.info, path[0], Capture(False, False, False))
        for i in range(1, R + 1):
            state = path[i] + np.float32(0.5 * (thrown and i == R))
            recording.append_layer(LayerState(i, 0, state))
            recording.append_layer(LayerState(i, 1, path[i]))
            recording.append_end(path[i], None, None)
        first = compute(recording, Selection(), Options()).classes[1]
        assert (first.labels() == ("orbit",)) != thrown
        assert first.of == settling_class(recording.layer_states[:, 0])


def test_the_window_and_the_tolerance_change_the_classes() -> None:
    recording = recording_of(contraction(0.7, 20)[:, None])
    step = float(relative_step(recording.states)[-1, 0])
    left = step * 0.7 / 0.3  # what the steps to come add up to
    for tolerance, word in ((1.1 * left, "settled"), (0.9 * left, "not enough steps")):
        data = compute(recording, Selection(), Options(tolerance=tolerance, window=1))
        assert data.classes[0].labels() == (word,)


@pytest.mark.parametrize("rules", ["cosine", "distance"])
def test_algorithm_1_beside_our_own_classes(rules: str) -> None:
    data = compute(two_layers(60), Selection(), Options(rules=rules))
    assert [p.labels() for p in data.classes] == [
        ("fixed point", "orbit"), ("fixed point", "fixed point"), ("fixed point", "orbit"),
    ]  # fmt: skip
    assert data.statement.startswith(
        f"1 of 2 tokens (50 %) end in a fixed point by Algorithm 1 ({rules} to the end, τ 0.05, "
        "ρ 0.9, last 60 recurrences; the paper uses 128); 1 orbit of period"
    )
    assert data.class_formula.source.startswith("Algorithm 1")
    assert data.class_formula in data.formulas
    # The initial state is not looked at, the end neither.
    assert data.settling[0].n == 59
    fewer = compute(two_layers(60), Selection(), Options(rules=rules, last=20))
    assert fewer.settling[0].n == 19
    assert "last 20 recurrences" in fewer.judged
    loose = compute(two_layers(60), Selection(), Options(rules=rules, tau=1.0, rho=0.1))
    assert loose.classes[0].labels() == ("fixed point", "fixed point")
    enough = compute(two_layers(140), Selection(), Options(rules=rules))
    assert enough.settling[0].n == 127
    assert "the paper uses" not in enough.judged


@pytest.mark.parametrize("n", [0, 1, 2, 14])
@pytest.mark.parametrize("rules", ["loopscope", "cosine", "distance"])
def test_too_few_recurrences_say_so_in_every_place(n: int, rules: str) -> None:
    data = compute(two_layers(n), Selection(), Options(rules=rules))
    assert len(data.classes) == (3 if n else 1)
    if n < 3 or rules != "loopscope":
        assert {w for p in data.classes for w in p.labels()} == {"not enough steps"}
        assert not data.unsettled()


def test_shares_and_layers_are_in_the_table() -> None:
    data = compute(two_layers(), Selection(), Options())
    columns, rows = table(data).columns, list(table(data).rows)
    assert columns[-4:] == (
        "class after layer 0", "class after layer 1", "settled [share of tokens]",
        "orbit [share of tokens]",
    )  # fmt: skip
    assert all(len(row) == len(columns) for row in rows)
    assert rows[1][4:6] == ("orbit", 5)
    assert rows[1][-4:] == ("settled", "orbit of period 5", "", "")
    assert rows[2][1] == "median"
    assert rows[2][-2:] == (0.5, 0.5)
    layered = compute(two_layers(), Selection(), Options(per_layer=True))
    rows = list(table(layered).rows)
    assert rows[0][-2:] == (1.0, 0.0)
    assert rows[1][-2:] == (0.5, 0.5)
    by_algorithm = compute(two_layers(), Selection(), Options(rules="cosine"))
    period = list(table(by_algorithm).rows)[1][5]
    assert period == pytest.approx(5, rel=0.05)


def test_table_holds_exact_values() -> None:
    recording = synthetic_recording(recurrences=3, tokens=2, labels=["a", " "])
    data = compute(recording, Selection(), Options())
    columns, rows = table(data).columns, list(table(data).rows)
    assert columns[:4] == ("recurrence", "token index", "token", "relative step [1]")
    assert all(len(row) == len(columns) for row in rows)
    assert rows[1][:4] == (1, 1, " ", data.values[0, 1])
    assert rows[2][:4] == (1, "median", "", data.median[0])
    layered = compute(recording, Selection(), Options(per_layer=True))
    assert next(iter(table(layered).rows))[:3] == (2, 0, layered.values[0, 0])


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-2, "1e-2"), (2.5e-3, "2.5e-3"), (0.5, "0.5"), (0.0, "0"), (1e-10, "1e-10")],
)
def test_short_number(value: float, text: str) -> None:
    assert short_number(value) == text
