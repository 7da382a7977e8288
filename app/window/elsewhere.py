"""A model on another machine, in the window: opening it there, and what happens when it is lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QMainWindow

from loopscope.app.bench.bench import Bench
from loopscope.app.window.link_meter import LinkMeter
from loopscope.app.window.opening import Opening
from loopscope.app.window.settings import Settings
from loopscope.core.run.status import Status

if TYPE_CHECKING:
    from loopscope.widgets.bars.remote_dialog import RemoteDialog


class Elsewhere(QObject):
    """Opens checkpoints on workers, and reconnects once by itself when one is lost."""

    def __init__(
        self,
        bench: Bench,
        settings: Settings,
        opening: Opening,
        say: Callable[[str], None],
        window: QMainWindow,
    ) -> None:
        super().__init__(window)
        self._bench, self._settings, self._opening, self._say = bench, settings, opening, say
        self._window = window
        self.meter = LinkMeter(bench, window)
        self.meter.looked.connect(self.notice)
        self._lost = ""
        bench.session.status_changed.connect(self._on_status_changed)

    @cached_property
    def dialog(self) -> RemoteDialog:
        """Asks for an address and a path; made when it is first asked for."""
        from loopscope.widgets.bars.remote_dialog import RemoteDialog

        dialog = RemoteDialog(self._window)
        dialog.chosen.connect(self._open)
        return dialog

    @property
    def is_open(self) -> bool:
        """Whether the model in use is on another machine."""
        loaded = self._bench.session.status.loaded
        return loaded is not None and bool(loaded.place)

    def ask(self) -> None:
        """Ask for an address and a path there."""
        self.dialog.ask(self._settings.address)

    def _open(self, address: str, path: str, device: str, dtype: str) -> None:
        self._settings.address = address
        self._opening.open_on(address, path, device=device, dtype=dtype)

    def reconnect(self) -> None:
        """Connect to a worker again; says how that went."""
        loaded = self._bench.session.status.loaded
        if loaded is None or not loaded.lost:
            return
        self._say(f"Connecting to {loaded.request.on} …")

        def done(future: Future[None]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is not None:
                self._say(f"Not connected: {error}; what was received stays")
                return
            self._lost = ""
            self._say(f"Connected again; the runs go on on {loaded.place}")
            # What could not be fetched meanwhile can be now.
            self._bench.analysis.recompute()
            self._bench.session.status_changed.emit(self._bench.session.status)

        self._bench.background.wait(self._bench.runner.reconnect(), done)

    def _on_status_changed(self, status: Status) -> None:
        self.meter.follow()

    def notice(self) -> None:
        """See whether the model was lost since the last look, and try once to have it again."""
        loaded = self._bench.session.status.loaded
        lost = "" if loaded is None else loaded.lost
        if lost and not self._lost:
            self._lost = lost
            self._bench.transport.stop()
            self._bench.session.status_changed.emit(self._bench.session.status)
            self.reconnect()
        elif not lost:
            self._lost = ""
