"""The looped model itself: any `Architecture`, built of the one decoder layer.

The loop is *not* here: `Stepper` steps the model where a run is recorded, and what records nothing
(training, evaluation, prompt sets, the probe, dynamics) iterates `recur`. `forward` is the plain
forward pass that tests compare these with.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from loopscope.core.model.activations import make_activation
from loopscope.core.model.architecture import Architecture, Stack
from loopscope.core.model.caching import Cache, Part
from loopscope.core.model.joints import ClosingGate, TimeEmbedding, make_injection
from loopscope.core.model.layers import (
    NO_CONTEXT,
    DecoderLayer,
    LayerContext,
    LayerOutput,
    rope_table,
)
from loopscope.core.model.norms import make_norm

# Is given what a layer outside the loop puts out, its pattern included.
See = Callable[[LayerOutput], None]


class RecurrentState(NamedTuple):
    """All that passes from one recurrence to the next: a looped model has no other memory.

    state : ``s_r``, ``[B, T, d]``; ``z_H`` of a nested loop.
    fast : ``z_L`` of a nested loop, else None.
    change : what the block made of the last recurrence, less what that began with, where an exit
        gate reads it; no recurrence does.
    """

    state: Tensor
    fast: Tensor | None = None
    change: Tensor | None = None


class LoopedModel(nn.Module):
    """``e = prelude(tokens)``; ``s_{r+1} = close(block(inject(s_r, e)))``; ``head(coda(s_R))``.

    Axis names: ``B`` batch, ``T`` pos, ``d`` d_model, ``V`` vocab.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch

        def stack(name: Stack, n: int) -> nn.ModuleList:
            return nn.ModuleList(DecoderLayer(arch.shape_of(name, i)) for i in range(n))

        self.embed = nn.Embedding(arch.vocab_size, arch.d_embed)
        self.prelude_layers = stack("prelude", arch.n_prelude)
        self.block = stack("block", arch.n_unique_block)
        self.coda_layers = stack("coda", arch.n_coda)
        self._make_embedding(arch)
        self._make_loop(arch)
        self._make_head(arch)
        # Looked up at every layer of every recurrence.
        self._stack_depth = max(arch.n_stack, 1)
        self._weights = [arch.weights_of_layer(layer) for layer in range(arch.n_block)]
        self._rope: dict[tuple[int, torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}
        self._tokens: Tensor | None = None
        self._cache: Cache | None = None

    def _make_embedding(self, arch: Architecture) -> None:
        d, kind, eps = arch.d_model, arch.norm_kind, arch.norm_eps
        if arch.prefix:
            self.prefix = nn.Embedding(arch.prefix_rows, arch.prefix_width)
        if arch.learned_positions:
            self.positions = nn.Embedding(arch.max_positions, arch.d_embed)
        if arch.token_types:
            self.token_types = nn.Embedding(arch.token_types, arch.d_embed)
        if arch.embed_norm:
            self.embed_norm = make_norm(kind, arch.d_embed, eps)
        if arch.embed_width:
            self.embed_proj = nn.Linear(arch.d_embed, d)
        if arch.prelude_norm:
            self.prelude_norm = make_norm(kind, d, eps)
        if arch.layer.modulated:
            self.time_embed, self.step_embed = TimeEmbedding(d), TimeEmbedding(d)

    def _make_loop(self, arch: Architecture) -> None:
        d, kind, eps = arch.d_model, arch.norm_kind, arch.norm_eps

        def each_pass(make: Callable[[], nn.Module]) -> nn.Module:
            """One module, or in an untied loop a list with one for each pass."""
            passes = range(arch.untied_passes)
            return nn.ModuleList(make() for _ in passes) if passes else make()

        if arch.injection != "none" and not arch.inner_cycles:
            self.adapter = each_pass(lambda: make_injection(arch))
        if arch.closing_norm:
            self.closing_norm = each_pass(lambda: make_norm(kind, d, eps))
        if arch.closing_gate:
            self.closing_gate = ClosingGate(d, arch.closing_gate)
        if arch.initial_state == "learned":
            self.state_start = nn.Parameter(torch.zeros(d))
        if arch.inner_cycles:
            self.fast_start = nn.Parameter(torch.zeros(d))

    def _make_head(self, arch: Architecture) -> None:
        d, kind, eps = arch.d_model, arch.norm_kind, arch.norm_eps
        if arch.coda_proj:
            self.coda_proj = nn.Linear(d, d, bias=arch.coda_bias)
        if arch.final_norm:
            self.final_norm = make_norm(kind, d, eps)
        if arch.head_transform:
            self.head_dense = nn.Linear(d, arch.d_embed)
            self.head_act = make_activation(arch.layer.activation)
            self.head_norm = make_norm("layer", arch.d_embed, eps)
        if arch.exit_gate:
            self.exit_gate = nn.Linear(d, 1)
            if arch.exit_reads == "change":
                self.exit_norm = make_norm("layer", d, 1e-5)
        self.unembed = nn.Linear(arch.d_embed, arch.vocab_size, bias=arch.head_transform)
        if arch.tied_head:
            self.unembed.weight = self.embed.weight

    def bound(self, tokens: Tensor) -> LoopedModel:
        """Return the model for one prompt, int64 ``[B, T]``: itself, unless its layers read tokens.

        Then (Parcae's value embeddings) it is a view with the same weights that knows the prompt.
        """
        if not self.arch.reads_tokens:
            return self
        bound = copy.copy(self)
        bound._tokens = tokens
        return bound

    def continuing(self, tokens: Tensor, cache: Cache) -> LoopedModel:
        """Return a view of the model that runs ``tokens``, ``[B, n]``, after those of ``cache``."""
        continuing = copy.copy(self)
        continuing._tokens, continuing._cache = tokens, cache
        return continuing

    def context(self, part: Part = "block", recurrence: int = 0, layer: int = 0) -> LayerContext:
        """What a layer reads beside the stream; ``recurrence`` counts from 1 and is 0 outside.

        LoopFormer's step is ``dt = 1 / R`` for the R of its training, its time the steps before:
        more recurrences than that go on at the same pace.
        """
        reads = self.arch.reads_tokens or (self.arch.layer.modulated and recurrence)
        if not reads and self._cache is None:
            return NO_CONTEXT
        before = None if self._cache is None else self._cache.at(part, recurrence, layer)
        time = None
        if self.arch.layer.modulated and recurrence:
            step = 1 / self.arch.trained_recurrences
            start = self.time_embed.at((recurrence - 1) * step)
            time = start + self.step_embed.at(step)
        return LayerContext(self._tokens, time, before)

    def rope(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """Rotary tables for length, device and dtype of ``x``, ``[B, T, d]``; they are kept."""
        layer = self.arch.layer
        if layer.rope.pairs == "none":
            return None
        first, end = self._positions(x)
        key = (end if self._cache is None else self._cache.length, x.device, x.dtype)
        table = self._rope.get(key)
        if table is None:
            # Kept for callers in and out of inference mode: autograd may save it.
            with torch.inference_mode(False):
                table = rope_table(layer.rope, layer.d_head, *key)
            # Another thread may run a prompt of another length: never look it up a second time.
            self._rope = {key: table}
        return table if self._cache is None else (table[0][first:end], table[1][first:end])

    def _positions(self, x: Tensor) -> tuple[int, int]:
        """First and end of the positions of ``x``, ``[B, T, d]``."""
        first = 0 if self._cache is None else self._cache.n_kept
        return first, first + x.shape[1]

    def prelude(self, tokens: Tensor, see: See | None = None) -> Tensor:
        """Injected input ``e``: int64 ``[B, T]`` to ``[B, T, d]``; ``see`` is given each layer."""
        x, scale = self._looked_up(tokens), self.arch.embedding_scale
        if self.arch.learned_positions:
            positions = self.positions.weight[slice(*self._positions(x))]
            x = (x + positions) * scale if self.arch.scaled_positions else x * scale + positions
        else:
            x = x * scale
        if self.arch.token_types:
            x = x + self.token_types.weight[0]
        if self.arch.embed_norm:
            x = self.embed_norm(x)
        if self.arch.embed_width:
            x = self.embed_proj(x)
        bound = self.bound(tokens)
        for i, layer in enumerate(self.prelude_layers):
            x = _seen(layer, x, self.rope(x), bound.context("prelude", 0, i), see)
        return self.prelude_norm(x) if self.arch.prelude_norm else x

    def _looked_up(self, tokens: Tensor) -> Tensor:
        """The embedding's rows, and those of the prefix for ids beyond the vocabulary."""
        if not self.arch.prefix:
            rows: Tensor = self.embed(tokens)
            return rows
        spare = self.arch.prefix * self.arch.d_embed - self.arch.prefix_width
        prefix = F.pad(self.prefix.weight, (0, spare)).reshape(-1, self.arch.d_embed)
        return F.embedding(tokens, torch.cat([self.embed.weight, prefix]))

    def initial_state(self, e: Tensor, noise: Tensor | None = None) -> Tensor:
        """``s_0``, ``[B, T, d]``: ``noise`` if given, else the model's own, zeros if drawn."""
        if noise is not None:
            return noise.to(e)
        if self.arch.initial_state == "learned":
            return self.state_start.to(e).expand_as(e)
        return e if self.arch.initial_state == "embedding" else torch.zeros_like(e)

    def begin(self, state: Tensor) -> RecurrentState:
        """What the first recurrence starts from, for a given ``s_0``, ``[B, T, d]``."""
        if not self.arch.inner_cycles:
            return RecurrentState(state)
        return RecurrentState(state, self.fast_start.to(state).expand_as(state))

    def open_layer(
        self, x: Tensor, recurrent: RecurrentState, e: Tensor, layer: int, first: bool
    ) -> Tensor:
        """What enters ``layer``: the output ``x`` of the one before, unless a pass begins here.

        ``x``, ``e`` and what is returned are ``[B, T, d]``.
        ``first`` says that this is recurrence 1.
        """
        if layer % self._stack_depth:
            return x
        if recurrent.fast is not None:
            total = recurrent.state + recurrent.fast
            return total + e if self.arch.takes_input(layer) else total
        state = recurrent.state
        if first and self.arch.skip_first_injection:
            return state
        if self.arch.injection == "none":
            return state
        injected: Tensor = self._of_pass(self.adapter, layer)(state, e)
        return injected

    def _of_pass(self, module: nn.Module, layer: int) -> nn.Module:
        """The adapter or closing norm of the pass that ``layer`` belongs to."""
        if isinstance(module, nn.ModuleList):
            return module[layer // self._stack_depth]
        return module

    def norm_after(self, x: Tensor, layer: int) -> Tensor:
        """``x``, ``[B, T, d]``, as a closing norm after ``layer`` leaves it, if there is one."""
        if not self.arch.closing_norm:
            return x
        normed: Tensor = self._of_pass(self.closing_norm, layer)(x)
        return normed

    def run_layer(
        self,
        x: Tensor,
        layer: int,
        want_pattern: bool = False,
        want_writes: bool = False,
        recurrence: int = 1,
    ) -> LayerOutput:
        """Run a layer of the block on ``x``, ``[B, T, d]``, as at ``recurrence`` (from 1)."""
        output: LayerOutput = self.block[self._weights[layer]](
            x,
            self.rope(x),
            want_pattern,
            want_writes,
            None,
            self.context("block", recurrence, layer),
        )
        return output

    def close_layer(self, x: Tensor, recurrent: RecurrentState, layer: int) -> RecurrentState:
        """What is carried on after ``x``, ``[B, T, d]``, of ``layer``: it changes at a pass end."""
        arch = self.arch
        if (layer + 1) % self._stack_depth:
            return recurrent
        x = self.norm_after(x, layer)
        if layer + 1 < arch.n_block:
            return RecurrentState(x) if arch.untied_passes else RecurrentState(recurrent.state, x)
        change = x - recurrent.state if arch.exit_reads == "change" else None
        if arch.closing_gate:
            x = self.closing_gate(x, recurrent.state)
        if arch.damping != 1.0:
            x = recurrent.state + arch.damping * (x - recurrent.state)
        return RecurrentState(x, recurrent.fast, change)

    def head(self, x: Tensor) -> Tensor:
        """Logit lens: final norm and unembedding, ``[B, T, d]`` to ``[B, T, V]``."""
        if self.arch.final_norm:
            x = self.final_norm(x)
        if self.arch.head_transform:
            x = self.head_norm(self.head_act(self.head_dense(x)))
        logits: Tensor = self.unembed(x)
        cap = self.arch.logit_cap
        return cap * torch.tanh(logits / cap) if cap else logits

    def hazard(self, recurrent: RecurrentState) -> Tensor:
        """Chance that the exit gate leaves after a recurrence that was run, ``[B, T]``."""
        read = recurrent.state
        if self.arch.exit_reads == "change":
            assert recurrent.change is not None
            read = self.exit_norm(recurrent.change)
        elif self.arch.exit_reads == "first":
            read = read[:, :1].expand_as(read)
        return torch.sigmoid(self.exit_gate(read)[..., 0])

    def coda(self, state: Tensor, see: See | None = None) -> Tensor:
        """The layers after the loop, ``[B, T, d]`` to ``[B, T, d]``; ``see`` is given each."""
        if self.arch.pre_coda_norm:
            state = self.final_norm(state)
        if self.arch.coda_proj:
            state = self.coda_proj(state)
        for i, layer in enumerate(self.coda_layers):
            state = _seen(layer, state, self.rope(state), self.context("coda", 0, i), see)
        return state

    def readout(self, state: Tensor) -> Tensor:
        """Coda lens: coda, final norm and unembedding, ``[B, T, d]`` to ``[B, T, V]``."""
        return self.head(self.coda(state))

    def recur(
        self, recurrent: RecurrentState, e: Tensor, first: bool = False, recurrence: int = 0
    ) -> RecurrentState:
        """One whole recurrence without capture, ``s_r`` to ``s_{r+1}``; ``e`` is ``[B, T, d]``.

        ``recurrence`` is its number from 1, wanted by blocks that are modulated by it.
        """
        x = recurrent.state
        for layer in range(self.arch.n_block):
            opened = self.open_layer(x, recurrent, e, layer, first)
            x = self.run_layer(opened, layer, recurrence=recurrence).state
            recurrent = self.close_layer(x, recurrent, layer)
        return recurrent

    @override
    def forward(self, tokens: Tensor, n_recurrences: int) -> Tensor:
        """Plain forward: logits ``[B, T, V]`` after ``n_recurrences`` from the default start."""
        model, e = self.bound(tokens), self.prelude(tokens)
        recurrent = self.begin(self.initial_state(e))
        for r in range(n_recurrences):
            recurrent = model.recur(recurrent, e, first=r == 0, recurrence=r + 1)
        return model.readout(recurrent.state)


def _seen(
    layer: nn.Module,
    x: Tensor,
    rope: tuple[Tensor, Tensor] | None,
    context: LayerContext,
    see: See | None,
) -> Tensor:
    """Run a layer outside the loop; its pattern is worked out only where somebody looks."""
    out: LayerOutput = layer(x, rope, see is not None, context=context)
    if see is not None:
        see(out)
    return out.state
