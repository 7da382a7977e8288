"""Recordings with known dynamics, made without a model."""

from __future__ import annotations

import numpy as np

from loopscope.core.architecture import Architecture, LayerShape, Rope
from loopscope.core.recording import Capture, LayerState, Recording, RunInfo, TopAnswers


def architecture(*, n_block: int = 2, d: int = 16, heads: int = 2, vocab: int = 40) -> Architecture:
    layer = LayerShape(
        d, heads, heads, d // heads, 4 * d, gated=False, activation="gelu", rope=Rope(theta=100.0)
    )
    return Architecture(
        "native",
        vocab,
        layer,
        n_prelude=1,
        n_block=n_block,
        n_coda=1,
        trained_recurrences=12,
        max_positions=256,
        norm_eps=1e-6,
    )


def synthetic_recording(
    *,
    recurrences: int = 12,
    n_block: int = 2,
    tokens: int = 5,
    d: int = 16,
    heads: int = 2,
    rate: float = 0.7,
    seed: int = 0,
    labels: list[str] | None = None,
    capture: Capture | None = None,
) -> Recording:
    """A contraction: ``s_r - s* = rate^r (s_0 - s*)`` exactly, each layer at its own fixed point.

    Patterns are causal, rows sum to 1, and approach a final pattern at the same rate.
    """
    rng = np.random.default_rng(seed)
    arch = architecture(n_block=n_block, d=d, heads=heads)
    labels = labels or [chr(97 + i % 26) for i in range(tokens)]
    info = RunInfo(
        checkpoint="synthetic",
        weights_hash="0" * 64,
        architecture=arch,
        prompt=" ".join(labels),
        token_ids=tuple(range(tokens)),
        token_labels=tuple(labels),
        seed=seed,
        start="zeros",
        device="cpu",
        dtype="float32",
        version="test",
    )
    end = rng.normal(size=(n_block, tokens, d))
    offset = rng.normal(size=(n_block, tokens, d))
    start_pattern, end_pattern = (
        _causal(rng.normal(size=(n_block, heads, tokens, tokens))) for _ in range(2)
    )
    first = (end[-1] + offset[-1]).astype(np.float32)
    capture = capture or Capture()
    recording = Recording(info, first, capture, label=lambda i: f"tok{i}")
    for r in range(1, recurrences + 1):
        for layer in range(n_block):
            state = (end[layer] + rate**r * offset[layer]).astype(np.float32)
            mix = rate**r
            pattern = (mix * start_pattern + (1 - mix) * end_pattern)[layer].astype(np.float32)
            writes = np.abs(rng.normal(size=(tokens, 2))).astype(np.float32)
            recording.append_layer(
                LayerState(
                    r,
                    layer,
                    state,
                    pattern if capture.patterns else None,
                    writes if capture.writes else None,
                )
            )
        ids = np.tile(np.arange(5), (tokens, 1)) + (1 if r > 3 else 0)
        probabilities = np.tile(np.array([0.5, 0.2, 0.1, 0.05, 0.05], np.float32), (tokens, 1))
        answers = TopAnswers(ids, probabilities) if capture.readout else None
        recording.append_end((end[-1] + rate**r * offset[-1]).astype(np.float32), answers, answers)
    return recording


def recording_of(states: np.ndarray) -> Recording:
    """A run of a one-layer block that went through ``states``, ``[R + 1, T, d]``."""
    like = synthetic_recording(
        recurrences=0, n_block=1, tokens=states.shape[1], d=states.shape[2], heads=1
    )
    recording = Recording(like.info, states[0].astype(np.float32), Capture(False, False, False))
    for i, state in enumerate(states[1:].astype(np.float32), start=1):
        recording.append_layer(LayerState(i, 0, state))
        recording.append_end(state, None, None)
    return recording


def recording_of_layers(layers: np.ndarray, patterns: np.ndarray | None = None) -> Recording:
    """A run whose layers left ``[R, L, T, d]``, with patterns ``[R, L, H, T, T]`` if given."""
    n, n_layers, tokens, d = layers.shape
    heads = 1 if patterns is None else patterns.shape[2]
    like = synthetic_recording(
        recurrences=0, n_block=n_layers, tokens=tokens, d=d - d % heads, heads=heads
    )
    capture = Capture(patterns is not None, False, False)
    recording = Recording(like.info, np.zeros((tokens, d), np.float32), capture)
    for r, layer in np.ndindex(n, n_layers):
        state = layers[r, layer].astype(np.float32)
        pattern = None if patterns is None else patterns[r, layer].astype(np.float32)
        recording.append_layer(LayerState(r + 1, layer, state, pattern))
        if layer == n_layers - 1:
            recording.append_end(state, None, None)
    return recording


def _causal(scores: np.ndarray) -> np.ndarray:
    t = scores.shape[-1]
    scores = np.where(np.tril(np.ones((t, t), bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)
