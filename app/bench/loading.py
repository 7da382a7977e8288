"""Load a model into this process, or on a worker elsewhere, as the request says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from loopscope.core.checkpoint.request import LoadRequest

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyModel


def load_anywhere(
    request: LoadRequest,
    report: Callable[[float, str], None],
    cancelled: Callable[[], bool],
    make_room: Callable[[], None],
) -> AnyModel:
    """Return the model that ``request`` names; raises what `load_model` and `open_remote` raise."""
    if request.on:
        from loopscope.core.remote.model import open_remote

        return open_remote(request, report, cancelled)
    from loopscope.core.checkpoint.loading import load_model

    return load_model(request, report, cancelled, make_room)
