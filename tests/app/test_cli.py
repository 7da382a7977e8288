"""The command line as scripts use it: a subprocess, its files, its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import plain_forward, random_model, tiny_checkpoint

from loopscope.app.cli import commands
from loopscope.app.cli.main import main
from loopscope.app.cli.parser import COMMANDS
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.native_folder import save_native

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROMPT = "ab bc ca ? 2 : a b c"


def environment(tmp_path: Path) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return env | {
        "PYTHONPATH": str(ROOT / ".dev"),
        "QT_QPA_PLATFORM": "",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "OMP_NUM_THREADS": "1",
    }


def loopscope(tmp_path: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "loopscope.app", *arguments],
        capture_output=True, text=True, cwd=tmp_path, env=environment(tmp_path), timeout=280,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """The same in this process, where torch is imported already."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QT_QPA_PLATFORM", os.environ["QT_QPA_PLATFORM"])  # restored afterwards

    def command(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert main(list(arguments)) == code
        return capsys.readouterr()

    return command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_checkpoint(tmp_path / "tiny")


def test_inspect_reads_headers_and_imports_no_torch(tmp_path: Path, folder: Path) -> None:
    values = json.loads(loopscope(tmp_path, "inspect", str(folder), "--json").stdout)
    model = random_model()
    assert values["parameters"] == sum(p.numel() for p in model.parameters())
    assert values["layers"] == {"prelude": 1, "block": 2, "coda": 1}
    script = (
        "import sys; from loopscope.app.cli.main import main; "
        f"main(['inspect', {str(folder)!r}]); "
        "print([m for m in ('torch', 'PySide6', 'matplotlib', 'numpy.linalg') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(tmp_path)
    )
    assert "'torch'" not in done.stdout.splitlines()[-1]
    assert "'PySide6'" not in done.stdout.splitlines()[-1]


def test_trace_writes_what_a_plain_forward_computes(
    tmp_path: Path, folder: Path, command: Callable[..., Any]
) -> None:
    command("trace", str(folder), "--prompt", PROMPT, "--recurrences", "9", "-o", "t.npz")
    trace = np.load(tmp_path / "t.npz")
    ids = tuple(int(i) for i in trace["input_ids"][0])
    truth = plain_forward(random_model(), ids, 9)
    assert trace["input_ids"].dtype == np.int64
    assert trace["initial_state"].shape == (1, 12, 16)
    np.testing.assert_allclose(trace["layer_states"], truth["layers"], atol=1e-5)
    np.testing.assert_allclose(trace["attention"], truth["patterns"], atol=1e-5)
    np.testing.assert_allclose(trace["logits"], truth["logits"], atol=1e-5)
    start = np.random.default_rng(0).normal(size=(12, 16)).astype(np.float32)
    np.save(tmp_path / "s.npy", start)
    command(
        "trace", str(folder), "--token-ids", ",".join(map(str, ids)),
        "--recurrences", "2", "--initial-state", "s.npy", "-o", "u.npz",
    )  # fmt: skip
    truth = plain_forward(random_model(), ids, 2, start=start)
    np.testing.assert_allclose(np.load(tmp_path / "u.npz")["logits"], truth["logits"], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "nowhere"], "nowhere does not exist"),
        (["trace", "F", "--prompt", "", "--recurrences", "2", "-o", "t.npz"], "prompt is empty"),
        (["trace", "F", "--prompt", "aé", "--recurrences", "2", "-o", "t.npz"], "no token for 'é'"),
        (["trace", "F", "--token-ids", "1,99", "--recurrences", "2", "-o", "t.npz"], "out of range"),
        (["trace", "F", "--token-ids", "x", "--recurrences", "2", "-o", "t.npz"], "whole numbers"),
        (["trace", "F", "--prompt", "ab", "--recurrences", "0", "-o", "t.npz"], "0 recurrences"),
        (["trace", "F", "--prompt", "ab", "--recurrences", "-1", "-o", "t.npz"], "-1 recurrences"),
        (["trace", "F", "--prompt", "ab", "--recurrences", "10000000000", "-o", "t.npz"], "1 to 2,147,483,647"),
        (["trace", "F", "--prompt", "ab", "--recurrences", "2", "-o", "t.txt"], "must end in .npz"),
        (["trace", "F", "--prompt", "ab", "--recurrences", "2", "-o", "no/t.npz"], "does not exist"),
        (["figures", "F", "--prompt", "ab", "--recurrences", "2", "-o", "d", "--format", "bmp"],
         "cannot write 'bmp'"),
        (["open", "--size", "big"], "not a size such as"),
        (["open", "--screenshot", "x.jpg"], "must end in .png"),
        (["frobnicate", "--json"], "unrecognized arguments"),
        (["train"], "the following arguments are required"),
        (["evaluate", "F", "--task", "hops", "--hops", "99"], "at most 9"),
        (["evaluate", "bundled:deep", "--task", "hops", "--per-pass", "5"], "does not divide the"),
        (["open", "bundled:deep", "--loop", "3:99", "--exit"], "cannot loop layers 3:99"),
        (["open", "F", "--set", "tolerance=1", "--exit"], "--set needs --view"),
        (["open", "F", "--measure", "lens", "--exit"], "--measure needs --view"),
    ],
)  # fmt: skip
def test_bad_use_is_one_line_and_exit_code_2(
    tmp_path: Path,
    folder: Path,
    arguments: list[str],
    message: str,
    command: Callable[..., Any],
) -> None:
    said = command(*(str(folder) if a == "F" else a for a in arguments), code=2).err
    assert message in said
    assert said.startswith("loopscope: error: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "t.npz").exists()


def test_the_process_ends_with_the_code_and_the_line(tmp_path: Path) -> None:
    done = loopscope(tmp_path, "inspect", "nowhere", code=2)
    assert done.stderr.startswith("loopscope: error: nowhere does not exist")
    assert done.stderr.count("\n") == 1


def test_figures_of_every_view_with_provenance(
    tmp_path: Path, folder: Path, command: Callable[..., Any]
) -> None:
    from loopscope.app.views import VIEW_SPECS

    # The probe takes minutes, and a comparison a second model.
    heavy = [
        p.key for p in VIEW_SPECS if p.request and p.key != "probe" and not p.request.second_run
    ]
    done = command(
        "figures", str(folder), "--prompt", PROMPT, "--recurrences", "3",
        "-o", "out", "--format", "svg,csv", "--measure", *heavy, "--prompts", "bundled:hops",
    )  # fmt: skip
    drawn = [p.key for p in VIEW_SPECS if p.request is None or p.key in heavy]
    names = {f"{key}.{s}" for key in drawn for s in ("svg", "csv")}
    assert {p.name for p in (tmp_path / "out").iterdir()} == names
    assert len(done.out.splitlines()) == len(names)
    for name in names:
        text = (tmp_path / "out" / name).read_text()
        assert PROMPT in text, name
        assert "tiny" in text, name


def test_figures_leave_out_what_was_not_measured(
    tmp_path: Path, folder: Path, command: Callable[..., Any]
) -> None:
    from loopscope.app.views import VIEW_SPECS

    command(
        "figures", str(folder), "--prompt", PROMPT, "--recurrences", "2",
        "-o", "out", "--format", "csv,graphml",
    )  # fmt: skip
    written = {p.stem for p in (tmp_path / "out").iterdir() if p.suffix == ".csv"}
    assert written == {p.key for p in VIEW_SPECS if p.request is None or p.request.live}
    # A format that only one view has is written of that view.
    (graph,) = (tmp_path / "out").glob("*.graphml")
    assert graph.stem == "graph"
    assert PROMPT in graph.read_text()
    assert len(written) < len(VIEW_SPECS)


def test_train_evaluate_and_version(tmp_path: Path, command: Callable[..., Any]) -> None:
    done = command("train", "hops", "-o", "m", "--steps", "4", "--d-model", "16", "--hops", "1")
    assert "R=16" in done.out
    evaluate = "evaluate", "m", "--task", "hops", "--json", "--examples", "50", "--hops", "2"
    result = json.loads(command(*evaluate).out)
    assert {(c["hops"], c["recurrence"]) for c in result["cells"]} == {
        (k, r) for k in (1, 2) for r in range(1, 17)
    }
    assert all(c["low"] <= c["accuracy"] <= c["high"] for c in result["cells"])
    assert loopscope(tmp_path, "--version").stdout.startswith("loopscope ")


def test_a_screenshot_without_a_display(tmp_path: Path) -> None:
    loopscope(
        tmp_path, "--prompt", PROMPT, "--recurrences", "4", "--size", "900x700",
        "--theme", "dark", "--screenshot", "w.png", "--exit",
    )  # fmt: skip
    from PySide6.QtGui import QImage

    picture = QImage(str(tmp_path / "w.png"))
    assert (picture.width(), picture.height()) == (900, 700)
    assert picture.pixelColor(5, 40).lightness() < 80
    assert not (tmp_path / "config").exists()  # scripts leave the user's settings alone


def test_without_a_display_it_runs_the_demo(tmp_path: Path) -> None:
    done = loopscope(tmp_path)
    assert "8 recurrences" in done.stdout
    made = {p.name for p in (tmp_path / "loopscope-demo").iterdir()}
    assert {"window.png", "state_space.pdf", "heads.svg", "graph.png", "settling.csv"} <= made


# The program, which says on standard output that a layer is about to be run.
STEPPING = """
import sys
from loopscope.app.cli.main import main
from loopscope.core.run.stepper import Stepper

step_layer = Stepper.step_layer

def told(self):
    print("stepping", flush=True)
    Stepper.step_layer = step_layer
    return step_layer(self)

Stepper.step_layer = told
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_is_130(tmp_path: Path, folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STEPPING, "trace", str(folder), "--prompt", PROMPT,
         "--recurrences", "90000", "-o", "t.npz"],
        cwd=tmp_path, env=environment(tmp_path), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # What runs in the background of a shell ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "stepping\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not (tmp_path / "t.npz").exists()


def test_interventions_are_replayed_from_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cuts = tmp_path / "cuts.json"
    cuts.write_text(
        '[{"kind": "noise", "recurrence": 2, "last": 2, "layer": -1, "size": 0.5},'
        ' {"kind": "scale", "recurrence": 1, "last": 1, "layer": 0, "factor": 1}]'
    )
    common = ["bundled:looped", "--prompt", "ab ba ? 1 : a b", "--recurrences", "3"]
    plain, cut = tmp_path / "plain.npz", tmp_path / "cut.npz"
    assert main(["trace", *common, "-o", str(plain)]) == 0
    assert main(["trace", *common, "-o", str(cut), "--interventions", str(cuts)]) == 0
    with np.load(plain) as a, np.load(cut) as b:
        np.testing.assert_array_equal(a["layer_states"][:2], b["layer_states"][:2])
        assert not np.allclose(a["layer_states"][2], b["layer_states"][2])
    idle = "loopscope: warning: layer's write × 1 at recurrence 1, layer 0: did nothing"
    assert idle in capsys.readouterr().err  # as `measure` and `figures` say it
    out = tmp_path / "m.json"
    measure = ["measure", *common, "--measures", "state_norm", "-o", str(out)]
    assert main([*measure, "--interventions", str(cuts)]) == 0
    assert idle in capsys.readouterr().err
    assert "noise" in json.loads(out.read_text())["run"]["interventions"]
    cuts.write_text("[{}]")
    assert main(["trace", *common, "-o", str(cut), "--interventions", str(cuts)]) == 2
    assert "entry 1: there is no intervention 'None'" in capsys.readouterr().err


def test_settings_of_a_view_from_the_command_line() -> None:
    from loopscope.app.cli.view_options import changed
    from loopscope.core.views.settling import Options

    options = changed(Options(), ["tolerance=1e-3", "window=5", "per_layer=True", "rules=cosine"])
    assert (options.tolerance, options.window) == (1e-3, 5)
    assert (options.per_layer, options.rules) == (True, "cosine")
    for pair, said in (
        ("tolerance", "NAME=VALUE"),
        ("tolerence=1", "perhaps tolerance"),
        ("tolerance=much", "not a number"),
        ("tolerance=2", "not between 0 and 1"),
        ("per_layer=1", "not true or false"),
        ("rules=mine", "one of loopscope, cosine, distance"),
    ):
        with pytest.raises(LoopscopeError, match=said):
            changed(Options(), [pair])


def test_a_loading_that_fails_ends_a_script(tmp_path: Path) -> None:
    model = random_model()
    with torch.no_grad():
        model.unembed.weight[0, 0] = float("nan")
    save_native(tmp_path / "nan", model)
    done = loopscope(tmp_path, "open", "nan", "--exit", "--screenshot", "x.png", code=2)
    assert done.stderr.startswith("loopscope: error: ")
    assert "NaN" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "x.png").exists()


def test_settings_of_a_view_that_no_picture_is_made_of_are_refused(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("loopscope.app.cli.desktop.has_display", lambda: True)
    assert main(["open", str(folder), "--view", "settling", "--set", "tolerance=1"]) == 2
    assert "--set is for --screenshot or --exit" in capsys.readouterr().err


def test_every_command_has_what_it_does() -> None:
    assert {*commands.RUN, "open"} == set(COMMANDS)
    for name, run in commands.RUN.items():
        assert run.__name__ == f"run_{name.replace('-', '_')}"
