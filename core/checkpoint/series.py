"""A series: the checkpoints of one model along its training, ordered by training step. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import read_bytes, shortened

# Where `train --keep-every` puts the checkpoints on the way, and what a folder of one is called.
STEPS, STEP_FOLDER = "steps", "step-{:07d}"
# How a trained model of our own was made, beside it.
RECORD, MOST_RECORD = "training.json", 64 << 20
CONFIG = "config.json"
# Folders below one that are looked at.
MOST_FOLDERS = 10_000
_NUMBER = re.compile(r"(?:.*\D)?(\d{1,12})")


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """One checkpoint of a series: after so many training steps, and where it is."""

    step: int
    path: str


def series_in(folder: str) -> tuple[Member, ...]:
    """The series that a folder holds, or belongs to; empty where it is a checkpoint alone.

    It holds one where folders in it, or in its `STEPS`, are checkpoints whose names end in the step
    (``step-0000500``, ``checkpoint-500``); the folder itself is the last one where it is a
    checkpoint that says after how many steps it was made. A checkpoint in `STEPS` belongs to the
    series of the training folder above.
    """
    place = Path(folder)
    if place.parent.name == STEPS:
        place = place.parent.parent
    if not place.is_dir():
        return ()
    found: dict[int, str] = {}
    for child in _folders(place):
        if (match := _NUMBER.fullmatch(child.name)) and (child / CONFIG).is_file():
            found.setdefault(int(match[1]), str(child))
    if not found:
        return ()
    own = recorded_step(place) if (place / CONFIG).is_file() else None
    if own is not None and own >= max(found):
        found[own] = str(place)
    return tuple(Member(step, path) for step, path in sorted(found.items()))


def series_of(folders: Sequence[str]) -> tuple[Member, ...]:
    """The series of these checkpoints, in order of their steps.

    Raises `LoopscopeError` for one that says no step, in its record or at the end of its name, and
    for two of one step.
    """
    found: dict[int, str] = {}
    for folder in folders:
        path = Path(folder)
        if not (path / CONFIG).is_file():
            raise LoopscopeError(f"{shortened(path)}: is no checkpoint folder: it has no {CONFIG}")
        step, match = recorded_step(path), _NUMBER.fullmatch(path.resolve().name)
        if step is None and match:
            step = int(match[1])
        if step is None:
            raise LoopscopeError(
                f"{shortened(path)}: says no training step; end its name in it, as checkpoint-500"
            )
        if step in found:
            raise LoopscopeError(f"{found[step]} and {folder} are both of step {step:,}")
        found[step] = folder
    return tuple(Member(step, path) for step, path in sorted(found.items()))


def recorded_step(folder: Path) -> int | None:
    """Training steps that a model of our own says it was made in; None where it says nothing."""
    try:
        values = json.loads(read_bytes(folder / RECORD, MOST_RECORD))
        steps = values["steps"]
    except (LoopscopeError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return steps if type(steps) is int and steps >= 0 else None


def _folders(place: Path) -> list[Path]:
    found: list[Path] = []
    for where in (place, place / STEPS):
        try:
            found += [child for child in where.iterdir() if child.is_dir()]
        except OSError:
            continue
        if len(found) > MOST_FOLDERS:
            break
    return found[:MOST_FOLDERS]
