"""Changes of the settings of views, noted so that they can be taken back in their order."""

from __future__ import annotations

import dataclasses
from typing import Any

from loopscope.app.bench.analysis import Analysis
from loopscope.app.bench.run_tree import Change, History
from loopscope.app.bench.session import Session
from loopscope.core.options import is_fitted, settings_of


class ViewChanges:
    """Notes what the user sets in views beside what they do to runs: one list of changes.

    A number that is turned step by step, or an angle, is one change. What a view fits to its data
    by itself is none.
    """

    def __init__(self, analysis: Analysis, session: Session, history: History) -> None:
        self._analysis, self._session, self._history = analysis, session, history
        self._replaying = False
        # The change noted last, with its view, its fields and their values before it.
        self._last: tuple[Change, str, dict[str, Any]] | None = None
        analysis.options_set.connect(self._on_options_set)

    def _on_options_set(self, key: str, before: Any) -> None:
        now = self._analysis.displays[key].options
        names = [
            f.name
            for f in dataclasses.fields(now)
            if getattr(before, f.name) != getattr(now, f.name)
        ]
        if not names or all(is_fitted(now, name) for name in names):
            return
        if not self._replaying:
            self._note(key, before, now, names)
        self._session.settings_changed.emit(key)
        self._session.progressed.emit()

    def _note(self, key: str, before: Any, now: Any, names: list[str]) -> None:
        old = {name: getattr(before, name) for name in names}
        new = {name: getattr(now, name) for name in names}
        if self._goes_on(key, now, names):
            assert self._last is not None
            old = self._last[2]
            self._history.done.pop()
        change = Change(
            self._words(key, now, names),
            lambda: self._replay(key, old),
            lambda: self._replay(key, new),
            of_runs=False,
        )
        self._history.note(change)
        self._last = change, key, old

    def _goes_on(self, key: str, now: Any, names: list[str]) -> bool:
        """Whether it continues the change before: the same number, text or angle once more."""
        if self._last is None or not self._history.done:
            return False
        change, last_key, old = self._last
        same = (last_key, list(old)) == (key, names) and self._history.done[-1] is change
        stepped = {s.name for s in settings_of(now) if s.kind in ("choice", "flag")}.isdisjoint
        return same and stepped(names)

    def _words(self, key: str, options: Any, names: list[str]) -> str:
        labels = {s.name: s.label for s in settings_of(options)}
        shown = [labels[name] for name in names if name in labels]
        what = shown[0] if len(shown) == 1 else "view" if not shown else "settings"
        title = self._analysis.displays[key].spec.title
        return f"{title}: {what[0].lower()}{what[1:]}"

    def _replay(self, key: str, values: dict[str, Any]) -> None:
        self._replaying = True
        try:
            options = self._analysis.displays[key].options
            self._analysis.set_options(key, dataclasses.replace(options, **values))
        finally:
            self._replaying = False
