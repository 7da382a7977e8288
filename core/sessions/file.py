"""The file of a session: read with distrust, written whole, with paths that move along with it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import write_text
from loopscope.core.interventions.registry import READER
from loopscope.core.sessions.saved import SavedModel, SavedRecording, SavedSession
from loopscope.core.typed_json import plain, read_json
from loopscope.core.version import package_version

SUFFIX = ".loopscope.json"
FORMAT, VERSION = "loopscope session", 1
# A basis of the state space is the largest part: half a megabyte at a width of 8,192.
MOST_BYTES = 32 << 20
BUNDLED = "bundled:"

Placed = TypeVar("Placed", SavedModel, SavedRecording)


def is_session_file(path: str | Path) -> bool:
    """Whether a file is a session, by its name."""
    return str(path).endswith(SUFFIX)


def session_name(path: Path) -> str:
    """What a session is called: the name of its file."""
    return path.name.removesuffix(SUFFIX)


def write_session(path: Path, session: SavedSession) -> None:
    """Write a session, whose paths are absolute; the file is complete or as it was.

    Raises `LoopscopeError`.
    """
    second, recording, study = session.second_model, session.recording, session.study
    if study is not None:
        there, rows = portable(study.path, path), portable(study.folder, path)
        study = replace(study, path=there, folder=rows)
    session = replace(
        session,
        model=_portable(session.model, path),
        second_model=None if second is None else _portable(second, path),
        recording=None if recording is None else _portable(recording, path),
        prompt_file=portable(session.prompt_file, path),
        study=study,
    )
    head = {"format": FORMAT, "version": VERSION, "written_by": f"Loopscope {package_version()}"}
    values = plain(session)
    # What could not be read again, such as a path of bytes that are no text, is told now.
    READER.fields(SavedSession, json.loads(json.dumps(values)), str(path))
    write_text(path, json.dumps(head | values, indent=1) + "\n")


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
def portable(path: str, file: Path) -> str:
    """Return an absolute ``path`` relative to the folder of ``file``, where there is a way.

    ``bundled:NAME``, "" and a path that is relative already stay as they are.
    """
    if not os.path.isabs(path):
        return path
    try:
        return Path(os.path.relpath(path, file.absolute().parent)).as_posix()
    except ValueError:  # on another drive
        return path


def _portable(saved: Placed, file: Path) -> Placed:
    absolute = saved.path if os.path.isabs(saved.path) else saved.absolute
    return replace(saved, path=portable(saved.path, file), absolute=absolute)


def found(path: str, absolute: str, file: Path) -> str | None:
    """Return where what ``path`` named is now, or None where it is not found.

    It is looked for from the folder of ``file``, where it was when the session was saved, and by
    its name beside the file. A path into the network is not tried: a stranger may have written it.
    """
    if not path or path.startswith(BUNDLED):
        return path
    for text in (path, absolute, Path(path).name):
        if text and not text.startswith(("//", "\\\\")):
            place = os.path.normpath(file.absolute().parent / text)
            if _is_there(place):
                return place
    return None


def located(session: SavedSession, file: Path) -> SavedSession:
    """Return a session that was read from ``file`` with every path where it is now.

    What is not found has the path at which it was looked for first (`is_missing`).
    """

    def place(path: str, absolute: str) -> str:
        return found(path, absolute, file) or os.path.normpath(file.absolute().parent / path)

    def moved(saved: Placed) -> Placed:
        return replace(saved, path=saved.path and place(saved.path, saved.absolute))

    second, recording, prompts = session.second_model, session.recording, session.prompt_file
    study = session.study
    if study is not None:
        folder = study.folder and place(study.folder, "")
        study = replace(study, path=place(study.path, ""), folder=folder)
    return replace(
        session,
        model=moved(session.model),
        second_model=None if second is None else moved(second),
        recording=None if recording is None else moved(recording),
        prompt_file=prompts and place(prompts, ""),
        study=study,
    )


def is_missing(path: str) -> bool:
    """Whether what a path of a `located` session names was not found."""
    return bool(path) and not path.startswith(BUNDLED) and not _is_there(path)


def _is_there(path: str) -> bool:
    """Whether there is a folder or a file; a recording may be there as its segments alone."""
    from loopscope.core.recordings.segments import segments_of

    return os.path.exists(path) or segments_of(Path(path)).is_file()
