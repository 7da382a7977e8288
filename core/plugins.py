"""What other packages add, found through their entry points when a registry is first asked.

A package names what it adds under one of `GROUPS` in its metadata. What cannot be imported or does
not fit is left out; `asked` says of everything that was found where it is from and, where it was
left out, why. Installing a package is trusting it: its code runs as ours does.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from typing_extensions import override

from loopscope.core.errors import LoopscopeError, one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")
FAMILY, MEASURE = "loopscope.families", "loopscope.measures"
VIEW, INTERVENTION = "loopscope.views", "loopscope.interventions"
# Each group of entry points with what one of its entries is called.
GROUPS = {FAMILY: "family", MEASURE: "measure", VIEW: "view", INTERVENTION: "intervention"}
# With this variable set to "off" no plug-in is looked for: the way out of one that does harm.
SWITCH = "LOOPSCOPE_PLUGINS"
NONE = "No other package adds anything"
# Names stand in file names, in settings files and in lists on the command line.
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class PlugIn:
    """One thing that another package adds.

    group : one of `GROUPS`.  name : what it is called there.  target : where it is, as
    ``module:attribute``.  package, version : of the distribution that brings it.
    problem : why it is left out, or "".
    """

    group: str
    name: str
    target: str
    package: str
    version: str
    problem: str = ""

    def text(self) -> str:
        """What it is and where it is from, in one line."""
        line = f"{GROUPS[self.group]} '{self.name}' of {self.package} {self.version}"
        return f"{line} is left out: {self.problem}" if self.problem else line


_asked: dict[str, tuple[PlugIn, ...]] = {}


def asked() -> tuple[PlugIn, ...]:
    """Return what was found in the groups whose registries have been asked so far."""
    return tuple(found for group in GROUPS for found in _asked.get(group, ()))


def left_out() -> tuple[PlugIn, ...]:
    """Return those of `asked` that cannot be used."""
    return tuple(plugin for plugin in asked() if plugin.problem)


def blamed(error: BaseException) -> str:
    """Say which package's code raised an error, and where; "" when it was not of a plug-in."""
    owners = {plugin.target.split(":")[0].split(".")[0]: plugin for plugin in asked()}
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        plugin = owners.get(str(frame.f_globals.get("__name__")).split(".")[0])
        if plugin is not None:
            place = f"{frame.f_code.co_filename}, line {line}"
            found = f"{plugin.package} {plugin.version} failed in {place}: {one_line(error)}"
    return found


class Registry(Mapping[str, T]):
    """Everything of one kind by its key: our own in their order, then what other packages add.

    The first question of any kind looks for the others; making the registry does not.

    Parameters
    ----------
    group
        The entry points' group.
    own
        What Loopscope brings. A plug-in never takes the place of one of these.
    key
        Gives the key of an entry.
    checked
        Returns what an entry point led to, as an entry; raises where it is none.
    """

    def __init__(
        self,
        group: str,
        own: Iterable[T],
        key: Callable[[T], str],
        checked: Callable[[object], T],
    ) -> None:
        self._group, self._key, self._checked = group, key, checked
        self._own = {key(entry): entry for entry in own}
        self._all: dict[str, T] | None = None

    @property
    def _entries(self) -> dict[str, T]:
        # Two threads that ask first both look and find the same; neither sees half of it.
        if self._all is None:
            self._all = self._with_plugins()
        return self._all

    def _with_plugins(self) -> dict[str, T]:
        entries, found = dict(self._own), []
        owners = dict.fromkeys(entries, "Loopscope")
        for point in _entry_points(self._group):
            package, version = ("?", "?") if point.dist is None else _origin(point)
            plugin = PlugIn(self._group, point.name, point.value, package, version)
            try:
                if point.name in owners:
                    raise LoopscopeError(f"the name is taken by {owners[point.name]}")
                entries[point.name] = self._load(point)
                owners[point.name] = package
            except (Exception, SystemExit) as error:  # whatever its code raises
                plugin = replace(plugin, problem=one_line(error))
            found.append(plugin)
        _asked[self._group] = tuple(found)
        return entries

    def _load(self, point: EntryPoint) -> T:
        if not NAME.fullmatch(point.name):
            raise LoopscopeError("a name is a small letter, then small letters, digits and _")
        entry = self._checked(point.load())
        if (own := self._key(entry)) != point.name:
            raise LoopscopeError(f"it calls itself '{own}'; that has to be its entry point's name")
        return entry

    @override
    def __getitem__(self, key: str) -> T:
        return self._entries[key]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    @override
    def __len__(self) -> int:
        return len(self._entries)


def fits(value: object, kind: type[T]) -> T:
    """Return ``value`` where it is a ``kind``; raises `LoopscopeError` otherwise."""
    if not isinstance(value, kind):
        raise LoopscopeError(f"expected a {kind.__name__}, got {type(value).__name__}")
    return value


def _origin(point: EntryPoint) -> tuple[str, str]:
    assert point.dist is not None
    return point.dist.name, point.dist.version


def _entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, by package, so that who has a name does not change."""
    if os.environ.get(SWITCH) == "off" or not _any_installed(tuple(sys.path)):
        return []
    from importlib.metadata import entry_points

    found = entry_points(group=group)
    return sorted(found, key=lambda point: (*_origin(point), point.name, point.value))


@cache
def _any_installed(path: tuple[str, ...]) -> bool:
    """Whether any package installed in these folders names one of our groups.

    Importing `importlib.metadata` takes 60 ms, a tenth of the time to the first window; this look
    at the same files takes 1 ms.
    """
    marks = tuple(f"[{group}]".encode() for group in GROUPS)
    return any(mark in text for text in _entry_point_files(path) for mark in marks)


def _entry_point_files(path: tuple[str, ...]) -> Iterator[bytes]:
    for folder in path:
        with suppress(OSError):  # not a folder
            for name in os.listdir(folder or "."):
                if name.endswith((".dist-info", ".egg-info")):
                    # Many packages have no such file. A `Path` for each takes longer than to read.
                    with (
                        suppress(OSError),
                        open(os.path.join(folder, name, "entry_points.txt"), "rb") as file,
                    ):
                        yield file.read()
