"""What the system is asked, where it answers and where it does not."""

from __future__ import annotations

import builtins
import io
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path
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


FRAGMENTS = """
from loopscope.core.system import give_back_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

held = [bytearray(60_000) for _ in range(2_000)]  # 120 MB, each below what gets pages of its own
full = resident()
del held[:-1]  # the last one is above all others, so that the heap cannot shrink by itself
kept = resident()
given = give_back_memory()
print(full, kept, resident(), given)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has malloc_trim")
def test_freed_memory_is_given_back() -> None:
    command = [sys.executable, "-c", FRAGMENTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    full, kept, after, given = done.stdout.split()
    if int(kept) < int(full) - 60e6:
        pytest.skip("this C library gives it back by itself")
    assert given == "True"
    assert int(after) < int(full) - 100e6


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_no_memory_is_given_back_where_the_library_cannot(
    monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    monkeypatch.setattr(system.sys, "platform", platform)
    monkeypatch.setattr(system.ctypes, "CDLL", lambda *_: pytest.fail("asked"))
    assert not system.give_back_memory()
    monkeypatch.setattr(system.sys, "platform", "linux")
    monkeypatch.setattr(system.ctypes, "CDLL", lambda *_: object())
    assert not system.give_back_memory()


ARENAS = """
import ctypes, sys, threading
from pathlib import Path
from loopscope.core.system import share_arenas

if sys.argv[1] == "shared":
    assert share_arenas()
c = ctypes.CDLL(None)
c.fopen.restype = c.malloc.restype = ctypes.c_void_p
c.malloc.argtypes = [ctypes.c_size_t]
together = threading.Barrier(8)

def allocate():
    for _ in range(200):
        c.malloc(2000)
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
file = c.fopen(sys.argv[2].encode(), b"w")
c.malloc_info(0, ctypes.c_void_p(file))
c.fclose(ctypes.c_void_p(file))
print(Path(sys.argv[2]).read_text().count("<heap"))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
def test_threads_share_two_arenas(tmp_path: Path) -> None:
    def arenas(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", ARENAS, how, str(tmp_path / how)],
            capture_output=True, text=True, timeout=240, check=True,
        )  # fmt: skip
        return int(done.stdout)

    assert arenas("shared") <= 2 < arenas("own")
