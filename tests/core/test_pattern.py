"""The data of the pattern view."""

from __future__ import annotations

import numpy as np
from recordings import synthetic_recording, writable

from loopscope.core.measures.base import NO_RUN
from loopscope.core.run.kept_rows import Capture
from loopscope.core.selection import Selection
from loopscope.core.views.heads import NO_PATTERNS
from loopscope.core.views.pattern import Options, compute, table


def test_patterns_are_a_view_on_the_recording() -> None:
    recording = synthetic_recording(recurrences=5, heads=3)
    data = compute(recording, Selection(recurrence=4, layer=1, head=2), Options())
    assert np.shares_memory(data.patterns[3], recording.layer(4, 1).pattern)
    np.testing.assert_array_equal(data.patterns, recording.patterns[:, 1, 2])
    np.testing.assert_allclose(np.sum(data.patterns, -1), 1, atol=1e-6)
    assert data.title(4) == "Head 1.2 at recurrence 4"
    assert "1.2" in data.statement


def test_recurrence_zero_and_beyond() -> None:
    data = compute(synthetic_recording(recurrences=3), Selection(), Options())
    assert data.shown_recurrence(0) == 1
    assert data.shown_recurrence(9) == 3
    assert "no pattern" in data.title(0)


def test_a_head_that_is_not_there_is_moved_inside() -> None:
    data = compute(synthetic_recording(), Selection(layer=9, head=9), Options())
    assert data.name == "1.1"


def test_nothing_to_show_says_why() -> None:
    empty = compute(synthetic_recording(recurrences=0), Selection(), Options())
    assert empty.statement == empty.missing == NO_RUN
    assert len(empty.patterns) == 0
    bare = synthetic_recording(capture=Capture(patterns=False))
    assert compute(bare, Selection(), Options()).missing == NO_PATTERNS


def test_a_pattern_that_is_not_finite_is_named() -> None:
    recording = synthetic_recording(recurrences=3)
    writable(recording.layer(3, 0).pattern)[0] = np.nan
    assert "recurrence 3" in compute(recording, Selection(), Options()).statement


def test_the_table_lists_the_causal_entries() -> None:
    recording = synthetic_recording(recurrences=2, tokens=4)
    data = compute(recording, Selection(layer=1), Options())
    rows = list(table(data).rows)
    assert len(rows) == 2 * 10
    assert rows[-1] == (2, 1, 0, 3, "d", 3, "d", float(recording.patterns[1, 1, 0, 3, 3]))
