"""Every kind of intervention: one line each. Files, form and command line follow from it.

Those of other packages come after ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions import layers, states
from loopscope.core.interventions.base import Intervention
from loopscope.core.plugins import INTERVENTION, Registry
from loopscope.core.typed_json import Reader, plain, read_json

OURS: tuple[type[Intervention], ...] = (
    states.Noise,
    states.Zero,
    states.Mean,
    states.Replace,
    layers.AblateHead,
    layers.FreezeHead,
    layers.DropInjection,
    layers.SkipLayer,
    layers.RepeatLayer,
    layers.ScaleWrite,
    layers.BorrowLayer,
    layers.PerturbWeights,
)
MOST_IN_A_FILE, MOST_BYTES = 1000, 16 << 20


def _checked(value: object) -> type[Intervention]:
    """Return what another package brings as a kind; raises where it is none."""
    if not (isinstance(value, type) and issubclass(value, Intervention)):
        raise LoopscopeError("expected a class made from Intervention")
    own = value()
    fields = {name: field for name, field in plain(own).items() if name != "kind"}
    if not (value.title and value.help and value.formula.name):
        raise LoopscopeError("it lacks a title, a help or a formula")
    if READER.fields(value, fields, "written to a file and read back") != own:
        raise LoopscopeError("it is not the same when it is written to a file and read back")
    return value


KINDS = Registry(INTERVENTION, OURS, lambda kind: kind.kind, _checked)


def as_json(interventions: tuple[Intervention, ...]) -> list[dict[str, Any]]:
    """Plain values; `from_json` reads them back."""
    return [plain(own) for own in interventions]


def from_json(values: Any, where: str = "interventions") -> tuple[Intervention, ...]:
    """Read what `as_json` wrote; raises `LoopscopeError` naming the entry and the key."""
    if not isinstance(values, list) or len(values) > MOST_IN_A_FILE:
        raise LoopscopeError(f"{where}: expected a list of at most {MOST_IN_A_FILE} interventions")
    return tuple(_read(entry, f"{where}, entry {i + 1}") for i, entry in enumerate(values))


def _read(entry: Any, where: str) -> Intervention:
    if not isinstance(entry, dict):
        raise LoopscopeError(f"{where}: expected an object")
    kind = KINDS.get(str(entry.get("kind")))
    if kind is None:
        raise LoopscopeError(
            f"{where}: there is no intervention '{str(entry.get('kind'))[:40]}'; "
            f"there are {', '.join(KINDS)}"
        )
    own: Intervention = READER.fields(kind, {k: v for k, v in entry.items() if k != "kind"}, where)
    return own


# Reads whatever has interventions in it.
READER = Reader({tuple[Intervention, ...]: from_json})


def load_interventions(path: Path) -> tuple[Intervention, ...]:
    """Read a file of interventions (JSON, a list); nothing of it is run.

    Raises `LoopscopeError` that names the file, the entry and the key.
    """
    return from_json(read_json(path, MOST_BYTES, "interventions"), str(path))
