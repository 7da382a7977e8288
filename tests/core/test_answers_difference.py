"""What is different between the answers of two runs, against numbers taken by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from lens_runs import reading_of

from loopscope.app.views import BY_KEY
from loopscope.core.checkpoint.loading import load
from loopscope.core.labels import visible
from loopscope.core.run.pairing import Pairing
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import RecurrenceRange, Selection
from loopscope.core.views import difference
from loopscope.core.views.difference import Difference
from loopscope.core.views.lens.compute import LEAST_DIVERGENCE, Options
from loopscope.core.views.second_run import SecondRun, second_selection

AT = Selection(recurrence=2, layer=1, token=7)


def stepped(prompt: str, recurrences: int, path: str = "bundled:looped") -> Stepper:
    loaded = load(path, "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode(prompt))
    for _ in range(recurrences):
        stepper.step()
    reading_of(stepper, Options(), AT)
    return stepper


@pytest.fixture(scope="module")
def runs() -> dict[str, Stepper]:
    return {
        "one": stepped("ab bc ca ? 2 : a b c", 5),
        "two": stepped("ac cb ba ? 2 : a b c", 5),
        "short": stepped("ab bc ca ? 2 : a b", 3),
    }


def of(key: str, one: Stepper, other: Stepper, **options: object) -> Difference:
    a, b = one.recording, other.recording
    pairing = Pairing(a.info.architecture, b.info.architecture)
    second = SecondRun(b, "other", pairing, second_selection(AT, pairing, b))
    spec = BY_KEY[key]
    made = spec.difference(a, second, AT, spec.options(**options))
    assert isinstance(made, Difference)
    return made


def probabilities(stepper: Stepper, r: int, token: int) -> np.ndarray:
    """The coda lens by the model itself, not by what the run has kept."""
    import torch

    state = torch.from_numpy(stepper.recording.states[r].copy())[None]
    with torch.inference_mode():
        logits = stepper.loaded.model.readout(state)[0, token].double()
    return logits.softmax(-1).numpy()


def test_probabilities_of_the_top_answers_are_subtracted(runs: dict[str, Stepper]) -> None:
    made = of("readout", runs["one"], runs["two"])
    assert made.values.shape == (len(runs["one"].recording.info.token_ids), 5)
    for token, r in ((9, 1), (10, 3), (2, 5)):
        mine, theirs = (probabilities(runs[name], r, token) for name in ("one", "two"))
        expected = mine.max() - theirs.max()
        assert made.values[token, r - 1] == pytest.approx(expected, abs=1e-5)
        texts = [visible(runs[n].recording.label(int(p.argmax()))) for n, p in
                 (("one", mine), ("two", theirs))]  # fmt: skip
        assert [str(a[token, r - 1]) for a in made.answers] == texts
        assert made.apart[token, r - 1] == (texts[0] != texts[1])
    assert made.formula.unit == "probability"
    assert made.at(3, 4) == {"token": 3, "recurrence": 5}


@pytest.mark.parametrize("key", ["readout", "lens"])
def test_a_run_answers_like_itself(runs: dict[str, Stepper], key: str) -> None:
    made = of(key, runs["one"], runs["one"])
    assert made.far == 0
    assert not made.apart.any()
    assert not made.spans_apart()
    assert made.statement.startswith("The answers are the same everywhere; This run and other are")


@pytest.mark.parametrize("key", ["readout", "lens"])
def test_the_other_way_round_it_has_the_other_sign(runs: dict[str, Stepper], key: str) -> None:
    a, b = of(key, runs["one"], runs["two"]), of(key, runs["two"], runs["one"])
    np.testing.assert_allclose(a.values, -b.values)
    assert (a.apart == b.apart).all()
    assert a.apart.any()
    # One prompt is the other with its arrows turned round: what is asked is answered otherwise.
    ever, still = int(a.apart.any(1).sum()), int(a.apart[:, -1].sum())
    n = len(a.values)
    assert a.statement.startswith(f"Answers differ at {ever} of {n} tokens, at {still} of them")


def test_spans_hold_every_cell_that_is_apart(runs: dict[str, Stepper]) -> None:
    made = of("lens", runs["one"], runs["two"])
    cells = np.zeros(made.values.shape, bool)
    for row, first, last in made.spans_apart():
        assert not cells[row, first : last + 1].any()
        cells[row, first : last + 1] = True
    assert (cells == made.apart).all()
    kept = difference.within(made, RecurrenceRange(2, 3))
    assert kept.answers is not None
    assert kept.answers[0].shape == kept.values.shape == (len(made.values), 2 * 2)
    assert kept.scale == made.far


def test_what_has_no_counterpart_is_said(runs: dict[str, Stepper]) -> None:
    made = of("readout", runs["one"], runs["short"])
    n = runs["short"].recording.n_tokens
    assert made.values.shape == (n, 3)
    assert "3 recurrences of 5 and 3 go together" in made.statement
    assert f"{n} tokens of {runs['one'].recording.n_tokens} and {n}" in made.statement


def test_divergences_are_compared_in_decades(runs: dict[str, Stepper]) -> None:
    made = of("lens", runs["one"], runs["two"], quantity="divergence")

    def divergence(name: str, r: int, token: int) -> float:
        here, last = (probabilities(runs[name], i, token) for i in (r, 5))
        return float((here * np.log(here / last)).sum())

    for token, r in ((10, 1), (9, 2)):
        floors = [max(divergence(n, r, token), LEAST_DIVERGENCE) for n in ("one", "two")]
        expected = math.log10(floors[0] / floors[1])
        # After the last layer of a recurrence stands its end.
        assert made.values[token, 2 * r - 1] == pytest.approx(expected, abs=1e-2)
    assert made.values[:, -1].tolist() == [0.0] * len(made.values)
    assert made.formula.unit == "decades"


def test_chosen_tokens_that_differ_are_both_named(runs: dict[str, Stepper]) -> None:
    made = of("lens", runs["one"], runs["two"], quantity="chance")
    assert "probability of '" in made.uncompared or made.answers[0][7, -1] == made.answers[1][7, -1]


def test_without_a_reading_it_says_whose_is_missing(runs: dict[str, Stepper]) -> None:
    loaded = load("bundled:looped", "cpu")
    unread = Stepper(loaded)
    unread.begin(loaded.tokenizer.encode("ab bc ca ? 2 : a b c"))
    unread.step()
    made = of("lens", runs["one"], unread)
    assert made.missing == made.statement == "other: Nothing has been read."
    assert made.lacks is not None
    unread.begin(loaded.tokenizer.encode("ab"))
    for a, b in ((runs["one"], unread), (unread, runs["one"])):
        assert "No recurrence" in of("readout", a, b).missing


def test_the_table_has_both_answers(runs: dict[str, Stepper]) -> None:
    made = of("readout", runs["one"], runs["two"])
    table = difference.table(made)
    assert table.columns[-2:] == ("answer of this run", "answer of other")
    rows = list(table.rows)
    assert len(rows) == made.values.size
    assert rows[7][3:] == (str(made.answers[0].ravel()[7]), str(made.answers[1].ravel()[7]))
