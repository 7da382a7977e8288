"""Write WordNet's glosses as a corpus for `loopscope train text`: WORDNET_FOLDER OUT.txt.

WORDNET_FOLDER holds data.noun, data.verb, data.adj and data.adv; Debian's package wordnet-base puts
them into /usr/share/wordnet. One synset becomes one line, "word, word: gloss"; lines are shuffled,
equal ones are written once. WordNet's licence asks to be kept with every copy: a third argument,
Debian's copyright file of the package, is written beside the corpus.
"""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

PARTS = ("noun", "verb", "adj", "adv")


def line_of(record: str) -> str | None:
    """Return "word, word: gloss" of one line of a data file; None for the licence's lines.

    See wndb(5): offset, file number, part of speech, a hexadecimal count of words, each with a
    number, and after a bar the gloss. Adjectives may end in a syntactic marker such as "(p)".
    """
    if record.startswith("  ") or " | " not in record:
        return None
    fields, gloss = record.split(" | ", 1)
    parts = fields.split(" ")
    words = parts[4 : 4 + 2 * int(parts[3], 16) : 2]
    names = (re.sub(r"\((p|a|ip)\)$", "", word).replace("_", " ") for word in words)
    return f"{', '.join(names)}: {' '.join(gloss.split())}"


def glosses(folder: Path) -> list[str]:
    """Every synset's line, shuffled, the same for the same files."""
    records = (
        record
        for part in PARTS
        for record in (folder / f"data.{part}").read_text(encoding="utf-8").split("\n")
    )
    lines = sorted({line for record in records if (line := line_of(record))})
    random.Random(0).shuffle(lines)
    return lines


def main() -> None:
    """Write the corpus and, where it is given, its licence."""
    folder, output = Path(sys.argv[1]), Path(sys.argv[2])
    lines = glosses(folder)
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if len(sys.argv) > 3:
        licence = Path(sys.argv[3]).read_text(encoding="utf-8")
        output.with_suffix(".LICENSE.txt").write_text(licence, encoding="utf-8")
    print(f"{len(lines)} lines, {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
