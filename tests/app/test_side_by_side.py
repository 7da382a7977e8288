"""The sculptor and the assembly line: what it opens, reads and plays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from loopscope.app.bench.bench import Bench
from loopscope.app.window.layout import PRESETS
from loopscope.app.window.settings import Settings
from loopscope.app.window.side_by_side import DEEP, HOPS, SCULPTOR, WALKER, SideBySide
from loopscope.app.window.window import Window
from loopscope.core.measures.lens import READINGS
from loopscope.widgets.palette import LIGHT

pytestmark = pytest.mark.slow


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    window = Window(Bench(), Settings(), LIGHT, remember=False)
    window.resize(1200, 860)
    window.show()
    yield window
    window.close()
    window.deleteLater()


def test_it_reads_both_and_plays_to_the_end(window: Window, qtbot: QtBot) -> None:
    places: list[tuple[int, int]] = []
    session = window.bench.session
    window.commands["sculptor"].trigger()
    player = window.bench.findChild(SideBySide)
    qtbot.waitUntil(lambda: player.stage == "end", timeout=120_000)
    session.selection_changed.connect(lambda at, hover: places.append((at.recurrence, at.layer)))
    assert (session.selection.recurrence, session.recording.info.checkpoint) == (0, WALKER)
    assert session.second.name == DEEP
    assert session.step_pairing == "depth"
    assert all(not window.docks.by_key[key].isHidden() for key in PRESETS[SCULPTOR])
    deep = session.second.stepper.recording
    # Hop r after recurrence r, and after layer 2r of the deep model, at every letter asked.
    for recording, ends in ((session.recording, range(1, 12, 2)), (deep, range(1, 12, 2))):
        ids = recording.result(READINGS).coda.ids
        read = ids.reshape(12, recording.n_tokens, -1)[:, -8:, 0]
        for hop, place in enumerate(ends, 1):
            letters = "".join(recording.label(int(i)) for i in read[place])
            walk = "abcdefgh"
            assert letters == walk[hop:] + walk[:hop]
    qtbot.waitUntil(lambda: not player.stage, timeout=60_000)
    assert places == [(r, layer) for r in range(1, HOPS + 1) for layer in (0, 1)]


def test_a_hand_on_the_cursor_ends_it(window: Window, qtbot: QtBot) -> None:
    session = window.bench.session
    window.commands["sculptor"].trigger()
    player = window.bench.findChild(SideBySide)
    qtbot.waitUntil(lambda: player.stage == "end", timeout=120_000)
    session.scrub(4)
    qtbot.waitUntil(lambda: not player.stage, timeout=10_000)
    assert session.selection.recurrence == 4
