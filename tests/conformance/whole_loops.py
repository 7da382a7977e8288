"""Models that loop all their layers or are our own: Ouro, Nanbeige and native ones.

Written out plainly in float64 from their papers; as `plain`, nothing of core is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from conformance.plain import F64, VOCABULARY, Model, attend, gelu, silu, turned


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


FAMILIES = {"ouro": Ouro, "nanbeige": Nanbeige, "native": Native}
