"""Loopscope from Python; importing it loads neither torch nor Qt.

``load`` opens a checkpoint. An error that a caller can cause is a `LoopscopeError`; its message is
one line. What is not listed in ``__all__`` may change from one version to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopscope.core.errors import Cancelled, CheckpointError, LoopscopeError, PromptError

if TYPE_CHECKING:
    from loopscope.core.checkpoint.loading import load

__version__: str
__all__ = ["Cancelled", "CheckpointError", "LoopscopeError", "PromptError", "__version__", "load"]


def __getattr__(name: str) -> object:
    """Import what is heavy when it is first asked for. Raises `AttributeError` for other names."""
    if name == "load":
        from loopscope.core.checkpoint.loading import load

        value: object = load
    elif name == "__version__":
        from loopscope.core.version import package_version

        value = package_version()
    else:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
