"""What the system is asked, where it answers and where it does not."""

from __future__ import annotations

import builtins
import io
import os
import threading
from typing import Any

import pytest

from loopscope.core import system


def test_free_memory_is_read_or_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [
        "MemTotal: 9 kB\nMemAvailable:    1234 kB\n",
        "MemTotal: 9 kB\n",
        "nonsense",
        FileNotFoundError(),
    ]

    def answer(*_: Any, **__: Any) -> io.StringIO:
        given = answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return io.StringIO(given)

    with monkeypatch.context() as patched:
        patched.setattr(builtins, "open", answer)
        found = [system.host_free_bytes() for _ in range(4)]
    assert found == [1234 * 1024, None, None, None]


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_a_thread_is_put_behind_the_screen_on_linux_alone(
    monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(system.sys, "platform", platform)
    monkeypatch.setattr(os, "setpriority", lambda *given: asked.append(given), raising=False)
    system.yield_to_the_screen(7)
    own = (os.PRIO_PROCESS, threading.get_native_id(), 7)
    assert asked == ([own] if platform == "linux" else [])
