"""Looped research models, written out plainly in float64 from their papers and published codes.

As `plain`: nothing of core is used. Each class holds one family; what its published code accepts is
drawn at random. Grids (TRM) are answered in place, behind the positions of their puzzle.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from conformance.cut import NO_EPS, LoopedNanochat, Nanochat, Parcae, bare, softplus
from conformance.plain import (
    F64,
    VOCABULARY,
    Model,
    Nanbeige,
    Nano,
    attend,
    gelu,
    rms,
    silu,
    turned,
)


class LoopFormer(Nano):
    """Layers whose branches are scaled by an embedding of the loop's time and step."""

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        rng, d = self.rng, self.d
        self.layers, self.loops = rng.randint(1, 3), rng.randint(1, 5)
        self.at = rng.choice(("", "gpt."))
        self.add(f"{self.at}transformer.wte.weight", VOCABULARY, d)
        self.add(f"{self.at}transformer.wpe.weight", 32, d)
        self.add(f"{self.at}transformer.norm_f.weight", d)
        for name in ("time", "dt"):
            for i, into in ((0, 256), (2, d)):
                self.add(f"{self.at}{name}_embedder.mlp.{i}.weight", d, into)
                self.add(f"{self.at}{name}_embedder.mlp.{i}.bias", d)
        for i in range(self.layers):
            at = f"{self.at}transformer.h.blocks.{i}"
            self.add_layer(at)
            del self.tensors[f"{at}.norm_1.weight"], self.tensors[f"{at}.norm_2.weight"]
            self.add(f"{at}.adaLN_modulation.1.weight", 4 * d, d)
            self.add(f"{at}.adaLN_modulation.1.bias", 4 * d)
        self.save(folder, self.settings() | {
            "model_type": "loopformer", "n_layer": self.layers, "num_loops": self.loops,
        })  # fmt: skip

    def embedder(self, name: str, u: float) -> F64:
        angle = u * 10000.0 ** (-np.arange(128) / 128)
        waves = np.concatenate([np.cos(angle), np.sin(angle)])
        at = f"{self.at}{name}_embedder.mlp"
        hidden = silu(waves @ self.tensors[f"{at}.0.weight"].T + self.tensors[f"{at}.0.bias"])
        out: F64 = hidden @ self.tensors[f"{at}.2.weight"].T + self.tensors[f"{at}.2.bias"]
        return out

    def logits(self) -> F64:
        wte = self.tensors[f"{self.at}transformer.wte.weight"]
        x = wte[list(self.ids)] + self.tensors[f"{self.at}transformer.wpe.weight"][: len(self.ids)]
        for r in range(self.loops):
            c = self.embedder("time", r / self.loops) + self.embedder("dt", 1 / self.loops)
            for i in range(self.layers):
                x = self.timed(f"{self.at}transformer.h.blocks.{i}", x, c)
        return rms(x, self.tensors[f"{self.at}transformer.norm_f.weight"], NO_EPS) @ wte.T

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


class Lds(Nanbeige):
    """A Llama, Qwen2 or Qwen3 cut in three, whose middle is looped behind a gate."""

    def __init__(self, seed: int, folder: Path) -> None:
        Model.__init__(self, seed)
        rng, d = self.rng, self.d
        self.base = rng.choice(("llama", "qwen2", "qwen3"))
        self.sizes = (rng.randint(0, 2), rng.randint(1, 2), rng.randint(0, 2))
        self.loops, n, self.rank = rng.randint(1, 4), sum(self.sizes), -(-d // 16)
        older = rng.random() < 0.3
        self.middle = "plateau" if older else "reasoning"
        self.add("encoder.embed_tokens.weight", VOCABULARY, d)
        self.add("decoder.norm.weight", d)
        self.add("decoder.lm_head.weight", VOCABULARY, d)
        gate = f"{self.middle}.gate"
        self.add(f"{gate}.A_log", d)
        self.add(f"{gate}.dt_input_proj.weight", self.rank, d)
        self.add(f"{gate}.delta_proj.weight", d, self.rank)
        self.add(f"{gate}.delta_proj.bias", d)
        for name, shape in (("0.weight", (d,)), ("0.bias", (d,)), ("1.weight", (1, d)),
                            ("1.bias", (1,))):  # fmt: skip
            self.add(f"q_head.{name}", *shape)
        for stack, size in zip(("encoder", self.middle, "decoder"), self.sizes, strict=True):
            for i in range(size):
                self.add_layer(f"{stack}.layers.{i}")
        first = sum(self.sizes[:2])
        ends = rng.random() < 0.5 and self.sizes[2] and first
        self.save(folder, {
            "model_type": "lds", "N": self.loops, "tie_word_embeddings": False,
            "encoder_layer_indices": list(range(self.sizes[0])),
            "decoder_layer_indices": [-first] if ends else list(range(first, n)),
            "halting_strategy": rng.choice(("threshold", "cdf", "convergence")),
            "base_config_dict": {
                "model_type": self.base, "vocab_size": VOCABULARY, "hidden_size": d,
                "num_attention_heads": self.heads, "num_key_value_heads": self.kv,
                "head_dim": self.hd, "intermediate_size": self.d_mlp, "num_hidden_layers": n,
                "rms_norm_eps": self.eps, "rope_theta": self.theta, "max_position_embeddings": 32,
                "tie_word_embeddings": self.tied,
            },
        })  # fmt: skip

    def add_layer(self, at: str) -> None:
        for name, heads in (("q", self.heads), ("k", self.kv), ("v", self.kv)):
            self.add(f"{at}.self_attn.{name}_proj.weight", heads * self.hd, self.d)
            if self.base == "qwen2":
                self.add(f"{at}.self_attn.{name}_proj.bias", heads * self.hd)
            if self.base == "qwen3" and name != "v":
                self.add(f"{at}.self_attn.{name}_norm.weight", self.hd)
        self.add(f"{at}.self_attn.o_proj.weight", self.d, self.d)
        for name in ("gate", "up"):
            self.add(f"{at}.mlp.{name}_proj.weight", self.d_mlp, self.d)
        self.add(f"{at}.mlp.down_proj.weight", self.d, self.d_mlp)
        self.add(f"{at}.input_layernorm.weight", self.d)
        self.add(f"{at}.post_attention_layernorm.weight", self.d)

    def linear(self, name: str, x: F64) -> F64:
        return super().linear(name, x) + self.tensors.get(f"{name}.bias", 0.0)

    def split(self, x: F64, heads: int) -> F64:
        return x.reshape(len(x), heads, self.hd)

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
        x = self.norm(f"{at}.input_layernorm", h)
        q, k, v = (
            self.split(self.linear(f"{at}.self_attn.{name}_proj", x), heads)
            for name, heads in (("q", self.heads), ("k", self.kv), ("v", self.kv))
        )
        if self.base == "qwen3":
            q, k = (self.norm(f"{at}.self_attn.{n}_norm", z) for n, z in (("q", q), ("k", k)))
        q, k = (turned(z, self.theta, neighbours=False) for z in (q, k))
        mixed, pattern = attend(q, k, v)
        self.patterns.append(pattern)
        h = h + self.linear(f"{at}.self_attn.o_proj", mixed)
        x = self.norm(f"{at}.post_attention_layernorm", h)
        gate, up = (self.linear(f"{at}.mlp.{name}_proj", x) for name in ("gate", "up"))
        return h + self.linear(f"{at}.mlp.down_proj", silu(gate) * up)


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
