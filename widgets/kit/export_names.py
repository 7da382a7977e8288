"""Names of exported files: patterns that a user chooses, and names that are still free. No Qt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from loopscope.core.errors import LoopscopeError

# What a pattern may hold in braces, and what it stands for.
FIELDS = {
    "view": "the view",
    "prompt": "the prompt's first letters",
    "head": "layer and head, where the view shows one",
    "recurrence": "the recurrence, where the view shows one",
    "size": "the size of the page",
    "model": "the checkpoint",
    "seed": "the seed of the start",
}
DEFAULT_PATTERN = "{view}-{prompt}-{head}-{size}"
# Letters of a prompt or a checkpoint in a name; bytes of a name, of which file systems take 255.
PART_LENGTH, STEM_BYTES = 32, 200
# Names that Windows keeps for devices.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))}


def slug(text: str) -> str:
    """``text`` as part of a file's name on any system: its letters and digits, joined by dashes."""
    words = re.findall(r"[^\W_]+", text)
    return "-".join(words)[:PART_LENGTH].rstrip("-")


def stem(pattern: str, fields: Mapping[str, str]) -> str:
    """The name, without suffix, that ``pattern`` gives; fields that are empty leave no gap.

    Raises `LoopscopeError` for a field that does not exist, and for a name that no system takes.
    """

    def put_in(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in FIELDS:
            known = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise LoopscopeError(f"a name has no {{{name}}}; there are {known}")
        return fields.get(name, "")

    text = re.sub(r"\{([^{}]*)\}", put_in, pattern)
    if bad := re.search(r'[{}<>:"/\\|?*\x00-\x1f]', text):
        raise LoopscopeError(f"a file's name cannot hold {bad.group()!r}")
    # What an empty field leaves: two dashes where there was one on each side of it.
    text = re.sub(r"([-_])[-_]+", r"\1", text).strip("-_ .")
    text = text.encode()[:STEM_BYTES].decode(errors="ignore").rstrip("-_ .")
    if not text:
        raise LoopscopeError("the name of a file is empty")
    return f"{text}-" if text.lower() in _DEVICES else text


def free_stem(folder: Path, wanted: str, suffixes: Iterable[str], taken: set[str]) -> str:
    """``wanted``, or with the lowest number under which ``folder`` has none of the files.

    ``taken`` are names given away already; the files of one drawing share their number.
    """
    ends = tuple(suffixes)
    n, name = 1, wanted
    while name in taken or any((folder / f"{name}.{end}").exists() for end in ends):
        n += 1
        name = f"{wanted}-{n}"
    return name
