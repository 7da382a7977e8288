"""Make every picture of the README and the docs: `python tools/make_docs_images.py`.

Each is a screenshot made by the command line, so that the docs show what the program shows.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from loopscope.app.panels import PANELS

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"


def shoot(name: str, *arguments: str) -> None:
    """Save one screenshot."""
    command = [sys.executable, "-m", "loopscope.app", "--prompt", PROMPT, "--exit", *arguments]
    subprocess.run([*command, "--screenshot", str(IMAGES / name)], check=True)
    print(name)


def main() -> None:
    """Make all of them."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    shoot("window.png", "--recurrences", "8", "--size", "1280x800", "--theme", "light")
    shoot("window-dark.png", "--recurrences", "8", "--size", "1280x800", "--theme", "dark")
    for panel in PANELS:
        size = "900x620"
        shoot(f"{panel.key}.png", "--recurrences", "20", "--size", size, "--view", panel.key,
              "--theme", "light")  # fmt: skip


if __name__ == "__main__":
    main()
