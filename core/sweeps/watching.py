"""A study looked at from outside: what it asks for, what is done, and what is drawn of it.

It reads the folder alone, whoever runs the study and wherever.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import expanded, read_bytes
from loopscope.core.labels import counted
from loopscope.core.sweeps.following import Following, Rows, no_rows
from loopscope.core.sweeps.grid import Run, runs_of
from loopscope.core.sweeps.parts import FAILURES, ROWS, STUDY, read_provenance
from loopscope.core.sweeps.picture import (
    Choice,
    Offered,
    StudyPicture,
    kept_rows,
    offered,
    picture,
    settled,
)
from loopscope.core.sweeps.study import BUNDLED, OpenedStudy, StudyCheckpoint, open_study


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """A study and where its rows lie.

    file : its TOML file, or ``bundled:NAME``; "" where only the folder was given.
    folder : of its rows, there or not; None where nobody has said where they go.
    opened : None where it cannot be read, and then ``problem`` says why.
    """

    name: str
    file: str
    folder: Path | None
    opened: OpenedStudy | None
    problem: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What was seen of a study at a moment.

    choice : what is drawn, as far as there are rows of it.
    done, cells : cells of the study that have rows, and all of them; 0 where it cannot be read.
    others : cells of another study in the same folder.
    failures : how many runs could not be made, and why the first of them could not, or "".
    provenance : for the files that are written of it.
    """

    choice: Choice
    there: Offered
    picture: StudyPicture
    done: int
    cells: int
    others: int
    failures: str
    provenance: dict[str, str]


def find_study(path: str, folder: Path | None = None) -> FoundStudy:
    """Read what a path names: a study's TOML file, ``bundled:NAME``, or the folder of its rows.

    ``folder`` is where the rows of a TOML file are; without one it is NAME-study beside it. Raises
    `LoopscopeError` in one line for what is neither and for a study that is wrong.
    """
    if not path.startswith(BUNDLED) and expanded(path).is_dir():
        return _of_folder(expanded(path))
    opened = open_study(path)
    if folder is None and not path.startswith(BUNDLED):
        folder = Path(opened.folder) / f"{opened.name}-study"
    return FoundStudy(opened.study.title or opened.name, path, folder, opened)


def _of_folder(folder: Path) -> FoundStudy:
    """The study of a folder of rows; its rows can be seen where it cannot be read any more."""
    file = folder / STUDY
    if not file.exists() and not (folder / ROWS).is_dir():
        raise LoopscopeError(f"{folder}: holds no study: neither {STUDY} nor {ROWS}")
    sessions = read_provenance(folder).get("sessions", [])
    base = next((s["folder"] for s in reversed(sessions) if _says_folder(s)), str(folder))
    try:
        opened = open_study(str(file), Path(base))
    except LoopscopeError as error:
        return FoundStudy(folder.name, "", folder, None, str(error))
    return FoundStudy(opened.study.title or folder.name, "", folder, opened)


def _says_folder(session: Any) -> bool:
    return isinstance(session, dict) and isinstance(session.get("folder"), str)


@dataclass(slots=True)
class Watch:
    """Looks at one study again and again; not for two threads at a time."""

    found: FoundStudy
    _following: Following = field(init=False)
    _rows: Rows | None = None
    _keys: frozenset[str] | None = None

    def __post_init__(self) -> None:
        opened, order = self.found.opened, {}
        if opened is not None:
            s = opened.study
            order = {
                "checkpoint": [own.name for own in s.checkpoints],
                "prompts": [own.name for own in opened.prompt_sets],
                "start": [own.label for own in s.starts],
                "intervention": [own.name for own in s.interventions],
                "measure": list(s.measures),
            }
        self._following = Following(self.found.folder or Path(), order)

    def look(self, choice: Choice, *, anew: bool = True) -> Seen | None:
        """Return what there is now; None where nothing was added and it need not be drawn ``anew``.

        Raises `LoopscopeError` for a part that is damaged.
        """
        new = self._following.look() if self.found.folder is not None else None
        if new is not None:
            self._rows = new
        elif not anew:
            return None
        rows = no_rows() if self._rows is None else self._rows
        there = offered(rows, choice.measure)
        own = settled(choice, there)
        done, others = self._done(rows)
        opened, folder = self.found.opened, self.found.folder
        failures = failures_of(folder) if folder is not None else ""
        return Seen(
            own, there, picture(rows, own), done, 0 if opened is None else opened.n_cells, others,
            failures, self._provenance(done),
        )  # fmt: skip

    def _done(self, rows: Rows) -> tuple[int, int]:
        """Cells of the study that have rows, and those of another one."""
        if not len(rows):
            return 0, 0
        cells, opened = rows.cells(), self.found.opened
        if opened is None:
            return len(cells), 0
        if self._keys is None:
            runs = (run.key for own in opened.study.checkpoints for run in runs_of(opened, own))
            self._keys = frozenset(runs)
        mine = np.array([name in self._keys for name in rows.words["run"]])
        asked = np.array([name in opened.study.measures for name in rows.words["measure"]])
        known = mine[cells[:, 0]] & asked[cells[:, 1]] & np.isin(cells[:, 2], opened.study.R)
        return int(known.sum()), int((~known).sum())

    def cell(self, choice: Choice, row: int) -> tuple[StudyCheckpoint, Run, int]:
        """The checkpoint, the run and R of a row of a picture's ``cells``, as the study asks for.

        Raises `LoopscopeError` where the study cannot be read or no longer asks for it.
        """
        opened, rows = self.found.opened, self._rows
        if opened is None or rows is None:
            raise LoopscopeError(f"the study cannot be read: {self.found.problem}")
        own = kept_rows(rows, choice)
        key = own.words["run"][int(own.codes["run"][row])]
        name = own.words["checkpoint"][int(own.codes["checkpoint"][row])]
        for checkpoint in opened.study.checkpoints:
            if checkpoint.name == name:
                for run in runs_of(opened, checkpoint):
                    if run.key == key:
                        return checkpoint, run, int(own.codes["R"][row])
        raise LoopscopeError("this cell is of another study: the one beside it has no such run")

    def _provenance(self, done: int) -> dict[str, str]:
        folder, opened = self.found.folder, self.found.opened
        about = {"study": self.found.name}
        if folder is None or not folder.is_dir():
            return about
        about["folder"] = folder.name
        values = read_provenance(folder)
        for session in values.get("sessions", [])[-1:]:
            if isinstance(session, dict) and isinstance(session.get("versions"), dict):
                about |= {str(k): str(v) for k, v in session["versions"].items()}
        about["cells"] = f"{done} of {opened.n_cells}" if opened is not None else str(done)
        for name, own in values.get("checkpoints", {}).items():
            about[f"weights of {name}"] = str(own["weights sha256"])
        return about


def failures_of(folder: Path) -> str:
    """How many runs could not be made and why the first could not; "" for none."""
    path = folder / FAILURES
    if not path.exists():
        return ""
    try:
        found = json.loads(read_bytes(path, 256 << 20))
        if not found:
            return ""
        first = found[0]
        where = f"{first['checkpoint']}, {first['prompts']}, line {first['line']}"
        return f"{counted(len(found), 'run')} could not be made; the first, {where}: {first['why']}"
    except (ValueError, LookupError, TypeError, RecursionError):
        return f"{path}: is not what a sweep writes"
