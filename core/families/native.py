"""Loopscope's own looped transformer, the architecture of the bundled checkpoint.

::

    e = prelude(scale * embed(tokens))
    s_0 = 0 (or seeded normal noise)
    s_{r+1} = norm( block( inject(s_r, e) ) )
    logits = unembed( final_norm( coda(s_R) ) )

Prelude, recurrent block and coda are stacks of pre-norm layers with RoPE (`loopscope.core.layers`).
Input injection is ``adapter(cat[s, e])`` ("concat"), ``s + e`` ("add") or none; without injection
``s_0 = e``, since nothing else tells the block what the prompt is. The closing norm can be left out.
The form follows Geiping et al. (arXiv 2502.05171).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn

from loopscope.core.layers import DecoderLayer, LayerOutput, LayerShape, RMSNorm, rope_table

MODEL_TYPE = "loopscope_looped"


@dataclass(frozen=True, slots=True)
class NativeConfig:
    """Everything that `config.json` of a native checkpoint says."""

    vocab_size: int
    hidden_size: int = 64
    num_attention_heads: int = 4
    intermediate_size: int = 256
    n_layers_in_prelude: int = 1
    n_layers_in_recurrent_block: int = 2
    n_layers_in_coda: int = 1
    trained_recurrences: int = 16
    max_position_embeddings: int = 256
    rope_theta: float = 100.0
    norm_eps: float = 1e-6
    embedding_scale: float = 35.0
    injection: Literal["concat", "add", "none"] = "concat"
    state_norm: bool = True
    initial_state: Literal["zeros", "normal"] = "zeros"

    @classmethod
    def from_json(cls, config: dict[str, Any]) -> NativeConfig:
        """Read a parsed `config.json`; keys of Hugging Face's own are ignored."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in config.items() if k in known})

    def to_json(self) -> dict[str, Any]:
        """Return the dictionary that is written as `config.json`."""
        return {"model_type": MODEL_TYPE, "dtype": "float32", **asdict(self)}


class NativeLooped(nn.Module):
    """The native looped transformer; see the module docstring for its equations."""

    def __init__(self, config: NativeConfig) -> None:
        super().__init__()
        self.config = c = config
        d_head = c.hidden_size // c.num_attention_heads
        shape = LayerShape(
            d_model=c.hidden_size,
            n_heads=c.num_attention_heads,
            n_kv_heads=c.num_attention_heads,
            d_head=d_head,
            d_mlp=c.intermediate_size,
            norm_eps=c.norm_eps,
            activation="gelu",
            gated=False,
        )

        def stack(n: int) -> nn.ModuleList:
            return nn.ModuleList(DecoderLayer(shape) for _ in range(n))

        self.embed = nn.Embedding(c.vocab_size, c.hidden_size)
        self.prelude_layers = stack(c.n_layers_in_prelude)
        self.block = stack(c.n_layers_in_recurrent_block)
        self.coda_layers = stack(c.n_layers_in_coda)
        if c.injection == "concat":
            self.adapter = nn.Linear(2 * c.hidden_size, c.hidden_size, bias=False)
        if c.state_norm:
            self.state_norm = RMSNorm(c.hidden_size, c.norm_eps)
        self.final_norm = RMSNorm(c.hidden_size, c.norm_eps)
        self.unembed = nn.Linear(c.hidden_size, c.vocab_size, bias=False)
        self._rope: dict[tuple[int, torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def rope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary tables for the length, device and dtype of ``x``, kept from call to call."""
        key = (x.shape[1], x.device, x.dtype)
        if key not in self._rope:
            d_head = self.config.hidden_size // self.config.num_attention_heads
            self._rope = {key: rope_table(x.shape[1], d_head, self.config.rope_theta, *key[1:])}
        return self._rope[key]

    def prelude(self, tokens: Tensor) -> Tensor:
        """Injected input ``e``: ``[B, T] int64 -> [B, T, d]``."""
        x = self.embed(tokens) * self.config.embedding_scale
        for layer in self.prelude_layers:
            x = layer(x, self.rope(x)).state
        return x

    def initial_state(self, e: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """``s_0``, ``[B, T, d]``: ``e`` itself without injection, else zeros or seeded noise."""
        if self.config.injection == "none":
            return e
        if self.config.initial_state == "zeros" or generator is None:
            return torch.zeros_like(e)
        return torch.randn(e.shape, generator=generator).to(e)

    def open_recurrence(self, state: Tensor, e: Tensor, r: int) -> Tensor:
        """Input injection: what enters the block's first layer at recurrence ``r``."""
        if self.config.injection == "concat":
            return self.adapter(torch.cat([state, e], dim=-1))
        return state + e if self.config.injection == "add" else state

    def run_layer(
        self, x: Tensor, layer: int, want_pattern: bool = False, want_writes: bool = False
    ) -> LayerOutput:
        """Run one layer of the recurrent block."""
        return self.block[layer](x, self.rope(x), want_pattern, want_writes)

    def close_recurrence(self, x: Tensor) -> Tensor:
        """Closing norm: block output to the state that is fed back."""
        return self.state_norm(x) if self.config.state_norm else x

    def head(self, x: Tensor) -> Tensor:
        """Logit lens: final norm and unembedding, ``[B, T, d] -> [B, T, V]``."""
        return self.unembed(self.final_norm(x))

    def readout(self, state: Tensor) -> Tensor:
        """Coda, final norm and unembedding, ``[B, T, d] -> [B, T, V]``."""
        for layer in self.coda_layers:
            state = layer(state, self.rope(state)).state
        return self.head(state)

    def recur(self, state: Tensor, e: Tensor, r: int) -> Tensor:
        """One whole recurrence, ``s_r -> s_{r+1}``."""
        x = self.open_recurrence(state, e, r)
        for layer in range(len(self.block)):
            x = self.run_layer(x, layer).state
        return self.close_recurrence(x)

    def forward(self, tokens: Tensor, n_recurrences: int) -> Tensor:
        """Plain forward: logits ``[B, T, V]`` after ``n_recurrences``."""
        e = self.prelude(tokens)
        state = self.initial_state(e)
        for r in range(n_recurrences):
            state = self.recur(state, e, r)
        return self.readout(state)
