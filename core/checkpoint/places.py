"""Where a checkpoint is: its folder and the name shown for it, from what the user wrote."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from loopscope.core.checkpoint.foreign import advice
from loopscope.core.errors import CheckpointError, LoopscopeError
from loopscope.core.files import read_text, reason, shortened
from loopscope.core.labels import writable

BUNDLED = "bundled:"
# How the Hugging Face cache names a model's folder: models--ORGANISATION--NAME/snapshots/COMMIT.
CACHED, SNAPSHOTS = "models--", "snapshots"


def bundled_names() -> list[str]:
    """Names of the checkpoints that ship with Loopscope."""
    root = files("loopscope.resources") / "checkpoints"
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []


def resolve(path: str) -> tuple[Path, str]:
    """Return the folder of ``path`` (which may be ``bundled:NAME``) and the name shown for it.

    A model's folder in the Hugging Face cache stands for its current snapshot. Raises
    `CheckpointError` for what is no folder.
    """
    if path.startswith(BUNDLED):
        name = path.removeprefix(BUNDLED)
        if name not in bundled_names():
            known = ", ".join(BUNDLED + n for n in bundled_names())
            raise CheckpointError(f"there is no bundled checkpoint '{name}'; there is {known}")
        return Path(str(files("loopscope.resources") / "checkpoints" / name)), path
    folder = Path(path)
    try:
        folder = folder.expanduser()
        if not folder.is_dir():
            problem = "is a file, not a folder" if folder.exists() else "does not exist"
            raise CheckpointError(
                f"{shortened(folder)} {problem}; a checkpoint is a folder with config.json and "
                f"model.safetensors{advice(folder) if folder.exists() else ''}"
            )
        if (folder / SNAPSHOTS).is_dir() and not (folder / "config.json").exists():
            folder = _snapshot(folder)
        return folder, _shown(folder.resolve())
    except (OSError, ValueError, RuntimeError) as error:  # too long, a loop of links, no such user
        raise CheckpointError(f"{shortened(folder)}: cannot be read: {reason(error)}") from None


def _shown(folder: Path) -> str:
    """The model's name: that of the folder, but not of a commit in the Hugging Face cache.

    It goes into files, which hold text; a folder's name may be any bytes.
    """
    name, cache = folder.name, folder.parent.parent.name
    if folder.parent.name == SNAPSHOTS and cache.startswith(CACHED):
        name = cache.removeprefix(CACHED).partition("--")[2] or cache.removeprefix(CACHED)
    return writable(name)


def _snapshot(cache: Path) -> Path:
    """The snapshot that ``refs/main`` names, or the only one there is."""
    there = sorted(entry.name for entry in (cache / SNAPSHOTS).iterdir() if entry.is_dir())
    try:
        current = read_text(cache / "refs" / "main", 1000).strip()
    except LoopscopeError:
        current = ""
    if current not in there and len(there) == 1:
        current = there[0]
    if current not in there:
        problem = "has no snapshot" if not there else "has several snapshots and no refs/main"
        advice = f"; name one of them, such as {SNAPSHOTS}/{there[0]}" if there else ""
        raise CheckpointError(f"{cache} {problem}{advice}")
    return cache / SNAPSHOTS / current
