"""What a view is given of the second run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from loopscope.core.run.pairing import Pairing
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection


@dataclass(frozen=True, slots=True, eq=False)
class SecondRun:
    """The second run: a branch, another prompt or seed, or another model.

    A view whose definition has ``compute_second(recording, second_run, selection, options)`` draws
    both runs on one pair of axes; any other view is shown twice, the second time for this run.

    recording : of the second run.  name : what the user calls it.
    pairing : which of its places goes with which of the first run's.
    selection : the cursor in this run.
    """

    recording: Recording
    name: str
    pairing: Pairing
    selection: Selection

    def place_back(self, place: dict[str, int]) -> dict[str, int]:
        """Fields of the first run's cursor for a place of this one."""
        back = {k: v for k, v in place.items() if k not in ("recurrence", "layer")}
        if "recurrence" in place:
            layer = place.get("layer", self.recording.n_layers - 1)
            back["recurrence"], first = self.pairing.back(place["recurrence"], layer)
            if "layer" in place:
                back["layer"] = first
        elif "layer" in place:
            # Without a recurrence: the layer at the same share of the block.
            back["layer"] = self.pairing.back(1, place["layer"])[1]
        return back


def second_selection(
    selection: Selection, pairing: Pairing, there: Recording, own: Selection | None = None
) -> Selection:
    """Return the cursor in the second run that goes with ``selection``.

    Tokens are matched by position and kept within the other prompt, heads within the other model.
    ``own`` is the cursor that the second run has when each goes at its own pace.
    """
    recurrence, layer = pairing.place(selection.recurrence, selection.layer)
    if pairing.step_pairing == "own" and own is not None:
        recurrence, layer = own.recurrence, own.layer
    last = there.n_tokens - 1
    return replace(
        selection,
        recurrence=min(recurrence, there.n_recurrences),
        layer=min(layer, there.n_layers - 1),
        head=min(selection.head, there.info.architecture.layer.n_heads - 1),
        token=min(selection.token, last),
        tokens=tuple(t for t in selection.tokens if t <= last),
    )


def selection_back(
    changes: Mapping[str, Any], selection: Selection, there: Selection, pairing: Pairing
) -> dict[str, Any]:
    """Turn a place of the second run into changes of the first run's cursor.

    ``there`` is the cursor in the second run before. At their own pace only the cursor there
    moves: recurrence and layer are left out.
    """
    back = {k: v for k, v in changes.items() if k not in ("recurrence", "layer")}
    if pairing.step_pairing == "own" or not {"recurrence", "layer"} & set(changes):
        return back
    recurrence = int(changes.get("recurrence", there.recurrence))
    layer = int(changes.get("layer", there.layer))
    r, place = pairing.back(recurrence, layer)
    back["recurrence"] = r
    if r:
        back["layer"] = place
    return back
