"""What the data of every view has in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers behind a picture: column names (with units) and rows."""

    columns: tuple[str, ...]
    rows: Iterable[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Formula:
    """Where a number comes from: shown when the user hovers or asks."""

    name: str
    formula: str
    unit: str
    source: str

    def text(self) -> str:
        """One line for a tooltip."""
        return f"{self.name} = {self.formula}   [{self.unit}]   {self.source}"


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


@dataclass(frozen=True, slots=True)
class Option:
    """One entry of a view's settings, read from its ``Options`` dataclass.

    kind : "choice" (a ``Literal`` field), "flag" (bool), "number" (int or float), "text" (str).
    """

    name: str
    label: str
    help: str
    kind: str
    choices: tuple[tuple[str, str], ...]
    low: float
    high: float


def option(
    default: Any,
    label: str,
    help: str = "",
    labels: dict[str, str] | None = None,
    low: float = 0,
    high: float = 1e6,
) -> Any:
    """Make a field of an ``Options`` dataclass that appears in the view's settings."""
    return dataclasses.field(
        default=default,
        metadata={"label": label, "help": help, "labels": labels or {}, "low": low, "high": high},
    )


def options_of(options: Any) -> list[Option]:
    """List the settings of an ``Options`` class or instance, in the order they are declared."""
    hints = get_type_hints(options if isinstance(options, type) else type(options))
    found = []
    for f in dataclasses.fields(options):
        if "label" not in f.metadata:
            continue
        hint, meta = hints[f.name], f.metadata
        args = get_args(hint)
        kind = (
            "flag"
            if hint is bool
            else "number"
            if hint in (int, float)
            else "text"
            if hint is str
            else "choice"
        )
        choices = (
            tuple((a, meta["labels"].get(a, str(a))) for a in args) if kind == "choice" else ()
        )
        found.append(
            Option(f.name, meta["label"], meta["help"], kind, choices, meta["low"], meta["high"])
        )
    return found
