"""Make the pictures of the README and the docs: `python tools/make_docs_images.py [NAME ...]`.

Without names all of them, else those named: `... runs correspondence`. Each is a picture of the
program itself, most made by its command line, so that the docs show what it shows. With ``--model
FOLDER``, that of a language model of 30 layers, those of `docs/real-model.md` as well.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from loopscope.app.views import BY_KEY, VIEW_SPECS, ViewSpec

if TYPE_CHECKING:
    from loopscope.app.window.window import Window
    from loopscope.core.checkpoint.request import Loop

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"
# Of a picture of one view.
SIZE = "900x620"
# What a language model of 30 layers is shown with: layers 10 to 15 looped, in damped steps.
REAL_PROMPT = "The capital of France is Paris. The capital of Germany is"
REAL_LOOP = (10, 16, 0.5)
REAL_VIEWS = (
    "state_space", "settling", "distance", "heads", "graph", "readout", "pattern", "head_map",
    "depth", "similarity", "lens", "paths", "exits",
)  # fmt: skip
# Seconds that a picture may take.
LONGEST = 900.0


# ---- by the command line ----
def shoot(name: str, *arguments: str, path: str = "bundled:looped", prompt: str = PROMPT) -> None:
    """Save one screenshot."""
    command = [sys.executable, "-m", "loopscope.app", "open", path, "--exit", *arguments]
    if path.startswith("bundled:"):
        command += ["--prompt", prompt]
    subprocess.run([*command, "--screenshot", str(IMAGES / f"{name}.png")], check=True)


def shoot_view(spec: ViewSpec) -> None:
    """Save one view, with what it measures on request."""
    request = spec.request
    of_model = request is not None and request.scope == "model"
    shoot(spec.key, "--recurrences", "20", "--size", SIZE, "--view", spec.key, "--theme", "light",
          *(["--measure"] if request else []),
          *(("--prompts", "bundled:hops") if of_model else ()))  # fmt: skip


def shoot_exit_gate(name: str) -> None:
    """Save the readout of a model with an exit gate."""
    ouro = str(ROOT / "tests" / "data" / "reference" / "ouro-tiny")
    shoot(name, "--token-ids", "5,17,3,60,41,8,2", "--recurrences", "4", "--size", SIZE,
          "--view", "readout", "--theme", "light", path=ouro)  # fmt: skip


def shoot_nested(name: str) -> None:
    """Save the graph of a nested loop."""
    sys.path.insert(0, str(ROOT / "tests"))
    from checkpoints import write_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        nested = str(write_checkpoint(Path(folder) / "hrm-text", "hrm_text"))
        shoot(name, "--token-ids", "5,17,3,60,41,8,2", "--recurrences", "2", "--size", "900x760",
              "--view", "graph", "--theme", "light", path=nested)  # fmt: skip


def shoot_report(name: str) -> None:
    """Save the top of a page for browsers, as Debian's Chromium draws it."""
    browser = shutil.which("chromium")
    if browser is None:
        print(f"{name}: left as it is, there is no Chromium here", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        subprocess.run(
            [sys.executable, "-m", "loopscope.app", "report", "bundled:looped", "--prompt", PROMPT,
             "--recurrences", "24", "-o", str(page)], check=True,
        )  # fmt: skip
        subprocess.run(
            [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader",
             "--enable-unsafe-swiftshader", "--hide-scrollbars", "--window-size=1366,1240",
             "--virtual-time-budget=15000", f"--user-data-dir={folder}/profile",
             f"--screenshot={IMAGES / f'{name}.png'}", page.as_uri()],
            check=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip


# ---- by hand, where the command line has no words for it ----
def opened(
    recurrences: int, size: str, path: str = "bundled:looped", prompt: str = PROMPT,
    loop: Loop | None = None,
) -> Window:  # fmt: skip
    """Open the window on a model, by default the bundled one, and run the prompt."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from loopscope.app.cli.desktop import make_window
    from loopscope.app.cli.main import build_parser
    from loopscope.app.window.opening import FirstRun

    options = build_parser().parse_args(["open", "--theme", "light", "--size", size])
    window = make_window(options, remember=False)
    window.show()
    window.opening.open(path, FirstRun(prompt, recurrences), device="cpu", loop=loop)
    wait(window, lambda: made(window) == recurrences)
    return window


def made(window: Window) -> int:
    """Recurrences of the run shown."""
    recording = window.bench.session.recording
    return 0 if recording is None else recording.n_recurrences


def measured(window: Window, key: str) -> None:
    """Make a measurement of the model and wait for it."""
    request, recording = BY_KEY[key].request, window.bench.session.recording
    assert request is not None
    assert recording is not None
    window.views.measure(key)
    wait(window, lambda: recording.result(request.result) is not None)


def wait(window: Window, done: Callable[[], bool] = lambda: True) -> None:
    """Let the window work until ``done`` and everything it shows is current."""
    from PySide6.QtWidgets import QApplication

    calm, deadline = 0, time.monotonic() + LONGEST
    while calm < 5:
        QApplication.processEvents()
        time.sleep(0.01)
        calm = calm + 1 if done() and window.bench.settled_down else 0
        if time.monotonic() > deadline:
            raise TimeoutError("the picture was not ready in time")


def open_deep_twin(window: Window) -> None:
    """Put the bundled deep model beside the run."""
    window.tree.open_second_model("bundled:deep")
    wait(window, lambda: window.bench.session.second is not None)


def save(window: Window, name: str) -> None:
    """Save the window's picture."""
    wait(window)
    window.statusBar().clearMessage()
    window.grab().save(str(IMAGES / f"{name}.png"))


def shoot_contrast(name: str) -> None:
    """Save the graph of the bundled model beside that of its deep twin."""
    window = opened(6, "1100x620")
    open_deep_twin(window)
    window.docks.maximise("graph")
    window.bench.session.select({"recurrence": 4, "layer": 1})
    save(window, name)
    window.close()
    window.deleteLater()


def choose(window: Window, key: str, **settings: object) -> None:
    """Set some options of a view, its controls included."""
    from dataclasses import replace

    options = replace(window.bench.displays[key].options, **settings)
    window.views.set_options(key, options)
    wait(window)


def shoot_correspondence(name: str, view: str = "correspondence", **settings: object) -> None:
    """Save what a view shows of the bundled model and its deep twin."""
    window = opened(6, SIZE)
    open_deep_twin(window)
    window.docks.maximise(view)
    choose(window, view, **settings)
    measured(window, view)
    save(window, name)
    window.close()
    window.deleteLater()


def shoot_probe(name: str) -> None:
    """Save the probe as it opens: what is lost, and (NAME-recovery) what comes back."""
    window = opened(20, SIZE)
    window.docks.maximise("probe")
    wait(window)
    measured(window, "probe")
    for picture in ("sizes", "recovery"):
        choose(window, "probe", picture=picture)
        save(window, name if picture == "sizes" else f"{name}-{picture}")
    window.close()
    window.deleteLater()


def shoot_runs(name: str) -> None:
    """Save the preset Runs and cuts: a branch cut twice beside the run it came from."""
    from loopscope.core.interventions.base import END
    from loopscope.core.interventions.layers import SkipLayer
    from loopscope.core.interventions.states import Noise

    window = opened(12, "1280x800")
    window.docks.apply("Runs and cuts")
    runs = window.bench.runs
    root = window.bench.session.run
    assert root is not None
    window.bench.session.select({"recurrence": 4, "layer": 1})
    for cut in (SkipLayer(recurrence=4, last=4, layer=1),
                Noise(recurrence=4, last=4, layer=END, size=1.0)):  # fmt: skip
        runs.show(root)
        wait(window)
        runs.branch((cut,))
        wait(window, lambda: window.bench.session.run is not root)
    wait(window, lambda: made(window) == 12)
    window.bench.session.select({"recurrence": 4})
    save(window, name)
    window.close()
    window.deleteLater()


def shoot_study(name: str) -> None:
    """Save the bundled study, as a map and with one of its cells open as a run."""
    from loopscope.core.sweeps.picture import Choice

    window = opened(2, "1366x768")
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "hops-study"
        command = [sys.executable, "-m", "loopscope.app", "sweep", "bundled:hops", "-o", str(rows)]
        subprocess.run(command, check=True)
        kept = {"checkpoint": "bundled:looped", "intervention": "none", "seed": "0"}
        window.studies.open(str(rows), "", Choice("quality:accuracy", "map", "prompt", "R", kept))
        wait(window, lambda: window.studies.seen is not None)
        picture = window.studies.panel.map.data
        window.studies.panel.map.cell_chosen.emit(int(picture.cells[3, 4]))
        wait(window, lambda: made(window) == 8)
        save(window, name)
    window.close()
    window.deleteLater()


def shoot_real(folder: str, name: str) -> None:
    """Save the window and every view of a language model, as NAME and NAME-VIEW."""
    window = opened(16, "1280x800", folder, REAL_PROMPT, REAL_LOOP)
    save(window, name)
    window.resize(*map(int, SIZE.split("x")))
    for key in REAL_VIEWS:
        window.docks.maximise(key)
        request = BY_KEY[key].request
        if request is not None and request.scope == "run":  # the others need a prompt set
            measured(window, key)
        save(window, f"{name}-{key}")
        window.docks.maximise(key)
    choose(window, "state_space", massive="left out")
    window.docks.maximise("state_space")
    save(window, f"{name}-state_space-rest")
    window.close()
    window.deleteLater()


def pictures(model: str) -> dict[str, Callable[[], None]]:
    """Every picture by its name; those of a language model where the folder of one is given."""
    window = ("--recurrences", "8", "--size", "1280x800", "--theme")
    view = ("--recurrences", "20", "--size", SIZE, "--theme", "light", "--view")
    found: dict[str, Callable[[], None]] = {
        "window": partial(shoot, "window", *window, "light"),
        "window-dark": partial(shoot, "window-dark", *window, "dark"),
    }
    by_hand = ("correspondence", "stitching", "probe")
    found |= {p.key: partial(shoot_view, p) for p in VIEW_SPECS if p.key not in by_hand}
    found["heads-groups"] = partial(shoot, "heads-groups", *view, "heads", "--set", "order=group")
    found["exits-tokens"] = partial(shoot, "exits-tokens", *view, "exits", "--set", "over=run")
    found["settling-orbit"] = partial(
        shoot, "settling-orbit", "--recurrences", "40", *view[2:], "settling", path="bundled:orbit"
    )
    found["state_space-beside"] = partial(
        shoot, "state_space-beside", *view, "state_space", "--measure", "stability", "paths",
        prompt="ab bc ca ? 2 : a b c",
    )  # fmt: skip
    for name, make in (
        ("readout-exit-gate", shoot_exit_gate),
        ("graph-nested", shoot_nested),
        ("graph-contrast", shoot_contrast),
        ("correspondence", shoot_correspondence),
        ("stitching", partial(shoot_correspondence, view="stitching", prompts=60)),
        ("correspondence-heads", partial(shoot_correspondence, compared="heads")),
        ("runs", shoot_runs),
        ("probe", shoot_probe),
        ("report", shoot_report),
        ("study", shoot_study),
    ):
        found[name] = partial(make, name)
    if model:
        found["real"] = partial(shoot_real, model, "real")
    return found


def main(arguments: list[str]) -> None:
    """Make those named, or all of them."""
    parser = argparse.ArgumentParser(description="Make the pictures of the README and the docs.")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--model", default="", help="folder of a language model of 30 layers")
    options = parser.parse_args(arguments)
    IMAGES.mkdir(parents=True, exist_ok=True)
    every = pictures(options.model)
    for name in options.names or every:
        if name not in every:
            sys.exit(f"there is no picture '{name}'; there are {', '.join(every)}")
        every[name]()
        print(name)


if __name__ == "__main__":
    main(sys.argv[1:])
