"""What views say of a deep model's run, which has one recurrence: nothing that needs another."""

from __future__ import annotations

import re

import pytest
from recordings import synthetic_recording

from loopscope.app.views import BY_KEY, VIEW_SPECS
from loopscope.core.checkpoint.loading import load
from loopscope.core.options import settings_of
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import RecurrenceRange, Selection
from loopscope.core.views.base import RECURRENCE

# What holds of a run that goes on only.
GOES_ON = re.compile(
    r"second (one|recurrence)|until recurrence|trained 1|1 has been run|not enough steps"
    r"|(one|two|2) recurrences? (to|has)"
)


@pytest.fixture(scope="module")
def deep() -> Recording:
    loaded = load("bundled:deep", "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("ab bc ca ? 2 : a b c"))
    stepper.step()
    return stepper.recording


@pytest.mark.parametrize("spec", VIEW_SPECS, ids=lambda spec: spec.key)
def test_no_view_waits_for_another_recurrence(deep: Recording, spec) -> None:
    data = spec.compute(deep, Selection(recurrence=1, token=3), spec.options())
    assert data.lacks != RECURRENCE
    said = data.statement
    if "a deep model runs once" not in said.lower():
        assert not GOES_ON.search(said), said


def test_the_same_views_wait_where_the_run_goes_on() -> None:
    """The expression above finds what it is to find."""
    looped = synthetic_recording(recurrences=1)
    said = {
        spec.key: spec.compute(looped, Selection(recurrence=1, token=3), spec.options()).statement
        for spec in VIEW_SPECS
        if spec.key in ("state_space", "settling", "heads", "head_map", "readout", "depth")
    }
    assert [key for key, text in said.items() if not GOES_ON.search(text)] == []


def test_per_layer_settling_and_distance_have_nothing_to_press_for(deep: Recording) -> None:
    at = Selection(recurrence=1, token=3)
    for key, options in (("settling", {"per_layer": True}), ("distance", {"layer": 0})):
        spec = BY_KEY[key]
        data = spec.compute(deep, at, spec.options(**options))
        assert "a deep model runs once" in data.missing.lower()
        assert data.lacks is None


@pytest.mark.parametrize("spec", VIEW_SPECS, ids=lambda spec: spec.key)
def test_a_range_of_a_run_that_has_hardly_begun_shows_what_there_is(deep: Recording, spec) -> None:
    """Of no recurrence and of one, looped and deep, with every choice and flag of the view."""
    runs = [synthetic_recording(recurrences=0), synthetic_recording(recurrences=1), deep]
    changes = [{}] + [
        {setting.name: value}
        for setting in settings_of(spec.options)
        for value in [*(v for v, _ in setting.choices), *((True, False) * (setting.kind == "flag"))]
    ]
    for run in runs:
        at = Selection(recurrence=run.n_recurrences, token=3)
        for change in changes:
            data = spec.compute(run, at, spec.options(**change))
            for shown in (RecurrenceRange(), RecurrenceRange(0, 1), RecurrenceRange(3, 20, True)):
                assert spec.within(data, shown).statement == data.statement
