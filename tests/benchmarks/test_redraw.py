"""Redraw of every live view with many tokens, many heads, many recurrences."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording
from timing import median_cpu_ms

from loopscope.app.views import BY_KEY
from loopscope.core.selection import Selection

# Views that need neither a measurement nor a prompt set.
VIEWS = (
    "state_space", "settling", "distance", "heads", "graph", "readout", "pattern", "head_map",
    "depth", "similarity",
)  # fmt: skip
SHAPES = {
    "1,024 tokens": {"recurrences": 4, "n_block": 1, "tokens": 1024, "heads": 1},
    "768 heads": {"recurrences": 8, "n_block": 48, "tokens": 32, "heads": 16, "d": 64},
    "2,000 recurrences": {"recurrences": 2000, "n_block": 2, "tokens": 12, "heads": 4},
}


@pytest.mark.benchmark
@pytest.mark.parametrize("shape", SHAPES)
def test_redraw_of_every_view(say, qtbot: QtBot, shape: str) -> None:
    recording = synthetic_recording(**SHAPES[shape])
    last = Selection(recurrence=recording.n_recurrences)
    figures = {}
    for key in VIEWS:
        spec = BY_KEY[key]
        datas = [spec.compute(recording, last, spec.options()) for _ in range(2)]
        view = spec.view()
        qtbot.addWidget(view)
        view.resize(640, 420)
        view.show()
        state = [0]

        def redraw(view=view, datas=datas, state=state) -> None:
            state[0] ^= 1
            view.show_data(datas[state[0]])
            view.show_selection(last, {})
            view.grab()

        figures[key] = round(median_cpu_ms(redraw, n=7, warm_up=2), 1)
        view.close()
    say(f"redraw with {shape}, new data and paint, 640 x 420, processor ms", **figures)
