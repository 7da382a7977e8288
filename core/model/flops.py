"""Floating-point operations of a model for one token, counted from its architecture.

A product of an ``m x n`` matrix with a vector is ``2 m n``; norms, activations and look-ups are not
counted. See `LayerShape.flops_per_token` for a layer.
"""

from __future__ import annotations

from loopscope.core.model.architecture import Architecture, Stack


def flops_per_token(arch: Architecture, n_recurrences: int, n_tokens: int) -> int:
    """Operations for one token of ``n_tokens`` and one readout after ``n_recurrences``."""
    block = map(arch.weights_of_layer, range(arch.n_block))
    layers = n_recurrences * sum(_layer(arch, "block", i, n_tokens) for i in block)
    layers += sum(_layer(arch, "prelude", i, n_tokens) for i in range(arch.n_prelude))
    layers += sum(_layer(arch, "coda", i, n_tokens) for i in range(arch.n_coda))
    injected = n_recurrences - (1 if arch.skip_first_injection and n_recurrences else 0)
    injection = 2 * arch.injection_weights * injected * max(arch.untied_passes, 1)
    closing = n_recurrences * closing_flops(arch)
    gate = 2 * arch.d_model if arch.exit_gate else 0  # read out with the head
    coda = 2 * arch.d_model**2 if arch.coda_proj else 0
    return layers + injection + closing + gate + coda + embedding_flops(arch) + head_flops(arch)


def closing_flops(arch: Architecture) -> int:
    """Operations of the closing gate's two matrices for one token."""
    return 4 * arch.closing_gate * arch.d_model


def embedding_flops(arch: Architecture) -> int:
    """Operations of a factorised embedding's projection for one token."""
    return 2 * arch.embed_width * arch.d_model


def head_flops(arch: Architecture) -> int:
    """Operations of one readout of one token."""
    dense = 2 * arch.d_model * arch.d_embed if arch.head_transform else 0
    return dense + 2 * arch.vocab_size * arch.d_embed


def _layer(arch: Architecture, stack: Stack, index: int, n_tokens: int) -> int:
    return arch.shape_of(stack, index).flops_per_token(n_tokens)
