"""Results of measurements that take long, kept by keys that know their types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

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


class Unread(Protocol):
    """A result as a file has it, of a class that only the package which asks for it knows."""

    def read(self, kind: type[T]) -> T | None:
        """Return it as one of this class; None, and logged, where it is none."""


class Results:
    """At most one result for each key; a later one replaces it. A result never changes.

    unread : by name, what a file has of packages that have not asked for it.
    changes : how often a result was put or forgotten; reading one is no change.
    """

    def __init__(self) -> None:
        self._kept: dict[ResultKey[Any], object] = {}
        self.unread: dict[str, Unread] = {}
        self.changes = 0

    def get(self, key: ResultKey[T]) -> T | None:
        """Return the result, or None when there is none."""
        result = self._kept.get(key)
        if result is None and (unread := self.unread.get(key.name)) is not None:
            if (result := unread.read(key.kind)) is not None:
                self._kept[key] = result
            # Last: another thread that asks meanwhile finds the one or the other.
            self.unread.pop(key.name, None)
        return result if isinstance(result, key.kind) else None

    def put(self, key: ResultKey[T], result: T) -> None:
        """Keep a result. Raises `TypeError` for one that is not of the key's class."""
        if not isinstance(result, key.kind):
            raise TypeError(f"'{key.name}' keeps {key.kind.__name__}, not {type(result).__name__}")
        self._kept[key] = result
        self.unread.pop(key.name, None)
        self.changes += 1

    def take(self, others: Results) -> None:
        """Keep those of others that are not here."""
        for key, result in others.items():
            if self.get(key) is None:
                self.put(key, result)
        names = {key.name for key in self._kept}
        self.unread |= {n: one for n, one in others.unread.items() if n not in names}

    def items(self) -> list[tuple[ResultKey[Any], Any]]:
        """Every result with its key."""
        return list(self._kept.items())

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()
        self.unread.clear()
        self.changes += 1

    def __len__(self) -> int:
        return len(self._kept) + len(self.unread)
