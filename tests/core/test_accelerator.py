"""Everything that runs a model, on a device that has no float64, against the same on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerator import KIND, OnDevice, accelerator
from checkpoints import write_checkpoint
from models import tiny_architecture, tiny_checkpoint

from loopscope.core.checkpoint import loading
from loopscope.core.checkpoint.devices import DeviceChoice
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.experiments.studies import walk
from loopscope.core.interventions.base import Intervention, Source
from loopscope.core.interventions.registry import KINDS
from loopscope.core.measures.base import measure
from loopscope.core.measures.registry import MEASURES
from loopscope.core.model.float64 import float64
from loopscope.core.prompts.prompt_set import Item, Labels, PromptSet
from loopscope.core.run import leaving
from loopscope.core.run.float32_twin import Float32Twin
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection

FAMILIES = ["huginn", "retrofit llama", "ouro", "hrm_text", "albert", "llama", "gpt2"]
DTYPES = ["float32", "bfloat16", "float16"]
PROMPT = "#5,17,3,40"


@pytest.fixture
def device() -> Iterator[torch.device]:
    with accelerator() as device:
        yield device


def on(device: torch.device, folder: Path, dtype: str, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """Load as the program does, with this device for the best one."""
    monkeypatch.setattr(loading, "choose_device", lambda wish: DeviceChoice(device, wish, "here"))
    loaded = load(str(folder), "auto", dtype)
    monkeypatch.undo()
    assert {p.device.type for p in loaded.model.parameters()} == {KIND}
    return loaded


class LateCopies:
    """Copies to the host that are there only once they are waited for, as those of a stream are."""

    def __init__(self) -> None:
        self.under_way: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.made, self.waits = 0, 0

    def host(self, shape: torch.Size) -> torch.Tensor:
        self.made += 1
        return torch.full(shape, torch.nan)

    def start(self, targets: Any, sources: Any) -> None:
        self.under_way += zip(targets, sources, strict=True)

    def wait(self) -> None:
        self.waits += 1
        for target, source in self.under_way:
            target.copy_(source.cpu())
        self.under_way = []


@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_on_a_stream_are_waited_for_once_a_layer_and_their_memory_used_again(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    folder = tiny_checkpoint(tmp_path / "m")
    loaded = on(device, folder, dtype, monkeypatch)
    truth = stepped(loaded, "#5,17,3,7")
    copies = LateCopies()
    monkeypatch.setattr(leaving, "copies_for", lambda device: copies)
    late = stepped(loaded, "#5,17,3,7")
    layers = late.recording.layers_done
    assert copies.waits == layers
    assert copies.made == 3  # state, pattern and writes, whatever the number of layers
    for name in ("states", "layer_states", "patterns", "writes", "coda_entropy"):
        np.testing.assert_array_equal(
            getattr(late.recording, name), getattr(truth.recording, name), err_msg=name
        )


def stepped(loaded: Loaded, prompt: str = PROMPT, n: int = 3, **how: Any) -> Stepper:
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode(prompt), **how)
    for _ in range(n):
        stepper.step()
    return stepper


def test_the_device_is_what_it_stands_for(device: torch.device) -> None:
    x = torch.ones(2, 3).to(device)
    assert x.device.type == KIND
    assert (x + x).cpu().tolist() == [[2.0] * 3] * 2
    for refused in (x.double, x.numpy, lambda: x + torch.ones(2, 3), lambda: x.to(torch.float64)):
        with pytest.raises((TypeError, RuntimeError)):
            refused()
    with pytest.raises((TypeError, RuntimeError)):
        torch.ones(2, dtype=torch.float64).to(device)
    assert float64(x).device.type == "cpu"
    assert float64(x).dtype == torch.float64


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_family_loads_steps_and_branches(
    name: str, dtype: str, device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkpoint(tmp_path / "m", name)
    here = stepped(on(device, folder, dtype, monkeypatch))
    there = stepped(load(str(folder), "cpu", dtype))
    for a, b in ((here, there), (here.branch((KINDS["skip"](recurrence=2, last=2),)), None)):
        one, other = (
            a.recording,
            (b or there.branch((KINDS["skip"](recurrence=2, last=2),))).recording,
        )
        assert np.array_equal(one.states, other.states)
        assert np.array_equal(one.coda_kl, other.coda_kl, equal_nan=True)
    assert np.array_equal(here.readout(), there.readout())
    for m in MEASURES.values():
        assert np.array_equal(
            measure(here.recording, m).values, measure(there.recording, m).values, equal_nan=True
        )


KIND_FIELDS: dict[str, dict[str, Any]] = {
    "replace": {"source": Source(token_ids=(1, 2, 3, 4), recurrence=1, layer=0)},
    "ablate head": {"head": 1},
    "freeze head": {"head": 1, "held": 1},
    "repeat": {"times": 2},
    "borrow": {"of": 0},
}


def cut_of(kind: str) -> Intervention:
    place = {"recurrence": 2, "last": 2} | ({} if kind == "drop injection" else {"layer": 1})
    return KINDS[kind](**place, **KIND_FIELDS.get(kind, {}))


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_intervention(
    kind: str, dtype: str, device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkpoint(tmp_path / "m", "huginn")
    cuts = (cut_of(kind),)
    here = stepped(on(device, folder, dtype, monkeypatch), interventions=cuts).recording
    there = stepped(load(str(folder), "cpu", dtype), interventions=cuts).recording
    assert np.array_equal(here.states, there.states)
    assert here.effects == there.effects


# What each measurement is asked; all others take their defaults.
ASKED: dict[str, dict[str, Any]] = {
    "stability": {"starts": 2, "n_values": 1, "tolerance": 1.0},
    "probe": {"prompts": 3, "draws": 1, "recurrences": 4},
    "correspondence": {"permutations": 9},
    "paths": {"prompt": "ba ab ? 1 : b a"},
}


def measured(key: str, loaded: Loaded) -> Any:
    stepper = stepped(loaded, "ab" if key == "stability" else "ab ba ? 1 : a b", 2)
    loaded.shared.prompts = PromptSet(
        "p", "p", (Item("ab ba ? 1 : a b", "b a", 1), Item("xy yx ? 1 : x", "y", 2))
    )
    if key in ALIKE:
        pairs = ("ab", "cd", "ef", "gh", "ij", "kl")
        loaded.shared.prompts = PromptSet(
            "p", "p", tuple(Item(f"{a}{b} {b}{a} ? 1 : {a} {b}", f"{b} {a}", i, (Labels("even", (str(i % 2),) * 9),))
                            for i, (a, b) in enumerate(pairs, start=1)),
        )  # fmt: skip
    options = import_module(f"loopscope.core.views.{key}")
    options = (
        getattr(options, "Options", None) or import_module(f"{options.__name__}.compute").Options
    )
    job: Job[Any] = Job("test")
    job.second_run = stepper
    analysis = import_module(f"loopscope.core.analyses.{key}")
    return analysis.run(stepper, Selection(), options(**ASKED.get(key, {})), job)


def numbers(found: Any) -> list[np.ndarray]:
    """Every array and number of a finding, in order."""
    if isinstance(found, np.ndarray):
        return [found] if found.dtype.kind in "fciub" else []
    if isinstance(found, int | float):
        return [np.array(found)]
    if isinstance(found, dict):
        return [n for value in found.values() for n in numbers(value)]
    if isinstance(found, tuple | list):
        return [n for value in found for n in numbers(value)]
    fields = getattr(found, "__dataclass_fields__", {})
    return [n for field in fields for n in numbers(getattr(found, field))]


MEASUREMENTS = (
    "lens", "paths", "quality", "prompts", "exits", "correspondence", "stability", "probe",
    "interchange", "linear_probes", "nulls", "stitching",
)  # fmt: skip
# Those that want prompts of one length, and labels.
ALIKE = {"interchange", "linear_probes", "nulls", "stitching"}
# Of these a number, or an answer that is counted, goes by the rounding of sums made elsewhere.
BY_ROUNDING = {"interchange", "nulls", "stitching"}
# What several of them share.
SHARED = {"prompts_asked"}
SLOW = {"stability", "probe"}


def test_no_measurement_is_left_out() -> None:
    folder = Path(str(import_module("loopscope.core.analyses").__file__)).parent
    assert {f.stem for f in folder.glob("[a-z]*.py")} - SHARED == set(MEASUREMENTS)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "key", [pytest.param(k, marks=pytest.mark.slow if k in SLOW else ()) for k in MEASUREMENTS]
)
def test_every_measurement(
    key: str, dtype: str, device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_checkpoint(tmp_path / "m", tiny_architecture())
    here = on(device, folder, dtype, monkeypatch)
    there = load(str(folder), "cpu", dtype)
    of_device, of_cpu = measured(key, here), measured(key, there)
    if key == "stability":  # a search that ends a step earlier by rounding is as good
        assert of_device.radius == pytest.approx(of_cpu.radius, rel=1e-3)
        assert of_device.lyapunov == pytest.approx(of_cpu.lyapunov, rel=1e-3)
        assert of_device.points.is_fixed.tolist() == of_cpu.points.is_fixed.tolist()
        return
    found, expected = numbers(of_device), numbers(of_cpu)
    assert len(found) == len(expected) > 0
    if key in BY_ROUNDING and dtype != "float32":
        return  # that it is made at all, without float64 on the device
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4 if key in BY_ROUNDING else 1e-6, equal_nan=True)


def test_the_error_against_float32(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkpoint(tmp_path / "m", "huginn")
    stepper = stepped(on(device, folder, "bfloat16", monkeypatch))
    error = Float32Twin(stepper.loaded).error(stepper.recording)
    assert error.shape == (3, 4)
    assert (error > 0).all()


def test_the_studies(device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_checkpoint(tmp_path / "m", tiny_architecture())
    found = []
    for loaded in (on(device, folder, "float32", monkeypatch), load(str(folder), "cpu")):
        x = torch.randn(4, 5, 16, generator=torch.Generator().manual_seed(0))
        x, y = (z.to(loaded.device.device) for z in (x, x * 2 + 1))
        assert isinstance(x, OnDevice) == (loaded.device.device.type == KIND)
        found.append(walk._relative_steps([x, y]))
    np.testing.assert_allclose(*found, rtol=1e-6)
