"""The one cursor: where it is, what is pointed at, and where both are in the second run. No Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from loopscope.core.run.pairing import Pairing
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.second_run import SecondRun, second_selection, selection_back

# Fields of `Selection` to change, as views emit them.
Changes = Mapping[str, Any]


class Cursor:
    """The cursor of the run shown. Methods that move it return whether it is elsewhere now.

    selection : where it is.  hover : fields of the place that is pointed at, empty for none.
    following : whether it goes along with the latest recurrence.
    in_second : recurrence and layer in a second run that goes at its own pace.
    """

    def __init__(self) -> None:
        self.selection, self.in_second = Selection(), Selection()
        self.hover: dict[str, int] = {}
        self.following = True
        # Where it goes as soon as the run has come that far.
        self._return_to: Selection | None = None

    # ---- in the run shown ----
    def move(self, selection: Selection, run: Recording | None) -> bool:
        """Go to ``selection``, or as near to it as ``run`` reaches."""
        before, self.selection = self.selection, within(selection, run)
        return self.selection != before

    def select(self, changes: Changes, run: Recording | None) -> bool:
        """Change some fields; a recurrence before the latest ends following."""
        self._return_to = None
        if "recurrence" in changes and run is not None:
            self.following = self.following and changes["recurrence"] >= run.n_recurrences
        return self.move(replace(self.selection, **changes), run)

    def scrub(self, recurrence: int, run: Recording | None) -> bool:
        """Go to a recurrence, or to the nearest that has been run."""
        latest = 0 if run is None else run.n_recurrences
        return self.select({"recurrence": max(0, min(recurrence, latest))}, run)

    def scrub_layer(self, by: int, run: Recording) -> bool:
        """Go ``by`` layers on, over the ends of recurrences; before the first is recurrence 0."""
        layers, at = run.n_layers, self.selection
        # The initial state is one place, whatever layer the cursor came from.
        place = by + ((at.recurrence - 1) * layers + at.layer if at.recurrence else -1)
        if place < 0:
            return self.select({"recurrence": 0, "layer": 0}, run)
        if not run.n_recurrences:
            return False
        recurrence, layer = divmod(min(place, run.n_recurrences * layers - 1), layers)
        return self.select({"recurrence": recurrence + 1, "layer": layer}, run)

    def point(self, hover: Changes) -> bool:
        """Point at a place; empty ends pointing."""
        before, self.hover = self.hover, dict(hover)
        return self.hover != before

    def return_to(self, selection: Selection, run: Recording | None) -> bool:
        """Go to where ``run`` was left, and again when it has come that far."""
        self._return_to = selection
        return self.move(selection, run)

    def keep_up(self, run: Recording) -> bool:
        """Follow a run that has come further, or return to where it was left."""
        place = self.selection
        if self.following:
            place = replace(place, recurrence=run.n_recurrences)
        elif self._return_to is not None and self._return_to.recurrence <= run.n_recurrences:
            place, self._return_to = self._return_to, None
        return self.move(place, run)

    # ---- in the second run ----
    def second_run(self, recording: Recording, name: str, pairing: Pairing) -> SecondRun:
        """The second run with the place in it that goes with the cursor."""
        selection = second_selection(self.selection, pairing, recording, self.in_second)
        return SecondRun(recording, name, pairing, selection)

    def second_hover(self, second: SecondRun) -> dict[str, int]:
        """The place of the second run that goes with the one pointed at."""
        hover = dict(self.hover)
        if "recurrence" in hover:
            layer = hover.get("layer", self.selection.layer)
            recurrence, there = second.pairing.place(hover["recurrence"], layer)
            hover["recurrence"] = recurrence
            if "layer" in hover:
                hover["layer"] = there
        return hover

    def select_in_second(self, changes: Changes, second: SecondRun, run: Recording | None) -> bool:
        """A click in a view of the second run: it moves the cursor, or its own at its own pace."""
        if second.pairing.step_pairing == "own":
            own = {k: v for k, v in changes.items() if k in ("recurrence", "layer")}
            self.in_second = replace(second.selection, **own)
        return self.select(
            selection_back(changes, self.selection, second.selection, second.pairing), run
        )

    def point_in_second(self, hover: Changes, second: SecondRun) -> bool:
        """Point at a place of the second run."""
        return self.point(selection_back(hover, self.selection, second.selection, second.pairing))


def within(selection: Selection, run: Recording | None) -> Selection:
    """The place nearest to ``selection`` that ``run`` has; without a run the selection itself."""
    if run is None:
        return selection
    heads, tokens = run.info.architecture.layer.n_heads, run.n_tokens
    return Selection(
        recurrence=max(0, min(selection.recurrence, run.n_recurrences)),
        layer=max(0, min(selection.layer, run.n_layers - 1)),
        head=max(0, min(selection.head, heads - 1)),
        token=max(0, min(selection.token, tokens - 1)),
        tokens=tuple(t for t in selection.tokens if 0 <= t < tokens),
    )
