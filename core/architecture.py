"""What a model is made of, without its weights: sizes, choices, parameters and FLOPs.

An `Architecture` is read from a checkpoint's config (`loopscope.core.families`), built into a
model (`loopscope.core.model`) and drawn (`loopscope.core.views.graph`). No torch here: `inspect`
and the window's first paint need it before torch is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

NormSlot = Literal["attn_in", "attn_out", "resid_mid", "mlp_in", "mlp_out", "resid_post"]
PRE_NORM: frozenset[NormSlot] = frozenset({"attn_in", "mlp_in"})


@dataclass(frozen=True, slots=True)
class LayerShape:
    """The sizes and choices of one decoder layer (see `loopscope.core.layers`).

    Parameters
    ----------
    d_model, n_heads, n_kv_heads, d_head, d_mlp
        Widths; ``n_kv_heads < n_heads`` means grouped-query attention.
    norms
        The filled norm slots.
    rope_pairs
        Which dimensions rotate together: (i, i + d_head/2), (2i, 2i + 1), or no rotation.
    """

    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_mlp: int
    norms: frozenset[NormSlot] = PRE_NORM
    norm_eps: float = 1e-6
    activation: str = "silu"
    gated: bool = True
    causal: bool = True
    rope_pairs: Literal["half", "neighbour", "none"] = "half"
    bias: frozenset[str] = field(default_factory=frozenset)

    @property
    def attention_weights(self) -> int:
        """Entries of the attention matrices: q, k, v and the output projection."""
        d_qkv = (self.n_heads + 2 * self.n_kv_heads) * self.d_head
        return self.d_model * d_qkv + self.n_heads * self.d_head * self.d_model

    @property
    def mlp_weights(self) -> int:
        """Entries of the MLP matrices."""
        return self.d_model * self.d_mlp * (3 if self.gated else 2)

    @property
    def n_parameters(self) -> int:
        """Parameters of one layer, biases and norm weights included."""
        d_qkv = (self.n_heads + 2 * self.n_kv_heads) * self.d_head
        biases = {
            "qkv": d_qkv,
            "attn_proj": self.d_model,
            "mlp": self.d_mlp * (2 if self.gated else 1) + self.d_model,
        }
        return (
            self.attention_weights
            + self.mlp_weights
            + self.d_model * len(self.norms)
            + sum(biases[b] for b in self.bias)
        )

    def flops_per_token(self, n_keys: int) -> int:
        """Floating-point operations of this layer for one token that attends to ``n_keys`` keys.

        ``2 x`` the entries of every matrix it is multiplied with, plus ``4 n_keys H d_head`` for
        the scores and the weighted sum. Norms and activations are not counted.
        """
        matrices = self.attention_weights + self.mlp_weights
        return 2 * matrices + 4 * n_keys * self.n_heads * self.d_head


@dataclass(frozen=True, slots=True)
class Architecture:
    """A looped transformer: prelude, recurrent block, coda and what joins them.

    ``e = prelude(tokens)``; ``s_{r+1} = close(block(inject(s_r, e)))``;
    ``logits = head(coda(s_R))``. A deep model is one whose block is applied once.
    """

    family: str
    vocab_size: int
    layer: LayerShape
    n_prelude: int
    n_block: int
    n_coda: int
    trained_recurrences: int
    max_positions: int
    rope_theta: float
    norm_eps: float
    embedding_scale: float = 1.0
    injection: Literal["concat", "add", "none"] = "concat"
    closing_norm: bool = True
    initial_state: Literal["zeros", "normal", "embedding"] = "zeros"
    tied_head: bool = False

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
        n = self.layer.n_parameters
        d = self.d_model
        return {
            "embedding": self.vocab_size * d,
            "prelude": self.n_prelude * n,
            "injection": self.injection_weights,
            "block": self.n_block * n,
            "closing norm": d if self.closing_norm else 0,
            "coda": self.n_coda * n,
            "final norm": d,
            "head": 0 if self.tied_head else self.vocab_size * d,
        }

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
        injection = 2 * self.injection_weights * n_recurrences
        return layers + injection + 2 * self.vocab_size * self.d_model


def parameter_shapes(arch: Architecture) -> dict[str, tuple[int, ...]]:
    """Shapes of our model's parameters by name, in the order they are made.

    The one list that loading, inspecting and the native file format share. ``qkv`` holds q, k and
    v stacked, ``mlp_up`` gate and up stacked (gate first).
    """
    s, d = arch.layer, arch.d_model
    d_qkv = (s.n_heads + 2 * s.n_kv_heads) * s.d_head
    d_up = s.d_mlp * (2 if s.gated else 1)
    layer: dict[str, tuple[int, ...]] = {
        "qkv.weight": (d_qkv, d),
        "attn_proj.weight": (d, s.n_heads * s.d_head),
        "mlp_up.weight": (d_up, d),
        "mlp_down.weight": (d, s.d_mlp),
        **{f"norms.{slot}.weight": (d,) for slot in sorted(s.norms)},
    }
    biases = {"qkv": {"qkv": d_qkv}, "attn_proj": {"attn_proj": d}}
    biases["mlp"] = {"mlp_up": d_up, "mlp_down": d}
    for kind in sorted(s.bias):
        layer |= {f"{name}.bias": (width,) for name, width in biases[kind].items()}
    shapes: dict[str, tuple[int, ...]] = {"embed.weight": (arch.vocab_size, d)}
    stacks = {"prelude_layers": arch.n_prelude, "block": arch.n_block, "coda_layers": arch.n_coda}
    for stack, n in stacks.items():
        for i in range(n):
            shapes |= {f"{stack}.{i}.{name}": shape for name, shape in layer.items()}
    if arch.injection == "concat":
        shapes["adapter.weight"] = (d, 2 * d)
    if arch.closing_norm:
        shapes["closing_norm.weight"] = (d,)
    shapes["final_norm.weight"] = (d,)
    if not arch.tied_head:
        shapes["unembed.weight"] = (arch.vocab_size, d)
    return shapes
