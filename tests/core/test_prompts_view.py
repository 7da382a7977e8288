"""The prompt set view's data: means with intervals, and the prompts behind them."""

from __future__ import annotations

import numpy as np
import pytest
from recordings import relative_steps, synthetic_recording
from scipy.special import log_softmax

from loopscope.core.analyses.exits import run as simulate
from loopscope.core.analyses.prompts import run
from loopscope.core.analyses.quality import run as score
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.errors import Cancelled
from loopscope.core.interventions.base import END
from loopscope.core.interventions.states import Zero
from loopscope.core.measures.exits_over_prompts import EXITS_OVER_PROMPTS
from loopscope.core.measures.over_prompts import PROMPT_MEASURES
from loopscope.core.measures.quality import QUALITY
from loopscope.core.measures.registry import MEASURES
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views import exits, quality
from loopscope.core.views import prompts as view
from loopscope.core.views.base import PROMPTS as LACKS_PROMPTS
from loopscope.core.views.base import RECURRENCE, Lack
from loopscope.core.views.prompt_curves import NO_PROMPTS, NO_RUN

TEXTS = ["ab ba ? 1 : a b", "ab bc ca ? 2 : a b c", "xy yz zx ? 1 : z"]
PROMPTS = PromptSet("p.txt", "p.txt", tuple(
    Item(text, None, i) for i, text in enumerate(TEXTS, start=1)
))  # fmt: skip


@pytest.fixture
def stepper() -> Stepper:
    stepper = begun(load("bundled:looped", "cpu"), TEXTS[1])
    stepper.loaded.shared.prompts = PROMPTS
    return stepper


def begun(loaded: Loaded, text: str, recurrences: int = 5) -> Stepper:
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode(text))
    for _ in range(recurrences):
        stepper.step()
    return stepper


def measured(stepper: Stepper, **options: object) -> view.Data:
    chosen = view.Options(**options)
    found = run(stepper, Selection(), chosen, Job("test"))
    stepper.recording.keep(PROMPT_MEASURES, found)
    return view.compute(stepper.recording, Selection(), chosen)


def test_what_is_lacking_is_said_in_turn() -> None:
    recording = synthetic_recording(recurrences=0)
    assert view.REQUEST.missing(recording) == NO_PROMPTS
    data = view.compute(recording, Selection(), view.Options())
    assert (data.missing, data.lacks, data.bundled) == (NO_PROMPTS, LACKS_PROMPTS, False)
    recording.shared.prompts = PROMPTS
    data = view.compute(recording, Selection(), view.Options())
    assert (data.missing, data.lacks) == (NO_RUN, RECURRENCE)
    recording = synthetic_recording(recurrences=2)
    recording.shared.prompts = PROMPTS
    assert view.REQUEST.missing(recording) == ""
    data = view.compute(recording, Selection(), view.Options())
    assert data.lacks == Lack("measurement", "Measure over the prompt set")
    assert data.missing == "Relative step has not been measured over p.txt (3 prompts)."


def test_the_curve_is_the_mean_of_the_prompts(stepper: Stepper) -> None:
    data = measured(stepper)
    (curve,) = data.curves
    each = [relative_steps(begun(stepper.loaded, t).recording) for t in TEXTS]
    mean = np.mean([np.median(e, axis=1) for e in each], axis=0)
    np.testing.assert_allclose(curve.y, mean, rtol=1e-5)
    assert (curve.low[1:] <= mean[1:]).all()
    assert (mean[1:] <= curve.high[1:]).all()
    assert (
        f"{mean[-1]:.3g} (95 % {curve.low[-1]:.3g} to {curve.high[-1]:.3g}, n = 3)"
        in data.statement
    )
    assert "mean over 3 prompts of p.txt" in data.statement
    assert data.rows.current == 1
    assert data.rows.run_of(2) == {
        "prompt": TEXTS[2], "seed": 0, "start": "zeros", "start_scale": 1.0, "recurrences": 5,
        "interventions": (),
    }  # fmt: skip
    np.testing.assert_allclose(data.rows.columns[0].at(4, 0), [np.median(e[3]) for e in each],
                               rtol=1e-5)  # fmt: skip


def test_a_measure_with_layers_has_a_curve_for_each(stepper: Stepper) -> None:
    data = measured(stepper, measure="layer_relative_step")
    assert [c.name for c in data.curves] == ["layer 0", "layer 1"]
    assert [c.place for c in data.curves] == [{"layer": 0}, {"layer": 1}]
    column = data.rows.columns[0]
    assert (column.at(5, 0) != column.at(5, 1)).all()
    np.testing.assert_array_equal(column.at(99, 7), column.at(5, 1))  # the nearest measured place
    assert column.heading(99) == "relative step of layer l, r = 5"
    assert "over 2 layers at recurrence 5" in data.statement
    without = view.compute(stepper.recording, Selection(),
                           view.Options(measure="layer_relative_step", band=False))  # fmt: skip
    assert without.curves[0].low is None


def test_it_stays_while_its_prompts_are_run_and_is_kept_for_each_measure(stepper: Stepper) -> None:
    measured(stepper)
    measured(stepper, measure="entropy")
    other = begun(stepper.loaded, TEXTS[2], 2)
    for key in ("relative_step", "entropy"):
        data = view.compute(other.recording, Selection(), view.Options(measure=key))
        assert not data.missing
        assert data.rows.current == 2
        assert len(data.curves[0].x) == 5
    stepper.loaded.shared.prompts = PromptSet("q", "q", PROMPTS.items[:2])
    data = view.compute(other.recording, Selection(), view.Options())
    assert "has not been measured over q (2 prompts)" in data.missing


def test_one_prompt_has_no_interval_and_says_so(stepper: Stepper) -> None:
    stepper.loaded.shared.prompts = PromptSet("q", "q", PROMPTS.items[:1])
    data = measured(stepper)
    assert data.statement.endswith("one prompt has no interval")
    assert data.curves[0].low is None


def test_prompts_without_a_number_are_counted_out(stepper: Stepper) -> None:
    items = (*PROMPTS.items, Item("#3,4,5", None, 9))
    stepper.loaded.shared.prompts = PromptSet("q", "q", items)
    data = measured(stepper, measure="induction")
    assert data.statement.endswith("3 of 4 prompts have a number")
    assert "token that occurs twice" in data.rows.missing[3]
    assert np.isnan(data.rows.columns[0].at(1, 0)[3])
    gate = measured(stepper, measure="exit_hazard")
    assert gate.missing == gate.statement == "This model has no exit gate."


def test_the_table_has_the_means_and_every_prompt(stepper: Stepper) -> None:
    data = measured(stepper, measure="layer_relative_step")
    table = view.table(data)
    rows = list(table.rows)
    assert len(rows) == 5 * 2 + 3 * 5 * 2
    assert all(len(row) == len(table.columns) for row in rows)
    means = [row for row in rows if row[1] == "mean"]
    assert means[-1][4] == pytest.approx(data.curves[1].y[-1])
    assert means[-1][-2:] == (3, "95 % bootstrap-t, n = 3 prompts")
    own = [row[4] for row in rows if row[:4] == (2, TEXTS[1], 5, 1)]
    assert own == [pytest.approx(data.result.values[1, 4, 1])]
    assert MEASURES["layer_relative_step"].formula in data.formulas


def test_half_precision_and_one_recurrence() -> None:
    loaded = load("bundled:looped", "cpu", "bfloat16")
    loaded.shared.prompts = PROMPTS
    data = measured(begun(loaded, TEXTS[0], 1))
    assert len(data.curves[0].x) == 1
    change = measured(begun(loaded, TEXTS[0], 1), measure="readout_change")
    assert "needs 2 recurrences" in change.missing


def test_over_a_cut_run_it_says_that_the_model_is_uncut(stepper: Stepper) -> None:
    data = measured(stepper)
    cut = stepper.branch((Zero(recurrence=2, last=2, layer=END),))
    said = view.compute(cut.recording, Selection(), view.Options()).statement
    assert said == f"{data.statement}; of the uncut model"
    options = quality.Options(answers="next")
    found = score(stepper, Selection(), options, Job("test"))
    stepper.recording.keep(QUALITY, found)
    for recording, ends in ((stepper.recording, False), (cut.recording, True)):
        said = quality.compute(recording, Selection(), options)
        assert said.statement.endswith("; of the uncut model") == ends
    found = simulate(stepper, Selection(), exits.Options(), Job("test"))
    stepper.recording.keep(EXITS_OVER_PROMPTS, found)
    for over, recording, ends in (
        ("prompts", stepper.recording, False),
        ("prompts", cut.recording, True),
        ("run", cut.recording, False),
    ):
        said = exits.compute(recording, Selection(), exits.Options(over=over)).statement
        assert said.endswith("; of the uncut model") == ends


def logit_lens(stepper: Stepper) -> np.ndarray:
    """Log probabilities ``[R, L, T, V]`` of the logit lens, in float64 from the recorded states."""
    model, recording = stepper.loaded.model, stepper.recording
    states = recording.layer_states.astype(np.float64)
    states[:, -1] = recording.states[1:]
    gain, unembed = (
        w.detach().double().numpy() for w in (model.final_norm.weight, model.unembed.weight)
    )
    normed = states / np.sqrt((states**2).mean(-1, keepdims=True) + 1e-6) * gain
    return log_softmax(normed @ unembed.T, axis=-1)


def test_the_curves_of_a_lens_are_the_means_of_what_it_reads(stepper: Stepper) -> None:
    entropies, apart, chances, shares = [], [], [], []
    for text in TEXTS:
        log_p = logit_lens(begun(stepper.loaded, text))
        p, last = np.exp(log_p), log_p[-1, -1]
        final = last.argmax(-1)
        entropies.append(-(p * log_p).sum(-1).mean(-1))
        apart.append((p * (log_p - last)).sum(-1).mean(-1))
        chances.append(np.take_along_axis(p, final[None, None, :, None], -1).mean((-1, -2)))
        shares.append((log_p.argmax(-1) == final).mean(-1))
    rows = zip(("entropy", "divergence", "final_chance", "final_share"),
               (entropies, apart, chances, shares), strict=True)  # fmt: skip
    for key, each in rows:
        drawn = np.array([c.y for c in measured(stepper, measure=f"logit_{key}").curves])
        np.testing.assert_allclose(
            drawn, np.mean(each, axis=0).T, rtol=1e-4, atol=1e-6, err_msg=key
        )


def test_the_coda_lens_over_prompts_ends_at_the_models_own_readout(stepper: Stepper) -> None:
    last = measured(stepper, measure="coda_entropy").curves[-1]
    (readout,) = measured(stepper, measure="readout_entropy").curves
    np.testing.assert_allclose(last.y, readout.y, rtol=1e-4)
    assert measured(stepper, measure="coda_divergence").curves[-1].y[-1] == pytest.approx(
        0, abs=1e-6
    )
    assert measured(stepper, measure="coda_final_share").curves[-1].y[-1] == 1.0


def test_reading_a_prompt_with_a_lens_can_be_cancelled(stepper: Stepper) -> None:
    job: Job[object] = Job("test")
    reports = []

    def report(share: float) -> None:
        reports.append(share)
        if len(reports) == 5:  # the last recurrence of the first prompt: the lens reads next
            job.cancel()

    job.report = report  # type: ignore[method-assign]
    with pytest.raises(Cancelled):
        run(stepper, Selection(), view.Options(measure="coda_entropy"), job)
    assert len(reports) == 5
