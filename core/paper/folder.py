"""Where the numbers of each prompt lie: a file for each, which appears whole or not at all."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.errors import LoopscopeError
from loopscope.core.files import check_regular, make_folder, reason, written
from loopscope.core.recordings.lock import held

PROMPTS, LOCK, SUFFIX = "prompts", ".lock", ".npz"
# A file of one prompt is a few megabytes; what is larger is none of ours.
MOST_BYTES = 1 << 30


class Folder:
    """The folder of a paper's page; one process writes to it at a time.

    Made where it is not there. Raises `LoopscopeError` where it cannot be, and where another
    process writes to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = make_folder(path)
        make_folder(path / PROMPTS)
        self._lock = held(path / LOCK, f"{path}: another process writes to this folder")

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.close()

    def file(self, key: str) -> Path:
        """Where the numbers of a prompt lie."""
        return self.path / PROMPTS / (key + SUFFIX)

    def has(self, key: str) -> bool:
        """Whether a prompt was finished."""
        return self.file(key).exists()

    def put(self, key: str, numbers: dict[str, np.ndarray]) -> None:
        """Keep a prompt's numbers; raises `LoopscopeError`, as of a full disk."""
        with written(self.file(key)) as part, part.open("wb") as file:
            np.savez_compressed(file, **numbers)  # type: ignore[arg-type]

    def get(self, key: str, name: str) -> F64:
        """Return one array of a prompt, in the shape that it was put in.

        Raises `LoopscopeError` for a file that is damaged.
        """
        path = self.file(key)
        if check_regular(path) > MOST_BYTES:
            raise LoopscopeError(f"{path}: is larger than any prompt's numbers; delete it")
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return np.asarray(arrays[name])
        except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile) as error:
            raise LoopscopeError(
                f"{path}: cannot be read: {reason(error)}; delete it, and its prompt is run again"
            ) from None


# Gives an array of a prompt by the prompt's key and the array's name.
Get = Callable[[str, str], F64]
