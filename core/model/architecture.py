"""What a model is made of, without its weights: sizes, choices and parameters.

An `Architecture` is read from a checkpoint's config (`loopscope.core.families`), built into a
model (`looped_model` beside this file) and drawn (`loopscope.core.views.graph`). No torch here:
`inspect` and the window's first paint need it before torch is imported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from loopscope.core.model.layer_shape import (
    LayerShape,
    NormKind,
    activation_shapes,
    norm_shapes,
)
from loopscope.core.model.token_layout import TokenLayout

Stack = Literal["prelude", "block", "coda"]
ExitRule = Literal["distribution", "hazard"]
Task = Literal["", "hops"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A looped transformer: prelude, recurrent block, coda and what joins them.

    ``e = prelude(tokens)``; ``s_{r+1} = close(block(inject(s_r, e)))``;
    ``logits = head(coda(s_R))``. A deep model is one whose block is applied once.

    With ``inner_cycles`` the loop is nested (HRM-Text): a recurrence is one H cycle, in which the
    fast stack runs ``inner_cycles`` times, ``z_L = close(fast(z_L + z_H))``, and then the slow one
    once, ``z_H = close(slow(z_H + z_L))``. ``s`` is ``z_H``; the two stacks are equally deep. With
    injection "add" the passes of the fast state are given ``e`` as well (TRM, whose one stack
    serves both).

    With ``untied_passes`` the loop is untied: the block is applied once and consists of that many
    passes ``s <- close_p(layers_p(inject_p(s, e)))``, each with layers, injection and norm of its
    own. It is what a looped model becomes when its recurrences no longer share weights.

    Parameters
    ----------
    n_block
        Layers that run in one recurrence, ``L``; of a nested loop those of every pass.
    trained_recurrences
        R of its training (the mean, where R was drawn); 1 for a deep model.
    learned_positions
        Position embeddings are looked up and added (GPT-2).
    injection
        "concat" is ``adapter(cat[s, e])``, "add" is ``s + e``, "diagonal" is Parcae's
        ``exp(-dt exp(a)) s + dt B e`` with ``dt = softplus(c)``, entry by entry.
    adapter_bias
        The adapter of "concat" has a bias.
    prefix, prefix_rows, prefix_width
        Positions put before every prompt, which are read from a table of their own with a row of
        ``prefix_width`` numbers for each of ``prefix_rows`` puzzles (TRM); ids from ``vocab_size``
        on are these positions, those of puzzle 0 first.
    scaled_positions
        The learned positions are scaled as the embeddings are.
    skip_first_injection
        Recurrence 1 begins at the state itself (retrofitted recurrence, "skip-adapter").
    embed_norm, prelude_norm
        Norm on the embeddings (nanochat; ALBERT's before the projection) and on ``e`` (Parcae).
    closing_norm, pre_coda_norm, final_norm
        Norm on the state after each recurrence; the final norm once more before the coda
        (Huginn); norm before the head (Ouro has none: its closing norm serves).
    loop_norm_kind
        Kind of the norms outside the layers, where it is another than theirs (LoopFormer).
    closing_gate
        Width of LoopUS' gate that closes a recurrence, 0 for none: ``s <- a u + (1 - a) s`` with
        ``a = exp(-exp(a_log) softplus(W_2 W_1 (u - s) + b))`` for the block's output ``u``.
    coda_proj, coda_bias
        A matrix between the loop and the coda (Parcae's C), and whether it has a bias.
    logit_cap
        Logits are ``cap tanh(logits / cap)``; 0 leaves them as they are.
    initial_state, start_std
        "zeros", "normal", "truncated" (normal with standard deviation ``start_std``, cut at three
        of them), "embedding" (``s_0 = e``) or "learned" (one vector for all tokens).
    exit_gate, exit_reads
        A gate that gives each recurrence a hazard: ``sigmoid(w s_r + b)`` of the "state" (Ouro), of
        the state of the "first" position for all (TRM), or of the LayerNorm of the "change" that
        the block made before its gate (LoopUS).
    exit_threshold, exit_rule
        Where the model leaves: when its exit "distribution", or one "hazard", has reached the
        threshold; at 1 it never does before the end.
    inner_cycles
        Passes of the fast stack in one recurrence; 0 for a loop that is not nested.
    untied_passes
        Passes of an untied loop, which divide ``n_block``; 0 for a loop that shares its weights.
    embed_width
        Width of a factorised embedding that is normed and projected to d (ALBERT); 0 for none.
    token_types
        Rows of a table whose row 0 is added to every embedding (ALBERT).
    head_transform
        Activation and LayerNorm between a dense layer and the unembedding, which then has a bias
        (the masked-token head of ALBERT).
    damping
        Less than 1 steps only so far towards the block's output: ``s + damping (block(s) - s)``.
    task
        The task of Loopscope's own that a small model was trained on, answered where it is asked;
        "" for a model of text, which says the next token.
    looped_span
        Whether the block is a span of a deep model's layers that is looped without training.
    block_weights
        Which set of weights each layer of a recurrence runs with, where layers share them (ALBERT's
        groups); empty where each has its own or they are nested.
    layout
        The grid that a prompt's tokens stand in, None where they are a line (TRM has grids).
    layer_shapes
        Shape of each layer with weights of its own, prelude, block and coda in that order, where
        they differ (windows, scales, value embeddings); empty where all are ``layer``.
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
    injection: Literal["concat", "add", "diagonal", "none"] = "concat"
    adapter_bias: bool = False
    skip_first_injection: bool = False
    closing_norm: bool = True
    pre_coda_norm: bool = False
    final_norm: bool = True
    initial_state: Literal["zeros", "normal", "truncated", "embedding", "learned"] = "zeros"
    start_std: float = 1.0
    exit_gate: bool = False
    exit_reads: Literal["state", "first", "change"] = "state"
    exit_threshold: float = 1.0
    exit_rule: ExitRule = "distribution"
    tied_head: bool = False
    inner_cycles: int = 0
    untied_passes: int = 0
    embed_width: int = 0
    token_types: int = 0
    prefix: int = 0
    prefix_rows: int = 0
    prefix_width: int = 0
    scaled_positions: bool = False
    embed_norm: bool = False
    prelude_norm: bool = False
    loop_norm_kind: NormKind | None = None
    closing_gate: int = 0
    coda_proj: bool = False
    coda_bias: bool = False
    logit_cap: float = 0.0
    head_transform: bool = False
    damping: float = 1.0
    task: Task = ""
    looped_span: bool = False
    block_weights: tuple[int, ...] = ()
    layer_shapes: tuple[LayerShape, ...] = ()
    layout: TokenLayout | None = None

    def shape_of(self, stack: Stack, index: int) -> LayerShape:
        """Shape of layer ``index`` of a stack; of the block, of its sets of weights."""
        if not self.layer_shapes:
            return self.layer
        first = {"prelude": 0, "block": self.n_prelude}
        return self.layer_shapes[first.get(stack, self.n_prelude + self.n_unique_block) + index]

    @property
    def windows(self) -> tuple[int, ...]:
        """`LayerShape.window` of each layer of a recurrence, 0 for all keys."""
        weights = map(self.weights_of_layer, range(self.n_block))
        return tuple(self.shape_of("block", i).window for i in weights)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.layer.d_model

    @property
    def n_passes(self) -> int:
        """Passes through a stack of layers in one recurrence; 1 unless nested or untied."""
        return self.untied_passes or self.inner_cycles + 1

    @property
    def n_stack(self) -> int:
        """Layers of one pass."""
        return self.n_block // self.n_passes

    @property
    def n_unique_block(self) -> int:
        """Layers of the block with weights of their own."""
        if self.block_weights:
            return max(self.block_weights) + 1
        return 2 * self.n_stack if self.inner_cycles else self.n_block

    def weights_of_layer(self, layer: int) -> int:
        """Which of the block's `n_unique_block` sets of weights runs as ``layer`` of ``L``."""
        if self.block_weights:
            return self.block_weights[layer]
        if self.untied_passes:
            return layer
        slow = self.inner_cycles and layer >= self.inner_cycles * self.n_stack
        return layer % self.n_stack + (self.n_stack if slow else 0)

    def layer_name(self, layer: int) -> str:
        """Where layer ``layer`` of a recurrence is: "layer 1", or "L cycle 2, layer 1"."""
        if self.n_passes == 1:
            return f"layer {layer}"
        cycle, inner = divmod(layer, self.n_stack)
        if self.untied_passes:
            return f"pass {cycle + 1}, layer {inner}"
        stack = f"L cycle {cycle + 1}" if cycle < self.inner_cycles else "H"
        return f"{stack}, layer {inner}"

    def layer_mark(self, layer: int) -> str:
        """The same, short: "1", or "L2.1" (L cycle 2, layer 1 of the fast stack) and "H.0"."""
        if self.n_passes == 1:
            return str(layer)
        cycle, inner = divmod(layer, self.n_stack)
        if self.untied_passes:
            return f"P{cycle + 1}.{inner}"
        return f"L{cycle + 1}.{inner}" if cycle < self.inner_cycles else f"H.{inner}"

    def takes_input(self, layer: int) -> bool:
        """Whether ``e`` enters the pass that begins with ``layer`` of the block."""
        slow = self.inner_cycles and layer >= self.inner_cycles * self.n_stack
        return self.injection != "none" and not slow and layer % max(self.n_stack, 1) == 0

    @property
    def layer_names(self) -> tuple[str, ...]:
        """`layer_name` of every layer of a recurrence."""
        return tuple(map(self.layer_name, range(self.n_block)))

    def head_name(self, layer: int, head: int) -> str:
        """``layer.head``, such as "1.0", or "L2.1.0" in a nested loop."""
        return f"{self.layer_mark(layer)}.{head}"

    @property
    def block_words(self) -> str:
        """What the block is: "2-layer block", or "nested block of 3 x 2 + 2 layers"."""
        if self.runs_once and self.n_block == self.unique_depth:
            return f"deep, {self.n_block} layers run once"
        if self.untied_passes:
            return f"untied loop, {self.untied_passes} passes × {self.n_stack} layers"
        if self.block_weights and not self.inner_cycles:
            return f"block of {self.n_block} layers with {self.n_unique_block} sets of weights"
        if not self.inner_cycles:
            return f"{self.n_block}-layer block"
        return f"nested block, L {self.inner_cycles} × {self.n_stack} + H {self.n_stack} layers"

    @property
    def answers_in_place(self) -> bool:
        """Whether an answer is read out where it is asked, not at the position before it."""
        return self.masked or bool(self.task)

    @property
    def masked(self) -> bool:
        """Whether a position is read out as the token that stands there (ALBERT), not the next."""
        return not self.layer.causal

    @property
    def deep(self) -> bool:
        """Whether this is a deep model: trained with every layer applied once.

        Stays true where a span of its layers is looped afterwards; `runs_once` does not.
        """
        loops = self.injection != "none" or self.closing_norm or self.masked
        return not loops and self.trained_recurrences == 1

    @property
    def runs_once(self) -> bool:
        """Whether this is a deep model as it is: its block is applied once and no more."""
        return self.deep and not self.looped_span

    @property
    def starts(self) -> tuple[str, ...]:
        """The start states that can be chosen: one that is learned or made of the prompt alone."""
        own = self.initial_state
        return (own,) if own in ("embedding", "learned") else ("zeros", "random")

    @property
    def lenses_agree(self) -> bool:
        """Whether nothing lies between the loop and the head: both lenses are then the same."""
        return not (self.n_coda or self.coda_proj or self.pre_coda_norm)

    @property
    def norm_kind(self) -> NormKind:
        """Kind of the norms outside the layers."""
        return self.loop_norm_kind or self.layer.norm_kind

    @property
    def reads_tokens(self) -> bool:
        """Whether layers read the prompt's tokens, and not only what the layers before made."""
        return any(shape.value_rows for shape in (self.layer, *self.layer_shapes))

    @property
    def d_embed(self) -> int:
        """Width of the embedding and of what the unembedding reads."""
        return self.embed_width or self.d_model

    @property
    def unique_depth(self) -> int:
        """Layers with weights of their own: ``prelude + L + coda``."""
        return self.n_prelude + self.n_unique_block + self.n_coda

    def effective_depth(self, n_recurrences: int) -> int:
        """Layers that run: ``prelude + R L + coda``."""
        return self.n_prelude + n_recurrences * self.n_block + self.n_coda

    @property
    def injection_weights(self) -> int:
        """Entries of the matrix of one adapter of input injection."""
        return {"concat": 2, "diagonal": 1}.get(self.injection, 0) * self.d_model**2

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
        run = map(self.weights_of_layer, range(self.n_block))
        block = sum(self.shape_of("block", i).n_parameters for i in run)
        gate = parts["closing gate"]
        once = parts["injection"] + parts["block"] + parts["closing norm"] + gate
        norms = self.n_passes if self.inner_cycles else 1  # an untied loop's are counted already
        each = parts["injection"] + block + norms * parts["closing norm"] + gate
        skipped = parts["injection"] if self.skip_first_injection and n_recurrences else 0
        return self.n_parameters - once + n_recurrences * each - skipped


# First word of a parameter's name to the part of the model it belongs to.
PART_OF = {
    "embed": "embedding",
    "positions": "embedding",
    "token_types": "embedding",
    "embed_norm": "embedding",
    "embed_proj": "embedding",
    "prefix": "embedding",
    "state_start": "start",
    "fast_start": "start",
    "prelude_layers": "prelude",
    "time_embed": "embedding",
    "step_embed": "embedding",
    "adapter": "injection",
    "block": "block",
    "prelude_norm": "prelude norm",
    "closing_norm": "closing norm",
    "closing_gate": "closing gate",
    "coda_proj": "coda projection",
    "coda_layers": "coda",
    "final_norm": "final norm",
    "head_dense": "head",
    "head_act": "head",
    "head_norm": "head",
    "unembed": "head",
    "exit_gate": "exit gate",
    "exit_norm": "exit gate",
}
# Widths of the sines and cosines that a recurrence's time is first written in.
TIME_WAVES = 256
STACKS = ("prelude_layers", "block", "coda_layers")


@lru_cache(maxsize=64)
def parameter_shapes(arch: Architecture) -> dict[str, tuple[int, ...]]:
    """Shapes of our model's parameters by name: what loading, inspecting and saving share."""
    shapes = _embedding_shapes(arch)
    counts = (arch.n_prelude, arch.n_unique_block, arch.n_coda)
    kinds: tuple[Stack, ...] = ("prelude", "block", "coda")
    for stack, kind, n in zip(STACKS, kinds, counts, strict=True):
        for i in range(n):
            layer = arch.shape_of(kind, i).shapes()
            shapes |= {f"{stack}.{i}.{name}": shape for name, shape in layer.items()}
    return shapes | _loop_shapes(arch) | _head_shapes(arch)


def _embedding_shapes(arch: Architecture) -> dict[str, tuple[int, ...]]:
    d, width = arch.d_model, arch.d_embed
    shapes: dict[str, tuple[int, ...]] = {"embed.weight": (arch.vocab_size, width)}
    if arch.prefix:
        shapes["prefix.weight"] = (arch.prefix_rows, arch.prefix_width)
    if arch.learned_positions:
        shapes["positions.weight"] = (arch.max_positions, width)
    if arch.token_types:
        shapes["token_types.weight"] = (arch.token_types, width)
    if arch.embed_norm:
        shapes |= norm_shapes("embed_norm", width, arch.norm_kind)
    if arch.embed_width:
        shapes |= {"embed_proj.weight": (d, width), "embed_proj.bias": (d,)}
    return shapes


def _loop_shapes(arch: Architecture) -> dict[str, tuple[int, ...]]:
    """What joins the stacks; an untied loop has an adapter and a closing norm for each pass."""
    d, kind = arch.d_model, arch.norm_kind
    shapes: dict[str, tuple[int, ...]] = {}
    for suffix in [f".{i}" for i in range(arch.untied_passes)] or [""]:
        if arch.injection == "concat":
            shapes[f"adapter{suffix}.weight"] = (d, 2 * d)
            shapes |= {f"adapter{suffix}.bias": (d,)} if arch.adapter_bias else {}
        if arch.injection == "diagonal":
            shapes |= {f"adapter{suffix}.weight": (d, d), f"adapter{suffix}.decay": (d,)}
            shapes[f"adapter{suffix}.step"] = (d,)
        if arch.closing_norm:
            shapes |= norm_shapes(f"closing_norm{suffix}", d, kind)
    if arch.prelude_norm:
        shapes |= norm_shapes("prelude_norm", d, kind)
    if arch.closing_gate:
        rank = arch.closing_gate
        shapes |= {"closing_gate.down.weight": (rank, d), "closing_gate.up.weight": (d, rank)}
        shapes |= {"closing_gate.up.bias": (d,), "closing_gate.decay": (d,)}
    if arch.initial_state == "learned":
        shapes["state_start"] = (d,)
    if arch.inner_cycles:
        shapes["fast_start"] = (d,)
    for name in ("time_embed", "step_embed") if arch.layer.modulated else ():
        shapes |= {f"{name}.0.weight": (d, TIME_WAVES), f"{name}.0.bias": (d,)}
        shapes |= {f"{name}.2.weight": (d, d), f"{name}.2.bias": (d,)}
    return shapes


def _head_shapes(arch: Architecture) -> dict[str, tuple[int, ...]]:
    d, width = arch.d_model, arch.d_embed
    shapes: dict[str, tuple[int, ...]] = {"coda_proj.weight": (d, d)} if arch.coda_proj else {}
    if arch.coda_bias:
        shapes["coda_proj.bias"] = (d,)
    if arch.final_norm:
        shapes |= norm_shapes("final_norm", d, arch.norm_kind)
    if arch.exit_gate:
        shapes |= {"exit_gate.weight": (1, d), "exit_gate.bias": (1,)}
        if arch.exit_reads == "change":
            shapes |= norm_shapes("exit_norm", d, "layer")
    if arch.head_transform:
        shapes |= {"head_dense.weight": (width, d), "head_dense.bias": (width,)}
        shapes |= activation_shapes("head_act", arch.layer.activation)
        shapes |= norm_shapes("head_norm", width, "layer")
        shapes["unembed.bias"] = (arch.vocab_size,)
    if not arch.tied_head:
        shapes["unembed.weight"] = (arch.vocab_size, width)
    return shapes
