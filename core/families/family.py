"""What a checkpoint family is: how its folder is recognised, read and mapped onto our model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from loopscope.core.errors import CheckpointError
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.layer_shape import ACTIVATION_NAMES

# Sizes above these are a damaged or hostile config, not a model; refusing them early keeps us from
# allocating what the file claims.
MOST = 1 << 24
MOST_LAYERS = 1 << 10
_MISSING = object()
_Choice = TypeVar("_Choice")


class Config:
    """A parsed `config.json` whose readers raise errors that name the file and the key.

    ``tensors`` are the names of the tensors beside it; none where no file is there.
    """

    def __init__(
        self, values: dict[str, Any], path: Path, tensors: frozenset[str] = frozenset()
    ) -> None:
        self.values, self.path, self.tensors = values, path, tensors

    @property
    def model_type(self) -> str:
        """``model_type``, or an empty string."""
        value = self.values.get("model_type")
        return value if isinstance(value, str) else ""

    def error(self, key: str, problem: str) -> CheckpointError:
        """Make the error for a bad ``key``."""
        return CheckpointError(f"{self.path}: key '{key}': {problem}")

    def _get(self, key: str, default: Any) -> Any:
        value = self.values.get(key, default)
        if value is _MISSING:
            raise self.error(key, "is missing")
        return value

    def over(self, defaults: Mapping[str, Any], aliases: Mapping[str, str] | None = None) -> Config:
        """The same with ``defaults`` for keys that are missing, and keys under other names.

        ``aliases`` are other names of keys; a value under one of them is the one that counts.
        """
        named = {key: self.values[other] for other, key in (aliases or {}).items()
                 if other in self.values}  # fmt: skip
        return Config({**defaults, **self.values, **named}, self.path, self.tensors)

    def size(self, key: str, default: Any = _MISSING, least: int = 1, most: int = MOST) -> int:
        """Read a whole number from ``least`` to ``most``.

        Raises `CheckpointError`, which names the key, for anything else.
        """
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, f"expected a whole number, got {_short(value)}")
        if not least <= value <= most:
            raise self.error(key, f"{value} is not between {least} and {most}")
        return value

    def number(self, key: str, default: Any = _MISSING) -> float:
        """Read a finite number above 0.

        Raises `CheckpointError`, which names the key, for anything else.
        """
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(key, f"expected a number, got {_short(value)}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not (math.isfinite(number) and number > 0):
            raise self.error(key, f"expected a finite number above 0, got {_short(value)}")
        return number

    def opt_size(self, key: str) -> int | None:
        """Read a whole number, or None where the key is missing or null."""
        return None if self.values.get(key) is None else self.size(key)

    def zero_number(self, key: str, default: float) -> float:
        """Read a finite number of 0 or more."""
        return 0.0 if self.values.get(key) == 0 else self.number(key, default)

    def section(self, key: str) -> Config | None:
        """Read an object inside the config; None where it is missing or null.

        Raises `CheckpointError`, which names the key, for anything else.
        """
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.error(key, f"expected an object, got {_short(value)}")
        return Config(value, self.path, self.tensors)

    def flag(self, key: str, default: Any = _MISSING) -> bool:
        """Read true or false.

        Raises `CheckpointError`, which names the key, for anything else.
        """
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"expected true or false, got {_short(value)}")
        return value

    def choice(self, key: str, choices: tuple[_Choice, ...]) -> _Choice:
        """Read one of ``choices``; the first is the default.

        Raises `CheckpointError`, which names the key, for anything else.
        """
        value = self._get(key, choices[0])
        for known in choices:
            if value == known:
                return known
        raise self.error(key, f"expected one of {choices}, got {_short(value)}")


def read_activation(config: Config, key: str) -> str:
    """Read the name of an activation that `loopscope.core.model.layers` implements.

    Raises `CheckpointError` for any other.
    """
    name = config.values.get(key)
    if name not in ACTIVATION_NAMES:
        raise config.error(key, f"{str(name)[:30]!r} is not one of {', '.join(ACTIVATION_NAMES)}")
    return str(name)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


Arrangement = Literal["stack", "transpose", "interleaved", "input_first", "half_turn"]


@dataclass(frozen=True, slots=True)
class Source:
    """Which tensors of the file make one of our parameters, and how.

    how : "stack" puts them below each other (q, k and v); "transpose" turns one over (GPT-2's
        Conv1D); "interleaved" sorts GPT-NeoX's rows (head, q/k/v, d_head) into all q, all k, all v;
        "input_first" swaps the two halves of the columns, as an adapter of ``cat[e, s]`` wants;
        "half_turn" swaps the halves of the rows of every query and key head, for a rotation by the
        opposite sign.
    rows : (first, end, all): only rows ``first`` to ``end - 1`` of the tensor, which must have
        ``all`` of them, or with 0 at least ``end``; None takes it whole.
    """

    names: tuple[str, ...]
    how: Arrangement = "stack"
    rows: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """One family of checkpoints.

    Parameters
    ----------
    name, title
        Short name, and the words shown to the user.
    recognise
        Config and tensor names to a sentence on how the folder was recognised, or None.
    architecture
        Config to `Architecture`; raises `CheckpointError` that names the key.
    tensors
        Architecture and the file's tensor names to ``{our parameter: Source}``.
    ignored
        Whether a tensor that nothing is made of is known and not needed (rotary tables, masks).
    ties
        Tensors besides the head's matrix and the embedding that are one where the config ties
        those: (the one that is used, the one that it is).
    classes
        What the names of its classes in `transformers` begin with; empty where it has none.
    own_code
        Whether its own published folders bring code of their own.
    """

    name: str
    title: str
    recognise: Callable[[Config, frozenset[str]], str | None]
    architecture: Callable[[Config], Architecture]
    tensors: Callable[[Architecture, frozenset[str]], dict[str, Source]]
    ignored: Callable[[str], bool] = lambda name: False
    ties: tuple[tuple[str, str], ...] = ()
    classes: str = ""
    own_code: bool = False
