"""What the bench remembers between starts: one JSON file, written whole, read with distrust."""

from __future__ import annotations

import contextlib
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from platformdirs import user_config_dir

from loopscope.app.window.settings_checks import (
    Check,
    between,
    is_export,
    is_flag,
    is_hexadecimal,
    is_interventions,
    is_options,
    is_path,
    is_size,
    is_text,
    is_text_by_text,
    one_of,
    texts,
)
from loopscope.core.errors import one_line
from loopscope.core.interventions.base import MOST_RECURRENCES
from loopscope.core.interventions.registry import as_json
from loopscope.core.options import settings_of
from loopscope.core.run.pairing import STEP_PAIRINGS
from loopscope.core.run.recording import Recording
from loopscope.core.run.requests import RunRequest

FILE, DAMAGED = "settings.json", "settings-damaged.json"
BUNDLED = "bundled:"
MOST_RECENT, MOST_HISTORY = 10, 50
# Settings are some kilobytes, a long history of long prompts some hundred.
MOST_BYTES = 16 << 20
# JSON has no infinity: a speed from here on is "as fast as it goes".
FASTEST = 1e9
STARTS = ("default", "zeros", "random", "embedding", "learned", "given")

# Of the text, in percent of the system's: the smallest and the largest.
TEXT_SIZES = (70, 200)


@dataclass(slots=True)
class Settings:
    """Everything remembered; plain JSON values only.

    families : what a folder was asked to be read as, by its path.
    layout : Qt's dock state, hexadecimal.  options : each view's options by its key.
    interventions : of the run shown last, as `interventions.registry` writes them.
    problem : what was wrong with the file that was read, one line; not remembered.
    """

    theme: Annotated[str, one_of("system", "light", "dark")] = "system"
    text_size: Annotated[int, between(*TEXT_SIZES, whole=True)] = 100
    size: Annotated[list[int], is_size] = field(default_factory=lambda: [1280, 800])
    layout: Annotated[str, is_hexadecimal] = ""
    geometry: Annotated[str, is_hexadecimal] = ""
    checkpoint: Annotated[str, is_path] = "bundled:looped"
    prompts: Annotated[dict[str, str], is_text_by_text] = field(default_factory=dict)
    history: Annotated[list[str], texts(MOST_HISTORY)] = field(default_factory=list)
    recent: Annotated[list[str], texts(MOST_RECENT)] = field(default_factory=list)
    families: Annotated[dict[str, str], is_text_by_text] = field(default_factory=dict)
    prompt_file: Annotated[str, is_text] = ""
    session: Annotated[str, is_text] = ""
    address: Annotated[str, is_text] = ""
    seed: Annotated[int, between(0, 2**31 - 1, whole=True)] = 0
    start: Annotated[str, one_of(*STARTS)] = "default"
    start_scale: Annotated[float, between(0, 1000)] = 1.0
    patterns: Annotated[bool, is_flag] = True
    recurrences: Annotated[int, between(0, MOST_RECURRENCES, whole=True)] = 0
    interventions: Annotated[list[dict[str, Any]], is_interventions] = field(default_factory=list)
    device: Annotated[str, one_of("auto", "cpu", "cuda", "mps")] = "auto"
    dtype: Annotated[str, one_of("float32", "bfloat16", "float16")] = "float32"
    speed: Annotated[float, between(0.01, FASTEST)] = 4.0
    step_pairing: Annotated[str, one_of(*STEP_PAIRINGS)] = "depth"
    options: Annotated[dict[str, dict[str, Any]], is_options] = field(default_factory=dict)
    export: Annotated[dict[str, Any], is_export] = field(default_factory=dict)
    problem: str = ""

    @classmethod
    def load(cls, folder: Path | None = None) -> Settings:
        """Read the file; each value that is not what its key asks for falls back to its default.

        A file with anything wrong in it is kept aside as `DAMAGED`, and `problem` says so.
        """
        file = (folder or default_folder()) / FILE
        try:
            saved = _read(file)
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, RecursionError) as error:
            settings, wrong = cls(), one_line(error)
        else:
            kept = {
                entry.name: saved[entry.name]
                for entry in _remembered()
                if entry.name in saved and _fits(entry, saved[entry.name])
            }
            settings = cls()
            for name, value in kept.items():
                setattr(settings, name, value)
            bad = [e.name for e in _remembered() if e.name in saved and e.name not in kept]
            wrong = f"not what belongs there: {', '.join(bad)}" if bad else ""
        if wrong:
            settings.problem = f"{file} is damaged ({wrong}); {_set_aside(file)}"
        return settings

    def save(self, folder: Path | None = None) -> None:
        """Write the file; a folder that cannot be written costs the memory, not the session."""
        folder = folder or default_folder()
        kept = [(entry, getattr(self, entry.name)) for entry in _remembered()]
        # What would be refused when it is read (a seed of the command line) is not remembered.
        values = {entry.name: value for entry, value in kept if _fits(entry, value)}
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / f".{FILE}.{os.getpid()}"
            part.write_text(json.dumps(values, indent=1), "utf-8")
            os.replace(part, folder / FILE)

    def remember_checkpoint(self, path: str, family: str = "") -> None:
        """Put ``path`` (from `absolute`) on top of the recent ones, read as ``family`` if given."""
        self.checkpoint = path
        self.remember_recent(path, family)

    def remember_recent(self, path: str, family: str = "") -> None:
        """Put a checkpoint, read as ``family`` if given, or a session on top of the recent ones."""
        self.recent = [path, *(p for p in self.recent if p != path)][:MOST_RECENT]
        families = self.families | {path: family}
        self.families = {p: families[p] for p in self.recent if families.get(p)}

    def remember_recording(self, path: str) -> None:
        """Put a recording on top of what was opened; the next start opens the last checkpoint."""
        self.recent = [path, *(p for p in self.recent if p != path)][:MOST_RECENT]

    def remember_prompt(self, prompt: str, *, here: bool = True) -> None:
        """Put ``prompt`` on top of the history and make it its checkpoint's last.

        Not of a checkpoint that is not ``here``.
        """
        if here:
            self.prompts[self.checkpoint] = prompt
        self.history = [prompt, *(p for p in self.history if p != prompt)][:MOST_HISTORY]

    def remember_run(self, request: RunRequest, recording: Recording) -> None:
        """Remember how the run shown was begun and how far it is."""
        self.recurrences = recording.n_recurrences
        self.seed, self.start = request.seed, recording.info.start
        self.start_scale, self.patterns = request.start_scale, request.patterns
        self.interventions = as_json(recording.info.interventions)

    def remember_speed(self, rate: float) -> None:
        """Remember the speed of play, in recurrences a second; it may be infinite."""
        self.speed = rate if math.isfinite(rate) else FASTEST

    def remember_options(self, key: str, options: Any) -> None:
        """Remember the settings of a view."""
        self.options[key] = {s.name: getattr(options, s.name) for s in settings_of(options)}


@dataclass(frozen=True, slots=True)
class _Key:
    """A remembered key and what its value has to be."""

    name: str
    fits: Check


def _remembered() -> list[_Key]:
    """Every key of the file: the fields of `Settings` that say what they may be."""
    hints = get_type_hints(Settings, include_extras=True)
    checks = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    return [_Key(name, found[0]) for name, found in checks.items() if found]


def _fits(key: _Key, value: object) -> bool:
    """Whether a value is what this key asks for."""
    return key.fits(value)


def _read(file: Path) -> dict[str, object]:
    """Raise `OSError`, `ValueError` or `RecursionError` for what cannot be a file of settings."""
    size = file.stat().st_size
    if not file.is_file() or size > MOST_BYTES:
        raise ValueError("it is not a file" if size <= MOST_BYTES else f"it has {size} bytes")
    saved = json.loads(file.read_text("utf-8"))
    if not isinstance(saved, dict):
        raise ValueError("it holds no object")
    return saved


def _set_aside(file: Path) -> str:
    """Move a damaged file out of the way of the next one, and say where it is."""
    try:
        os.replace(file, file.with_name(DAMAGED))
    except OSError:
        return "the rest of it is used"
    return f"the rest of it is used, and it is kept as {DAMAGED}"


def absolute(path: str) -> str:
    """A path that names the same folder or file wherever the next start is; ``bundled:`` stays."""
    if not path or path.startswith(BUNDLED):
        return path
    return os.path.abspath(os.path.expanduser(path))


def is_there(path: str) -> bool:
    """Whether a remembered folder or file still exists."""
    return path.startswith(BUNDLED) or os.path.exists(path)


def default_folder() -> Path:
    """Return the folder of the settings, as the system has it."""
    return Path(user_config_dir("loopscope"))
