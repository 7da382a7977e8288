"""Families that `transformers` does not have, written out plainly in float64 from their papers.

Nothing of core is used: tensors are named and computed with here. Each class holds one family.
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


class Ouro(Model):
    """Four norms a layer; the whole stack again and again; the normed state is fed back."""

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        rng, n = self.rng, self.rng.randint(1, 3)
        self.d += rng.choice((0, 0, 2, 5))
        d = self.d
        self.layers, self.steps = n, rng.randint(1, 4)
        self.windows = [0] * n
        self.add("model.embed_tokens.weight", VOCABULARY, d)
        self.add("model.norm.weight", d)
        self.add("model.early_exit_gate.weight", 1, d)
        self.add("model.early_exit_gate.bias", 1)
        if not self.tied:
            self.add("lm_head.weight", VOCABULARY, d)
        for i in range(n):
            self.add_llama(f"model.layers.{i}", (
                "input_layernorm", "input_layernorm_2", "post_attention_layernorm",
                "post_attention_layernorm_2",
            ))  # fmt: skip
        rope = {"rope_theta": self.theta}
        self.save(folder, {
            "model_type": "ouro", "vocab_size": VOCABULARY, "hidden_size": d, "hidden_act": "silu",
            "num_attention_heads": self.heads, "num_key_value_heads": self.kv, "head_dim": self.hd,
            "intermediate_size": self.d_mlp, "num_hidden_layers": n, "total_ut_steps": self.steps,
            "rms_norm_eps": self.eps, "max_position_embeddings": 32,
            "tie_word_embeddings": self.tied, "architectures": ["OuroForCausalLM"],
            "auto_map": {"AutoModelForCausalLM": "modeling_ouro.OuroForCausalLM"},
            **(rope if rng.random() < 0.5 else {"rope_parameters": rope | {"rope_type": "default"}}),
            **self.windowed(),
        })  # fmt: skip

    def windowed(self) -> dict[str, Any]:
        """Draw windows by layer, as Qwen2's config says them."""
        rng, n = self.rng, self.layers
        window, first = rng.choice((1, 3, 7)), rng.randint(0, n)
        keys: dict[str, Any] = {"sliding_window": window, "max_window_layers": first}
        if rng.random() < 0.5:
            return keys | {"use_sliding_window": False}
        self.windows = [0] * first + [window] * (n - first)
        if rng.random() < 0.5:
            kinds = [rng.choice(("full_attention", "sliding_attention")) for _ in range(n)]
            self.windows = [window if kind[0] == "s" else 0 for kind in kinds]
            keys["layer_types"] = kinds
        return keys | {"use_sliding_window": True}

    def logits(self) -> F64:
        h = self.tensors["model.embed_tokens.weight"][list(self.ids)]
        for _ in range(self.steps):
            for i in range(self.layers):
                h = self.layer(f"model.layers.{i}", h, self.windows[i])
            h = self.norm("model.norm", h)
        head = "model.embed_tokens" if self.tied else "lm_head"
        return self.linear(head, h)

    def layer(self, at: str, h: F64, window: int) -> F64:
        x = self.norm(f"{at}.input_layernorm", h)
        q, k, v = (
            self.split(self.linear(f"{at}.self_attn.{name}_proj", x), heads)
            for name, heads in (("q", self.heads), ("k", self.kv), ("v", self.kv))
        )
        q, k = (turned(z, self.theta, neighbours=False) for z in (q, k))
        mixed, pattern = attend(q, k, v, window)
        self.patterns.append(pattern)
        wrote = self.linear(f"{at}.self_attn.o_proj", mixed)
        h = h + self.norm(f"{at}.input_layernorm_2", wrote)
        x = self.norm(f"{at}.post_attention_layernorm", h)
        gate, up = (self.linear(f"{at}.mlp.{name}_proj", x) for name in ("gate", "up"))
        wrote = self.linear(f"{at}.mlp.down_proj", silu(gate) * up)
        return h + self.norm(f"{at}.post_attention_layernorm_2", wrote)


class Raven(Model):
    """Huginn and the retrofits: prelude, adapter of cat[s, e], block, coda."""

    form = "huginn"

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        rng, d, huginn = self.rng, self.d, self.form == "huginn"
        if huginn:
            self.kv = self.heads
        self.sizes = (rng.randint(0, 2), rng.randint(1, 3), rng.randint(0, 2))
        self.steps, self.qk_bias = rng.randint(1, 4), huginn and rng.random() < 0.7
        self.mode = "random" if huginn else rng.choice(("random", "embed-init", "skip-adapter"))
        said = rng.choice((1.0, 2.5))
        self.base: float | F64 = self.theta
        scaled = {}
        if not huginn and rng.random() < 0.4:  # as those that were cut from Llama 3.2
            scaled = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                      "original_max_position_embeddings": 12}  # fmt: skip
            self.base = llama3(self.theta, self.hd, 8.0, 1.0, 4.0, 12)
            scaled = {"rope_scaling": scaled | {"rope_type": "llama3"}}
        self.scale = math.sqrt(d) if huginn else said
        self.add("transformer.wte.weight", VOCABULARY, d)
        self.add("transformer.adapter.weight", d, 2 * d)
        self.add("transformer.ln_f.weight", d)
        if not self.tied:
            self.add("lm_head.weight", VOCABULARY, d)
        for stack, n in zip(("prelude", "core_block", "coda"), self.sizes, strict=True):
            for i in range(n):
                self.add_layer(f"transformer.{stack}.{i}")
        start = self.noise.normal(size=(len(self.ids), d)) * 0.3
        self.start = start.astype(np.float32).astype(np.float64)
        self.save(folder, {
            "model_type": "huginn_raven", "vocab_size": VOCABULARY, "n_embd": d,
            "padded_vocab_size": VOCABULARY, "n_heads": self.heads, "block_size": 32,
            "num_key_value_heads": self.kv, "intermediate_size": self.d_mlp,
            "n_layers_in_prelude": self.sizes[0], "n_layers_in_recurrent_block": self.sizes[1],
            "n_layers_in_coda": self.sizes[2], "mean_recurrence": self.steps,
            "norm_eps": self.eps, "rope_base": self.theta, "qk_bias": self.qk_bias,
            "tie_word_embeddings": self.tied, "initial_state_mode": self.mode,
            "init_values": {"embed_scale": said}, "architectures": ["RavenForCausalLM"], **scaled,
        })  # fmt: skip

    def add_layer(self, at: str) -> None:
        d, form = self.d, self.form
        self.add(f"{at}.attn.Wqkv.weight", (self.heads + 2 * self.kv) * self.hd, d)
        self.add(f"{at}.attn.proj.weight", d, d)
        self.add(f"{at}.mlp.fc.weight", 2 * self.d_mlp, d)
        self.add(f"{at}.mlp.proj.weight", d, self.d_mlp)
        for i in range(1, 5 if form == "huginn" else 3):
            self.add(f"{at}.norm_{i}.weight", d)
        if self.qk_bias:
            self.add(f"{at}.attn.qk_bias", 2, 1, self.heads, self.hd)
        if form == "olmo":
            self.add(f"{at}.attn.q_norm.weight", self.heads * self.hd)
            self.add(f"{at}.attn.k_norm.weight", self.kv * self.hd)

    def logits(self) -> F64:
        e = self.tensors["transformer.wte.weight"][list(self.ids)] * self.scale
        for i in range(self.sizes[0]):
            e = self.layer(f"transformer.prelude.{i}", e)
        self.patterns = []
        if self.mode == "random":
            s = self.start
        else:
            self.start, s = None, e
        for r in range(self.steps):
            skipped = r == 0 and self.mode == "skip-adapter"
            s = s if skipped else self.linear("transformer.adapter", np.concatenate([s, e], -1))
            for i in range(self.sizes[1]):
                s = self.layer(f"transformer.core_block.{i}", s)
        kept = list(self.patterns)
        s = self.norm("transformer.ln_f", s) if self.form == "huginn" else s
        for i in range(self.sizes[2]):
            s = self.layer(f"transformer.coda.{i}", s)
        self.patterns = kept
        head = "transformer.wte" if self.tied else "lm_head"
        return self.linear(head, self.norm("transformer.ln_f", s))

    def layer(self, at: str, x: F64) -> F64:
        def norm(i: int, z: F64) -> F64:
            return self.norm(f"{at}.norm_{i}", z)

        if self.form == "huginn":
            x = norm(2, x + self.attention(at, norm(1, x)))
            return norm(4, x + self.mlp(at, norm(3, x)))
        if self.form == "llama":
            x = x + self.attention(at, norm(1, x))
            return x + self.mlp(at, norm(2, x))
        x = x + norm(1, self.attention(at, x))
        return x + norm(2, self.mlp(at, x))

    def attention(self, at: str, x: F64) -> F64:
        n_q, n_k = self.heads * self.hd, self.kv * self.hd
        q, k, v = np.split(self.linear(f"{at}.attn.Wqkv", x), [n_q, n_q + n_k], axis=-1)
        if self.form == "olmo":
            q, k = self.norm(f"{at}.attn.q_norm", q), self.norm(f"{at}.attn.k_norm", k)
        q, k, v = self.split(q, self.heads), self.split(k, self.kv), self.split(v, self.kv)
        if self.qk_bias:
            q, k = (z + self.tensors[f"{at}.attn.qk_bias"][i] for i, z in enumerate((q, k)))
        q, k = (turned(z, self.base, neighbours=self.form == "huginn") for z in (q, k))
        mixed, pattern = attend(q, k, v)
        self.patterns.append(pattern)
        return self.linear(f"{at}.attn.proj", mixed)

    def mlp(self, at: str, x: F64) -> F64:
        gate, up = np.split(self.linear(f"{at}.mlp.fc", x), 2, axis=-1)
        return self.linear(f"{at}.mlp.proj", silu(gate) * up)


class RetrofitLlama(Raven):
    """Two norms a layer, before each branch."""

    form = "llama"


class RetrofitOlmo(Raven):
    """Two norms a layer, after each branch, and norms of queries and keys."""

    form = "olmo"


class Nanbeige(Model):
    """Llama layers, all of them again and again; a norm after each loop, or only before the head."""

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        rng, n = self.rng, self.rng.randint(1, 3)
        self.d += rng.choice((0, 0, 3, 10))
        self.layers, self.loops = n, rng.randint(1, 4)
        self.raw = rng.random() < 0.5
        attention_bias, mlp_bias = rng.random() < 0.3, rng.random() < 0.3
        self.add("model.embed_tokens.weight", VOCABULARY, self.d)
        self.add("model.norm.weight", self.d)
        if not self.tied:
            self.add("lm_head.weight", VOCABULARY, self.d)
        for i in range(n):
            self.add_llama(
                f"model.layers.{i}", ("input_layernorm", "post_attention_layernorm"),
                "qkvo" if attention_bias else "", mlp_bias,
            )  # fmt: skip
        usual = {"num_loops": 1, "skip_loop_final_norm": False, "attention_bias": False,
                 "mlp_bias": False, "hidden_act": "silu", "num_key_value_heads": self.heads,
                 "head_dim": self.d / self.heads, "tie_word_embeddings": False}  # fmt: skip
        self.save(folder, self.some({
            "model_type": "nanbeige", "vocab_size": VOCABULARY, "hidden_size": self.d,
            "num_attention_heads": self.heads, "num_key_value_heads": self.kv, "head_dim": self.hd,
            "intermediate_size": self.d_mlp, "num_hidden_layers": n, "num_loops": self.loops,
            "rms_norm_eps": self.eps, "rope_theta": self.theta, "max_position_embeddings": 32,
            "tie_word_embeddings": self.tied, "skip_loop_final_norm": self.raw,
            "attention_bias": attention_bias, "mlp_bias": mlp_bias, "hidden_act": "silu",
        }, usual))  # fmt: skip

    def logits(self) -> F64:
        h = self.tensors["model.embed_tokens.weight"][list(self.ids)]
        for _ in range(self.loops):
            for i in range(self.layers):
                h = self.layer(f"model.layers.{i}", h)
            h = h if self.raw else self.norm("model.norm", h)
        h = self.norm("model.norm", h) if self.raw else h
        return self.linear("model.embed_tokens" if self.tied else "lm_head", h)

    def layer(self, at: str, h: F64) -> F64:
        x = self.norm(f"{at}.input_layernorm", h)
        q, k, v = (
            self.split(self.linear(f"{at}.self_attn.{name}_proj", x), heads)
            for name, heads in (("q", self.heads), ("k", self.kv), ("v", self.kv))
        )
        q, k = (turned(z, self.theta, neighbours=False) for z in (q, k))
        mixed, pattern = attend(q, k, v)
        self.patterns.append(pattern)
        h = h + self.linear(f"{at}.self_attn.o_proj", mixed)
        x = self.norm(f"{at}.post_attention_layernorm", h)
        gate, up = (self.linear(f"{at}.mlp.{name}_proj", x) for name in ("gate", "up"))
        return h + self.linear(f"{at}.mlp.down_proj", silu(gate) * up)


class Native(Model):
    """Loopscope's own: pre-norm layers with a plain GELU MLP, a norm after each recurrence."""

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        rng, d = self.rng, self.d
        self.kv = self.heads
        self.sizes = (rng.randint(0, 2), rng.randint(1, 3), rng.randint(0, 2))
        self.steps, self.scale = rng.randint(1, 4), rng.choice((1.0, 3.0))
        self.injection = rng.choice(("concat", "add", "none"))
        self.closing, self.passes = rng.random() < 0.7, 0
        if rng.random() < 0.3:  # each pass has layers of its own, and the block runs once
            self.passes, self.steps = rng.randint(1, 3), 1
            self.sizes = (self.sizes[0], self.passes * rng.randint(1, 2), self.sizes[2])
        if self.injection != "none" and rng.random() < 0.3:
            self.start = self.noise.normal(size=(len(self.ids), d))
        self.add("embed.weight", VOCABULARY, d)
        self.add("unembed.weight", VOCABULARY, d)
        self.add("final_norm.weight", d)
        for own in self.own():
            if self.injection == "concat":
                self.add(f"adapter{own}.weight", d, 2 * d)
            if self.closing:
                self.add(f"closing_norm{own}.weight", d)
        stacks = ("prelude_layers", "block", "coda_layers")
        for stack, n in zip(stacks, self.sizes, strict=True):
            for i in range(n):
                at = f"{stack}.{i}"
                self.add(f"{at}.qkv.weight", 3 * d, d)
                self.add(f"{at}.attn_proj.weight", d, d)
                self.add(f"{at}.mlp_up.weight", self.d_mlp, d)
                self.add(f"{at}.mlp_down.weight", d, self.d_mlp)
                self.add(f"{at}.norms.attn_in.weight", d)
                self.add(f"{at}.norms.mlp_in.weight", d)
        self.save(folder, {
            "model_type": "loopscope_looped", "vocab_size": VOCABULARY, "hidden_size": d,
            "num_attention_heads": self.heads, "intermediate_size": self.d_mlp,
            "n_layers_in_prelude": self.sizes[0], "n_layers_in_recurrent_block": self.sizes[1],
            "n_layers_in_coda": self.sizes[2], "trained_recurrences": self.steps,
            "max_position_embeddings": 32, "rope_theta": self.theta, "norm_eps": self.eps,
            "embedding_scale": self.scale, "injection": self.injection,
            "closing_norm": self.closing, "untied_passes": self.passes,
            "initial_state": "zeros" if self.start is None else "normal",
        })  # fmt: skip

    def own(self) -> list[str]:
        """What stands behind the names of what belongs to a pass."""
        return [f".{i}" for i in range(self.passes)] or [""]

    def logits(self) -> F64:
        e = self.tensors["embed.weight"][list(self.ids)] * self.scale
        for i in range(self.sizes[0]):
            e = self.layer(f"prelude_layers.{i}", e)
        self.patterns = []
        s = e if self.injection == "none" else np.zeros_like(e)
        s = s if self.start is None else self.start
        each = self.sizes[1] // max(self.passes, 1)
        for own, first in [(own, each * i) for i, own in enumerate(self.own())] * self.steps:
            if self.injection == "concat":
                s = self.linear(f"adapter{own}", np.concatenate([s, e], -1))
            s = s + e if self.injection == "add" else s
            for i in range(first, first + each):
                s = self.layer(f"block.{i}", s)
            s = self.norm(f"closing_norm{own}", s) if self.closing else s
        kept = list(self.patterns)
        for i in range(self.sizes[2]):
            s = self.layer(f"coda_layers.{i}", s)
        self.patterns = kept
        return self.linear("unembed", self.norm("final_norm", s))

    def layer(self, at: str, x: F64) -> F64:
        z = self.linear(f"{at}.qkv", self.norm(f"{at}.norms.attn_in", x))
        q, k, v = (self.split(part, self.heads) for part in np.split(z, 3, axis=-1))
        q, k = (turned(z, self.theta, neighbours=False) for z in (q, k))
        mixed, pattern = attend(q, k, v)
        self.patterns.append(pattern)
        x = x + self.linear(f"{at}.attn_proj", mixed)
        hidden = gelu(self.linear(f"{at}.mlp_up", self.norm(f"{at}.norms.mlp_in", x)))
        return x + self.linear(f"{at}.mlp_down", hidden)


FAMILIES = {
    "ouro": Ouro,
    "huginn": Raven,
    "retrofit llama": RetrofitLlama,
    "retrofit olmo": RetrofitOlmo,
    "nanbeige": Nanbeige,
    "native": Native,
}
