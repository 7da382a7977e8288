"""The one decoder layer that every family is made of.

A layer has four optional norm slots around two branches (arXiv 2604.11791, section 3)::

    x = resid_mid( x + attn_out( attention( attn_in(x) ) ) )
    x = resid_post( x + mlp_out( mlp( mlp_in(x) ) ) )

Pre-norm models fill ``attn_in`` and ``mlp_in``; Huginn's sandwich fills ``attn_in``,
``resid_mid``, ``mlp_in`` and ``resid_post``; Ouro fills ``attn_in``, ``attn_out``, ``mlp_in`` and
``mlp_out``; OLMo-2 fills ``attn_out`` and ``mlp_out``. A slot that is not filled is the identity.

Axis names: ``B`` batch, ``T`` pos, ``d`` d_model, ``H`` head, ``K`` key/value heads, ``hd`` d_head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from loopscope.core.model.activations import make_activation
from loopscope.core.model.caching import KeysValues
from loopscope.core.model.layer_shape import LayerShape
from loopscope.core.model.norms import BareNorm, RMSNorm, make_norm, wide
from loopscope.core.model.rope import Rope


class LayerOutput(NamedTuple):
    """What one layer did.

    state : ``[B, T, d]`` residual stream after the layer.
    pattern : ``[B, H, T, T]`` attention probabilities (query, key), or None when not asked for.
    writes : ``[B, T, 2]`` euclidean norm of what attention and the MLP added to the residual
        stream, in that order, or None when not asked for.
    """

    state: Tensor
    pattern: Tensor | None
    writes: Tensor | None


@dataclass(frozen=True, slots=True)
class LayerEdit:
    """What is done to the inside of a layer in place of its own way.

    ablated : heads whose mixed values are set to zero.
    frozen : (head, pattern ``[T, T]``): heads whose pattern is given.
    attention, mlp : factors of what each branch adds.
    window : keys that a query may attend to, itself and those before it (in a bidirectional model
        on both sides); 0 for all.
    """

    ablated: tuple[int, ...] = ()
    frozen: tuple[tuple[int, Tensor], ...] = ()
    attention: float = 1.0
    mlp: float = 1.0
    window: int = 0


class LayerContext(NamedTuple):
    """What some layers read beside the residual stream.

    tokens : int64 ``[B, T]``, for layers that add value embeddings (Parcae).
    time : ``[d]``, the embedding of a recurrence, for layers that it modulates (LoopFormer).
    before : keys and values of the tokens before, where a text is continued.
    """

    tokens: Tensor | None = None
    time: Tensor | None = None
    before: KeysValues | None = None


def rope_table(
    rope: Rope, d_head: int, n_positions: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each ``[T, pairs]``.

    Angles are formed in float64, so that position 10,000 is as exact as position 1, and the
    rotation is done in float32 or better whatever the model's dtype. Of a ``rounded`` embedding
    they are formed in float32 and kept in bfloat16, as its published code does.
    """
    wide = torch.promote_types(dtype, torch.float32)
    if rope.rounded:
        exponent = torch.arange(0, d_head, 2, device="cpu", dtype=torch.float32) / d_head
        turns = torch.arange(n_positions, device="cpu", dtype=torch.float32)
        angle = torch.outer(turns, 1.0 / rope.theta**exponent)
        return angle.cos().bfloat16().to(device, wide), angle.sin().bfloat16().to(device, wide)
    frequency = torch.from_numpy(rope.frequencies(d_head, n_positions))
    angle = torch.arange(n_positions, device="cpu", dtype=torch.float64)[:, None] * frequency
    factor = rope.scaling.attention_factor
    return (angle.cos() * factor).to(device, wide), (angle.sin() * factor).to(device, wide)


def rotate(x: Tensor, table: tuple[Tensor, Tensor], rope: Rope) -> Tensor:
    """Rotate ``[B, H, T, hd]`` by position; dimensions beyond the table's stay as they are."""
    cos, sin = table
    width = 2 * cos.shape[-1]
    turned, kept = x[..., :width].to(cos.dtype), x[..., width:]
    if rope.pairs == "half":
        a, b = turned.chunk(2, dim=-1)
        out = torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
    else:
        a, b = turned[..., 0::2], turned[..., 1::2]
        out = torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2)
    out = out.to(x.dtype)
    return torch.cat([out, kept], dim=-1) if width < x.shape[-1] else out


def hidden_keys(
    t: int, causal: bool, window: int, device: torch.device, n: int = 0
) -> Tensor | None:
    """Which keys a query does not see, bool ``[n, T]`` (query, key); None where it sees all.

    The queries are of the last ``n`` of the ``T`` tokens; of all of them where it is 0.
    """
    if not (causal or window):
        return None
    make = _kept_hidden if (n or t) * t <= _KEPT_MASK else _hidden
    return make(t, causal, window, device, n)


def _hidden(t: int, causal: bool, window: int, device: torch.device, n: int) -> Tensor:
    # Kept for callers in and out of inference mode: autograd may save it.
    with torch.inference_mode(False):
        return _made_hidden(t, causal, window, device, n)


_kept_hidden = lru_cache(maxsize=32)(_hidden)


def _made_hidden(t: int, causal: bool, window: int, device: torch.device, n: int) -> Tensor:
    every = torch.ones(n or t, t, dtype=torch.bool, device=device)
    before = t - (n or t)
    hidden = every.triu(before + 1) if causal else every.triu(before + window)
    return hidden | every.tril(before - window) if window else hidden


# Masks of at most so many entries are kept, as every layer of every recurrence asks for one.
_KEPT_MASK = 1 << 20
# Queries whose attention is worked out at a time, where that is done in parts.
PART = 128

NO_EDIT = LayerEdit()
NO_CONTEXT = LayerContext()


class DecoderLayer(nn.Module):
    """One layer: attention and MLP with the norm slots that ``shape`` fills."""

    def __init__(self, shape: LayerShape) -> None:
        super().__init__()
        self.shape = s = shape
        self.qkv = nn.Linear(s.d_model, s.d_qkv, bias="qkv" in s.bias)
        self.attn_proj = nn.Linear(s.n_heads * s.d_head, s.d_model, bias="attn_proj" in s.bias)
        self.mlp_up = nn.Linear(s.d_model, s.d_mlp * (2 if s.gated else 1), bias="mlp" in s.bias)
        self.mlp_down = nn.Linear(s.d_mlp, s.d_model, bias="mlp" in s.bias)
        self.norms = nn.ModuleDict(
            {slot: make_norm(s.norm_kind, s.d_model, s.norm_eps) for slot in sorted(s.norms)}
        )
        if s.attn_gate:
            self.attn_gate = nn.Linear(s.d_model, s.n_heads * s.d_head, bias="attn_gate" in s.bias)
        if s.qk_norm == "bare":
            self.qk_norm = BareNorm(s.qk_eps)
        elif s.qk_norm != "none":
            full = s.qk_norm == "full"
            self.q_norm = RMSNorm(s.d_head * (s.n_heads if full else 1), s.norm_eps)
            self.k_norm = RMSNorm(s.d_head * (s.n_kv_heads if full else 1), s.norm_eps)
        if s.value_rows:
            self.value_embed = nn.Embedding(s.value_rows, s.n_kv_heads * s.d_head)
            self.value_gate = nn.Linear(s.value_gate_width, s.n_kv_heads, bias=False)
        if s.modulated:
            self.modulation = nn.Linear(s.d_model, 4 * s.d_model)
        if s.qk_bias:
            self.qk_bias = nn.Parameter(torch.zeros(2, 1, s.n_heads, s.d_head))
        self.act = make_activation(s.activation)

    def _norm(self, slot: str, x: Tensor) -> Tensor:
        return self.norms[slot](x) if slot in self.shape.norms else x

    def attention(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor] | None,
        want_pattern: bool,
        edit: LayerEdit | None = None,
        context: LayerContext = NO_CONTEXT,
    ) -> tuple[Tensor, Tensor | None]:
        """What attention writes, ``[B, T, d]``, and its pattern ``[B, H, T, T]`` if wanted.

        The pattern costs an explicit softmax; without it torch's fused kernel is used. Both
        compute ``softmax(scale q k^T) v``. The pattern of an ablated head is the one it has.
        """
        edit = edit or NO_EDIT
        q, k, v = self._queries_keys_values(x, rope, context)
        pattern = None
        if want_pattern or edit.window or edit.frozen:
            if _in_parts(q, k, edit) and self.shape.causal:
                pattern, mixed = self._causal_pattern(q, k, v)
            else:
                pattern = self._pattern(q, k, edit)
                mixed = pattern @ v
        else:
            mixed = self._fused(q, k, v)
        if edit.ablated:
            mixed = mixed.clone()
            mixed[:, list(edit.ablated)] = 0
        mixed = mixed.transpose(1, 2).flatten(2)
        if self.shape.attn_gate:
            mixed = torch.sigmoid(self.attn_gate(x)) * mixed
        return self.attn_proj(mixed), pattern

    def _queries_keys_values(
        self, x: Tensor, rope: tuple[Tensor, Tensor] | None, context: LayerContext
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values, each ``[B, H, T, hd]``.

        Keys and values are of the tokens before, too, where ``context`` has them.
        """
        s = self.shape
        heads = (s.n_heads, s.n_kv_heads, s.n_kv_heads)
        q, k, v = self.qkv(x).split([n * s.d_head for n in heads], dim=-1)
        if s.qk_norm == "full":
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (z.unflatten(-1, (n, s.d_head)) for z, n in zip((q, k, v), heads, strict=True))
        if s.value_rows:
            v = v + self._embedded_values(x, context)
        if s.qk_norm == "head":
            q, k = self.q_norm(q), self.k_norm(k)
        if s.qkv_clip:
            q, k, v = (z.clamp(-s.qkv_clip, s.qkv_clip) for z in (q, k, v))
        if s.qk_bias:
            q, k = q + self.qk_bias[0], k + self.qk_bias[1]
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if rope is not None:
            q, k = rotate(q, rope, s.rope), rotate(k, rope, s.rope)
        if s.qk_norm == "bare":
            q, k = self.qk_norm(q), self.qk_norm(k)
        if context.before is not None:
            k, v = context.before.extended(k, v)
        if s.n_kv_heads != s.n_heads:
            k = k.repeat_interleave(s.n_heads // s.n_kv_heads, dim=1)
            v = v.repeat_interleave(s.n_heads // s.n_kv_heads, dim=1)
        return q, k, v

    def _embedded_values(self, x: Tensor, context: LayerContext) -> Tensor:
        """What the tokens themselves add to the values, ``[B, T, K, hd]``, gated by the input."""
        if context.tokens is None:
            raise RuntimeError("the model's layers read the prompt: bind it with `bound` first")
        s = self.shape
        gate = 2 * torch.sigmoid(self.value_gate(x[..., : s.value_gate_width]))
        values: Tensor = self.value_embed(context.tokens).unflatten(-1, (s.n_kv_heads, s.d_head))
        return gate[..., None] * values

    def _pattern(self, q: Tensor, k: Tensor, edit: LayerEdit) -> Tensor:
        """Attention probabilities ``[B, H, T, T]``, of frozen heads those that are given."""
        s = self.shape
        scores = self._scores(q, k)
        windows = [window for window in (s.window, edit.window) if window]
        n, t, window = q.shape[2], k.shape[2], min(windows, default=0)
        hidden = hidden_keys(t, s.causal, window, q.device, n)
        if hidden is not None:
            scores.masked_fill_(hidden, -math.inf)
        scores = wide(scores)
        # Each entry is written after its row was read; only where nothing is derived from it.
        place = scores if scores.is_cpu and torch.is_inference_mode_enabled() else None
        pattern = torch.softmax(scores, -1, out=place).to(q.dtype)
        for head, held in edit.frozen:
            pattern[:, head] = held.to(pattern)
        return pattern

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        """``scale q k^T``, ``[B, H, n, T]``."""
        scale = self.shape.scale
        if math.frexp(scale)[0] == 0.5:  # a power of two: the same bits, without a pass over scores
            return (q * scale) @ k.transpose(-1, -2)
        # In place, to the same bits: at a thousand tokens fresh memory costs more than the sums.
        return (q @ k.transpose(-1, -2)).mul_(scale)

    def _causal_pattern(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The pattern ``[B, H, T, T]`` and what it mixes, without the keys that nobody sees.

        Some queries at a time: half of all scores, and what is worked on stays in the cache.
        """
        window, t = self.shape.window, q.shape[2]
        pattern, mixed = _zeros((*q.shape[:3], t), q.dtype), torch.empty_like(v)
        for start in range(0, t, PART):
            end = min(start + PART, t)
            first = max(0, start + 1 - window) if window else 0
            scores = self._scores(q[:, :, start:end], k[:, :, first:end])
            own = scores if window else scores[..., start:]
            hidden = hidden_keys(own.shape[-1], True, window, q.device, end - start)
            assert hidden is not None
            own.masked_fill_(hidden, -math.inf)
            scores = wide(scores)
            part = torch.softmax(scores, -1, out=scores).to(q.dtype)
            pattern[:, :, start:end, first:end] = part
            mixed[:, :, start:end] = part @ v[:, :, first:end]
        return pattern, mixed

    def _fused(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Values mixed by torch's kernel, ``[B, H, T, hd]``."""
        s, n, t = self.shape, q.shape[2], k.shape[2]
        if (s.window and s.window < t) or 1 < n < t:
            hidden = hidden_keys(t, s.causal, s.window, q.device, n)
            assert hidden is not None
            return F.scaled_dot_product_attention(q, k, v, ~hidden, scale=s.scale)
        # The last token alone sees all; torch's flag would have it see the first key only.
        return F.scaled_dot_product_attention(q, k, v, is_causal=s.causal and n == t, scale=s.scale)

    def mlp(self, x: Tensor) -> Tensor:
        """What the MLP writes, ``[B, T, d]``; gated ``down(act(gate) * up)``, gate first."""
        hidden = self.mlp_up(x)
        if self.shape.gated:
            gate, up = hidden.chunk(2, dim=-1)
            hidden = self.act(gate) * up
        else:
            hidden = self.act(hidden)
        written: Tensor = self.mlp_down(hidden)
        return written

    @override
    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor] | None,
        want_pattern: bool = False,
        want_writes: bool = False,
        edit: LayerEdit | None = None,
        context: LayerContext = NO_CONTEXT,
    ) -> LayerOutput:
        """Run the layer on ``[B, T, d]``, with its inside changed where ``edit`` is given."""
        if self.shape.modulated:
            return self._modulated(x, rope, want_pattern, want_writes, edit, context)
        normed = self._norm("attn_in", x)
        wrote_attn, pattern = self.attention(normed, rope, want_pattern, edit, context)
        wrote_attn = self._norm("attn_out", wrote_attn)
        if edit is not None and edit.attention != 1:
            wrote_attn = edit.attention * wrote_attn
        if self.shape.parallel:
            wrote_mlp = self.mlp(self._norm("mlp_in", x))
        else:
            x = self._norm("resid_mid", x + wrote_attn)
            wrote_mlp = self._norm("mlp_out", self.mlp(self._norm("mlp_in", x)))
        if edit is not None and edit.mlp != 1:
            wrote_mlp = edit.mlp * wrote_mlp
        if self.shape.parallel:
            x = x + wrote_attn + wrote_mlp
        else:
            x = self._norm("resid_post", x + wrote_mlp)
        return LayerOutput(x, pattern, _writes(wrote_attn, wrote_mlp) if want_writes else None)

    def _modulated(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor] | None,
        want_pattern: bool,
        want_writes: bool,
        edit: LayerEdit | None,
        context: LayerContext,
    ) -> LayerOutput:
        """LoopFormer's layer: the recurrence's embedding scales what is read and what is written.

        ``x += g_a attn(rms(x) (1 + s_a))``; ``x += g_m mlp(rms(x) (1 + s_m))``, with
        ``(g_a, g_m, s_a, s_m) = W silu(c) + b`` (arXiv 2602.11451).
        """
        assert context.time is not None
        edit = edit or NO_EDIT
        gates = self.modulation(F.silu(context.time)).chunk(4, dim=-1)
        gate_attn, gate_mlp, scale_attn, scale_mlp = gates
        read = self._norm("attn_in", x) * (1 + scale_attn)
        wrote_attn, pattern = self.attention(read, rope, want_pattern, edit, context)
        wrote_attn = edit.attention * gate_attn * wrote_attn
        x = x + wrote_attn
        wrote_mlp = edit.mlp * gate_mlp * self.mlp(self._norm("mlp_in", x) * (1 + scale_mlp))
        x = x + wrote_mlp
        return LayerOutput(x, pattern, _writes(wrote_attn, wrote_mlp) if want_writes else None)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros whose pages the system gives as they are written; torch would fill them first."""
    if dtype is not torch.float32:
        return torch.zeros(shape, dtype=dtype, device="cpu")
    return torch.from_numpy(np.zeros(shape, np.float32))


def _in_parts(q: Tensor, k: Tensor, edit: LayerEdit) -> bool:
    """Whether a causal pattern is worked out in parts: of long prompts, where nothing is derived.

    Not on an accelerator, which a large product suits, nor where an edit changes the pattern.
    """
    whole = edit.window or edit.frozen or q.shape[2] != k.shape[2]
    return q.is_cpu and q.shape[2] >= 2 * PART and not whole and torch.is_inference_mode_enabled()


def _writes(attn: Tensor, mlp: Tensor) -> Tensor:
    """Euclidean norms of what the two branches added, ``[B, T, 2]``."""
    norm = torch.linalg.vector_norm
    return torch.stack([norm(attn.float(), dim=-1), norm(mlp.float(), dim=-1)], -1)
