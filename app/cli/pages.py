"""Pages that scripts write: their paragraphs are filled after the numbers are in."""

from __future__ import annotations

import re
import textwrap

WIDTH = 110


def filled(text: str) -> str:
    """Fill every paragraph of Markdown to `WIDTH`; headings, tables, figures and code stay."""
    blocks = re.split(r"\n\n+", text.strip("\n"))
    return "\n\n".join(map(_filled, blocks)) + "\n"


def _filled(block: str) -> str:
    if block.startswith(("#", "|", "!", "```", "- ")):
        return block
    return textwrap.fill(
        " ".join(block.split()), WIDTH, break_long_words=False, break_on_hyphens=False
    )
