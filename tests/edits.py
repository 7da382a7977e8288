"""Interventions and the same edits made by hand in a plain float64 forward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from models import Hooks, plain_forward, tiny_architecture, tiny_checkpoint

from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.interventions.base import END, FOREVER, Intervention, Source
from loopscope.core.interventions.layers import (
    AblateHead,
    BorrowLayer,
    DropInjection,
    FreezeHead,
    PerturbWeights,
    RepeatLayer,
    ScaleWrite,
    SkipLayer,
)
from loopscope.core.interventions.states import Mean, Noise, Replace, Zero
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper

PROMPT = "ab bc ca ? 2 : a b c"
OTHER = "xy yz zx ? 1 : z x y"
N = 5


def three_layers(folder: Path) -> Loaded:
    """A small model whose block has three layers."""
    return load(str(tiny_checkpoint(folder / "m", tiny_architecture(n_block=3))), "cpu")


def run(
    loaded: Loaded, *cuts: Intervention, n: int = N, prompt: str = PROMPT, **begin: Any
) -> Recording:
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode(prompt), interventions=cuts, **begin)
    for _ in range(n):
        stepper.step()
    return recording


def own_weights(loaded: Loaded) -> dict[str, np.ndarray]:
    return {k: v.double().numpy() for k, v in loaded.model.state_dict().items()}


class ByHand(Hooks):
    """One edit, each written out as the formula says."""

    def __init__(self, name: str, loaded: Loaded) -> None:
        self.name, self.loaded, self.first = name, loaded, {}

    def state(self, r, layer, before, x):
        at = {"noise": (3, 1), "zero": (3, END), "mean": (2, 0), "replace": (3, 2)}.get(self.name)
        if self.name == "scale" and (r, layer) == (2, 1):
            return before + 0.5 * (x - before)
        if self.name == "start" and (r, layer) == (0, END):
            return np.zeros_like(x) + truth_noise(x, 3, 0, END)
        if (r, layer) != at:
            return x
        x = x.copy()
        if self.name == "noise":
            x += 0.3 * np.linalg.norm(x, axis=-1, keepdims=True) * truth_noise(x, 7, 3, 1)
        elif self.name == "zero":
            x[[2, 5]] = 0
        elif self.name == "mean":
            x[[1, 4]] = x.mean(0)
        else:
            ids = self.loaded.tokenizer.encode(OTHER).token_ids
            x[:] = plain_forward(self.loaded.model, ids, 2)["layers"][1, 0]
        return x

    def mixed(self, r, layer, head, mixed):
        return mixed * 0 if self.name == "ablate" and (r, layer, head) == (2, 1, 3) else mixed

    def pattern(self, r, layer, head, pattern):
        if self.name == "freeze" and (layer, head) == (0, 2):
            if r == 1:
                self.first["held"] = pattern
            return self.first["held"] if r >= 3 else pattern
        return pattern

    def attention(self, r, layer, wrote):
        return -2 * wrote if self.name == "attention" and layer == 2 and r in (2, 3) else wrote

    def mlp(self, r, layer, wrote):
        return 0 * wrote if self.name == "mlp" and layer == 1 and r >= 2 else wrote

    def injected(self, r, e):
        return e * 0 if self.name == "drop" and r >= 3 else e

    def times(self, r, layer):
        return {"skip": 0, "repeat": 3}.get(self.name, 1) if (r, layer) == (2, 1) else 1

    def weights(self, r, layer, w):
        if self.name == "borrow" and (r, layer) == (3, 0):
            return {k: w[k.replace("block.0", "block.2")] for k in w}
        if self.name == "perturb" and layer == 1:
            w = dict(w)
            generator = torch.Generator().manual_seed((9 * 1_000_003) * 1_000_003 + 1)
            model = self.loaded.model
            for name, p in model.block[1].named_parameters():
                if p.ndim > 1:
                    g = torch.randn(p.shape, generator=generator).double().numpy()
                    key = f"block.1.{name}"
                    w[key] = w[key] + 0.2 * np.linalg.norm(w[key]) * g / np.linalg.norm(g)
        return w


def truth_noise(x: np.ndarray, seed: int, r: int, layer: int) -> np.ndarray:
    rng = np.random.default_rng((seed * 1_000_003 + r) * 1_000_003 + layer + 1)
    g = rng.standard_normal(x.shape, dtype=np.float32).astype(np.float64)
    return g / np.linalg.norm(g, axis=-1, keepdims=True)


def cases(loaded: Loaded) -> dict[str, Intervention]:
    ids = loaded.tokenizer.encode(OTHER).token_ids
    source = Source(token_ids=ids, prompt=OTHER, recurrence=2, layer=0)
    return {
        "noise": Noise(recurrence=3, last=3, layer=1, size=0.3, seed=7),
        "zero": Zero(recurrence=3, last=3, layer=END, tokens=(2, 5)),
        "mean": Mean(recurrence=2, last=2, layer=0, tokens=(1, 4)),
        "replace": Replace(recurrence=3, last=3, layer=2, source=source),
        "ablate": AblateHead(recurrence=2, last=2, layer=1, head=3),
        "freeze": FreezeHead(recurrence=3, last=FOREVER, layer=0, head=2, held=1),
        "attention": ScaleWrite(recurrence=2, last=3, layer=2, factor=-2, part="attention"),
        "mlp": ScaleWrite(recurrence=2, last=FOREVER, layer=1, factor=0, part="mlp"),
        "scale": ScaleWrite(recurrence=2, last=2, layer=1, factor=0.5),
        "drop": DropInjection(recurrence=3, last=FOREVER),
        "skip": SkipLayer(recurrence=2, last=2, layer=1),
        "repeat": RepeatLayer(recurrence=2, last=2, layer=1, times=3),
        "borrow": BorrowLayer(recurrence=3, last=3, layer=0, of=2),
        "perturb": PerturbWeights(recurrence=1, last=FOREVER, layer=1, size=0.2, seed=9),
    }


NAMES = [
    "noise", "zero", "mean", "replace", "ablate", "freeze", "attention", "mlp", "scale", "drop",
    "skip", "repeat", "borrow", "perturb",
]  # fmt: skip
