"""Make every picture of the README and the docs: `python tools/make_docs_images.py`.

Each is a screenshot made by the command line, so that the docs show what the program shows.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from loopscope.app.panels import PANELS

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"


def shoot(name: str, *arguments: str, path: str = "bundled:looped", prompt: str = PROMPT) -> None:
    """Save one screenshot."""
    command = [sys.executable, "-m", "loopscope.app", "open", path, "--exit", *arguments]
    if path == "bundled:looped":
        command += ["--prompt", prompt]
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
              "--theme", "light", *(["--measure"] if panel.request else []))  # fmt: skip
    shoot("heads-groups.png", "--recurrences", "20", "--size", size, "--view", "heads",
          "--theme", "light", "--set", "order=group")  # fmt: skip
    shoot("state_space-beside.png", "--recurrences", "20", "--size", size, "--view", "state_space",
          "--theme", "light", "--measure", "stability", "paths", prompt="ab bc ca ? 2 : a b c",
    )  # fmt: skip
    ids = ("--token-ids", "5,17,3,60,41,8,2", "--recurrences", "4", "--size", size)
    ouro = str(ROOT / "tests" / "data" / "reference" / "ouro-tiny")
    shoot("readout-exit-gate.png", *ids, "--view", "readout", "--theme", "light", path=ouro)
    sys.path.insert(0, str(ROOT / "tests"))
    from checkpoints import write_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        nested = str(write_checkpoint(Path(folder) / "hrm-text", "hrm_text"))
        shoot("graph-nested.png", *ids[:2], "--recurrences", "2", "--size", "900x760", "--view",
              "graph", "--theme", "light", path=nested)  # fmt: skip


if __name__ == "__main__":
    main()
