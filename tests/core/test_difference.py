"""What is different between two runs, against differences that are taken by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from recordings import synthetic_recording

from loopscope.app.views import BY_KEY
from loopscope.core.run.pairing import Pairing, StepPairing
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views import difference
from loopscope.core.views.difference import Difference
from loopscope.core.views.second_run import SecondRun, second_selection

AT = Selection(recurrence=3, layer=1, head=1, token=2)
WITH_DIFFERENCE = tuple(key for key, spec in BY_KEY.items() if spec.has_difference)
# Those of answers are in `test_answers_difference`.
KEYS = tuple(key for key in WITH_DIFFERENCE if key not in ("readout", "lens"))


def of(
    key: str, one: Recording, other: Recording, step_pairing: StepPairing = "depth", **options
) -> Difference:
    pairing = Pairing(one.info.architecture, other.info.architecture, step_pairing)
    second = SecondRun(other, "other", pairing, second_selection(AT, pairing, other))
    spec = BY_KEY[key]
    made = spec.difference(one, second, AT, spec.options(**options))
    assert isinstance(made, Difference)
    return made


ONE = synthetic_recording(recurrences=6, n_block=2)
TWO = synthetic_recording(recurrences=6, n_block=2, seed=1)
SHORT = synthetic_recording(recurrences=4, tokens=4, n_block=2, seed=2)
DEEP = synthetic_recording(recurrences=3, n_block=4, seed=3)


def test_there_is_one_for_every_map_of_numbers() -> None:
    assert set(WITH_DIFFERENCE) == {
        "distance", "heads", "pattern", "head_map", "similarity", "readout", "lens",
    }  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_a_run_is_no_different_from_itself(key: str) -> None:
    made = of(key, ONE, ONE)
    assert made.far == 0
    assert set(np.unique(made.levels()[np.isfinite(made.levels())])) <= {0.5}
    assert "are equal in" in made.statement


@pytest.mark.parametrize("key", KEYS)
def test_the_other_way_round_it_has_the_other_sign(key: str) -> None:
    a, b = of(key, ONE, TWO), of(key, TWO, ONE)
    np.testing.assert_allclose(a.values, -b.values)
    assert a.far == b.far > 0
    level = a.levels()[np.isfinite(a.values)]
    value = a.values[np.isfinite(a.values)]
    np.testing.assert_allclose(level, 0.5 + value / (2 * np.abs(value).max()))
    assert a.formulas == (a.formula,)


def test_distances_are_compared_in_decades() -> None:
    made = of("distance", ONE, TWO)

    def distance(run: Recording, token: int, r: int) -> float:
        return math.dist(run.states[r, token].astype(float), run.states[-1, token].astype(float))

    for token, r in ((0, 0), (3, 4)):
        expected = math.log10(distance(ONE, token, r) / distance(TWO, token, r))
        assert made.values[token, r] == pytest.approx(expected, rel=1e-5)
    assert made.formula.unit == "decades"
    assert made.at(3, 4) == {"token": 3, "recurrence": 4}


def test_heads_are_compared_at_the_same_layer_recurrence_and_number() -> None:
    made = of("heads", ONE, TWO, order="consistency")
    n_heads = ONE.info.architecture.layer.n_heads

    def change(run: Recording, layer: int, head: int, r: int) -> float:
        now, before = (run.patterns_of(i, i)[0, layer, head].astype(float) for i in (r, r - 1))
        return float(np.sqrt(((now - before) ** 2).sum()))

    rows = {tuple(place.values()): i for i, place in enumerate(made.rows.places)}
    assert len(rows) == 2 * n_heads
    for layer, head, r in ((0, 0, 2), (1, n_heads - 1, 5)):
        expected = change(ONE, layer, head, r) - change(TWO, layer, head, r)
        assert made.values[rows[layer, head], r - 1] == pytest.approx(expected, rel=1e-4)
    assert np.isnan(made.values[:, 0]).all()  # the first has none to be compared with
    assert made.formula.unit == "1"


def test_patterns_are_subtracted_at_the_cursor() -> None:
    made = of("pattern", ONE, TWO)
    a, b = (run.patterns_of(3, 3)[0, 1, 1].astype(float) for run in (ONE, TWO))
    below = np.tril(np.ones(a.shape, bool))
    np.testing.assert_allclose(made.values[below], (a - b)[below])
    assert np.isnan(made.values[~below]).all()
    assert BY_KEY["pattern"].reads_difference == {"layer", "head", "recurrence"}


@pytest.mark.parametrize("key", KEYS)
def test_what_has_no_counterpart_is_said_and_left_out(key: str) -> None:
    made = of(key, ONE, SHORT)
    assert made.uncompared
    assert made.uncompared in made.statement
    recurrences = [p["recurrence"] for p in made.columns.places if "recurrence" in p]
    known = np.isfinite(made.values).any(0)
    shown = [r for r, there in zip(recurrences, known, strict=True) if there] if recurrences else []
    assert max(shown, default=0) <= 4
    tokens = [p["token"] for p in made.rows.places if "token" in p]
    assert max(tokens, default=0) <= 3


def test_tokens_that_differ_are_both_named() -> None:
    made = of("distance", ONE, SHORT)
    assert "4 tokens of" in made.uncompared
    assert "each to its own last, 6 and 4" in made.uncompared
    assert "4 recurrences of 6 and 4 go together" in made.uncompared
    assert difference.paired_labels(["a", "b"], ["a", "c"]) == ("a", "b | c")


def test_blocks_of_unequal_length_go_together_where_they_end_together() -> None:
    made = of("distance", ONE, DEEP)
    # Four layers of the deeper block are two recurrences of the other one.
    assert [p["recurrence"] for p in made.columns.places] == [0, 2, 4]
    with_own = math.dist(ONE.states[2, 1].astype(float), ONE.states[-1, 1].astype(float))
    there = math.dist(DEEP.states[1, 1].astype(float), DEEP.states[-1, 1].astype(float))
    assert made.values[1, 1] == pytest.approx(math.log10(with_own / there), rel=1e-5)
    by_recurrence = of("distance", ONE, DEEP, "recurrence")
    assert [p["recurrence"] for p in by_recurrence.columns.places] == [0, 1, 2]
    assert "recurrence by recurrence" in by_recurrence.statement


def test_places_of_a_similarity_map_go_together_one_to_one() -> None:
    made = of("similarity", ONE, DEEP)
    assert len(made.rows.places) == 12
    deep = of("similarity", DEEP, ONE)
    np.testing.assert_allclose(made.values, -deep.values)


def test_every_cell_is_a_row_of_the_table() -> None:
    made = of("distance", ONE, TWO)
    rows = list(difference.table(made).rows)
    assert len(rows) == made.values.size
    assert rows[7][2] == pytest.approx(made.values.ravel()[7])
    symmetric = of("head_map", ONE, TWO)
    n = len(symmetric.values)
    assert len(list(difference.table(symmetric).rows)) == n * (n + 1) / 2


@pytest.mark.parametrize("key", ["distance", "heads", "head_map", "similarity"])
def test_two_maps_get_one_colour_scale(key: str) -> None:
    spec = BY_KEY[key]
    a, b = (spec.compute(run, AT, spec.options()) for run in (ONE, SHORT))
    one, other = spec.alike(a, b)
    if key == "distance":
        assert (one.low, one.high) == (other.low, other.high)
        assert (one.low, one.high) == (min(a.low, b.low), max(a.high, b.high))
    else:
        assert one.far == other.far
        assert one.far in (a.far, b.far)
        assert abs(one.far - one.measure.identical) == max(
            abs(d.far - d.measure.identical) for d in (a, b)
        )


def test_rows_of_two_head_maps_have_one_order() -> None:
    spec = BY_KEY["heads"]
    options = spec.options(order="consistency")
    a, b = (spec.compute(run, AT, options) for run in (ONE, TWO))
    assert a.order.tolist() != b.order.tolist()
    one, other = spec.alike(a, b)
    assert one.row_labels == other.row_labels == a.row_labels


def test_settling_of_both_is_on_one_pair_of_axes() -> None:
    spec = BY_KEY["settling"]
    pairing = Pairing(ONE.info.architecture, SHORT.info.architecture)
    second = SecondRun(SHORT, "short", pairing, second_selection(AT, pairing, SHORT))
    assert spec.draws_both(ONE, SHORT)
    both = spec.compute_second(ONE, second, AT, spec.options())
    own, other = (spec.compute(run, AT, spec.options()) for run in (ONE, SHORT))
    np.testing.assert_array_equal(both.values, own.values)
    np.testing.assert_array_equal(both.second.values, other.values)
    assert "second run, short: " in both.statement
    made = spec.table(both)
    rows = list(made.rows)
    assert {row[0] for row in rows} == {"this run", "short"}
    value = made.columns.index(spec.table(own).columns[3])
    mine = [row[value] for row in rows if row[0] == "short"]
    assert mine == [row[3] for row in spec.table(other).rows]
