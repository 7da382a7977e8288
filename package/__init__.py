"""Loopscope from Python; importing it loads neither torch nor Qt.

``load`` opens a checkpoint as a `Model`, whose ``run`` makes a `Run`: stepped, branched, measured,
drawn and taken away. An error that a caller can cause is a `LoopscopeError`; its message is one
line. What is not listed in ``__all__`` may change from one version to the next.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from loopscope.core.errors import Cancelled, CheckpointError, LoopscopeError, PromptError

if TYPE_CHECKING:
    from loopscope.app.notebook.arrays import MeasuredArray
    from loopscope.app.notebook.model import Model, load, measures, views
    from loopscope.app.notebook.run import Run, intervention, open_recording
    from loopscope.app.notebook.run_view import RunView

__version__: str
__all__ = [
    "Cancelled", "CheckpointError", "LoopscopeError", "MeasuredArray", "Model", "PromptError",
    "Run", "RunView", "__version__", "intervention", "load", "measures", "open_recording",
    "views",
]  # fmt: skip

# What is heavy, by the module of `loopscope.app.notebook` that has it.
_LATE = {
    "MeasuredArray": "arrays",
    "Model": "model",
    "Run": "run",
    "RunView": "run_view",
    "intervention": "run",
    "load": "model",
    "measures": "model",
    "open_recording": "run",
    "views": "model",
}


def __getattr__(name: str) -> object:
    """Import what is heavy when it is first asked for. Raises `AttributeError` for other names."""
    if name in _LATE:
        value = getattr(import_module(f"loopscope.app.notebook.{_LATE[name]}"), name)
    elif name == "__version__":
        from loopscope.core.version import package_version

        value = package_version()
    else:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
