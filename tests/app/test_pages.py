"""Pages that scripts write."""

from __future__ import annotations

from loopscope.app.cli.pages import WIDTH, filled


def test_paragraphs_are_filled_and_nothing_else_is() -> None:
    words = " ".join(f"word{i}" for i in range(60))
    table = "| a | b |\n|---|---|\n| " + "x " * 90 + "| y |"
    code = "```\na\n  b\n```"
    page = filled(f"# A {words}\n\n{words[:70]}\n{words[70:]}\n\n\n{table}\n\n{code}\n")
    heading, first, *rest = page.split("\n\n")
    assert heading == f"# A {words}"
    assert first.replace("\n", " ").split() == (words[:70] + " " + words[70:]).split()
    lines = first.split("\n")
    assert len(lines) > 3
    assert max(map(len, lines)) <= WIDTH
    assert rest == [table, code + "\n"]
