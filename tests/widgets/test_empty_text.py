"""An empty view says what is missing and what to press; only the window knows of keys and buttons."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from loopscope.core.views.base import PROMPTS, RECURRENCE, SECOND_MODEL, Lack
from loopscope.widgets.kit.empty_text import empty_text

CORE = Path(__file__).parents[2] / "core"
# Keys, buttons and menus, as an interface names them.
INTERFACE = re.compile(
    r"\b[Pp]ress\b|\b[Cc]lick|\bbutton|\bmenu\b|\b(Ctrl|Shift|Alt)\+|\b(File|View|Run|Help) >"
)


@pytest.mark.parametrize(
    ("lacks", "words"),
    [
        (None, "Nothing is there."),
        (RECURRENCE, "Nothing is there. Press Space to run one."),
        (PROMPTS, "Nothing is there. Open one, or drop a .txt or .jsonl file on the window."),
        (SECOND_MODEL, "Nothing is there. Put one beside: File > Open beside… (Ctrl+Shift+O)."),
        (Lack("measurement", "Do it"), "Nothing is there. Press “Do it”."),
        (Lack("measurement", "Do it", "The view"), "Nothing is there. Press “Do it” in The view."),
    ],
)
def test_what_to_press_follows_what_is_missing(lacks: Lack | None, words: str) -> None:
    assert empty_text("Nothing is there.", lacks) == words


def test_core_names_no_key_and_no_button() -> None:
    found = [
        f"{path.relative_to(CORE)}:{node.lineno}: {node.value[:60]}"
        for path in CORE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and INTERFACE.search(node.value)
    ]
    assert found == []
