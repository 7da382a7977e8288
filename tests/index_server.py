"""Looks into many files as `core.recordings.index` does into one, each in a process of its own.

    python index_server.py INDEX.py

A path a line on standard input; on standard output a line of JSON for each: how its process ended,
and what that said. Forked from one that has the HDF5 library already, as loading it costs most.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from typing import Any

import h5py  # noqa: F401  (for the processes that are forked)


def looked_into(index: Any, path: str) -> dict[str, Any]:
    """How a process ended that looked into the file, and what it said."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 1)
        sys.argv[1:] = [path]
        try:
            index.main()
            sys.stdout.flush()
        except BaseException:  # as Python ends on it
            os._exit(1)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read()
    _, status = os.waitpid(child, 0)
    return {"returncode": os.waitstatus_to_exitcode(status), "stdout": said.decode()}


def main() -> None:
    """Serve until standard input ends."""
    spec = importlib.util.spec_from_file_location("index", sys.argv[1])
    assert spec is not None
    assert spec.loader is not None
    index = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(index)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    for line in sys.stdin:
        answers.write(json.dumps(looked_into(index, line.rstrip("\n"))) + "\n")


if __name__ == "__main__":
    main()
