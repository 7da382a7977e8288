"""Two interventions at one layer, every kind before every kind, against both edits made by hand.

By hand is a forward in float64 NumPy that shares no code with ours (`models.plain_forward`). In one
layer what acts on the injection comes first, then what changes how the layer is run, then what acts
on the state; within each of these, the order is that of the list.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from models import Hooks, plain_forward, tiny_architecture, tiny_checkpoint

from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.interventions.base import Intervention, Source
from loopscope.core.interventions.registry import KINDS
from loopscope.core.run.stepper import Stepper

PROMPT = "ab bc ca ? 2 : a b c"
OTHER = "xy yz zx ? 1 : z x y"
LAYER, FIRST, LAST, N = 1, 2, 3, 4
AT = {"recurrence": FIRST, "last": LAST, "layer": LAYER}

# Parameters of each kind, the first time and the second time it is there.
TWICE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "noise": ({"size": 0.3, "seed": 7}, {"size": 0.5, "seed": 1, "tokens": (0, 3)}),
    "zero": ({"tokens": (2, 5)}, {"tokens": (2, 6)}),
    "mean": ({"tokens": (1, 4)}, {"tokens": (4, 7)}),
    "replace": ({"tokens": (1, 2)}, {"tokens": (2, 8)}),
    "ablate head": ({"head": 3}, {"head": 0}),
    "freeze head": ({"head": 3, "held": 1}, {"head": 1, "held": 1}),
    "drop injection": ({}, {}),
    "skip": ({}, {}),
    "repeat": ({"times": 2}, {"times": 3}),
    "scale": ({"factor": 0.5}, {"factor": -1.5}),
    "scale attention": ({"factor": -2.0}, {"factor": 0.75}),
    "scale mlp": ({"factor": 3.0}, {"factor": -0.5}),
    "borrow": ({"of": 2}, {"of": 0}),
    "perturb": ({"size": 0.2, "seed": 9}, {"size": 0.3, "seed": 4, "anew": True}),
}
Edit = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("m")
    return load(str(tiny_checkpoint(folder / "m", tiny_architecture(n_block=3))), "cpu")


def made(name: str, fields: dict[str, Any], loaded: Loaded) -> Intervention:
    kind, _, part = name.partition(" ") if name.startswith("scale") else (name, "", "")
    if kind == "drop injection":
        return KINDS[kind](recurrence=FIRST, last=LAST)
    more: dict[str, Any] = {"part": part or "layer"} if kind == "scale" else {}
    if kind == "replace":
        ids = loaded.tokenizer.encode(OTHER).token_ids
        more = {"source": Source(token_ids=ids, recurrence=2, layer=0)}
    return KINDS[kind](**AT, **fields, **more)


class ByHand(Hooks):
    """A list of edits, each written out as its formula says."""

    def __init__(self, edits: list[Edit], loaded: Loaded) -> None:
        self.edits, self.model, self.held = edits, loaded.model, {}
        ids = loaded.tokenizer.encode(OTHER).token_ids
        self.other = plain_forward(loaded.model, ids, 2)["layers"][1, 0]

    def here(self, name: str, r: int, layer: int) -> list[dict[str, Any]]:
        acts = FIRST <= r <= LAST and layer == LAYER
        return [fields for own, fields in self.edits if own == name and acts]

    def injected(self, r, e):
        return e * 0 if self.here("drop injection", r, LAYER) else e

    def weights(self, r, layer, w):
        clean, w = w, dict(w)
        own = [k for k in w if k.startswith(f"block.{layer}.")]
        for name, fields in self.edits if self.here_any(r, layer) else []:
            if name == "borrow":
                w |= {k: clean[k.replace(f".{layer}.", f".{fields['of']}.")] for k in own}
            elif name == "perturb":
                draw = r if fields.get("anew") else 0
                place = (fields["seed"] * 1_000_003 + draw) * 1_000_003 + layer
                generator = torch.Generator().manual_seed(place)
                for k in (f"block.{layer}.{n}" for n, _ in self.model.block[0].named_parameters()):
                    if w[k].ndim == 2:
                        g = torch.randn(w[k].shape, generator=generator).double().numpy()
                        size = fields["size"] * np.linalg.norm(w[k]) / np.linalg.norm(g)
                        w[k] = w[k] + size * g
        return w

    def here_any(self, r: int, layer: int) -> bool:
        return FIRST <= r <= LAST and layer == LAYER

    def times(self, r, layer):
        skips = [0 for _ in self.here("skip", r, layer)]
        return math.prod(skips + [f["times"] for f in self.here("repeat", r, layer)])

    def pattern(self, r, layer, head, pattern):
        if r == 1:
            self.held[layer, head] = pattern
        frozen = any(f["head"] == head for f in self.here("freeze head", r, layer))
        return self.held[layer, head] if frozen else pattern

    def mixed(self, r, layer, head, mixed):
        ablated = any(f["head"] == head for f in self.here("ablate head", r, layer))
        return mixed * 0 if ablated else mixed

    def attention(self, r, layer, wrote):
        return wrote * math.prod(f["factor"] for f in self.here("scale attention", r, layer))

    def mlp(self, r, layer, wrote):
        return wrote * math.prod(f["factor"] for f in self.here("scale mlp", r, layer))

    def factor(self, r: int, layer: int) -> float:
        return math.prod(f["factor"] for f in self.here("scale", r, layer))

    def state(self, r, layer, before, x):
        x = before + self.factor(r, layer) * (x - before)
        for name, fields in self.edits if self.here_any(r, layer) else []:
            changed = self.changed(name, fields, r, x)
            tokens = list(fields.get("tokens", range(len(x))))
            x = x.copy()
            x[tokens] = changed[tokens]
        return x

    def changed(self, name: str, fields: dict[str, Any], r: int, x: np.ndarray) -> np.ndarray:
        if name == "zero":
            return np.zeros_like(x)
        if name == "mean":
            return np.tile(x.mean(0), (len(x), 1))
        if name == "replace":
            return self.other
        if name == "noise":
            rng = np.random.default_rng((fields["seed"] * 1_000_003 + r) * 1_000_003 + LAYER + 1)
            g = rng.standard_normal((1, *x.shape), dtype=np.float32)[0].astype(np.float64)
            unit = g / np.linalg.norm(g, axis=-1, keepdims=True)
            return x + fields["size"] * np.linalg.norm(x, axis=-1, keepdims=True) * unit
        return x


def test_every_kind_is_paired() -> None:
    assert {"scale" if name.startswith("scale") else name for name in TWICE} == set(KINDS)


@pytest.mark.parametrize(("first", "second"), list(product(TWICE, TWICE)))
def test_two_interventions_at_one_layer_are_both_edits_by_hand(
    loaded: Loaded, first: str, second: str
) -> None:
    edits = [(first, TWICE[first][0]), (second, TWICE[second][1])]
    stepper = Stepper(loaded)
    recording = stepper.begin(
        loaded.tokenizer.encode(PROMPT),
        interventions=tuple(made(*edit, loaded) for edit in edits),
    )
    for _ in range(N):
        stepper.step()
    hand = ByHand(edits, loaded)
    truth = plain_forward(loaded.model, recording.info.token_ids, N, hooks=hand)
    close = {"rtol": 1e-4, "atol": 5e-5}
    np.testing.assert_allclose(recording.layer_states, truth["layers"], **close)
    np.testing.assert_allclose(recording.states[1:], truth["states"], **close)
    np.testing.assert_allclose(recording.patterns, truth["patterns"], **close)
    factors = [[[[abs(hand.factor(r, i))]] for i in range(3)] for r in range(1, N + 1)]
    np.testing.assert_allclose(recording.writes, truth["writes"] * np.array(factors), **close)
    assert set(recording.effects) == set(product((0, 1), range(FIRST, LAST + 1)))
