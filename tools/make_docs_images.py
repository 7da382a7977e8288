"""Make every picture of the README and the docs: `python tools/make_docs_images.py`.

Each is a screenshot made by the command line, so that the docs show what the program shows.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from loopscope.app.panels import PANELS, Panel

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


def of_model(panel: Panel) -> bool:
    """Whether the view's measurement is over a prompt set."""
    return panel.request is not None and panel.request.whose == "model"


def shoot_contrast(name: str) -> None:
    """Save the graph of the bundled model beside that of a deep one with as many layers."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    sys.path.insert(0, str(ROOT / "tests"))
    from models import tiny_checkpoint
    from PySide6.QtWidgets import QApplication

    from loopscope.core.loading import load
    from loopscope.core.pairing import Pairing
    from loopscope.core.selection import Selection
    from loopscope.core.stepper import Stepper
    from loopscope.core.training import twin_architecture
    from loopscope.core.views.beside import Beside, selection_beside
    from loopscope.core.views.graph import Options, compute_beside
    from loopscope.widgets.graph import GraphView
    from loopscope.widgets.palette import LIGHT
    from loopscope.widgets.theme import apply_theme

    recurrences = 6
    with tempfile.TemporaryDirectory() as folder:
        deep = tiny_checkpoint(Path(folder) / "deep", twin_architecture("deep", recurrences))
        runs = []
        for path, n in (("bundled:looped", recurrences), (str(deep), 1)):
            loaded = load(path, "cpu")
            stepper = Stepper(loaded)
            stepper.begin(loaded.tokenizer.encode(PROMPT))
            for _ in range(n):
                stepper.step()
            runs.append(stepper.recording)
    one, other = runs
    selection = Selection(4, 1)
    pairing = Pairing(one.info.architecture, other.info.architecture)
    beside = Beside(other, "deep", pairing, selection_beside(selection, pairing, other))
    data = compute_beside(one, beside, selection, Options())
    app = QApplication.instance() or QApplication([])
    apply_theme(app, LIGHT)
    view = GraphView()
    view.resize(1100, 500)
    view.set_theme(LIGHT)
    view.show()
    view.show_data(data)
    view.show_selection(selection, {})
    view.grab().save(str(IMAGES / name))
    view.close()
    print(name)


def main() -> None:
    """Make all of them."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    shoot("window.png", "--recurrences", "8", "--size", "1280x800", "--theme", "light")
    shoot("window-dark.png", "--recurrences", "8", "--size", "1280x800", "--theme", "dark")
    for panel in PANELS:
        size = "900x620"
        shoot(f"{panel.key}.png", "--recurrences", "20", "--size", size, "--view", panel.key,
              "--theme", "light", *(["--measure"] if panel.request else []),
              *(["--prompts", "bundled:hops"] if of_model(panel) else []))  # fmt: skip
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
    shoot_contrast("graph-contrast.png")


if __name__ == "__main__":
    main()
