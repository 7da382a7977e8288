"""Results of measurements that take long, kept by keys that know their types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")
Scope = Literal["run", "model"]


@dataclass(frozen=True, slots=True)
class ResultKey(Generic[T]):
    """Under what a result is kept, and what it is.

    name : the key of the view that asks for it.  kind : its class.
    scope : "run" for a result of one run, "model" for one that all runs of a model share.
    """

    name: str
    kind: type[T]
    scope: Scope = "run"


class Results:
    """At most one result for each key; a later one replaces it. A result never changes."""

    def __init__(self) -> None:
        self._kept: dict[ResultKey[Any], object] = {}

    def get(self, key: ResultKey[T]) -> T | None:
        """Return the result, or None when there is none."""
        result = self._kept.get(key)
        return result if isinstance(result, key.kind) else None

    def put(self, key: ResultKey[T], result: T) -> None:
        """Keep a result. Raises `TypeError` for one that is not of the key's class."""
        if not isinstance(result, key.kind):
            raise TypeError(f"'{key.name}' keeps {key.kind.__name__}, not {type(result).__name__}")
        self._kept[key] = result

    def items(self) -> list[tuple[ResultKey[Any], Any]]:
        """Every result with its key."""
        return list(self._kept.items())

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)
