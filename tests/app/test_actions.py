"""The table of commands."""

from __future__ import annotations

from collections import Counter

from PySide6.QtGui import QKeySequence

from loopscope.app.window.actions import COMMANDS, MENUS


def test_no_two_commands_share_a_key() -> None:
    keys = [k for c in COMMANDS for k in c.keys.split("; ") if k]
    parsed = Counter(QKeySequence(k).toString() for k in keys)
    assert [key for key, n in parsed.items() if n > 1] == []
    assert "" not in parsed


def test_every_command_is_in_a_menu_once_and_says_what_it_does() -> None:
    assert len({c.name for c in COMMANDS}) == len(COMMANDS)
    for command in COMMANDS:
        assert command.menu in MENUS
        assert command.tip
        assert command.tip != command.text
