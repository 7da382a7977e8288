"""Looped research models of a prelude, a block and a coda, written out plainly in float64.

As `plain`: nothing of core is used. Each class holds one family.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from conformance.plain import (
    F64,
    VOCABULARY,
    Model,
    attend,
    rms,
)

NO_EPS = 2.0**-23


def softplus(x: F64) -> F64:
    return np.log1p(np.exp(x))


def sigmoid(x: F64) -> F64:
    return 1 / (1 + np.exp(-x))


def bare(x: F64, eps: float = NO_EPS) -> F64:
    """RMSNorm without weights."""
    return rms(x, np.ones(x.shape[-1]), eps)


def capped(logits: F64, cap: float) -> F64:
    return cap * np.tanh(logits / cap) if cap else logits


class Cut(Model):
    """A prelude, a block that is looped, and a coda; a layer is known by its stack and number."""

    stacks: tuple[str, str, str]

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        rng = self.rng
        self.sizes = (rng.randint(0, 2), rng.randint(1, 3), rng.randint(0, 2))
        self.loops = rng.randint(1, 4)

    def places(self) -> list[str]:
        return [
            f"{stack}.{i}"
            for stack, n in zip(self.stacks, self.sizes, strict=True)
            for i in range(n)
        ]

    def layer(self, at: str, x: F64) -> F64:
        raise NotImplementedError

    def through(self, stack: int, x: F64) -> F64:
        """Run one stack; only the block's patterns are kept."""
        kept = list(self.patterns)
        for i in range(self.sizes[stack]):
            x = self.layer(f"{self.stacks[stack]}.{i}", x)
        if stack != 1:
            self.patterns = kept
        return x


class Nanochat(Cut):
    """nanochat's recursive branch: rotation by the opposite sign, norms without weights."""

    stacks = ("transformer.prelude", "transformer.recur", "transformer.coda")
    qk_eps = NO_EPS
    cap = 15.0
    injection = "inject_init_prelude"

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        self.hd = self.d // self.heads
        self.draw()
        self.window = 0
        d, rows = self.d, self.rows()
        self.add("transformer.wte.weight", rows, d)
        self.add("lm_head.weight", rows, d)
        if self.injection != "passthrough":
            self.add("inject.weight", d, 2 * d)
        for at in self.places():
            for name, heads in (("q", self.heads), ("k", self.kv), ("v", self.kv)):
                self.add(f"{at}.attn.c_{name}.weight", heads * self.hd, d)
            self.add(f"{at}.attn.c_proj.weight", d, d)
            self.add(f"{at}.mlp.c_fc.weight", 4 * d, d)
            self.add(f"{at}.mlp.c_proj.weight", d, 4 * d)
        self.add_norms()
        mean = self.loops + self.rng.choice((0.0, 0.3, 0.7))  # which counts as a whole number
        self.save(folder, {
            "vocab_size": VOCABULARY, "sequence_len": 24, "n_embd": d, "n_head": self.heads,
            "n_kv_head": self.kv, "n_prelude": self.sizes[0], "n_recur_block": self.sizes[1],
            "n_coda": self.sizes[2], "train_recur_mean": mean, **self.more(),
        })  # fmt: skip

    def draw(self) -> None:
        """Draw what only looped_nanochat has."""

    def rows(self) -> int:
        return VOCABULARY

    def add_norms(self) -> None:
        """Add the weights of norms."""

    def more(self) -> dict[str, Any]:
        return {"model_type": "nanochat_recursive", "n_layer": 12}

    def normed(self, name: str, x: F64) -> F64:
        return bare(x)

    def closed(self, x: F64) -> F64:
        return x

    def logits(self) -> F64:
        x = self.tensors["transformer.wte.weight"][list(self.ids)]
        e = self.through(0, self.normed("norm_emb", x))
        s = e if self.start is None else self.start
        for _ in range(self.loops):
            if self.injection != "passthrough":
                s = self.linear("inject", np.concatenate([e, s], -1))
            s = self.closed(self.through(1, s))
        x = self.normed("norm_final", self.through(2, s))
        return capped(self.linear("lm_head", x)[:, :VOCABULARY], self.cap)

    def layer(self, at: str, x: F64) -> F64:
        x = x + self.attended(at, bare(x))
        return x + self.mlp(at, bare(x))

    def mlp(self, at: str, x: F64) -> F64:
        hidden = np.maximum(self.linear(f"{at}.mlp.c_fc", x), 0) ** 2
        return self.linear(f"{at}.mlp.c_proj", hidden)

    def attended(self, at: str, x: F64) -> F64:
        q, k, v = (
            self.split(self.linear(f"{at}.attn.c_{name}", x), heads)
            for name, heads in (("q", self.heads), ("k", self.kv), ("v", self.kv))
        )
        q, k = (bare(self.turned_back(z), self.qk_eps) for z in (q, k))
        mixed, pattern = attend(q, k, v, self.window_at(at))
        self.patterns.append(pattern)
        return self.linear(f"{at}.attn.c_proj", mixed)

    def window_at(self, at: str) -> int:
        return 0

    def turned_back(self, x: F64) -> F64:
        half = self.hd // 2
        angle = np.arange(len(x))[:, None, None] * 10000.0 ** (-2 * np.arange(half) / self.hd)
        cos, sin = (torch.from_numpy(z).bfloat16().double().numpy()
                    for z in (np.cos(angle), np.sin(angle)))  # fmt: skip
        one, other = x[..., :half], x[..., half:]
        return np.concatenate([one * cos + other * sin, other * cos - one * sin], -1)


class LoopedNanochat(Nanochat):
    """looped_nanochat: norms with weights, four a layer and one a loop; windows; padded rows."""

    qk_eps = 1e-6

    def draw(self) -> None:
        rng = self.rng
        self.injection = rng.choice(("inject_init_prelude", "inject_init_random", "passthrough"))
        self.cap = rng.choice((15.0, 4.0))
        self.padding = rng.choice((0, 1, 40))
        self.letters = rng.choice(("L", "S", "SL", "SSL", "LLSSSLLL"))
        if self.injection == "inject_init_random":
            self.start = self.noise.normal(size=(len(self.ids), self.d)) * self.d**-0.5

    def rows(self) -> int:
        return VOCABULARY + self.padding

    def add_norms(self) -> None:
        for name in ("norm_emb", "norm_recur", "norm_final"):
            self.add(f"{name}.weight", self.d)
        for at in self.places():
            for i in range(1, 5):
                self.add(f"{at}.n{i}.weight", self.d)
        if self.rng.random() < 0.3:  # of the later code
            self.add("exit_gate.proj.weight", 1, self.d)
            self.add("exit_gate.proj.bias", 1)

    def more(self) -> dict[str, Any]:
        return {"model_type": "looped_nanochat", "window_pattern": self.letters,
                "input_injection": self.injection, "logit_softcap": self.cap}  # fmt: skip

    def normed(self, name: str, x: F64) -> F64:
        return rms(x, self.tensors[f"{name}.weight"], 1e-6)

    def closed(self, x: F64) -> F64:
        return self.normed("norm_recur", x)

    def window_at(self, at: str) -> int:
        i = self.places().index(at)
        short = self.letters[i % len(self.letters)] == "S" and i < sum(self.sizes) - 1
        return 24 // 2 + 1 if short else 0

    def layer(self, at: str, x: F64) -> F64:
        x = self.normed(f"{at}.n2", x + self.attended(at, self.normed(f"{at}.n1", x)))
        return self.normed(f"{at}.n4", x + self.mlp(at, self.normed(f"{at}.n3", x)))


class Parcae(Cut):
    """A diagonal linear system before the block, C behind it, values that the tokens add."""

    stacks = ("transformer.prelude", "transformer.core_block", "transformer.coda")

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        rng = self.rng
        self.heads, self.hd = rng.choice(((4, 8), (4, 10), (8, 4), (2, 16)))
        self.d, self.wide = self.heads * self.hd, rng.randint(3, 40)
        self.qk_bias, self.qk_norm = rng.random() < 0.4, rng.random() < 0.6
        self.kv = self.heads if self.qk_bias else rng.choice((self.heads, self.heads // 2))
        self.biased, self.tabled = rng.random() < 0.4, rng.random() < 0.7
        self.injection = rng.choice(("diagonal", "diagonal", "linear", "add"))
        self.normed, self.rotated = rng.random() < 0.5, rng.random() < 0.9
        self.cap, self.clip = rng.choice((0.0, 3.0)), rng.choice((0.0, 0.0, 0.7))
        self.condensed, self.depth = rng.choice((1, 1, 2)), rng.randint(1, 4)
        zero = rng.random() < 0.3
        self.start = np.zeros((len(self.ids), self.d))
        if not zero:
            self.start = self.noise.normal(size=self.start.shape) * math.sqrt(2 / (5 * self.d))
        self.add_tensors()
        off: dict[float, float | None] = {0.0: None}
        self.save(folder, {
            "_class_name": "ParcaeConfig", "n_embd": self.d, "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv, "intermediate_size": self.d_mlp,
            "recurrent_intermediation_embedding_dimension": self.wide, "block_size": 32,
            "recurrent_embedding_dimension": self.d, "recurrent_num_attention_heads": None,
            "vocab_size": VOCABULARY - 3, "padded_vocab_size": rng.choice((None, VOCABULARY)),
            "padding_multiple": VOCABULARY, "n_layers_in_prelude": self.sizes[0],
            "n_layers_in_recurrent_block": self.sizes[1], "n_layers_in_coda": self.sizes[2],
            "mean_recurrence": self.loops, "mean_backprop_depth": self.depth, "bias": self.biased,
            "qk_bias": self.qk_bias, "qk_norm": self.qk_norm, "prelude_norm": self.normed,
            "norm_eps": self.eps, "injection_type": self.injection, "tie_embeddings": self.tied,
            "state_init": "zero" if zero else rng.choice(("like-init", "normal", "embed")),
            "logit_softcap": off.get(self.cap, self.cap), "clip_qkv": off.get(self.clip, self.clip),
            "rope_settings": {"rope_base": self.theta, "rope_condense_ratio": self.condensed,
                              "use_rope": self.rotated},
        })  # fmt: skip

    def add_linear(self, name: str, out: int, into: int) -> None:
        self.add(f"{name}.weight", out, into)
        if self.biased:
            self.add(f"{name}.bias", out)

    def add_tensors(self) -> None:
        d = self.d
        self.add("transformer.wte.weight", VOCABULARY, d)
        if not self.tied:
            self.add("lm_head.weight", VOCABULARY, d)
        self.add("transformer.ln_f.weight", d)
        self.add_linear("transformer.C", d, d)
        if self.normed:
            self.add("transformer.ln_prelude.weight", d)
        if self.injection == "diagonal":
            self.add("transformer.adapter.B", d, d)
            self.add("transformer.adapter.A_log", d)
            self.add("transformer.adapter.dt_bias", d)
        if self.injection == "linear":
            self.add_linear("transformer.adapter.adapter", d, 2 * d)
        for i, at in enumerate(self.places()):
            self.add_layer(i, at)

    def add_layer(self, i: int, at: str) -> None:
        """One layer; the block's have keys of every head and an MLP of another width."""
        d, n = self.d, sum(self.sizes)
        block = at.startswith(self.stacks[1])
        kv, width = (self.heads, self.wide) if block else (self.kv, self.d_mlp)
        for name, heads in (("q", self.heads), ("k", kv), ("v", kv)):
            self.add_linear(f"{at}.attn.c_{name}", heads * self.hd, d)
        self.add_linear(f"{at}.attn.c_proj", d, d)
        self.add_linear(f"{at}.mlp.fc", width, d)
        self.add_linear(f"{at}.mlp.proj", d, width)
        self.add(f"{at}.norm_1.weight", d)
        self.add(f"{at}.norm_2.weight", d)
        if self.qk_bias:
            self.add(f"{at}.attn.qk_bias", 2, 1, self.heads, self.hd)
        coda = sum(self.sizes[:2])
        number = i + self.sizes[1] * (self.loops - 1) if i >= coda else i
        table = self.tabled and i % 2 == (n - 1) % 2
        gate = number % 2 == (self.sizes[1] * self.depth - 1) % 2
        if block and kv != self.kv:  # the published layer would fail on such a table
            table = False
        if table:
            self.add(f"value_embeds.{i}.weight", VOCABULARY, self.kv * self.hd)
        if gate:
            self.add(f"{at}.attn.ve_gate.weight", kv, 32)

    def logits(self) -> F64:
        e = self.through(0, self.tensors["transformer.wte.weight"][list(self.ids)])
        e = self.norm("transformer.ln_prelude", e) if self.normed else e
        assert self.start is not None
        s = self.start
        for _ in range(self.loops):
            s = self.through(1, self.injected(s, e))
        x = self.through(2, self.linear("transformer.C", s))
        head = "transformer.wte" if self.tied else "lm_head"
        return capped(self.linear(head, self.norm("transformer.ln_f", x)), self.cap)

    def injected(self, s: F64, e: F64) -> F64:
        if self.injection == "add":
            return s + e
        if self.injection == "linear":
            return self.linear("transformer.adapter.adapter", np.concatenate([s, e], -1))
        at = "transformer.adapter"
        step = softplus(self.tensors[f"{at}.dt_bias"])
        decay = np.exp(-step * np.exp(self.tensors[f"{at}.A_log"]))
        return s * decay + step * (e @ self.tensors[f"{at}.B"].T)

    def layer(self, at: str, x: F64) -> F64:
        n = self.norm(f"{at}.norm_1", x)
        q, k, v = (self.linear(f"{at}.attn.c_{name}", n).reshape(len(x), -1, self.hd)
                   for name in "qkv")  # fmt: skip
        table, gate = f"value_embeds.{self.places().index(at)}", f"{at}.attn.ve_gate"
        if {f"{table}.weight", f"{gate}.weight"} <= self.tensors.keys():
            values = self.tensors[f"{table}.weight"][list(self.ids)].reshape(v.shape)
            v = v + 2 * sigmoid(self.linear(gate, n[:, :32]))[..., None] * values
        if self.clip:
            q, k, v = (np.clip(z, -self.clip, self.clip) for z in (q, k, v))
        if self.qk_bias:
            q_bias, k_bias = self.tensors[f"{at}.attn.qk_bias"]
            q, k = q + q_bias, k + k_bias
        if self.rotated:
            q, k = (self.rotate(z) for z in (q, k))
        if self.qk_norm:
            q, k = bare(q), bare(k)
        mixed, pattern = attend(q, k, v)
        self.patterns.append(pattern)
        x = x + self.linear(f"{at}.attn.c_proj", mixed)
        hidden = np.maximum(self.linear(f"{at}.mlp.fc", self.norm(f"{at}.norm_2", x)), 0) ** 2
        return x + self.linear(f"{at}.mlp.proj", hidden / 2)

    def rotate(self, x: F64) -> F64:
        """Neighbouring pairs, positions divided by the ratio."""
        angle = (
            np.arange(len(x))[:, None, None]
            / self.condensed
            * (self.theta ** (-2 * np.arange(self.hd // 2) / self.hd))
        )
        a, b = x[..., 0::2], x[..., 1::2]
        one, other = a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)
        return np.stack([one, other], -1).reshape(x.shape)
