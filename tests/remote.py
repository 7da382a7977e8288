"""A cluster of real processes, and a model on one of its workers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.remote.cluster import serving
from loopscope.core.remote.model import RemoteModel, open_remote
from loopscope.core.run.recording import Recording

PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"


@contextmanager
def cluster(workers: int = 1) -> Iterator[Any]:
    """A scheduler in this process, and workers in their own that come again when killed."""
    with serving(workers) as own:
        yield own


def opened(address: str, path: str = "bundled:looped", **asked: Any) -> RemoteModel:
    return open_remote(
        LoadRequest(path, on=address, **asked), lambda share, doing: None, lambda: False
    )


def kill(model: Any) -> None:
    """Kill the worker that has a model, without a word."""
    pid = model.connection.call("ping", quick=True)
    assert pid != os.getpid()
    os.kill(pid, signal.SIGKILL)


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait until it holds; the time is against a test that hangs."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


def assert_same_rows(one: Recording, other: Recording) -> None:
    """Every row of two recordings is the same to the last bit."""
    assert one.kept.keys() == other.kept.keys()
    assert (one.layers_done, one.n_recurrences) == (other.layers_done, other.n_recurrences)
    for name, rows in one.kept.items():
        a, b = rows.first(len(rows)), other.kept[name].first(len(other.kept[name]))
        assert a.shape == b.shape, name
        assert np.array_equal(a.view(np.uint8), b.view(np.uint8)), name
