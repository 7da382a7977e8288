"""Looped research models, written out plainly in float64 from their papers and published codes.

As `plain`: nothing of core is used. Each class holds one family; what its published code accepts is
drawn at random. Grids (TRM) are answered in place, behind the positions of their puzzle.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from conformance.cut import (
    LoopedNanochat,
    Nanochat,
    Parcae,
    bare,
    softplus,
)
from conformance.nano import LoopFormer
from conformance.plain import (
    F64,
    VOCABULARY,
    Model,
    attend,
    llama3,
    silu,
    turned,
)


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
