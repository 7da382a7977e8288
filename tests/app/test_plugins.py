"""The example of docs/plugins.md, installed by pip and used on the command line and in the window."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import random_tensors
from safetensors.torch import save_file

from loopscope.core.checkpoint.loading import load
from loopscope.core.families.family import Config, Family
from loopscope.core.recordings.reader import open_recording
from loopscope.core.recordings.writing import save
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "loopscope-example"
PROMPT = "ab bc ca ? 2 : a b c"
RUN = ("bundled:looped", "--prompt", PROMPT, "--recurrences", "4")
Do = Callable[..., str]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example in it, as pip installs it."""
    target = tmp_path_factory.mktemp("target")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation",
         "--no-index", "--disable-pip-version-check", "--target", str(target), str(EXAMPLE)],
        check=True,
    )  # fmt: skip
    return target


@pytest.fixture
def do(target: Path, tmp_path: Path) -> Do:
    """Run Python in a process that has the example; returns standard output."""

    def do(*arguments: str, extra: str = "", error: str = "") -> str:
        path = os.pathsep.join(p for p in (str(ROOT / ".dev"), str(target), extra) if p)
        environment = os.environ | {"PYTHONPATH": path, "XDG_CONFIG_HOME": str(tmp_path / "c")}
        del environment["LOOPSCOPE_PLUGINS"]
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert error in done.stderr
        return done.stdout

    return do


def cli(do: Do, *arguments: str, **more: str) -> str:
    return do("-m", "loopscope.app", *arguments, **more)


# Commands one after the other in one process; prints what the last one says.
SEVERAL = """
import contextlib, io, json, sys
from loopscope.app.cli.main import main
for command in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(command) == 0
print(json.dumps(json.loads(said.getvalue())))
"""


def run_here() -> Recording:
    """The same run in this process, which has no plug-ins."""
    loaded = load("bundled:looped", "cpu")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode(PROMPT))
    for _ in range(4):
        stepper.step()
    return recording


def spread(states: np.ndarray) -> np.ndarray:
    """The measure by hand, token by token."""
    found = np.zeros(states.shape[:2])
    for r, rows in enumerate(states.astype(float)):
        for t, row in enumerate(rows):
            away = row - sum(rows) / len(rows)
            found[r, t] = np.sqrt((away**2).sum() / (row**2).sum())
    return found


def write_folder(folder: Path, family: Family) -> Path:
    config = {
        "model_type": "mine", "vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2,
        "intermediate_size": 24, "num_hidden_layers": 2, "loops": 3,
        "max_position_embeddings": 32,
    }  # fmt: skip
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    arch = family.architecture(Config(config, folder / "config.json"))
    save_file(random_tensors(family, arch, torch.float32, 0), folder / "model.safetensors")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of the example's family."""
    space: dict[str, object] = {}
    exec((EXAMPLE / "loopscope_example" / "family.py").read_text(), space)
    family = space["FAMILY"]
    assert isinstance(family, Family)
    return write_folder(tmp_path / "mine", family)


def test_they_are_listed_with_package_version_and_state(do: Do) -> None:
    found = {(p["group"], p["name"]): p for p in json.loads(cli(do, "plugins", "--json"))}
    assert set(found) == {
        ("loopscope.families", "mine"), ("loopscope.measures", "spread"),
        ("loopscope.views", "spread_curves"), ("loopscope.interventions", "scale_state"),
    }  # fmt: skip
    for plugin in found.values():
        assert (plugin["package"], plugin["version"], plugin["problem"]) == (
            "loopscope-example", "1.0", "",
        )  # fmt: skip
    lines = cli(do, "plugins").splitlines()
    assert lines[1].split() == ["measure", "spread", "loopscope-example", "1.0", "in", "use"]


def test_the_command_line_has_all_four(do: Do, folder: Path, tmp_path: Path) -> None:
    cut = {"kind": "scale_state", "recurrence": 2, "last": 2, "layer": -1, "factor": 0.25}
    (tmp_path / "cut.json").write_text(json.dumps([cut]))
    commands = [
        ("measure", *RUN, "--measures", "spread", "-o", "spread.json"),
        ("figures", *RUN, "--format", "csv", "-o", "out"),
        ("trace", *RUN, "--interventions", "cut.json", "-o", "cut.npz"),
        ("inspect", str(folder), "--json"),
    ]
    card = json.loads(do("-c", SEVERAL, json.dumps(commands)).splitlines()[-1])
    plain = run_here()
    by_hand = spread(plain.states[1:])
    document = json.loads((tmp_path / "spread.json").read_text())
    np.testing.assert_allclose(document["measures"]["spread"]["values"], by_hand, rtol=1e-5)
    (path,) = (tmp_path / "out").glob("spread_curves*.csv")
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    rows = list(csv.reader(lines))
    assert rows[0] == ["token", "recurrence", "spread of tokens [relative]"]
    found = np.array([float(row[2]) for row in rows[1:]]).reshape(-1, 4).T
    np.testing.assert_allclose(found, by_hand, rtol=1e-5)
    layers = np.load(tmp_path / "cut.npz")["layer_states"]
    np.testing.assert_allclose(layers[:2], plain.layer_states[:2], atol=1e-5)
    assert (abs(layers[2] - plain.layer_states[2]) > 1e-3).any()
    assert card["recognised_by"] == "model_type mine"


IN_THE_WINDOW = """
import json, sys
import numpy as np
from PySide6.QtWidgets import QApplication
app = QApplication([])
from loopscope.app.bench.bench import Bench
from loopscope.app.figures import write_figures
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.widgets.kit.export_choice import ExportChoice
from loopscope.widgets.palette import LIGHT

def wait(done):
    while not (done() and window.bench.settled_down):
        app.processEvents()

def run():
    return window.bench.session.recording

window = Window(Bench(), Settings(), LIGHT, remember=False)
window.resize(1280, 800)
window.show()
window.opening.open("bundled:looped", FirstRun(sys.argv[1], 4), device="cpu")
wait(lambda: run() is not None and run().n_recurrences == 4)
plain, found = run(), {"states": run().states.tolist()}

window.docks.by_key["spread_curves"].toggleViewAction().trigger()
displays = window.bench.displays
wait(lambda: displays["spread_curves"].data is not None)
found["view"] = [c.y.tolist() for c in displays["spread_curves"].data.curves]
found["shown"] = displays["spread_curves"].view.isVisible()

spec, options = displays["spread_curves"].spec, {}
choice = ExportChoice(("svg",), folder="page")
write_figures(run(), window.bench.session.selection, (spec,), options, choice)

window.docks.by_key["depth"].toggleViewAction().trigger()
wait(lambda: displays["depth"].data is not None)
options = type(displays["depth"].options)(measure="spread")
window.bench.analysis.set_options("depth", options)
wait(lambda: displays["depth"].data.measured == "spread")
found["depth"] = displays["depth"].data.curves[0].y.tolist()

window.bench.session.scrub(2)
form = window.tree.panel.form
form.kind.setCurrentIndex(form.kind.findData("scale_state"))
form.kind.activated.emit(form.kind.currentIndex())
form.layer.setCurrentIndex(form.layer.findData("end"))
form.layer.activated.emit(form.layer.currentIndex())
window.commands["branch"].trigger()
if run() is plain:
    window.commands["branch"].trigger()
wait(lambda: run() is not plain and run().n_recurrences == 4)
found["branch"] = run().states.tolist()
found["cut"] = [cut.describe() for cut in run().info.interventions]

window.commands["plugins"].trigger()
found["said"] = window.statusBar().currentMessage()
window.opening.open(sys.argv[2], FirstRun("", 2), device="cpu")
wait(lambda: window.bench.session.status.loaded.checkpoint.family.name == "mine")
found["family"] = window.bench.session.status.loaded.checkpoint.recognised_by
window.close()
print(json.dumps(found))
"""


def test_all_four_in_the_window(do: Do, folder: Path, tmp_path: Path) -> None:
    found = json.loads(do("-c", IN_THE_WINDOW, PROMPT, str(folder)))
    states = np.array(found["states"], np.float32)
    by_hand = spread(states[1:])
    assert found["shown"]
    np.testing.assert_allclose(np.array(found["view"]).T, by_hand, rtol=1e-5)
    np.testing.assert_allclose(found["depth"], by_hand.mean(1), rtol=1e-5)
    assert "spread [relative]" in (tmp_path / "page" / "spread_curves.svg").read_text()
    branch = np.array(found["branch"], np.float32)
    np.testing.assert_array_equal(branch[2], states[2] * np.float32(0.5))
    np.testing.assert_array_equal(branch[:2], states[:2])
    assert found["cut"] == ["state × 0.5 at recurrence 2, end"]
    assert found["said"] == "; ".join(
        f"{kind} of loopscope-example 1.0"
        for kind in ("family 'mine'", "measure 'spread'", "view 'spread_curves'",
                     "intervention 'scale_state'")
    )  # fmt: skip
    assert found["family"] == "model_type mine"


def test_one_that_cannot_be_imported_is_told_and_the_rest_goes_on(do: Do, tmp_path: Path) -> None:
    info = tmp_path / "broken" / "broken-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[loopscope.measures]\nbent = nowhere:BENT\n")
    error = (
        "loopscope: measure 'bent' of broken 2.0 is left out: ModuleNotFoundError: No module "
        "named 'nowhere'\n"
    )
    broken = {"extra": str(tmp_path / "broken")}
    document = json.loads(cli(do, "measure", *RUN, "--measures", "spread", error=error, **broken))
    assert list(document["measures"]) == ["spread"]
    line = cli(do, "plugins", **broken).splitlines()[1]
    assert line.split(maxsplit=3)[:3] == ["measure", "bent", "broken"]
    assert line.endswith("left out: ModuleNotFoundError: No module named 'nowhere'")


# A view that measures on request, in a package of one file.
LASTING = """
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loopscope.app.view_spec import ViewSpec
from loopscope.core.results import ResultKey
from loopscope.core.views.base import Request, Table, ViewData, ViewDefinition


@dataclass(frozen=True, slots=True, eq=False)
class Norms:
    values: npt.NDArray[np.float64]
    of: tuple[str, ...]


NORMS = ResultKey("lasting", Norms)


@dataclass(frozen=True, slots=True)
class Options:
    pass


def compute(recording, selection, options):
    found = recording.result(NORMS)
    return ViewData("nothing yet" if found is None else f"{found.of} {found.values.tolist()}", ())


def run(stepper, selection, options, job):
    states = stepper.recording.states.astype(float)
    return Norms(np.linalg.norm(states[-1], axis=-1), stepper.recording.info.token_labels)


class Lasting(ViewSpec):
    key, title, shows = "lasting", "Lasting", "norms that are measured on request"

    def definition(self):
        request = Request("Measure", "Takes the norms", NORMS)
        return ViewDefinition(Options, compute, lambda data: Table((), ()), request=request)

    def analysis(self):
        return run

    def view(self):
        raise NotImplementedError

    def drawing(self):
        return lambda data, figure, page: None


SPEC = Lasting()
"""
MEASURED = """
import sys
import loopscope
run = loopscope.load("bundled:looped", "cpu").run(sys.argv[1], 3)
run.analyse("lasting")
run.save("run.h5")
print(run.view("lasting").statement)
"""
OPENED = """
import sys
import loopscope
print(loopscope.open_recording(sys.argv[1])[0].view("lasting").statement)
"""


def test_what_its_view_measured_is_in_the_recording(do: Do, tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    about = extra / "lasting-1.0.dist-info"
    about.mkdir(parents=True)
    (extra / "lasting.py").write_text(LASTING)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lasting\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[loopscope.views]\nlasting = lasting:SPEC\n")
    said = do("-c", MEASURED, PROMPT, extra=str(extra))
    assert said.startswith("('a', 'b', 'b'")
    assert do("-c", OPENED, "run.h5", extra=str(extra)) == said
    # Where the package is not, the result is written again as it is.
    (again,) = open_recording(tmp_path / "run.h5").runs
    save(tmp_path / "again.h5", [again])
    assert do("-c", OPENED, "again.h5", extra=str(extra)) == said
