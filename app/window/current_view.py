"""Which view the commands act on."""

from __future__ import annotations

from collections.abc import Callable, Iterable


class CurrentView:
    """Of the views in sight, the one that was opened, raised or clicked last.

    A hidden view is never current; it is again when it comes back into sight.

    Parameters
    ----------
    in_sight
        The keys of the views in sight; the first of them is current until one is taken.
    """

    def __init__(self, in_sight: Callable[[], Iterable[str]]) -> None:
        self._in_sight = in_sight
        self._taken: list[str] = []  # the latest at the end

    def take(self, key: str) -> None:
        """Make a view the current one, as soon as it is in sight."""
        self._taken = [other for other in self._taken if other != key] + [key]

    @property
    def key(self) -> str:
        """The key of the current view; "" while none is in sight."""
        seen = list(self._in_sight())
        taken = (key for key in reversed(self._taken) if key in seen)
        return next(taken, seen[0] if seen else "")
