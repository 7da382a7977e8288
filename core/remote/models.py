"""Models that a process keeps: loaded once for all the tasks that need them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from loopscope.core.checkpoint.loading import Loaded, load_model
from loopscope.core.checkpoint.request import LoadRequest

# Where tasks of two checkpoints overlap neither is loaded again.
MOST_KEPT = 2


@dataclass(slots=True)
class Models:
    """The last few models, the last used at the end; ``loads`` counts."""

    kept: OrderedDict[LoadRequest, Loaded] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    loads: int = 0

    def get(self, request: LoadRequest) -> Loaded:
        """Return the model that ``request`` names; raises what `load_model` raises."""
        with self.lock:
            if request not in self.kept:
                while len(self.kept) >= MOST_KEPT:
                    self.kept.popitem(last=False)
                self.kept[request] = load_model(request, make_room=self.kept.clear)
                self.loads += 1
            self.kept.move_to_end(request)
            return self.kept[request]


MODELS = Models()
