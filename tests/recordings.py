"""Recordings with known dynamics, made without a model."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import numpy as np

from loopscope.core.model.architecture import Architecture
from loopscope.core.model.layer_shape import LayerShape
from loopscope.core.model.rope import Rope
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording, iteration
from loopscope.core.run.run_info import RunInfo
from loopscope.core.run.states import LayerState, TopAnswers


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


def go_on(recording: Recording) -> None:
    """One more recurrence, like the last one but for a little noise."""
    n = recording.n_recurrences
    last = iteration(recording, n)
    noise = np.random.default_rng(n)
    for i, state in enumerate(last.layers):
        moved = state + 1e-3 * noise.normal(size=state.shape).astype(np.float32)
        assert last.patterns is not None
        writes = np.ones((recording.n_tokens, 2), np.float32)
        recording.append_layer(LayerState(n + 1, i, moved, last.patterns[i], writes))
    recording.append_end(moved, last.coda_lens, last.logit_lens)


def recording_of(states: np.ndarray, dtype: str = "float32") -> Recording:
    """A run of a one-layer block that went through ``states``, ``[R + 1, T, d]``."""
    like = synthetic_recording(
        recurrences=0, n_block=1, tokens=states.shape[1], d=states.shape[2], heads=1
    )
    info = replace(like.info, dtype=dtype)
    recording = Recording(info, states[0].astype(np.float32), Capture(False, False, False))
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


def relative_steps(recording: Recording) -> np.ndarray:
    """``||s_r - s_{r-1}|| / ||s_r||``, ``[R, T]``, by NumPy alone."""
    states = recording.states.astype(np.float64)
    return np.linalg.norm(np.diff(states, axis=0), axis=-1) / np.linalg.norm(states[1:], axis=-1)


def _causal(scores: np.ndarray) -> np.ndarray:
    t = scores.shape[-1]
    scores = np.where(np.tril(np.ones((t, t), bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def with_results(recording: Recording) -> Recording:
    """``recording`` with results as heavy measures leave them.

    A stable point at the end, an unstable one, a slow one; a complex pair and a real mode; one
    other start.
    """
    from loopscope.core.measures.fixed_points import FixedPoints
    from loopscope.core.measures.path_independence import PATHS, Paths
    from loopscope.core.measures.stability import STABILITY, Spectrum, Stability

    rng = np.random.default_rng(7)
    states, n = recording.states, recording.states[0].size
    points = np.stack([states[-1], states[-1] + 1, states[0] - 1]).reshape(3, n)
    pair = rng.normal(size=n) + 1j * rng.normal(size=n)
    vectors = np.stack([pair, pair.conj(), rng.normal(size=n) + 0j])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    stability = Stability(
        spectrum=Spectrum(
            np.array([0.6 + 0.3j, 0.6 - 0.3j, 0.5]), vectors, np.full(3, 1e-6), 9, 1e-3
        ),
        points=FixedPoints(
            points=points.astype(np.float32),
            q=np.array([1e-12, 1e-11, 0.3]),
            residual=np.array([1e-7, 2e-6, 0.1]),
            found_by=np.array([3, 1, 2]),
            iterations=np.array([1, 30, 200]),
            from_end=0,
            tolerance=1e-5,
            radius=1e-2,
            n_starts=6,
        ),
        cycles=np.stack([recording.layer_states[i] for i in (-1, 0, 1)]),
        radii=np.array([0.67, 1.4, np.nan]),
        margins=np.array([1e-6, 1e-6, np.nan]),
        lyapunov=np.array([-0.4, -0.38]),
        rate=0.7,
        recurrence=recording.n_recurrences,
        n_recurrences=recording.n_recurrences,
        n_random=3,
        warm_up=3,
    )
    recording.keep(STABILITY, stability)
    other = states + rng.normal(size=states.shape) * 0.5
    starts = ("the run (zeros)", "random, seed 1")
    recording.keep(PATHS, Paths(np.stack([states, other.astype(np.float32)]), starts))
    return recording


def writable(kept: np.ndarray) -> np.ndarray:
    """What a recording holds, open to be broken: recorded rows cannot be written to."""
    address, _ = kept.__array_interface__["data"]
    size = kept.nbytes
    memory = (ctypes.c_char * size).from_address(address)
    return np.frombuffer(memory, kept.dtype).reshape(kept.shape)
