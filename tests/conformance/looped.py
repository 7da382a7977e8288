"""Looped research models, written out plainly in float64 from their papers and published codes.

As `plain`: nothing of core is used. Each class holds one family; what its published code accepts is
drawn at random. Grids (TRM) are answered in place, behind the positions of their puzzle.
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
    Nano,
    attend,
    gelu,
    llama3,
    rms,
    silu,
    turned,
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


class Lds(Model):
    """A deep decoder cut in three, whose middle is looped behind a gate."""

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        rng = self.rng
        self.base = rng.choice(("llama", "qwen2", "qwen3", "mistral", "olmo2"))
        if self.base != "olmo2":
            self.d += rng.choice((0, 0, 2, 9))
        # Layers of the base model that each part has; the middle may repeat those of the ends.
        n = rng.randint(2, 5)
        first, last = sorted((rng.randint(0, n - 1), rng.randint(1, n)))
        last = max(last, first + 1)
        parts = [list(range(first)), list(range(first, last)), list(range(last, n))]
        repeats = rng.random() < 0.3
        if repeats:
            parts[1] = list(range(max(0, first - 1), min(n, last + 1)))
        self.sizes, self.loops = tuple(map(len, parts)), rng.randint(1, 4)
        biases = (rng.random() < 0.4, rng.random() < 0.4)
        self.middle = "plateau" if rng.random() < 0.3 else "reasoning"
        self.add_tensors(*biases)
        ends = rng.random() < 0.5 and last < n and last
        config = {
            "model_type": "lds", "N": self.loops, "tie_word_embeddings": False,
            "encoder_layer_indices": parts[0],
            "decoder_layer_indices": [-last] if ends else parts[2],
            "halting_strategy": rng.choice(("threshold", "cdf", "convergence")),
            "base_config_dict": self.base_config(n, *biases),
        }  # fmt: skip
        if repeats or rng.random() < 0.5:
            config["reasoning_layer_indices"] = parts[1]
        self.save(folder, config)

    def base_config(self, n: int, attention_bias: bool, mlp_bias: bool) -> dict[str, Any]:
        rng = self.rng
        self.turn: float | F64 = self.theta
        rope: dict[str, Any] = {"rope_theta": self.theta, "rope_type": "default"}
        if self.base == "llama" and rng.random() < 0.5:  # as Llama 3.2's
            rope |= {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0,
                     "high_freq_factor": 4.0, "original_max_position_embeddings": 10}  # fmt: skip
            self.turn = llama3(self.theta, self.hd, 4.0, 1.0, 4.0, 10)
        config = {
            "model_type": self.base, "vocab_size": VOCABULARY, "hidden_size": self.d,
            "num_attention_heads": self.heads, "num_key_value_heads": self.kv,
            "intermediate_size": self.d_mlp, "num_hidden_layers": n, "rms_norm_eps": self.eps,
            "rope_parameters": rope, "max_position_embeddings": 32,
            "tie_word_embeddings": self.tied, "attention_bias": attention_bias,
        }  # fmt: skip
        config |= {} if self.base == "olmo2" else {"head_dim": self.hd}
        config |= {"mlp_bias": mlp_bias} if self.base == "llama" else {}
        # Which the published layers are never told.
        return config | ({"sliding_window": 2} if self.base == "mistral" else {})

    def add_tensors(self, attention_bias: bool, mlp_bias: bool) -> None:
        d, rank, gate = self.d, -(-self.d // 16), f"{self.middle}.gate"
        self.add("encoder.embed_tokens.weight", VOCABULARY, d)
        self.add("decoder.norm.weight", d)
        self.add("decoder.lm_head.weight", VOCABULARY, d)
        self.add(f"{gate}.A_log", d)
        self.add(f"{gate}.dt_input_proj.weight", rank, d)
        self.add(f"{gate}.delta_proj.weight", d, rank)
        self.add(f"{gate}.delta_proj.bias", d)
        for name, shape in (("0.weight", (d,)), ("0.bias", (d,)), ("1.weight", (1, d)),
                            ("1.bias", (1,))):  # fmt: skip
            self.add(f"q_head.{name}", *shape)
        norms = ("post_attention_layernorm", "post_feedforward_layernorm")
        if self.base != "olmo2":
            norms = ("input_layernorm", "post_attention_layernorm")
        bias = {"qwen2": "qkv", "mistral": ""}.get(self.base, "qkvo" if attention_bias else "")
        for stack, size in zip(("encoder", self.middle, "decoder"), self.sizes, strict=True):
            for i in range(size):
                at = f"{stack}.layers.{i}"
                self.add_llama(at, norms, bias, mlp_bias and self.base == "llama")
                for name, heads in (("q", self.heads), ("k", self.kv)):
                    if self.base in ("qwen3", "olmo2"):
                        each = 1 if self.base == "qwen3" else heads
                        self.add(f"{at}.self_attn.{name}_norm.weight", each * self.hd)

    def logits(self) -> F64:
        h = self.tensors["encoder.embed_tokens.weight"][list(self.ids)]
        for i in range(self.sizes[0]):
            h = self.layer(f"encoder.layers.{i}", h)
        self.patterns = []
        for _ in range(self.loops):
            h = self.gated(h)
        kept = list(self.patterns)
        for i in range(self.sizes[2]):
            h = self.layer(f"decoder.layers.{i}", h)
        self.patterns = kept
        return self.linear("decoder.lm_head", self.norm("decoder.norm", h))

    def gated(self, h: F64) -> F64:
        new, gate = h, f"{self.middle}.gate"
        for i in range(self.sizes[1]):
            new = self.layer(f"{self.middle}.layers.{i}", new)
        low = self.linear(f"{gate}.dt_input_proj", new - h)
        delta = softplus(self.linear(f"{gate}.delta_proj", low))
        share = np.exp(-delta * np.exp(self.tensors[f"{gate}.A_log"]))
        return share * new + (1 - share) * h

    def layer(self, at: str, h: F64) -> F64:
        """OLMo-2 norms what a branch writes, the others what it reads."""
        after = self.base == "olmo2"
        wrote = self.attended(at, h if after else self.norm(f"{at}.input_layernorm", h))
        h = h + (self.norm(f"{at}.post_attention_layernorm", wrote) if after else wrote)
        x = h if after else self.norm(f"{at}.post_attention_layernorm", h)
        gate, up = (self.linear(f"{at}.mlp.{name}_proj", x) for name in ("gate", "up"))
        wrote = self.linear(f"{at}.mlp.down_proj", silu(gate) * up)
        return h + (self.norm(f"{at}.post_feedforward_layernorm", wrote) if after else wrote)

    def attended(self, at: str, x: F64) -> F64:
        q, k, v = (self.linear(f"{at}.self_attn.{name}_proj", x) for name in "qkv")
        norms = [f"{at}.self_attn.{name}_norm" for name in "qk"]
        if self.base == "olmo2":
            q, k = self.norm(norms[0], q), self.norm(norms[1], k)
        q, k, v = self.split(q, self.heads), self.split(k, self.kv), self.split(v, self.kv)
        if self.base == "qwen3":
            q, k = self.norm(norms[0], q), self.norm(norms[1], k)
        q, k = (turned(z, self.turn, neighbours=False) for z in (q, k))
        mixed, pattern = attend(q, k, v)
        self.patterns.append(pattern)
        return self.linear(f"{at}.self_attn.o_proj", mixed)


class Trm(Model):
    """Two states and one stack of post-norm layers over a grid, read in both directions."""

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        rng, d = self.rng, self.d
        self.positions = rng.choice(("rope", "learned", "none"))
        self.cycles = (rng.randint(1, 2), rng.randint(1, 3))  # H, L
        self.layers, self.steps = rng.randint(1, 2), rng.randint(1, 2)
        width, length = rng.choice(((0, 0), (d, 0), (d + 1, 0), (d, 1), (d // 2, 3), (2 * d, 4)))
        self.prefix = length or -(-width // d)
        puzzles, self.grid = rng.randint(1, 3), self.ids
        puzzle, expansion = rng.randrange(puzzles), rng.choice((1, 2.67, 4))
        first = VOCABULARY + puzzle * self.prefix
        self.ids = (*range(first, first + self.prefix), *self.grid)
        self.before = rng.choice(("inner.", "_orig_mod.model.inner.", ""))
        self.puzzle = puzzle
        hidden = math.ceil(round(expansion * d * 2 / 3) / 256) * 256
        if width:
            self.add("puzzle_emb.weights", puzzles, width)
        if self.positions == "learned":
            self.add("embed_pos.embedding_weight", len(self.ids), d)
        self.add("embed_tokens.embedding_weight", VOCABULARY, d)
        self.add("H_init", d)
        self.add("L_init", d)
        self.add("lm_head.weight", VOCABULARY, d)
        self.add("q_head.weight", 2, d)
        self.add("q_head.bias", 2)
        for i in range(self.layers):
            at = f"L_level.layers.{i}"
            self.add(f"{at}.self_attn.qkv_proj.weight", 3 * d, d)
            self.add(f"{at}.self_attn.o_proj.weight", d, d)
            self.add(f"{at}.mlp.gate_up_proj.weight", 2 * hidden, d)
            self.add(f"{at}.mlp.down_proj.weight", d, hidden)
        self.save(folder, {
            "model_type": "trm", "batch_size": 1, "seq_len": len(self.grid),
            "puzzle_emb_ndim": width, "puzzle_emb_len": length, "vocab_size": VOCABULARY,
            "num_puzzle_identifiers": puzzles, "H_cycles": self.cycles[0], "H_layers": 0,
            "L_cycles": self.cycles[1], "L_layers": self.layers, "hidden_size": d,
            "expansion": expansion, "num_heads": self.heads, "pos_encodings": self.positions,
            "rms_norm_eps": self.eps, "rope_theta": self.theta, "halt_max_steps": self.steps,
            "halt_exploration_prob": 0.1, "mlp_t": False,
        })  # fmt: skip

    def save(self, folder: Path, config: dict[str, Any]) -> None:
        plain = self.tensors
        self.tensors = {self.before + name: tensor for name, tensor in plain.items()}
        super().save(folder, config)
        self.tensors = plain

    def logits(self) -> F64:
        e = self.embedded()
        z_h, z_l = (np.broadcast_to(self.tensors[f"{name}_init"], e.shape) for name in "HL")
        for _ in range(self.steps * self.cycles[0]):
            for _ in range(self.cycles[1]):
                z_l = self.net(z_l + z_h + e)
            z_h = self.net(z_h + z_l)
        return self.linear("lm_head", z_h)[self.prefix :]

    def embedded(self) -> F64:
        x = self.tensors["embed_tokens.embedding_weight"][list(self.grid)]
        if "puzzle_emb.weights" in self.tensors:
            row = np.zeros(self.prefix * self.d)
            known = self.tensors["puzzle_emb.weights"][self.puzzle]
            row[: len(known)] = known
            x = np.concatenate([row.reshape(self.prefix, self.d), x])
        if self.positions == "learned":
            x = 0.707106781 * (x + self.tensors["embed_pos.embedding_weight"])
        return math.sqrt(self.d) * x

    def net(self, x: F64) -> F64:
        for i in range(self.layers):
            at = f"L_level.layers.{i}"
            qkv = np.split(self.linear(f"{at}.self_attn.qkv_proj", x), 3, -1)
            q, k, v = (self.split(z, self.heads) for z in qkv)
            if self.positions == "rope":
                q, k = (turned(z, self.theta, neighbours=False) for z in (q, k))
            scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(self.hd)
            pattern = np.exp(scores - scores.max(-1, keepdims=True))
            pattern /= pattern.sum(-1, keepdims=True)
            self.patterns.append(pattern)
            mixed = np.einsum("hqk,khd->qhd", pattern, v).reshape(x.shape)
            x = bare(x + self.linear(f"{at}.self_attn.o_proj", mixed), self.eps)
            gate, up = np.split(self.linear(f"{at}.mlp.gate_up_proj", x), 2, -1)
            x = bare(x + self.linear(f"{at}.mlp.down_proj", silu(gate) * up), self.eps)
        return x


FAMILIES = {
    "loopformer": LoopFormer,
    "nanochat_recursive": Nanochat,
    "looped_nanochat": LoopedNanochat,
    "parcae": Parcae,
    "lds": Lds,
    "trm": Trm,
}
