"""What a model is made of, without its weights: sizes, choices, parameters and FLOPs.

An `Architecture` is read from a checkpoint's config (`loopscope.core.families`), built into a
model (`loopscope.core.model`) and drawn (`loopscope.core.views.graph`). No torch here: `inspect`
and the window's first paint need it before torch is imported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

from loopscope.core.errors import LoopscopeError

NormSlot = Literal["attn_in", "attn_out", "resid_mid", "mlp_in", "mlp_out", "resid_post"]
# Names of the activations that `loopscope.core.layers` implements.
ACTIVATION_NAMES = ("gelu", "gelu_new", "gelu_pytorch_tanh", "silu", "relu")
PRE_NORM: frozenset[NormSlot] = frozenset({"attn_in", "mlp_in"})


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary position embedding (Su et al., arXiv 2104.09864) and how it is stretched.

    Parameters
    ----------
    theta
        Base: frequency ``i`` is ``theta^(-2 i / dims)``.
    dims
        Rotated dimensions of a head, from its first; None rotates all.
    pairs
        Which dimensions rotate together: (i, i + dims/2), (2i, 2i + 1), or no rotation.
    scaling
        "linear" divides every frequency by ``factor``; "llama3" divides the low ones and blends
        between ``low_freq_factor`` and ``high_freq_factor`` (Llama 3.1's rule).
    """

    theta: float = 10000.0
    dims: int | None = None
    pairs: Literal["half", "neighbour", "none"] = "half"
    scaling: Literal["none", "linear", "llama3"] = "none"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_positions: int = 8192


@dataclass(frozen=True, slots=True)
class LayerShape:
    """The sizes and choices of one decoder layer (see `loopscope.core.layers`).

    Parameters
    ----------
    d_model, n_heads, n_kv_heads, d_head, d_mlp
        Widths; ``n_kv_heads < n_heads`` means grouped-query attention.
    norms
        The filled norm slots.
    norm_kind
        "rms" (a weight) or "layer" (mean removed, a weight and a bias).
    qk_norm
        RMSNorm on queries and keys before rotation: none, of each head, or of the full width.
    qk_bias
        Huginn's bias on queries and keys before rotation, ``[2, 1, H, d_head]``.
    parallel
        Attention and MLP both read the layer's input (GPT-NeoX) and are added together.
    bias
        Which matrices have one: "qkv", "attn_proj", "mlp".
    """

    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_mlp: int
    norms: frozenset[NormSlot] = PRE_NORM
    norm_kind: Literal["rms", "layer"] = "rms"
    norm_eps: float = 1e-6
    activation: str = "silu"
    gated: bool = True
    causal: bool = True
    rope: Rope = Rope()
    qk_norm: Literal["none", "head", "full"] = "none"
    qk_bias: bool = False
    parallel: bool = False
    bias: frozenset[str] = field(default_factory=frozenset)

    @property
    def d_qkv(self) -> int:
        """Rows of the stacked q, k and v matrices."""
        return (self.n_heads + 2 * self.n_kv_heads) * self.d_head

    @property
    def matrix_entries(self) -> int:
        """Entries of every matrix a token is multiplied with."""
        attention = self.d_model * (self.d_qkv + self.n_heads * self.d_head)
        return attention + self.d_model * self.d_mlp * (3 if self.gated else 2)

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
        with_bias = {"qkv", "attn_proj"} & self.bias
        with_bias |= {"mlp_up", "mlp_down"} if "mlp" in self.bias else set()
        shapes |= {f"{name}.bias": (widths[name],) for name in widths if name in with_bias}
        for slot in sorted(self.norms):
            shapes |= norm_shapes(f"norms.{slot}", d, self.norm_kind)
        if self.qk_norm != "none":
            full = self.qk_norm == "full"
            shapes["q_norm.weight"] = (self.d_head * (self.n_heads if full else 1),)
            shapes["k_norm.weight"] = (self.d_head * (self.n_kv_heads if full else 1),)
        if self.qk_bias:
            shapes["qk_bias"] = (2, 1, self.n_heads, self.d_head)
        return shapes

    @property
    def n_parameters(self) -> int:
        """Parameters of one layer, biases and norm weights included."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def flops_per_token(self, n_keys: int) -> int:
        """Floating-point operations of this layer for one token that attends to ``n_keys`` keys.

        ``2 x`` the entries of every matrix it is multiplied with, plus ``4 n_keys H d_head`` for
        the scores and the weighted sum. Norms and activations are not counted.
        """
        return 2 * self.matrix_entries + 4 * n_keys * self.n_heads * self.d_head


def norm_shapes(name: str, d: int, kind: str) -> dict[str, tuple[int, ...]]:
    """Shapes of one norm's parameters."""
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": (d,)}
    return shapes | ({f"{name}.bias": (d,)} if kind == "layer" else {})


@dataclass(frozen=True, slots=True)
class Architecture:
    """A looped transformer: prelude, recurrent block, coda and what joins them.

    ``e = prelude(tokens)``; ``s_{r+1} = close(block(inject(s_r, e)))``;
    ``logits = head(coda(s_R))``. A deep model is one whose block is applied once.

    Parameters
    ----------
    trained_recurrences
        R of its training (the mean, where R was drawn); 1 for a deep model.
    learned_positions
        Position embeddings are looked up and added (GPT-2).
    injection
        "concat" is ``adapter(cat[s, e])``, "add" is ``s + e``.
    skip_first_injection
        Recurrence 1 begins at the state itself (retrofitted recurrence, "skip-adapter").
    closing_norm, pre_coda_norm, final_norm
        Norm on the state after each recurrence; the final norm once more before the coda
        (Huginn); norm before the head (Ouro has none: its closing norm serves).
    initial_state, start_std
        "zeros", "normal", "truncated" (normal with standard deviation ``start_std``, cut at three
        of them) or "embedding" (``s_0 = e``).
    exit_gate
        Ouro's gate: hazard ``sigmoid(w s_r + b)`` after each recurrence.
    damping
        Less than 1 steps only so far towards the block's output: ``s + damping (block(s) - s)``.
    """

    family: str
    vocab_size: int
    layer: LayerShape
    n_prelude: int
    n_block: int
    n_coda: int
    trained_recurrences: int
    max_positions: int
    norm_eps: float
    embedding_scale: float = 1.0
    learned_positions: bool = False
    injection: Literal["concat", "add", "none"] = "concat"
    skip_first_injection: bool = False
    closing_norm: bool = True
    pre_coda_norm: bool = False
    final_norm: bool = True
    initial_state: Literal["zeros", "normal", "truncated", "embedding"] = "zeros"
    start_std: float = 1.0
    exit_gate: bool = False
    tied_head: bool = False
    damping: float = 1.0

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.layer.d_model

    @property
    def unique_depth(self) -> int:
        """Layers with weights of their own: ``prelude + L + coda``."""
        return self.n_prelude + self.n_block + self.n_coda

    def effective_depth(self, n_recurrences: int) -> int:
        """Layers that run: ``prelude + R L + coda``."""
        return self.n_prelude + n_recurrences * self.n_block + self.n_coda

    @property
    def injection_weights(self) -> int:
        """Entries of the adapter of input injection."""
        return 2 * self.d_model**2 if self.injection == "concat" else 0

    def parameters(self) -> dict[str, int]:
        """Parameters of each part, each set of weights counted once."""
        parts = dict.fromkeys(PART_OF.values(), 0)
        for name, shape in parameter_shapes(self).items():
            parts[PART_OF[name.split(".")[0]]] += math.prod(shape)
        return parts

    @property
    def n_parameters(self) -> int:
        """Unique parameters."""
        return sum(self.parameters().values())

    def effective_parameters(self, n_recurrences: int) -> int:
        """Parameters of the deep unrolling: what repeats is counted once for each recurrence."""
        parts = self.parameters()
        repeated = parts["injection"] + parts["block"] + parts["closing norm"]
        return self.n_parameters + (n_recurrences - 1) * repeated

    def flops_per_token(self, n_recurrences: int, n_keys: int) -> int:
        """Operations for one token and one readout after ``n_recurrences``.

        See `LayerShape.flops_per_token`; the embedding look-up is not counted.
        """
        layers = self.effective_depth(n_recurrences) * self.layer.flops_per_token(n_keys)
        injected = n_recurrences - (1 if self.skip_first_injection and n_recurrences else 0)
        injection = 2 * self.injection_weights * injected
        return layers + injection + 2 * self.vocab_size * self.d_model


# First word of a parameter's name to the part of the model it belongs to.
PART_OF = {
    "embed": "embedding",
    "positions": "embedding",
    "prelude_layers": "prelude",
    "adapter": "injection",
    "block": "block",
    "closing_norm": "closing norm",
    "coda_layers": "coda",
    "final_norm": "final norm",
    "unembed": "head",
    "exit_gate": "exit gate",
}
STACKS = ("prelude_layers", "block", "coda_layers")


@lru_cache(maxsize=64)
def parameter_shapes(arch: Architecture) -> dict[str, tuple[int, ...]]:
    """Shapes of our model's parameters by name: what loading, inspecting and saving share."""
    d, layer = arch.d_model, arch.layer.shapes()
    shapes: dict[str, tuple[int, ...]] = {"embed.weight": (arch.vocab_size, d)}
    if arch.learned_positions:
        shapes["positions.weight"] = (arch.max_positions, d)
    for stack, n in zip(STACKS, (arch.n_prelude, arch.n_block, arch.n_coda), strict=True):
        for i in range(n):
            shapes |= {f"{stack}.{i}.{name}": shape for name, shape in layer.items()}
    if arch.injection == "concat":
        shapes["adapter.weight"] = (d, 2 * d)
    if arch.closing_norm:
        shapes |= norm_shapes("closing_norm", d, arch.layer.norm_kind)
    if arch.final_norm:
        shapes |= norm_shapes("final_norm", d, arch.layer.norm_kind)
    if arch.exit_gate:
        shapes |= {"exit_gate.weight": (1, d), "exit_gate.bias": (1,)}
    if not arch.tied_head:
        shapes["unembed.weight"] = (arch.vocab_size, d)
    return shapes


def with_loop(arch: Architecture, first: int, last: int, damping: float) -> Architecture:
    """Loop layers ``first`` to ``last - 1`` of a deep model without training (arXiv 2605.23872).

    ``s <- s + damping (span(s) - s)`` at each recurrence; damping 1 is plain repetition, which
    usually hurts. One recurrence with damping 1 is the deep model itself.
    """
    depth = arch.unique_depth
    if arch.injection != "none" or arch.closing_norm or arch.trained_recurrences != 1:
        raise LoopscopeError("only the layers of a deep model can be looped without training")
    if not 0 <= first < last <= depth:
        raise LoopscopeError(f"cannot loop layers {first}:{last}; the model has 0:{depth}")
    if not 0 < damping <= 1:
        raise LoopscopeError(f"damping {damping:g} is not above 0 and at most 1")
    return replace(
        arch, n_prelude=first, n_block=last - first, n_coda=depth - last, damping=damping
    )
