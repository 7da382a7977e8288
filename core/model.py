"""The looped model itself: any `Architecture`, built of the one decoder layer.

The loop is *not* here: `Stepper` steps the model and nothing else iterates it, but for `forward`,
the plain forward pass that tests compare the stepper with.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from loopscope.core.architecture import Architecture
from loopscope.core.layers import DecoderLayer, LayerOutput, RMSNorm, rope_table


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
        if arch.closing_norm:
            self.closing_norm = RMSNorm(d, arch.norm_eps)
        self.final_norm = RMSNorm(d, arch.norm_eps)
        self.unembed = nn.Linear(d, arch.vocab_size, bias=False)
        if arch.tied_head:
            self.unembed.weight = self.embed.weight
        self._rope: dict[tuple[int, torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def rope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rotary tables for the length, device and dtype of ``x``, kept from call to call."""
        key = (x.shape[1], x.device, x.dtype)
        if key not in self._rope:
            table = rope_table(x.shape[1], self.arch.layer.d_head, self.arch.rope_theta, *key[1:])
            self._rope = {key: table}
        return self._rope[key]

    def prelude(self, tokens: Tensor) -> Tensor:
        """Injected input ``e``: int64 ``[B, T]`` to ``[B, T, d]``."""
        x: Tensor = self.embed(tokens) * self.arch.embedding_scale
        for layer in self.prelude_layers:
            x = layer(x, self.rope(x)).state
        return x

    def initial_state(self, e: Tensor, noise: Tensor | None = None) -> Tensor:
        """``s_0``, ``[B, T, d]``: ``noise`` if given, ``e`` without injection, else zeros."""
        if noise is not None:
            return noise.to(e)
        return e if self.arch.initial_state == "embedding" else torch.zeros_like(e)

    def open_recurrence(self, state: Tensor, e: Tensor) -> Tensor:
        """Input injection: what enters the block's first layer."""
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

    def close_recurrence(self, x: Tensor) -> Tensor:
        """Closing norm: the block's output to the state that is fed back."""
        if not self.arch.closing_norm:
            return x
        closed: Tensor = self.closing_norm(x)
        return closed

    def head(self, x: Tensor) -> Tensor:
        """Logit lens: final norm and unembedding, ``[B, T, d]`` to ``[B, T, V]``."""
        logits: Tensor = self.unembed(self.final_norm(x))
        return logits

    def readout(self, state: Tensor) -> Tensor:
        """Coda lens: coda, final norm and unembedding, ``[B, T, d]`` to ``[B, T, V]``."""
        for layer in self.coda_layers:
            state = layer(state, self.rope(state)).state
        return self.head(state)

    def recur(self, state: Tensor, e: Tensor) -> Tensor:
        """One whole recurrence without capture, ``s_r`` to ``s_{r+1}``."""
        x = self.open_recurrence(state, e)
        for layer in range(len(self.block)):
            x = self.run_layer(x, layer).state
        return self.close_recurrence(x)

    def forward(self, tokens: Tensor, n_recurrences: int) -> Tensor:
        """Plain forward: logits ``[B, T, V]`` after ``n_recurrences`` from the default start."""
        e = self.prelude(tokens)
        state = self.initial_state(e)
        for _ in range(n_recurrences):
            state = self.recur(state, e)
        return self.readout(state)
