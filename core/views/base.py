"""What the data of every view has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loopscope.core.formula import Formula


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers behind a picture: column names (with units) and rows."""

    columns: tuple[str, ...]
    rows: Iterable[Sequence[object]]


@dataclass(frozen=True, slots=True, eq=False)
class ViewData:
    """Base of every view's data.

    statement : one plain sentence on what the view shows now.
    formulas : the measures shown, each with formula, unit and source.
    """

    statement: str
    formulas: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A measurement that takes long: a view offers it on a button, a thread of its own makes it.

    label, help : of the button.
    missing : why it cannot be made for a recording, or "".
    whose : whether the finding is of the one run or of the model (over a prompt set).
    live : whether the view shows something before it is made.
    beside : for what compares two runs, what to say when none stands beside; "" for all others.

    ``core/requests/KEY.py`` holds ``run(stepper, selection, options, job) -> finding``; it calls
    ``job.report(share)`` often, which also cancels it. The finding is kept in
    ``recording.findings_of(whose)[KEY]``, where the view's ``compute`` reads it.
    """

    label: str
    help: str
    missing: Callable[[Any], str] = lambda recording: ""
    whose: Literal["run", "model"] = "run"
    live: bool = False
    second_run: str = ""
