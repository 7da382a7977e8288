"""Fonts for characters that the page's own font lacks: found among the fonts the system has."""

from __future__ import annotations

from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

from loopscope.core.labels import printable

# It has a box for every character, which matplotlib draws where nothing else has one.
LAST_RESORT = "Last Resort High-Efficiency"
REGULAR = (400, "400", "normal", "regular", "book")


def make_printable(figure: Figure) -> set[str]:
    """Rewrite what no page can show, such as control characters; return the characters in use.

    The labels of ticks are made from the data's own labels, which are printable, and only now.
    """
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            axis.get_ticklabels()
    characters: set[str] = set()
    for artist in figure.findobj(Text):
        lines = artist.get_text().split("\n")
        text = "\n".join(map(printable, lines))
        if text != artist.get_text():
            artist.set_text(text)
        characters.update(text)
    return characters - {"\n"}


def families_for(characters: set[str], family: str) -> tuple[list[str], set[str]]:
    """Return ``family`` and the fewest fonts that have what it lacks, and what none of them has."""
    missing = characters - characters_of(findfont(FontProperties(family=[family])))
    families = [family]
    while missing:
        name, held = max(
            ((entry.name, _held(entry.fname, missing)) for entry in _regular_fonts()),
            key=lambda font: len(font[1]),
            default=("", set()),
        )
        if not held:
            break
        families.append(name)
        missing -= held
    return families, missing


def set_families(figure: Figure, families: list[str]) -> None:
    """Let every text of the figure fall back on ``families`` in this order."""
    for artist in figure.findobj(Text):
        artist.set_fontfamily(families)


@cache
def characters_of(path: str) -> frozenset[str]:
    """The characters that a font file has."""
    return frozenset(map(chr, get_font(path).get_charmap()))


def _held(path: str, characters: set[str]) -> set[str]:
    try:
        return characters & characters_of(path)
    except (OSError, RuntimeError):  # a font file that cannot be read
        return set()


@cache
def _regular_fonts() -> tuple[FontEntry, ...]:
    """Upright fonts of regular weight, sans serif ones first."""
    fonts = [
        entry
        for entry in fontManager.ttflist
        if entry.style == "normal" and entry.weight in REGULAR and entry.name != LAST_RESORT
    ]
    return tuple(sorted(fonts, key=lambda entry: ("Sans" not in entry.name, entry.name)))
