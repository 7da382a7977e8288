"""The data of the recurrence by recurrence map."""

from __future__ import annotations

import numpy as np
import pytest
from recordings import synthetic_recording

from loopscope.core.measures.base import NO_RUN
from loopscope.core.measures.heads import compare
from loopscope.core.run.kept_rows import Capture
from loopscope.core.selection import Selection
from loopscope.core.views.head_map import Options, compute, table
from loopscope.core.views.heads import NO_PATTERNS


def test_every_pair_has_the_known_distance() -> None:
    recording = synthetic_recording(recurrences=6, rate=0.5)
    data = compute(recording, Selection(layer=1, head=1), Options())
    # ||A_r - A_q|| = |rate^r - rate^q| ||start - end||.
    weight = 0.5 ** np.arange(1, 7)
    shape = np.abs(weight[:, None] - weight)
    np.testing.assert_allclose(data.values / data.values[0, 5], shape / shape[0, 5], atol=1e-5)
    assert data.values[0, 5] == pytest.approx(
        float(compare(recording.patterns[:1], recording.patterns[5:6], "frobenius")[0, 1, 1])
    )
    other = compute(recording, Selection(layer=1, head=0), Options())
    assert other.values[0, 5] == pytest.approx(
        float(compare(recording.patterns[:1], recording.patterns[5:6], "frobenius")[0, 1, 0])
    )
    assert other.name == "1.0"
    assert "head 1.0" in other.statement


def test_nothing_to_show_says_why() -> None:
    empty = compute(synthetic_recording(recurrences=0), Selection(), Options())
    assert empty.missing == NO_RUN
    assert empty.values.shape == (0, 0)
    bare = synthetic_recording(capture=Capture(patterns=False))
    assert compute(bare, Selection(), Options()).missing == NO_PATTERNS
    single = compute(synthetic_recording(recurrences=1), Selection(), Options(measure="cosine"))
    assert "second" in single.statement


def test_the_table_lists_each_pair_once() -> None:
    data = compute(synthetic_recording(recurrences=4), Selection(), Options(measure="cosine"))
    rows = list(table(data).rows)
    assert len(rows) == 10
    assert rows[-2] == (0, 0, 4, 3, float(data.values[3, 2]))
