"""Settings as fields of a dataclass: declared once; form, command line and checks follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints


@dataclass(frozen=True, slots=True)
class Setting:
    """One entry of a view's settings, read from its ``Options`` dataclass.

    kind : "choice" (a ``Literal`` field), "flag" (bool), "number" (int or float), "text" (str).
    at_hand : whether it is also shown beside the measurement that it belongs to.
    lowest : what the lowest number means, in words, where that is no number.
    idle : says of options why this one has no effect in them, or "".
    """

    name: str
    label: str
    help: str
    kind: str
    choices: tuple[tuple[str, str], ...]
    low: float
    high: float
    at_hand: bool = False
    lowest: str = ""
    idle: Callable[[Any], str] = lambda options: ""


def setting(
    default: Any,
    label: str,
    help: str = "",
    labels: dict[str, str] | None = None,
    low: float = 0,
    high: float = 1e6,
    at_hand: bool = False,
    lowest: str = "",
    idle: Callable[[Any], str] = lambda options: "",
) -> Any:
    """Make a field of an ``Options`` dataclass that appears in the view's settings.

    ``idle`` says of options why this one has no effect in them: its control is disabled then.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "label": label,
            "help": help,
            "labels": labels or {},
            "low": low,
            "high": high,
            "at_hand": at_hand,
            "lowest": lowest,
            "idle": idle,
        },
    )


def fitted() -> Any:
    """Make a field of an ``Options`` dataclass that the view fits to its data; None at first."""
    return dataclasses.field(default=None, metadata={"fitted": True})


def is_fitted(options: Any, name: str) -> bool:
    """Whether a field holds what the view fitted; let go of by the user, it holds None."""
    (metadata,) = (f.metadata for f in dataclasses.fields(options) if f.name == name)
    return "fitted" in metadata and getattr(options, name) is not None


def settings_of(options: Any) -> list[Setting]:
    """List the settings of an ``Options`` class or instance, in the order they are declared."""
    hints = get_type_hints(options if isinstance(options, type) else type(options))
    settings = []
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
        settings.append(
            Setting(
                f.name,
                meta["label"],
                meta["help"],
                kind,
                choices,
                meta["low"],
                meta["high"],
                meta["at_hand"],
                meta["lowest"],
                meta["idle"],
            )
        )
    return settings
