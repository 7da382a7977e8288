"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from loopscope.core.errors import LoopscopeError


def write_text(path: Path, text: str) -> None:
    """Write a text file that is complete or not there at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise LoopscopeError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
