"""A series in the window: one model's checkpoints along its training, shown as one thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QMainWindow, QToolBar

from loopscope.app.bench.bench import MOST_AGAIN, Bench
from loopscope.app.window.opening import FirstRun, Opening
from loopscope.app.window.settings import absolute

if TYPE_CHECKING:
    from loopscope.core.checkpoint.series import Member
    from loopscope.core.run.elsewhere import AnyModel
    from loopscope.widgets.bars.series_bar import SeriesBar


class Series(QObject):
    """The series that is open in one window, and its bar; hidden where a checkpoint stands alone.

    members : its checkpoints in order of their steps; () for none.
    """

    def __init__(
        self, bench: Bench, opening: Opening, say: Callable[[str], None], window: QMainWindow,
        transport: QToolBar,
    ) -> None:  # fmt: skip
        super().__init__(window)
        self._bench, self._opening, self._say = bench, opening, say
        self.members: tuple[Member, ...] = ()
        self._given: tuple[Member, ...] = ()
        # Which checkpoint is shown or on its way.
        self.at = -1
        self._tool = QToolBar("Series", window)
        self._tool.setObjectName("Series")
        self._tool.setMovable(False)
        self._tool.toggleViewAction().setVisible(False)
        # A row of its own beside the transport.
        window.insertToolBar(transport, self._tool)
        window.insertToolBarBreak(transport)
        self._tool.hide()

    @cached_property
    def bar(self) -> SeriesBar:
        """The slider and its buttons; made with the first series."""
        from loopscope.widgets.bars.series_bar import SeriesBar

        bar = SeriesBar()
        self._tool.addWidget(bar)
        bar.member_requested.connect(self.show_member)
        return bar

    def take(self, folders: Sequence[str]) -> None:
        """Take these checkpoints for a series, one of which is opened next.

        Raises `LoopscopeError` for what is none.
        """
        from loopscope.core.checkpoint.series import series_of

        self._given = series_of([absolute(folder) for folder in folders])

    def model_loaded(self, loaded: AnyModel) -> None:
        """A model has come: show the series that it is of, or none."""
        from loopscope.core.checkpoint.series import series_in

        path = loaded.request.path
        members = () if loaded.request.on or path.startswith("bundled:") else series_in(path)
        if any(_same(own.path, path) for own in self._given):
            members = self._given
        places = [i for i, own in enumerate(members) if _same(own.path, path)]
        self.members, self.at = (members, places[0]) if places else ((), -1)
        if self.members:
            self.bar.show_series([own.step for own in self.members], self.at)
        self._tool.setVisible(bool(self.members))

    def go(self, by: int) -> None:
        """Show the checkpoint so many further on."""
        if not self.members:
            self._say("No series is open: open a folder that holds checkpoints of one training")
        elif 0 <= self.at + by < len(self.members):
            self.show_member(self.at + by)
        else:
            self._say(f"This is the {'last' if by > 0 else 'first'} checkpoint of the series")

    def show_member(self, at: int) -> None:
        """Show another checkpoint with the same prompt, run as far, the cursor where it is.

        Cuts of the run shown are made in it too. Other runs go, which is asked about where there
        are any that are not saved.
        """
        if at == self.at or not self.members:
            return
        session = self._bench.session
        request, recording = session.request, session.recording
        first = FirstRun()
        if request is not None and recording is not None:
            done = min(recording.n_recurrences, MOST_AGAIN)
            first = FirstRun(
                request.prompt, done, recording.info.interventions, request, session.selection,
                session.cursor.following,
            )  # fmt: skip

        def load() -> None:
            self.at = at
            self.bar.show_series([own.step for own in self.members], at)
            self._opening.reopen(self.members[at].path, first)

        if len(self._bench.runs.tree) > 1:
            self._opening.before("showing another checkpoint", load)
            self.bar.show_series([own.step for own in self.members], self.at)
        else:
            load()


def _same(one: str, other: str) -> bool:
    """Whether two paths lead to one folder."""
    return Path(one).resolve() == Path(other).resolve()
