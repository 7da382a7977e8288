"""Every view shows of a recording in a file what it showed of the run itself."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from models import tiny_checkpoint

from loopscope.app.views import VIEW_SPECS
from loopscope.core.checkpoint.loading import load
from loopscope.core.interventions.states import Noise
from loopscope.core.recordings.reader import open_recording
from loopscope.core.recordings.writing import save
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.base import Table
from loopscope.core.views.lens.compute import Options as LensOptions


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, Recording]:
    from loopscope.core.analyses.lens import run as read
    from loopscope.core.measures.lens import READINGS
    from loopscope.core.run.jobs import Job

    folder = tmp_path_factory.mktemp("recorded")
    loaded = load(str(tiny_checkpoint(folder / "m")), "cpu")
    stepper = Stepper(loaded)
    cut = (Noise(recurrence=2, last=4, layer=1, size=0.3),)
    live = stepper.begin(loaded.tokenizer.encode("ab bc ca ? 2 : a b c"), interventions=cut)
    for _ in range(8):
        stepper.step()
    selection = Selection(recurrence=5, layer=1, head=1, token=3)
    live.keep(READINGS, read(stepper, selection, LensOptions(), Job("lens")))
    save(folder / "run.h5", [live])
    return live, open_recording(folder / "run.h5").runs[0]


def cells(table: Table) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([table.columns, *table.rows])
    return out.getvalue()


@pytest.mark.parametrize("spec", VIEW_SPECS, ids=lambda spec: spec.key)
def test_a_view_of_a_file_is_that_of_the_run(
    spec: object, both: tuple[Recording, Recording]
) -> None:
    definition = spec.definition()  # type: ignore[attr-defined]
    selection = Selection(recurrence=5, layer=1, head=1, token=3)
    options = definition.options()
    live, kept = (definition.compute(run, selection, options) for run in both)
    assert kept.statement == live.statement
    assert cells(definition.table(kept)) == cells(definition.table(live))


def test_the_views_have_something_to_compare(both: tuple[Recording, Recording]) -> None:
    assert both[1].held == 0
    np.testing.assert_array_equal(both[0].patterns, both[1].patterns)
