"""The Parquet files of a sweep's rows: their columns, and one of them read. No torch.

Needs pyarrow, of the extra ``cluster``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import read_bytes, reason

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:  # told by `check_extra` before anything is done
    pa = pq = None

ROWS, STUDY, PROVENANCE, FAILURES, LOCK, RECORDINGS = (
    "rows", "study.toml", "provenance.json", "failures.json", ".lock", "recordings",
)  # fmt: skip
_TEXT, _WHOLE = ("run", "checkpoint", "prompts"), ("line", "seed")
_AFTER = ("start", "intervention", "measure")
COLUMNS = (
    *_TEXT, *_WHOLE, *_AFTER, "R", "layer", "head", "token", "value", "unit", "note", "step",
)  # fmt: skip
# What tells two rows apart, and the order they are read in.
KEY = ("checkpoint", "prompts", "line", "seed", "start", "intervention", "measure", "R", "layer",
       "head", "token")  # fmt: skip


def check_extra() -> None:
    """Raise `LoopscopeError` where the extra is not installed."""
    if pa is None:
        raise LoopscopeError("a sweep needs the extra: pip install 'loopscope[cluster]'")


def parts_of(folder: Path) -> list[Path]:
    """The files of the rows of a sweep's folder, in the order that they were written in."""
    return sorted((folder / ROWS).glob("part-*.parquet"))


def read_part(part: Path, columns: tuple[str, ...]) -> Any:
    """Return these columns of one file as a `pyarrow.Table`.

    Raises `LoopscopeError` that names a file that is damaged.
    """
    try:
        there = set(pq.read_schema(part).names)
        known = [name for name in columns if name in there or name != "step"]
        table = pq.read_table(part, columns=known, partitioning=None)
        if len(known) < len(columns):  # of a version that knew no training steps
            table = table.append_column("step", pa.nulls(table.num_rows, pa.int64()))
        return table
    except (OSError, pa.ArrowException) as error:
        raise LoopscopeError(
            f"{part}: cannot be read: {reason(error)}; delete it, and its cells are made again"
        ) from None


def read_rows(folder: Path) -> Any:
    """Return every row of a sweep as a `pyarrow.Table`, in the order of `KEY`.

    It is the same table in whatever order and however often interrupted they were made. Raises
    `LoopscopeError` for a folder without rows.
    """
    check_extra()
    parts = parts_of(folder)
    if not parts:
        raise LoopscopeError(f"{folder}: has no rows")
    table = pa.concat_tables([read_part(part, COLUMNS) for part in parts])
    return table.sort_by([(name, "ascending") for name in KEY])


def read_provenance(folder: Path) -> dict[str, Any]:
    """Return what a sweep's folder says of how it was made; {} where it says nothing yet.

    Raises `LoopscopeError` for what no sweep writes.
    """
    path = folder / PROVENANCE
    if not path.exists():
        return {}
    try:
        values = json.loads(read_bytes(path, 64 << 20))
        hashes = [str(about["weights sha256"]) for about in values.get("checkpoints", {}).values()]
        assert isinstance(values.get("sessions", []), list)
        assert all(hashes)
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError):
        raise LoopscopeError(f"{path}: is not what a sweep writes") from None
    return dict(values)
