"""What one decoder layer is made of, without its weights: sizes, choices and parameters.

No torch here, as in `architecture` beside this file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from loopscope.core.model.rope import Rope

NormKind = Literal["rms", "bare", "layer"]
NormSlot = Literal["attn_in", "attn_out", "resid_mid", "mlp_in", "mlp_out", "resid_post"]
# Names of the activations that `loopscope.core.model.activations` implements.
ACTIVATION_NAMES = (
    "gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_python_tanh",
    "gelu_pytorch_tanh", "hardswish", "laplace", "leaky_relu", "linear", "mish", "prelu",
    "quick_gelu", "relu", "relu2", "relu6", "sigmoid", "silu", "sqrtsoftplus", "swish", "tanh",
    "xielu",
)  # fmt: skip
# Shapes of the parameters of those that have some.
ACTIVATION_PARAMETERS: dict[str, dict[str, tuple[int, ...]]] = {
    "prelu": {"weight": (1,)},
    "xielu": {"alpha_p": (1,), "alpha_n": (1,), "beta": (), "eps": ()},
}
PRE_NORM: frozenset[NormSlot] = frozenset({"attn_in", "mlp_in"})


@dataclass(frozen=True, slots=True)
class LayerShape:
    """The sizes and choices of one decoder layer (see `loopscope.core.model.layers`).

    Parameters
    ----------
    d_model, n_heads, n_kv_heads, d_head, d_mlp
        Widths; ``n_kv_heads < n_heads`` means grouped-query attention.
    norms
        The filled norm slots.
    norm_kind
        "rms" (a weight), "bare" (RMS without one) or "layer" (mean removed, a weight and a bias).
    qk_norm
        RMSNorm on queries and keys before rotation: none, of each head, or of the full width;
        "bare" is one of each head without weights and after rotation (nanochat, Parcae).
    qk_eps
        The epsilon of a "bare" one.
    qk_bias
        Huginn's bias on queries and keys before rotation, ``[2, 1, H, d_head]``.
    qkv_clip
        Queries, keys and values are cut at plus and minus this, before their biases (Parcae); 0 for
        none.
    attn_gate
        What the heads mixed is multiplied by ``sigmoid(gate(x))``, entry by entry (HRM-Text).
    parallel
        Attention and MLP both read the layer's input (GPT-NeoX) and are added together.
    bias
        Which matrices have one: "qkv", "attn_proj", "attn_gate", "mlp".
    value_rows
        Rows of a table whose entry of each token is added to the values, times
        ``2 sigmoid(gate x)`` with the gate reading the first entries of x; 0 for none (Parcae).
    modulated
        An embedding of the recurrence scales what the branches read and write (LoopFormer).
    window
        Keys that a query attends to at most, itself and those before it; 0 for all.
    score_scale
        What ``q k^T`` is multiplied by; None is ``1 / sqrt(d_head)``.
    """

    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_mlp: int
    norms: frozenset[NormSlot] = PRE_NORM
    norm_kind: NormKind = "rms"
    norm_eps: float = 1e-6
    activation: str = "silu"
    gated: bool = True
    causal: bool = True
    rope: Rope = Rope()
    qk_norm: Literal["none", "head", "full", "bare"] = "none"
    qk_eps: float = 1e-6
    qk_bias: bool = False
    qkv_clip: float = 0.0
    attn_gate: bool = False
    parallel: bool = False
    bias: frozenset[str] = field(default_factory=frozenset)
    value_rows: int = 0
    modulated: bool = False
    window: int = 0
    score_scale: float | None = None

    @property
    def scale(self) -> float:
        """What ``q k^T`` is multiplied by."""
        return self.d_head**-0.5 if self.score_scale is None else self.score_scale

    @property
    def value_gate_width(self) -> int:
        """Entries of its input that the gate of the value embeddings reads."""
        return min(32, self.d_model)

    @property
    def d_qkv(self) -> int:
        """Rows of the stacked q, k and v matrices."""
        return (self.n_heads + 2 * self.n_kv_heads) * self.d_head

    @property
    def matrix_entries(self) -> int:
        """Entries of every matrix a token is multiplied with."""
        mixed = self.n_heads * self.d_head
        attention = self.d_model * (self.d_qkv + mixed * (2 if self.attn_gate else 1))
        gate = self.n_kv_heads * self.value_gate_width if self.value_rows else 0
        return attention + gate + self.d_model * self.d_mlp * (3 if self.gated else 2)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the layer's parameters by name. ``mlp_up`` is gate and up, stacked."""
        d, d_up = self.d_model, self.d_mlp * (2 if self.gated else 1)
        shapes: dict[str, tuple[int, ...]] = {
            "qkv.weight": (self.d_qkv, d),
            "attn_proj.weight": (d, self.n_heads * self.d_head),
            "mlp_up.weight": (d_up, d),
            "mlp_down.weight": (d, self.d_mlp),
        }
        widths = {"qkv": self.d_qkv, "attn_proj": d, "mlp_up": d_up, "mlp_down": d}
        if self.attn_gate:
            widths["attn_gate"] = self.n_heads * self.d_head
            shapes["attn_gate.weight"] = (widths["attn_gate"], d)
        with_bias = {"qkv", "attn_proj", "attn_gate"} & self.bias
        with_bias |= {"mlp_up", "mlp_down"} if "mlp" in self.bias else set()
        shapes |= {f"{name}.bias": (widths[name],) for name in widths if name in with_bias}
        for slot in sorted(self.norms):
            shapes |= norm_shapes(f"norms.{slot}", d, self.norm_kind)
        if self.qk_norm in ("head", "full"):
            full = self.qk_norm == "full"
            shapes["q_norm.weight"] = (self.d_head * (self.n_heads if full else 1),)
            shapes["k_norm.weight"] = (self.d_head * (self.n_kv_heads if full else 1),)
        if self.value_rows:
            shapes["value_embed.weight"] = (self.value_rows, self.n_kv_heads * self.d_head)
            shapes["value_gate.weight"] = (self.n_kv_heads, self.value_gate_width)
        if self.modulated:
            shapes |= {"modulation.weight": (4 * d, d), "modulation.bias": (4 * d,)}
        if self.qk_bias:
            shapes["qk_bias"] = (2, 1, self.n_heads, self.d_head)
        return shapes | activation_shapes("act", self.activation)

    @property
    def n_parameters(self) -> int:
        """Parameters of one layer, biases and norm weights included."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def flops_per_token(self, n_tokens: int) -> int:
        """Floating-point operations of this layer for one token of a prompt of ``n_tokens``.

        ``2 x`` the entries of every matrix it is multiplied with, plus ``4 K H d_head`` for the
        scores and the weighted sum, K the mean number of keys that the prompt's tokens attend to.
        Norms and activations are not counted. Rounded.
        """
        attention = 4 * self.pairs(n_tokens) * self.n_heads * self.d_head
        return 2 * self.matrix_entries + round(attention / n_tokens)

    def pairs(self, n_tokens: int) -> int:
        """Pairs of a query and a key that it attends to.

        ``T (T + 1) / 2`` in causal attention, ``T²`` in bidirectional, fewer in a window.
        """
        seen = min(n_tokens, self.window) if self.window else n_tokens
        causal = seen * (seen + 1) // 2 + (n_tokens - seen) * seen
        return causal if self.causal else 2 * causal - n_tokens


def norm_shapes(name: str, d: int, kind: str) -> dict[str, tuple[int, ...]]:
    """Shapes of one norm's parameters."""
    if kind == "bare":
        return {}
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": (d,)}
    return shapes | ({f"{name}.bias": (d,)} if kind == "layer" else {})


def activation_shapes(name: str, activation: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters of one activation, mostly none."""
    parameters = ACTIVATION_PARAMETERS.get(activation, {})
    return {f"{name}.{parameter}": shape for parameter, shape in parameters.items()}
