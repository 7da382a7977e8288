"""Record the README's moving picture: the sculptor and the assembly line, layer by layer.

    python tools/make_moving_picture.py [FILE.gif]

The window plays the command of that name, offscreen; a frame is taken of each place of the cursor
as soon as every view has caught up with it, so the picture is the same on a slow machine.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "sculptor.gif"
SIZE = "1200x860"
# Milliseconds of a frame, and of the last one.
FRAME, LAST = 600, 2500
PATIENCE = 600.0

if TYPE_CHECKING:
    from PIL import Image

    from loopscope.app.window.window import Window


def main() -> None:
    """Record and write."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    frames = record()
    first, *rest = [frame.quantize(128) for frame in frames]
    times = [FRAME] * len(rest) + [LAST]
    first.save(
        file, save_all=True, append_images=rest, duration=times, loop=0, optimize=True, disposal=1
    )
    print(f"{file}: {len(frames)} frames, {file.stat().st_size:,} bytes")


def record() -> list[Image.Image]:
    """Play it and take a picture after every layer."""
    from loopscope.app.cli.desktop import make_window
    from loopscope.app.cli.main import build_parser
    from loopscope.app.window.side_by_side import HOPS, SideBySide

    options = build_parser().parse_args(["open", "--theme", "light", "--size", SIZE])
    window = make_window(options, remember=False)
    window.show()
    player = SideBySide(window.bench, window.opening, window.docks)
    player.show(play=False)
    until(window, lambda: not player.stage)
    session, frames, places = window.bench.session, [], set()
    while (at := (session.selection.recurrence, session.selection.layer)) not in places:
        places.add(at)
        until(window, lambda: True)
        frames.append(grabbed(window))
        session.scrub_layer(1)
    assert len(frames) == 2 * HOPS + 1
    window.close()
    return frames


def until(window: Window, holds: Callable[[], bool]) -> None:
    """Serve the window until something holds and all that it shows is current."""
    from PySide6.QtTest import QTest

    calm, ends = 0, time.monotonic() + PATIENCE
    while calm < 5:
        QTest.qWait(20)
        calm = calm + 1 if holds() and window.bench.settled_down else 0
        if time.monotonic() > ends:
            raise SystemExit(f"nothing came of it: {window.statusBar().currentMessage()}")


def grabbed(window: Window) -> Image.Image:
    """A picture of the window."""
    from PIL import Image
    from PySide6.QtCore import QBuffer

    buffer = QBuffer()
    buffer.open(QBuffer.OpenModeFlag.ReadWrite)
    window.grab().save(buffer, "PNG")  # type: ignore[call-overload]
    return Image.open(BytesIO(bytes(buffer.data().data()))).convert("RGB")


if __name__ == "__main__":
    main()
