"""The sculptor and the assembly line: a walker and a deep model, played layer by layer.

The one goes over the same state again and again with the same two layers, the other hands it on
through twelve that each work once. Both are read out after every layer; the cursor then goes along
effective depth, and the graph marks which weights are at work.
"""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QObject, QTimer

from loopscope.app.bench.bench import Bench
from loopscope.app.window.docks import Docks
from loopscope.app.window.opening import FirstRun, Opening
from loopscope.core.measures.lens import READINGS

SCULPTOR = "Sculptor and assembly line"
WALKER, DEEP = "bundled:orbit", "bundled:deep"
# As many hops as the deep model has pairs of layers; every letter is asked for.
HOPS = 6
PROMPT = f"ha bc de fg gh cd ab ef ? {HOPS} : a b c d e f g h"
QUERIES = 8
# Milliseconds from one layer to the next.
PACE = 500


class SideBySide(QObject):
    """Opens the two models, reads every layer out and plays the cursor along effective depth.

    stage : what is waited for: "", "walker", "deep", "readings" or "end" while it plays.
    """

    def __init__(self, bench: Bench, opening: Opening, docks: Docks) -> None:
        super().__init__(bench)
        self._bench, self._opening, self._docks = bench, opening, docks
        self.stage, self._plays, self._at = "", True, (0, 0)
        self._clock = QTimer(self)
        self._clock.setInterval(PACE)
        self._clock.timeout.connect(self._play)
        # What tells that a run has come further, the second one too: its views are drawn anew.
        session, drawn = bench.session, bench.analysis
        for told in (session.run_changed, session.progressed, session.runs_changed):
            told.connect(self._go_on)
        for told in (session.selection_changed, drawn.data_shown, drawn.second_shown):
            told.connect(lambda *_: self._go_on())
        bench.measuring.progressed.connect(lambda *_: self._go_on())
        bench.measuring.failed.connect(self._on_failed)

    def show(self, *, play: bool = True) -> None:
        """Begin; runs that would be lost are asked about first.

        Without ``play`` the cursor stays at the start, for a hand to move it.
        """
        self._clock.stop()
        self.stage, self._plays = "walker", play
        self._opening.open(WALKER, FirstRun(PROMPT, HOPS, ()))

    def _go_on(self) -> None:
        """Do what comes next as soon as what it needs is there."""
        session = self._bench.session
        recording, second = session.recording, session.second
        if not self.stage or recording is None or recording.info.prompt != PROMPT:
            return
        if self.stage == "walker" and recording.info.checkpoint == WALKER:
            if recording.n_recurrences == HOPS:
                self.stage = "deep"
                self._put_beside(recording.n_tokens)
        elif self.stage == "deep" and second is not None:
            if second.stepper.recording.n_recurrences == 1:
                self.stage = "readings"
                self._bench.measuring.measure("lens")
        elif self.stage == "readings" and second is not None:
            both = (recording, second.stepper.recording)
            if all(run.result(READINGS) is not None for run in both):
                self.stage = "end" if self._plays else ""
                session.scrub(0)
                self._at = self._place
                if self._plays:
                    self._clock.start()

    def _put_beside(self, n_tokens: int) -> None:
        bench = self._bench
        self._docks.apply(SCULPTOR)
        bench.session.select({"tokens": tuple(range(n_tokens - QUERIES, n_tokens))})
        if bench.session.step_pairing != "depth":
            bench.runs.set_step_pairing("depth")
        loaded = bench.session.status.loaded
        assert loaded is not None  # it has just run
        bench.second_runs.open_model(replace(loaded.request, path=DEEP))

    @property
    def _place(self) -> tuple[int, int]:
        at = self._bench.session.selection
        return at.recurrence, at.layer

    def _play(self) -> None:
        """One layer on; the end, another run or a hand on the cursor ends it."""
        session = self._bench.session
        before = self._place
        if session.second is not None and session.n_recurrences == HOPS and before == self._at:
            session.scrub_layer(1)
            self._at = self._place
            if self._at != before:
                return
        self._clock.stop()
        self.stage = ""

    def _on_failed(self, key: str, why: str) -> None:
        if key == "lens" and why and self.stage == "readings":
            self.stage = ""
