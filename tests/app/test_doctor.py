"""The doctor: each thing it looks at, well and ill."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json

import pytest
import torch

from loopscope.app.cli import doctor
from loopscope.app.cli.main import main
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.plugins import PlugIn
from loopscope.core.run.device_check import compare_runs

CPU_ONLY = {"cuda": "none here", "cpu": None}


@pytest.fixture(scope="module")
def bundled() -> Loaded:
    return load("bundled:looped", "cpu")


def test_the_same_device_agrees_to_the_last_bit_and_answers_rightly(bundled: Loaded) -> None:
    comparison = compare_runs(load("bundled:looped", "cpu"), bundled, doctor.PROMPT)
    assert comparison.differences == {"layer_states": 0, "attention": 0, "logits": 0}
    assert comparison.answers[-5:] == doctor.ANSWERS  # the walk, three steps on by hand


def test_a_device_that_computes_something_else_is_bad(
    bundled: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(path: str, device: str, dtype: str) -> Loaded:
        other = load(path, "cpu", dtype)
        with torch.no_grad():
            other.model.unembed.weight[3] += 0.05  # of values around 1
        return other

    monkeypatch.setattr("loopscope.core.checkpoint.loading.load", off)
    check = doctor._device_check("cpu float32", "cpu", "float32", bundled)
    assert check.state == "bad"
    assert "more than float32 explains" in check.finding
    assert "do not trust" in check.advice


def test_a_device_that_overflows_or_fails_is_bad(
    bundled: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflowing(path: str, device: str, dtype: str) -> Loaded:
        other = load(path, "cpu", dtype)
        with torch.no_grad():
            other.model.unembed.weight[0, 0] = float("inf")
        return other

    monkeypatch.setattr("loopscope.core.checkpoint.loading.load", overflowing)
    assert doctor._device_check("cpu float32", "cpu", "float32", bundled).state == "bad"

    def failing(path: str, device: str, dtype: str) -> Loaded:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr("loopscope.core.checkpoint.loading.load", failing)
    check = doctor._device_check("cuda float32", "cuda", "float32", bundled)
    assert (check.state, "no kernel image" in check.finding) == ("bad", True)
    assert "--device cpu" in check.advice


def test_half_precision_on_the_cpu_is_within_what_it_explains() -> None:
    checks = list(doctor.devices(lambda: CPU_ONLY))
    assert [(c.name, c.state) for c in checks] == [
        ("cuda", "note"),
        ("cpu float32", "good"),
        ("cpu bfloat16", "good"),
        ("cpu float16", "good"),
    ]


def test_packages_that_are_missing_or_too_old_say_how_to_mend_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = {"torch": "2.9.0", "numpy": "2.4.6"}

    def version(name: str) -> str:
        if name not in there:
            raise importlib.metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.setattr(
        doctor,
        "requires",
        lambda name: ["torch>=2.10", "numpy>=1.26", "h5py>=3", "gguf; extra == 'gguf'"],
    )
    checks = {check.name: check for check in doctor.packages()}
    assert checks["torch"].state == checks["h5py"].state == "bad"
    assert "needs >=2.10" in checks["torch"].finding
    assert checks["h5py"].advice == "pip install 'h5py>=3'"
    assert checks["packages"].finding == "numpy 2.4.6"
    assert "gguf" not in checks


def test_a_plug_in_that_is_left_out_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.plugins() == doctor.Check("plug-ins", "good", "No other package adds anything")
    bent = PlugIn("loopscope.views", "bent", "nowhere:BENT", "broken", "2.0", "no such module")
    monkeypatch.setattr(
        doctor, "every", lambda: (bent, dataclasses.replace(bent, name="fine", problem=""))
    )
    found = doctor.plugins()
    assert (found.state, found.finding) == (
        "note", "view 'bent' of broken 2.0 is left out: no such module",
    )  # fmt: skip


def test_qt_that_cannot_start_names_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "ImportError: libEGL.so.1: cannot open shared object file"
    monkeypatch.setattr(doctor, "ASK_QT", f"raise SystemExit({message!r})")
    (check,) = doctor.desktop()
    assert check.state == "bad"
    assert "libEGL.so.1" in check.finding
    assert "libegl1" in check.advice


def test_the_command_prints_a_line_each_and_fails_when_something_is_bad(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = doctor.Check("a", "good", "fine")
    monkeypatch.setattr(doctor, "examine", lambda: iter([good]))
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out == "ok    a: fine\n"
    bad = dataclasses.replace(good, name="b", state="bad", advice="mend it")
    monkeypatch.setattr(doctor, "examine", lambda: iter([good, bad]))
    assert main(["doctor"]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines()[1:] == ["BAD   b: fine", "      -> mend it"]
    assert said.err == "loopscope: error: something needs mending: b\n"
    assert main(["doctor", "--json"]) == 2
    assert [c["name"] for c in json.loads(capsys.readouterr().out)] == ["a", "b"]


@pytest.mark.slow
def test_everything_is_looked_at_here() -> None:
    checks = {check.name: check for check in doctor.examine()}
    assert {"Python", "packages", "settings", "Qt", "fonts", "cpu float32"} <= set(checks)
    assert all(check.state != "bad" for check in checks.values()), checks
