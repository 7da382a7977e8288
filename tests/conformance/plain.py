"""What families that are written out plainly in float64 have in common.

Nothing of core is used: tensors are named and computed with here.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from conformance.published import Truth

F64 = np.ndarray
VOCABULARY = 64


def rms(x: F64, weight: F64, eps: float) -> F64:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def silu(x: F64) -> F64:
    return x / (1 + np.exp(-x))


def gelu(x: F64) -> F64:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def turned(x: F64, theta: float | F64, *, neighbours: bool) -> F64:
    """Rotate ``[T, H, hd]`` by position; ``theta`` is the base, or the frequencies themselves."""
    t, _, hd = x.shape
    usual = not isinstance(theta, np.ndarray)
    angle = np.arange(t)[:, None, None] * (
        theta ** (-2 * np.arange(hd // 2) / hd) if usual else theta
    )
    a, b = (x[..., 0::2], x[..., 1::2]) if neighbours else (x[..., : hd // 2], x[..., hd // 2 :])
    one, other = a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)
    if neighbours:
        return np.stack([one, other], -1).reshape(x.shape)
    return np.concatenate([one, other], -1)


def llama3(theta: float, hd: int, factor: float, low: float, high: float, original: int) -> F64:
    """Frequencies of Llama 3's scaling: slow ones divided by the factor, those between in part."""
    f = theta ** (-2 * np.arange(hd // 2) / hd)
    rounds = original * f / (2 * math.pi)
    kept = np.clip((rounds - low) / (high - low), 0, 1)
    return f * kept + f / factor * (1 - kept)


def attend(q: F64, k: F64, v: F64, window: int = 0) -> tuple[F64, F64]:
    """Mixed values ``[T, H hd]`` and the causal pattern ``[H, T, T]`` of ``[T, H or K, hd]``.

    A query sees ``window`` keys at most, its own among them; 0 is all.
    """
    t, h, hd = q.shape
    k, v = (np.repeat(z, h // z.shape[1], axis=1) for z in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(hd)
    seen = np.tri(t, dtype=bool) & ~np.tri(t, k=-window if window else -t, dtype=bool)
    scores = np.where(seen, scores, -np.inf)
    pattern = np.exp(scores - scores.max(-1, keepdims=True))
    pattern /= pattern.sum(-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", pattern, v).reshape(t, -1), pattern


class Model:
    """One random model: its config, its tensors, one prompt, and what it computes."""

    start: F64 | None = None

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.noise = np.random.default_rng(seed)
        rng = self.rng
        self.heads, self.kv = rng.choice(((1, 1), (2, 1), (2, 2), (4, 2), (4, 4)))
        self.hd = rng.choice((4, 6, 8))
        self.d, self.d_mlp = self.heads * self.hd, rng.randint(3, 40)
        self.eps = rng.choice((1e-6, 1e-3, 0.1))
        self.theta = rng.choice((100.0, 5e4, 1e6))
        self.tied = rng.random() < 0.5
        self.ids = tuple(rng.randrange(VOCABULARY) for _ in range(rng.randint(1, 24)))
        self.tensors: dict[str, F64] = {}
        self.patterns: list[F64] = []

    def add(self, name: str, *shape: int) -> None:
        """Make a tensor: a norm near 1, a matrix small enough for states to stay finite."""
        value = self.noise.normal(size=shape)
        value = 1 + 0.3 * value if len(shape) == 1 else value * 1.3 / math.sqrt(shape[-1])
        self.tensors[name] = value.astype(np.float32).astype(np.float64)

    def save(self, folder: Path, config: dict[str, Any]) -> None:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
        save_file(
            {name: torch.from_numpy(t).float() for name, t in self.tensors.items()},
            folder / "model.safetensors",
        )

    def logits(self) -> F64:
        raise NotImplementedError

    def truth(self) -> Truth:
        """What it computes; `start` is where it started from."""
        logits = self.logits()
        return Truth(logits, np.stack(self.patterns))

    def linear(self, name: str, x: F64) -> F64:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors.get(f"{name}.bias", 0.0)

    def some(self, values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
        """Config keys, those that say what the class takes anyway left out at random."""
        return {
            key: value
            for key, value in values.items()
            if defaults.get(key, ...) != value or self.rng.random() < 0.5
        }

    def add_llama(self, at: str, norms: tuple[str, ...], bias: str = "", mlp_bias: bool = False
                  ) -> None:  # fmt: skip
        """Add a layer of Llama's names; ``bias`` holds which of q, k, v and o have one."""
        d = self.d
        widths = {"q": self.heads * self.hd, "k": self.kv * self.hd, "v": self.kv * self.hd}
        for name, width in widths.items():
            self.add(f"{at}.self_attn.{name}_proj.weight", width, d)
            if name in bias:
                self.add(f"{at}.self_attn.{name}_proj.bias", width)
        self.add(f"{at}.self_attn.o_proj.weight", d, self.heads * self.hd)
        if "o" in bias:
            self.add(f"{at}.self_attn.o_proj.bias", d)
        for name, shape in (("gate", (self.d_mlp, d)), ("up", (self.d_mlp, d)),
                            ("down", (d, self.d_mlp))):  # fmt: skip
            self.add(f"{at}.mlp.{name}_proj.weight", *shape)
            if mlp_bias:
                self.add(f"{at}.mlp.{name}_proj.bias", shape[0])
        for name in norms:
            self.add(f"{at}.{name}.weight", d)

    def norm(self, name: str, x: F64) -> F64:
        return rms(x, self.tensors[f"{name}.weight"], self.eps)

    def split(self, x: F64, heads: int) -> F64:
        return x.reshape(len(x), heads, self.hd)
