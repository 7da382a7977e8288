"""What the bench remembers between starts: one JSON file, written atomically."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from platformdirs import user_config_dir

FILE = "settings.json"
MOST_RECENT = 10


@dataclass(slots=True)
class Settings:
    """Everything remembered; plain JSON values only.

    layout : Qt's dock state, hexadecimal.  options : each view's options by panel key.
    interventions : what was cut into the run shown last, as `interventions.registry` writes it.
    """

    theme: str = "system"
    size: list[int] = field(default_factory=lambda: [1280, 800])
    layout: str = ""
    geometry: str = ""
    checkpoint: str = "bundled:looped"
    prompts: dict[str, str] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    recent: list[str] = field(default_factory=list)
    prompt_file: str = ""
    seed: int = 0
    start: str = "default"
    start_scale: float = 1.0
    recurrences: int = 0
    interventions: list[dict[str, Any]] = field(default_factory=list)
    device: str = "auto"
    dtype: str = "float32"
    speed: float = 4.0
    pace: str = "depth"
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    export: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path | None = None) -> Settings:
        """Read the file; anything damaged or of the wrong type falls back to its default."""
        settings = cls()
        try:
            saved = json.loads((folder or default_folder()).joinpath(FILE).read_text("utf-8"))
        except (OSError, ValueError):
            return settings
        if isinstance(saved, dict):
            for f in fields(cls):
                value, default = saved.get(f.name), getattr(settings, f.name)
                number = isinstance(default, float) and isinstance(value, (int, float))
                if number or type(value) is type(default):
                    setattr(settings, f.name, value)
        if len(settings.size) != 2 or not all(isinstance(n, int) for n in settings.size):
            settings.size = [1280, 800]
        return settings

    def save(self, folder: Path | None = None) -> None:
        """Write the file; a folder that cannot be written costs the memory, not the session."""
        folder = folder or default_folder()
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / f".{FILE}.{os.getpid()}"
            part.write_text(json.dumps(asdict(self), indent=1), "utf-8")
            os.replace(part, folder / FILE)

    def remember_checkpoint(self, path: str) -> None:
        """Put ``path`` on top of the recent ones."""
        self.checkpoint = path
        self.recent = [path, *(p for p in self.recent if p != path)][:MOST_RECENT]

    def remember_prompt(self, prompt: str) -> None:
        """Put ``prompt`` on top of the history and make it its checkpoint's last."""
        self.prompts[self.checkpoint] = prompt
        self.history = [prompt, *(p for p in self.history if p != prompt)][:50]


def default_folder() -> Path:
    """Return the folder of the settings, as the system has it."""
    return Path(user_config_dir("loopscope"))
