"""Collect what `loopscope analyse VIEW ... -o FILE.json` wrote in docs/analyses.json, but tables.

python tools/collect_analyses.py FILE.json ...

One entry a line, in the order given; an entry of the same question replaces the one that is there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "docs" / "analyses.json"
KEPT = (
    "view", "checkpoint", "weights sha256", "beside", "prompt file", "recurrences", "settings",
    "statement",
)  # fmt: skip
# What makes two entries answers to one question.
QUESTION = ("view", "checkpoint", "beside", "prompt file", "recurrences", "settings")


def main(files: list[str]) -> None:
    """Read what is there, add what is given, write."""
    entries = json.loads(FILE.read_text("utf-8")) if FILE.exists() else []
    for name in files:
        said = json.loads(Path(name).read_text("utf-8"))
        entry = {key: said[key] for key in KEPT}
        entries = [own for own in entries if any(own[key] != entry[key] for key in QUESTION)]
        entries.append(entry)
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    FILE.write_text(f"[\n{lines}\n]\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
