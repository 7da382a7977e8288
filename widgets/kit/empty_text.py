"""The words of an empty view: what is missing, and what to press."""

from __future__ import annotations

from loopscope.core.views.base import Lack

NEXT_STEPS = {
    "recurrence": "Press Space to run one.",
    "prompts": "Open one, or drop a .txt or .jsonl file on the window.",
    "model": "Put one beside: File > Open beside… (Ctrl+Shift+O).",
}


def empty_text(missing: str, lacks: Lack | None) -> str:
    """Return what an empty view shows.

    Parameters
    ----------
    missing
        What is missing, as the view's data say it.
    lacks
        What would fill the view; None where nothing that can be pressed would.
    """
    if lacks is None:
        return missing
    if lacks.kind == "measurement":
        where = f" in {lacks.view}" if lacks.view else ""
        return f"{missing} Press “{lacks.measurement}”{where}."
    return f"{missing} {NEXT_STEPS[lacks.kind]}"
