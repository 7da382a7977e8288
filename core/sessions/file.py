"""The file of a session: read with distrust, written whole, with paths that move along with it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import write_text
from loopscope.core.interventions.registry import READER
from loopscope.core.sessions.saved import SavedModel, SavedSession
from loopscope.core.typed_json import plain, read_json
from loopscope.core.version import package_version

SUFFIX = ".loopscope.json"
FORMAT, VERSION = "loopscope session", 1
# A basis of the state space is the largest part: half a megabyte at a width of 8,192.
MOST_BYTES = 32 << 20
BUNDLED = "bundled:"


def is_session_file(path: str | Path) -> bool:
    """Whether a file is a session, by its name."""
    return str(path).endswith(SUFFIX)


def session_name(path: Path) -> str:
    """What a session is called: the name of its file."""
    return path.name.removesuffix(SUFFIX)


def write_session(path: Path, session: SavedSession) -> None:
    """Write a session; the file is complete or as it was. Raises `LoopscopeError`."""
    head = {"format": FORMAT, "version": VERSION, "written_by": f"Loopscope {package_version()}"}
    write_text(path, json.dumps(head | plain(session), indent=1) + "\n")


def read_session(path: Path) -> SavedSession:
    """Read a session; nothing of it is run. Raises `LoopscopeError` naming file, place and key."""
    values = read_json(path, MOST_BYTES, "sessions")
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise LoopscopeError(f"{path}: is no session of Loopscope (its 'format' does not say so)")
    version = values.get("version")
    if version != VERSION or isinstance(version, bool):
        raise LoopscopeError(
            f"{path}: is of version {str(version)[:20]} of the format; this Loopscope reads "
            f"version {VERSION}"
        )
    head = ("format", "version", "written_by")
    session: SavedSession = READER.fields(
        SavedSession, {key: value for key, value in values.items() if key not in head}, str(path)
    )
    return session


# ---- places ----
def portable(path: str, file: Path | None) -> str:
    """Return ``path`` relative to the folder of ``file``, where there is a way from there to it.

    ``bundled:NAME`` and "" stay; so does every path without a file.
    """
    if not path or path.startswith(BUNDLED) or file is None:
        return path
    try:
        return Path(os.path.relpath(path, file.parent)).as_posix()
    except ValueError:  # on another drive
        return path


def found(path: str, absolute: str, file: Path) -> str | None:
    """Return where what ``path`` named is now, or None where it is not found.

    It is looked for from the folder of ``file``, where it was when the session was saved, and by
    its name beside the file. A path into the network is not tried: a stranger may have written it.
    """
    if not path or path.startswith(BUNDLED):
        return path
    tries = (path, absolute, Path(path).name)
    for text in tries:
        if text and not text.startswith(("//", "\\\\")):
            place = os.path.normpath(file.parent / text)
            if os.path.exists(place):
                return place
    return None


def model_found(model: SavedModel, file: Path) -> str | None:
    """Return the folder of a saved model, or None where it is not found."""
    return found(model.path, model.absolute, file)
