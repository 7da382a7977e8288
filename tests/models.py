"""Tiny random native checkpoints, and a plain NumPy forward pass to compare with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.special import erf, log_softmax

from loopscope.core.experiments.architectures import default_architecture
from loopscope.core.experiments.hops import VOCABULARY
from loopscope.core.experiments.native_folder import save_native
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.looped_model import LoopedModel


def tiny_architecture(**changes: object) -> Architecture:
    arch = default_architecture(d_model=16, trained_recurrences=6)
    return replace(arch, **changes)


def random_model(arch: Architecture | None = None, seed: int = 0) -> LoopedModel:
    torch.manual_seed(seed)
    model = LoopedModel(arch or tiny_architecture())
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 1:  # norm weights that are not all one
                p.copy_(1 + 0.2 * torch.randn_like(p))
            elif "embed" in name:
                p.normal_(std=0.05)
    return model.eval().requires_grad_(False)


def tiny_checkpoint(
    folder: Path, arch: Architecture | None = None, seed: int = 0, tokenizer: bool = True
) -> Path:
    save_native(folder, random_model(arch, seed), with_tokenizer=tokenizer)
    return folder


# ---- a plain forward in float64 NumPy, written from the equations, sharing no code ----
def _rms(x: np.ndarray, w: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


class Hooks:
    """What a test does by hand to the plain forward; every hook leaves things as they are.

    ``r`` counts from 1, ``layer`` from 0; -1 is the state at a recurrence's end, r = 0 the start.
    """

    def pattern(self, r: int, layer: int, head: int, pattern: np.ndarray) -> np.ndarray:
        return pattern

    def mixed(self, r: int, layer: int, head: int, mixed: np.ndarray) -> np.ndarray:
        return mixed

    def attention(self, r: int, layer: int, wrote: np.ndarray) -> np.ndarray:
        return wrote

    def mlp(self, r: int, layer: int, wrote: np.ndarray) -> np.ndarray:
        return wrote

    def weights(self, r: int, layer: int, w: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return w

    def injected(self, r: int, e: np.ndarray) -> np.ndarray:
        return e

    def times(self, r: int, layer: int) -> int:
        return 1

    def state(self, r: int, layer: int, before: np.ndarray, x: np.ndarray) -> np.ndarray:
        return x


NO_HOOKS = Hooks()


def _layer(
    w: dict[str, np.ndarray],
    prefix: str,
    x: np.ndarray,
    arch: Architecture,
    hooks: Hooks = NO_HOOKS,
    r: int = 0,
    layer: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    h, hd, t = arch.layer.n_heads, arch.layer.d_head, len(x)
    eps = arch.norm_eps
    normed = _rms(x, w[f"{prefix}.norms.attn_in.weight"], eps)
    q, k, v = np.split(normed @ w[f"{prefix}.qkv.weight"].T, 3, axis=-1)
    angle = np.arange(t)[:, None] * arch.layer.rope.theta ** (-np.arange(hd // 2) * 2 / hd)
    out = np.zeros_like(x)
    patterns = np.zeros((h, t, t))
    for i in range(h):
        part = slice(i * hd, (i + 1) * hd)
        rotated = []
        for z in (q[:, part], k[:, part]):
            a, b = z[:, : hd // 2], z[:, hd // 2 :]
            c, s = np.cos(angle), np.sin(angle)
            rotated.append(np.concatenate([a * c - b * s, b * c + a * s], -1))
        scores = rotated[0] @ rotated[1].T / np.sqrt(hd)
        scores[np.triu_indices(t, 1)] = -np.inf
        e = np.exp(scores - scores.max(-1, keepdims=True))
        patterns[i] = hooks.pattern(r, layer, i, e / e.sum(-1, keepdims=True))
        out[:, part] = hooks.mixed(r, layer, i, patterns[i] @ v[:, part])
    wrote_attention = hooks.attention(r, layer, out @ w[f"{prefix}.attn_proj.weight"].T)
    x = x + wrote_attention
    hidden = _rms(x, w[f"{prefix}.norms.mlp_in.weight"], eps) @ w[f"{prefix}.mlp_up.weight"].T
    wrote_mlp = hooks.mlp(r, layer, _gelu(hidden) @ w[f"{prefix}.mlp_down.weight"].T)
    writes = np.stack([np.linalg.norm(y, axis=-1) for y in (wrote_attention, wrote_mlp)], -1)
    return x + wrote_mlp, patterns, writes


def plain_forward(
    model: LoopedModel,
    tokens: tuple[int, ...],
    recurrences: int,
    start: np.ndarray | None = None,
    hooks: Hooks = NO_HOOKS,
) -> dict[str, np.ndarray]:
    """States, patterns, writes and logits of every recurrence, in float64."""
    arch = model.arch
    w = {k: v.double().numpy() for k, v in model.state_dict().items()}
    x = w["embed.weight"][list(tokens)] * arch.embedding_scale
    for i in range(arch.n_prelude):
        x, _, _ = _layer(w, f"prelude_layers.{i}", x, arch)
    e = x
    state = e if arch.initial_state == "embedding" else np.zeros_like(e)
    state = state if start is None else start.astype(np.float64)
    state = hooks.state(0, -1, state, state)
    result: dict[str, list[np.ndarray]] = {
        k: [] for k in ("layers", "patterns", "writes", "states", "logits")
    }
    for r in range(1, recurrences + 1):
        given = hooks.injected(r, e)
        x = state + given if arch.injection == "add" else state
        if arch.injection == "concat":
            x = np.concatenate([state, given], -1) @ w["adapter.weight"].T
        if r == 1 and arch.skip_first_injection:
            x = state
        layers, patterns, writes = [], [], []
        for i in range(arch.n_block):
            before = x
            p, wrote = np.full((arch.layer.n_heads, len(x), len(x)), np.nan), np.zeros((len(x), 2))
            for _ in range(hooks.times(r, i)):
                own = hooks.weights(r, i, w)
                x, p, wrote = _layer(own, f"block.{i}", x, arch, hooks, r, i)
            x = hooks.state(r, i, before, x)
            layers.append(x)
            patterns.append(p)
            writes.append(wrote)
        state = _rms(x, w["closing_norm.weight"], arch.norm_eps) if arch.closing_norm else x
        state = hooks.state(r, -1, state, state)
        y = state
        for i in range(arch.n_coda):
            y, _, _ = _layer(w, f"coda_layers.{i}", y, arch)
        head = w["embed.weight"] if arch.tied_head else w["unembed.weight"]
        logits = _rms(y, w["final_norm.weight"], arch.norm_eps) @ head.T
        for key, value in zip(
            result,
            (np.stack(layers), np.stack(patterns), np.stack(writes), state, logits),
            strict=True,
        ):
            result[key].append(value)
    return {k: np.stack(v) for k, v in result.items()} | {"e": e}


def probabilities(logits: np.ndarray) -> np.ndarray:
    return np.exp(log_softmax(logits, axis=-1))


assert len(VOCABULARY) == 39
