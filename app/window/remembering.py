"""What a window takes from the settings when it opens, and leaves in them when it closes."""

from __future__ import annotations

from PySide6.QtCore import QByteArray
from PySide6.QtWidgets import QMainWindow

from loopscope.app.bench.bench import Bench
from loopscope.app.window.bars import Bars
from loopscope.app.window.docks import Docks
from loopscope.app.window.settings import Settings


def restore(
    settings: Settings, window: QMainWindow, docks: Docks, bars: Bars, bench: Bench
) -> None:
    """Give a window its place, its docks and its controls as they were the last time."""
    docks.apply("Step")
    if settings.geometry:
        window.restoreGeometry(QByteArray.fromHex(settings.geometry.encode()))
    if settings.layout:
        docks.restore(settings.layout)
    bars.transport.set_speed(settings.speed)
    bench.transport.rate = settings.speed
    bars.prompt.set_history(settings.history)


def remember(
    settings: Settings, window: QMainWindow, docks: Docks, bench: Bench, *, here: bool
) -> None:
    """Gather what the settings keep of a window, and save them.

    ``here`` is whether its model is one of this machine, which the next start can open.
    """
    docks.unmaximise()
    settings.size = [window.width(), window.height()]
    settings.geometry = bytes(window.saveGeometry().toHex().data()).decode()
    settings.layout = bytes(window.saveState().toHex().data()).decode()
    settings.remember_speed(bench.transport.rate)
    settings.step_pairing = bench.session.step_pairing
    recording, request = bench.session.recording, bench.session.request
    if recording is not None and request is not None and here and not bench.session.without_model:
        settings.remember_run(request, recording)
    for key, display in bench.displays.items():
        settings.remember_options(key, display.options)
    settings.save()
