"""What the data of every view has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from loopscope.core.formula import Formula
from loopscope.core.results import ResultKey, Scope
from loopscope.core.run.recording import Recording


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
    result : under what its result is kept; `Recording.result` finds it for the view's ``compute``.
    missing : why it cannot be made for a recording, or "".
    live : whether the view shows something before it is made.
    second_run : for what compares two runs, what to say without a second one; "" for all others.

    ``core/analyses/KEY.py`` holds ``run(stepper, selection, options, job)``, which returns the
    result; it calls ``job.report(share)`` often, which also cancels it.
    """

    label: str
    help: str
    result: ResultKey[Any]
    missing: Callable[[Recording], str] = lambda recording: ""
    live: bool = False
    second_run: str = ""

    @property
    def scope(self) -> Scope:
        """Whether the result is of the one run or of the model (over a prompt set)."""
        return self.result.scope
