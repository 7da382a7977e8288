"""Sentences in too little room: whole clauses are left out first, then words, never a number."""

from __future__ import annotations

import re
from collections.abc import Callable

# Where a clause ends: what follows can be left out and what is left is a sentence.
CLAUSE_END = re.compile(r"(?:[.;:,]|  ·)(?= )| (?=\()")
WORD_END = re.compile(r"(?=\s)")
# Words that say nothing at the end; a number there has lost its unit, or what it counts.
DANGLING = re.compile(
    r"(?:^|\s)(?:of|at|the|to|in|on|and|or|by|a|an|its|is|are|has|have|with|from|for|as|than|per|not|no|within"
    r"|[^\w\s]+|[^\w\s]*\d\S*)$"
)
MORE = " …"


def shorten(text: str, width: float, measure: Callable[[str], float]) -> str:
    """Return as much of ``text`` as has room, with an ellipsis where something was left out.

    Parameters
    ----------
    text
        A sentence, its clauses told apart by commas, semicolons, colons, full stops, brackets or
        dots in the middle of the line.
    width
        The room, in the unit of ``measure``.
    measure
        How wide a text is.
    """
    if measure(text) <= width:
        return text
    for ends in (CLAUSE_END, WORD_END):
        for end in reversed([match.start() for match in ends.finditer(text)]):
            kept = text[:end].rstrip(" .;:,·")
            while ends is WORD_END and (found := DANGLING.search(kept)):
                kept = kept[: found.start()].rstrip(" .;:,·")
            if kept and measure(kept + MORE) <= width:
                return kept + MORE
    mark = MORE.strip()
    return mark if measure(mark) <= width else ""
