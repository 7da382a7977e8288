"""Look into an HDF5 file that is not trusted; run as a process of its own, by `checking`.

The HDF5 library can crash, or take all memory, on a file that is damaged on purpose. So it looks
here, under limits, and only says where the arrays lie: the bench reads them itself and never
opens such a file with the library. Imports nothing of this package, to start at once.
"""

from __future__ import annotations

import json
import sys
from typing import Any

MOST_OBJECTS = 100_000
# Groups within groups that are looked into; a recording has three.
DEEPEST = 8
MOST_MEMORY = 1 << 30


def limit() -> None:
    """Bound the memory and the processor time of this process, where the system has such limits."""
    try:
        import resource
    except ImportError:  # Windows has none; the time is bounded by who started this
        return
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (30, 30))


def index(path: str) -> dict[str, Any]:
    """Name every array of a file, with its dtype, shape and the byte it begins at.

    Raises `ValueError` for what a recording does not have: chunks, filters, links, other files.
    """
    import h5py

    arrays: dict[str, Any] = {}

    def visit(name: str, found: Any) -> None:
        if len(arrays) > MOST_OBJECTS:
            raise ValueError("it holds too many arrays")
        if name.count("/") >= DEEPEST:
            raise ValueError(f"'{name[:80]}' lies too deep")
        if not isinstance(found, h5py.Dataset):
            return
        plan = found.id.get_create_plist()
        if plan.get_layout() != h5py.h5d.CONTIGUOUS or plan.get_external_count():
            raise ValueError(f"'{name[:80]}' does not lie in one piece in this file")
        if found.shape is None:
            raise ValueError(f"'{name[:80]}' holds nothing")
        shape = [int(n) for n in found.shape]
        offset = found.id.get_offset()
        if offset is None and 0 not in shape:
            raise ValueError(f"'{name[:80]}' has no place in this file")
        arrays[name] = [found.dtype.str, shape, 0 if offset is None else int(offset)]

    with h5py.File(path, "r") as file:
        kind, version = file.attrs.get("format"), file.attrs.get("version")
        file.visititems(visit)
    whole = hasattr(version, "dtype") and version.dtype.kind in "iu" and version.shape == ()
    return {"format": str(kind), "version": int(version) if whole else 0, "arrays": arrays}


def main() -> None:
    """Write the index of the file named on the command line as JSON, or why there is none."""
    limit()
    try:
        said = index(sys.argv[1])
    except Exception as problem:  # whatever the library makes of it
        said = {"problem": " ".join(str(problem).split())[:200] or type(problem).__name__}
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
