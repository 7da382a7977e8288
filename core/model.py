"""The looped model itself: any `Architecture`, built of the one decoder layer.

The loop is *not* here: `Stepper` steps the model and nothing else iterates it, but for `forward`,
the plain forward pass that tests compare the stepper with.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from loopscope.core.architecture import Architecture
from loopscope.core.layers import DecoderLayer, LayerOutput, make_norm, rope_table


class LoopedModel(nn.Module):
    """``e = prelude(tokens)``; ``s_{r+1} = close(block(inject(s_r, e)))``; ``head(coda(s_R))``.

    Axis names: ``B`` batch, ``T`` pos, ``d`` d_model, ``V`` vocab.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        d = arch.d_model

        def stack(n: int) -> nn.ModuleList:
            return nn.ModuleList(DecoderLayer(arch.layer) for _ in range(n))

        self.embed = nn.Embedding(arch.vocab_size, d)
        self.prelude_layers = stack(arch.n_prelude)
        self.block = stack(arch.n_block)
        self.coda_layers = stack(arch.n_coda)
        if arch.injection == "concat":
            self.adapter = nn.Linear(2 * d, d, bias=False)
        kind, eps = arch.layer.norm_kind, arch.norm_eps
        if arch.closing_norm:
            self.closing_norm = make_norm(kind, d, eps)
        if arch.final_norm:
            self.final_norm = make_norm(kind, d, eps)
        if arch.learned_positions:
            self.positions = nn.Embedding(arch.max_positions, d)
        if arch.exit_gate:
            self.exit_gate = nn.Linear(d, 1)
        self.unembed = nn.Linear(d, arch.vocab_size, bias=False)
        if arch.tied_head:
            self.unembed.weight = self.embed.weight
        self._rope: dict[tuple[int, torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def rope(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """Rotary tables for the length, device and dtype of ``x``, kept from call to call."""
        layer = self.arch.layer
        if layer.rope.pairs == "none":
            return None
        key = (x.shape[1], x.device, x.dtype)
        if key not in self._rope:
            self._rope = {key: rope_table(layer.rope, layer.d_head, *key)}
        return self._rope[key]

    def prelude(self, tokens: Tensor) -> Tensor:
        """Injected input ``e``: int64 ``[B, T]`` to ``[B, T, d]``."""
        x: Tensor = self.embed(tokens) * self.arch.embedding_scale
        if self.arch.learned_positions:
            x = x + self.positions.weight[: x.shape[1]]
        for layer in self.prelude_layers:
            x = layer(x, self.rope(x)).state
        return x

    def initial_state(self, e: Tensor, noise: Tensor | None = None) -> Tensor:
        """``s_0``, ``[B, T, d]``: ``noise`` if given, ``e`` without injection, else zeros."""
        if noise is not None:
            return noise.to(e)
        return e if self.arch.initial_state == "embedding" else torch.zeros_like(e)

    def open_recurrence(self, state: Tensor, e: Tensor, first: bool) -> Tensor:
        """Input injection: what enters the block's first layer; ``first`` at recurrence 1."""
        if first and self.arch.skip_first_injection:
            return state
        if self.arch.injection == "concat":
            injected: Tensor = self.adapter(torch.cat([state, e], dim=-1))
            return injected
        return state + e if self.arch.injection == "add" else state

    def run_layer(
        self, x: Tensor, layer: int, want_pattern: bool = False, want_writes: bool = False
    ) -> LayerOutput:
        """Run one layer of the recurrent block."""
        output: LayerOutput = self.block[layer](x, self.rope(x), want_pattern, want_writes)
        return output

    def close_recurrence(self, x: Tensor, state: Tensor) -> Tensor:
        """From the block's output and the state it began with to the next state."""
        if self.arch.closing_norm:
            x = self.closing_norm(x)
        if self.arch.damping != 1.0:
            x = state + self.arch.damping * (x - state)
        return x

    def head(self, x: Tensor) -> Tensor:
        """Logit lens: final norm and unembedding, ``[B, T, d]`` to ``[B, T, V]``."""
        if self.arch.final_norm:
            x = self.final_norm(x)
        logits: Tensor = self.unembed(x)
        return logits

    def readout(self, state: Tensor) -> Tensor:
        """Coda lens: coda, final norm and unembedding, ``[B, T, d]`` to ``[B, T, V]``."""
        if self.arch.pre_coda_norm:
            state = self.final_norm(state)
        for layer in self.coda_layers:
            state = layer(state, self.rope(state)).state
        return self.head(state)

    def recur(self, state: Tensor, e: Tensor, first: bool = False) -> Tensor:
        """One whole recurrence without capture, ``s_r`` to ``s_{r+1}``."""
        x = self.open_recurrence(state, e, first)
        for layer in range(len(self.block)):
            x = self.run_layer(x, layer).state
        return self.close_recurrence(x, state)

    def forward(self, tokens: Tensor, n_recurrences: int) -> Tensor:
        """Plain forward: logits ``[B, T, V]`` after ``n_recurrences`` from the default start."""
        e = self.prelude(tokens)
        state = self.initial_state(e)
        for r in range(n_recurrences):
            state = self.recur(state, e, first=r == 0)
        return self.readout(state)
