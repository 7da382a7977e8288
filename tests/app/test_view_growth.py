"""What a live view costs at one more recurrence is not that of the whole run again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from recordings import go_on, synthetic_recording
from work import calls

from loopscope.app.view_spec import ViewSpec
from loopscope.app.views import VIEW_SPECS
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection

LIVE = [spec for spec in VIEW_SPECS if spec.request is None]
SHORT, LONG = 64, 256
# Calls for each recurrence before the new one: the head map compares the new one with all of them,
# settling tells by the whole trajectory whether it is an orbit.
MOST = {"head_map": 12.0, "settling": 8.0}


def computed(spec: ViewSpec[Any, Any], recording: Recording) -> Any:
    return spec.compute(recording, Selection(recurrence=recording.n_recurrences), spec.options())


def calls_of_one_more(spec: ViewSpec[Any, Any], recurrences: int) -> int:
    recording = synthetic_recording(recurrences=recurrences)
    computed(spec, recording)
    go_on(recording)
    return calls(lambda: computed(spec, recording))


@pytest.mark.parametrize("spec", LIVE, ids=[spec.key for spec in LIVE])
def test_one_more_recurrence_is_not_the_whole_run_again(spec: ViewSpec[Any, Any]) -> None:
    more = calls_of_one_more(spec, LONG) - calls_of_one_more(spec, SHORT)
    assert more / (LONG - SHORT) <= MOST.get(spec.key, 3.0)


@pytest.mark.parametrize("spec", LIVE, ids=[spec.key for spec in LIVE])
def test_what_grew_with_a_run_is_what_is_computed_of_all_of_it(spec: ViewSpec[Any, Any]) -> None:
    grown = synthetic_recording(recurrences=12)
    for _ in range(5):
        computed(spec, grown)
        go_on(grown)
    whole = synthetic_recording(recurrences=12)
    for _ in range(5):
        go_on(whole)
    one, other = (spec.table(computed(spec, recording)) for recording in (grown, whole))
    assert one.columns == other.columns
    for row, alone in zip(one.rows, other.rows, strict=True):
        for a, b in zip(row, alone, strict=True):
            if isinstance(a, float):
                np.testing.assert_allclose(a, b, rtol=1e-12)
            else:
                assert a == b
