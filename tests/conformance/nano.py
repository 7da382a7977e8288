"""Models of nanoGPT's kind, looped: base_loop, nanoloop and LoopFormer, plainly in float64.

As `plain`: nothing of core is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from conformance.cut import bare
from conformance.plain import (
    F64,
    VOCABULARY,
    Model,
    attend,
    gelu,
    silu,
)


class Nano(Model):
    """Layers of nanoGPT: learned positions, RMSNorm without an epsilon, exact GELU, a tied head."""

    norms = ("norm_1", "norm_2")

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.kv, self.eps, self.d_mlp = self.heads, 2.0**-23, 4 * self.d
        self.biased = self.rng.random() < 0.5
        # What stands before the names of the file.
        self.at = ""

    def add_linear(self, name: str, out: int, into: int) -> None:
        self.add(f"{name}.weight", out, into)
        if self.biased:
            self.add(f"{name}.bias", out)

    def add_layer(self, at: str) -> None:
        d = self.d
        self.add_linear(f"{at}.attn.c_attn", 3 * d, d)
        self.add_linear(f"{at}.attn.c_proj", d, d)
        self.add_linear(f"{at}.mlp.c_fc", self.d_mlp, d)
        self.add_linear(f"{at}.mlp.c_proj", d, self.d_mlp)
        for name in self.norms:
            self.add(f"{at}.{name}.weight", d)

    def layer(self, at: str, x: F64) -> F64:
        before, after = self.norms
        z = self.linear(f"{at}.attn.c_attn", self.norm(f"{at}.{before}", x))
        mixed, pattern = attend(*(self.split(part, self.heads) for part in np.split(z, 3, -1)))
        self.patterns.append(pattern)
        x = x + self.linear(f"{at}.attn.c_proj", mixed)
        hidden = gelu(self.linear(f"{at}.mlp.c_fc", self.norm(f"{at}.{after}", x)))
        return x + self.linear(f"{at}.mlp.c_proj", hidden)

    def embedded(self) -> F64:
        wte, wpe = (self.tensors[f"{self.at}transformer.{name}.weight"] for name in ("wte", "wpe"))
        return wte[list(self.ids)] + wpe[: len(self.ids)]

    def draw_loop(self) -> None:
        """Draw what Base-Loop and LoopFormer share, before their tensors are made."""
        rng = self.rng
        self.layers, self.loops = rng.randint(1, 3), rng.randint(1, 5)
        self.at = rng.choice(("", "gpt."))
        if rng.random() < 0.5:
            self.d_mlp = rng.randint(3, 40)

    def add_ends(self) -> None:
        """Embedding, positions, last norm, and a head of its own where it is not tied."""
        at, d = f"{self.at}transformer", self.d
        self.add(f"{at}.wte.weight", VOCABULARY, d)
        self.add(f"{at}.wpe.weight", 32, d)
        self.add(f"{at}.norm_f.weight", d)
        if not self.tied:
            self.add(f"{self.at}lm_head.weight", VOCABULARY, d)

    def loop_settings(self) -> dict[str, Any]:
        """Settings of Base-Loop and LoopFormer, under one of each key's names."""
        rng, named = self.rng, {}
        values = self.settings() | {"n_layer": self.layers, "tie_word_embeddings": self.tied}
        values |= {"intermediate_dim": self.d_mlp} if self.d_mlp != 4 * self.d else {}
        for key, value in values.items():
            named[rng.choice(OTHER_NAMES.get(key, (key,)))] = value
        return named | {rng.choice(("num_loops", "n_loops", "n_loop", "max_loops")): self.loops}

    def head(self, x: F64) -> F64:
        x = self.norm(f"{self.at}transformer.norm_f", x)
        return self.linear(f"{self.at}transformer.wte" if self.tied else f"{self.at}lm_head", x)

    def settings(self) -> dict[str, Any]:
        return {"vocab_size": VOCABULARY, "block_size": 32, "n_embd": self.d, "n_head": self.heads,
                "bias": self.biased}  # fmt: skip


# What the published loader reads a setting from.
OTHER_NAMES = {
    "block_size": ("block_size", "n_positions", "max_position_embeddings"),
    "n_layer": ("n_layer", "num_hidden_layers"),
    "n_head": ("n_head", "num_attention_heads"),
    "n_embd": ("n_embd", "hidden_size"),
    "intermediate_dim": ("intermediate_dim", "n_inner"),
}


class BaseLoop(Nano):
    """All layers again and again on the raw state, from the embedding on."""

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        self.draw_loop()
        self.add_ends()
        for i in range(self.layers):
            self.add_layer(f"{self.at}transformer.h.blocks.{i}")
        kind = self.rng.choice(("base_loop", "base_loop", "base_loop_ee"))
        self.save(folder, self.loop_settings() | {"model_type": kind})

    def logits(self) -> F64:
        x = self.embedded()
        for _ in range(self.loops):
            for i in range(self.layers):
                x = self.layer(f"{self.at}transformer.h.blocks.{i}", x)
        return self.head(x)


class NanoLoop(Nano):
    """Prelude, block and coda; the block reads inject(cat[e, s]), its output is normed."""

    norms = ("ln_1", "ln_2")

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        rng, d = self.rng, self.d
        self.sizes = (rng.randint(0, 2), rng.randint(1, 3), rng.randint(0, 2))
        self.loops = rng.randint(1, 4)
        self.injection = rng.choice(("inject", "inject", "inject_random", "passthrough"))
        self.add("transformer.wte.weight", VOCABULARY, d)
        self.add("transformer.wpe.weight", 32, d)
        self.add("transformer.ln_f.weight", d)
        self.add("norm_recur.weight", d)
        if self.injection != "passthrough":
            self.add_linear("inject", d, 2 * d)
        if self.injection == "inject_random":
            self.start = self.noise.normal(size=(len(self.ids), d)) * d**-0.5
        for stack, n in zip(("prelude", "recur", "coda"), self.sizes, strict=True):
            for i in range(n):
                self.add_layer(f"transformer.{stack}.{i}")
        usual = {
            "n_prelude": 2,
            "n_block": 2,
            "n_coda": 2,
            "n_loop": 4,
            "input_injection": "inject",
        }
        self.save(folder, self.some(self.settings() | {
            "model_type": "nanoloop", "n_prelude": self.sizes[0], "n_block": self.sizes[1],
            "n_coda": self.sizes[2], "n_loop": self.loops, "input_injection": self.injection,
        }, usual))  # fmt: skip

    def logits(self) -> F64:
        e = self.embedded()
        for i in range(self.sizes[0]):
            e = self.layer(f"transformer.prelude.{i}", e)
        self.patterns, s = [], e if self.start is None else self.start
        for _ in range(self.loops):
            if self.injection != "passthrough":
                s = self.linear("inject", np.concatenate([e, s], -1))
            for i in range(self.sizes[1]):
                s = self.layer(f"transformer.recur.{i}", s)
            s = self.norm("norm_recur", s)
        kept = list(self.patterns)
        for i in range(self.sizes[2]):
            s = self.layer(f"transformer.coda.{i}", s)
        self.patterns = kept
        return self.linear("transformer.wte", self.norm("transformer.ln_f", s))


class LoopFormer(Nano):
    """Layers whose branches are scaled by an embedding of the loop's time and step."""

    norms = ()

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        self.draw_loop()
        self.add_ends()
        d = self.d
        for name in ("time", "dt"):
            for i, into in ((0, 256), (2, d)):
                self.add(f"{self.at}{name}_embedder.mlp.{i}.weight", d, into)
                self.add(f"{self.at}{name}_embedder.mlp.{i}.bias", d)
        for i in range(self.layers):
            at = f"{self.at}transformer.h.blocks.{i}"
            self.add_layer(at)
            self.add(f"{at}.adaLN_modulation.1.weight", 4 * d, d)
            self.add(f"{at}.adaLN_modulation.1.bias", 4 * d)
        self.save(folder, self.loop_settings() | {"model_type": "loopformer"})

    def embedder(self, name: str, u: float) -> F64:
        angle = u * 10000.0 ** (-np.arange(128) / 128)
        waves = np.concatenate([np.cos(angle), np.sin(angle)])
        at = f"{self.at}{name}_embedder.mlp"
        hidden = silu(waves @ self.tensors[f"{at}.0.weight"].T + self.tensors[f"{at}.0.bias"])
        out: F64 = hidden @ self.tensors[f"{at}.2.weight"].T + self.tensors[f"{at}.2.bias"]
        return out

    def logits(self) -> F64:
        x = self.embedded()
        for r in range(self.loops):
            c = self.embedder("time", r / self.loops) + self.embedder("dt", 1 / self.loops)
            for i in range(self.layers):
                x = self.timed(f"{self.at}transformer.h.blocks.{i}", x, c)
        return self.head(x)

    def timed(self, at: str, x: F64, c: F64) -> F64:
        name = f"{at}.adaLN_modulation.1"
        gates = self.tensors[f"{name}.weight"] @ silu(c) + self.tensors[f"{name}.bias"]
        gate_attn, gate_mlp, scale_attn, scale_mlp = np.split(gates, 4)
        z = self.linear(f"{at}.attn.c_attn", bare(x) * (1 + scale_attn))
        mixed, pattern = attend(*(self.split(part, self.heads) for part in np.split(z, 3, -1)))
        self.patterns.append(pattern)
        x = x + gate_attn * self.linear(f"{at}.attn.c_proj", mixed)
        hidden = gelu(self.linear(f"{at}.mlp.c_fc", bare(x) * (1 + scale_mlp)))
        return x + gate_mlp * self.linear(f"{at}.mlp.c_proj", hidden)


FAMILIES = {"base_loop": BaseLoop, "nanoloop": NanoLoop}
