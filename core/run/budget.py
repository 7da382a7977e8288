"""Memory for what runs keep: beyond it the oldest blocks go to a file, and are read from there."""

from __future__ import annotations

import os
import tempfile
import threading
from collections import deque
from pathlib import Path
from weakref import ref

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import reason
from loopscope.core.labels import size
from loopscope.core.run.file_blocks import Array, FileBlock, FileSource
from loopscope.core.system import host_bytes

# All recordings together may take one part in so many of the machine's memory.
SHARE = 4
# Where the machine does not say how much it has.
UNKNOWN = 4 << 30
# Blocks that share a file, which goes with the last of them.
_FILE_BYTES = 1 << 28


class NoRoom(LoopscopeError):
    """What a run keeps fits neither into its memory budget nor on the disk."""


class Block:
    """Rows ``[n, ...]`` in memory or in a file; which of them may change, the rows do not.

    held : bytes of it that are in memory, as far as it is filled.
    """

    __slots__ = ("__weakref__", "_budget", "data", "held")

    def __init__(self, data: Array | FileBlock, budget: Budget | None = None) -> None:
        self.data, self._budget, self.held = data, budget, 0

    def __len__(self) -> int:
        return len(self.data)

    def filled(self, nbytes: int) -> None:
        """Count so many more bytes of it as in use."""
        self.held += nbytes
        if self._budget is not None:
            self._budget.count(nbytes)

    def moved(self, data: FileBlock) -> None:
        """From now on it lies in a file; who reads it already keeps what it reads."""
        self.data = data
        self.filled(-self.held)

    def __del__(self) -> None:
        if self._budget is not None:
            self._budget.count(-self.held)


class Budget:
    """Memory that recordings share.

    Parameters
    ----------
    limit
        Bytes of rows that may be in memory; blocks that are still being filled stay there.
    folder
        Where the rest goes, into files without a name that the system deletes when the process
        ends. The default is the system's folder for large temporary files; ``TMPDIR`` is another.
    """

    def __init__(self, limit: int, folder: Path | None = None) -> None:
        self.limit, self._folder = limit, folder
        # Bytes of rows in memory, and put into files so far.
        self.held = self.spilled = 0
        self._lock = threading.Lock()
        # Held for an addition only: blocks are collected in any thread, whatever that one holds.
        self._counting = threading.RLock()
        # Blocks that are full, the oldest first.
        self._full: deque[ref[Block]] = deque()
        self._file: FileSource | None = None

    def count(self, nbytes: int) -> None:
        """Count bytes of rows that came into memory; a number below 0 is of those that went."""
        with self._counting:
            self.held += nbytes

    def filled(self, block: Block) -> None:
        """Take note of a block that nothing more is written to."""
        self._full.append(ref(block))

    def make_room(self, nbytes: int) -> None:
        """Make room for so many bytes; raises `NoRoom` where the disk takes no more."""
        while self.held + nbytes > self.limit:
            with self._lock:
                block = self._full.popleft()() if self._full else None
                if block is None:
                    if not self._full:
                        return
                    continue
                try:
                    block.moved(self._put(block.data))
                except (OSError, LoopscopeError) as problem:
                    self._full.appendleft(ref(block))
                    raise NoRoom(
                        f"the memory budget of {size(self.limit)} is used up, and the disk takes "
                        f"no more: {reason(problem)}"
                    ) from None

    def _put(self, data: Array | FileBlock) -> FileBlock:
        if isinstance(data, FileBlock):
            return data
        if self._file is None or self._file.size > _FILE_BYTES:
            self._file = FileSource.temporary(self._folder or _large_temporary())
        block = self._file.append(data)
        self.spilled += data.nbytes
        return block


def _large_temporary() -> Path:
    """Where large temporary files go: /tmp is memory on many systems, /var/tmp never is."""
    if "TMPDIR" not in os.environ and os.access("/var/tmp", os.W_OK):
        return Path("/var/tmp")
    return Path(tempfile.gettempdir())


_shared: list[Budget] = []


def shared_budget() -> Budget:
    """Return the budget of all recordings that have none of their own: a quarter of the memory."""
    if not _shared:
        total = host_bytes()
        _shared.append(Budget(UNKNOWN if total is None else total // SHARE))
    return _shared[0]
