"""States that overflow are said where they begin to, on the command line too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models import tiny_architecture, tiny_checkpoint
from recordings import recording_of, recording_of_layers, synthetic_recording

from loopscope.app.cli.main import main
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.run_warnings import WarningsOverRuns, first_not_finite, run_warnings
from loopscope.core.run.states import LayerState

# The embedding times this is beyond 65504, the largest float16; a norm brings float32 back to size.
SCALE = 1e7
BARE = Capture(False, False, False)


def in_dtype(recording, dtype):
    recording.info = replace(recording.info, dtype=dtype)
    return recording


@pytest.mark.parametrize(
    ("bad", "place"), [((0, 0), (1, 0)), ((2, 1), (3, 1)), ((2, 2), (3, 2)), (None, None)]
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_first_state_that_is_not_finite_is_found(bad, place, value) -> None:
    layers = np.random.default_rng(0).normal(size=(4, 3, 5, 8))
    if bad is not None:
        layers[(*bad, 4, 7)] = value
        layers[bad[0], bad[1] + 1 :] = np.nan
        layers[bad[0] + 1 :] = np.nan
    assert first_not_finite(recording_of_layers(layers)) == place


def test_closing_a_recurrence_may_overflow() -> None:
    recording = synthetic_recording(recurrences=0, n_block=2, tokens=3, d=4, capture=BARE)
    finite = np.ones((3, 4), np.float32)
    beyond = np.where(np.arange(4) == 2, np.inf, finite).astype(np.float32)
    for r in (1, 2):
        for layer in range(2):
            recording.append_layer(LayerState(r, layer, finite))
        recording.append_end(finite if r == 1 else beyond, None, None)
    assert first_not_finite(recording) == (2, 1)


def test_a_start_that_is_not_finite_is_recurrence_0() -> None:
    states = np.ones((3, 2, 4))
    assert run_warnings(recording_of(states)) == []
    states[0, 1, 2] = np.inf
    recording = in_dtype(recording_of(states), "float32")
    assert first_not_finite(recording) == (0, None)
    assert run_warnings(recording) == [
        "states are not finite from recurrence 0 on: the run diverges"
    ]


def test_over_runs_it_says_in_how_many() -> None:
    warnings = WarningsOverRuns()
    for bad in (False, True, True):
        layers = np.ones((2, 2, 3, 4))
        if bad:
            layers[1, 0] = np.nan
        warnings.see(in_dtype(recording_of_layers(layers), "float16"))
    assert warnings.lines() == [
        "in 2 of 3 prompts, states are not finite from recurrence 2, layer 0 on: float16 holds no "
        "more than 65504; run it in float32 or bfloat16 (of the first of them)"
    ]


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return tiny_checkpoint(folder / "m", tiny_architecture(embedding_scale=SCALE))


RUN = ("--prompt", "ab bc ? 1 : a", "--recurrences", "3", "--device", "cpu")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("trace", [*RUN, "-o", "run.npz"]),
        ("measure", [*RUN, "--measures", "relative_step"]),
        ("measure", ["--prompts", "p.txt", *RUN[2:], "--measures", "relative_step"]),
        ("quality", ["--prompts", "p.jsonl", *RUN[2:]]),
        ("evaluate", ["--task", "hops", *RUN[2:], "--examples", "4", "--hops", "1", "--json"]),
    ],
)
def test_the_command_line_says_it_once_and_goes_on(
    overflowing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], command: str, options: list[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text("ab bc ? 1 : a\nbc ab ? 1 : b\n")
    Path("p.jsonl").write_text(json.dumps({"prompt": "ab bc ? 1 : a", "answer": "b"}) + "\n")
    assert main([command, str(overflowing), *options, "--dtype", "float16"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "not finite" in line]
    assert len(said) == 1
    assert said[0].startswith("loopscope: warning: ")
    assert "from recurrence 1" in said[0]
    assert "float16 holds no more than 65504" in said[0] or command == "evaluate"
    assert main([command, str(overflowing), *options, "--dtype", "float32"]) == 0
    out, err = capsys.readouterr()
    assert "not finite" not in err
    if command == "evaluate":
        assert json.loads(out)["cells"][0]["relative_step"] is not None
