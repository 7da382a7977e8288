"""Huginn and the retrofits, written out plainly in float64; as `plain`, nothing of core is used."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from conformance.plain import F64, VOCABULARY, Model, attend, llama3, silu, turned


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


FAMILIES = {"huginn": Raven, "retrofit llama": RetrofitLlama, "retrofit olmo": RetrofitOlmo}
