"""One model opened here, against what is published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from conformance.published import Truth, compute
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.run.trace import trace

TOLERANCE = 1e-4


def differs(loaded: Loaded, truth: Truth, ids: tuple[int, ...]) -> str:
    """In what a model differs from the truth by more than `TOLERANCE`; empty where in nothing.

    Logits are compared relative to the largest, where it is above 1. Both ways of attending are
    compared: with the pattern written out, and with torch's kernel.
    """
    recurrences = loaded.architecture.trained_recurrences
    arrays = trace(loaded, loaded.tokenizer.from_ids(ids), recurrences)
    with torch.inference_mode():
        fused = loaded.model(torch.tensor([ids]), recurrences)[0].numpy()
    scale = max(1.0, float(np.abs(truth.logits).max()))
    patterns = arrays["attention"].reshape(-1, *arrays["attention"].shape[2:])
    pairs = {
        "pattern": (patterns, truth.patterns),
        "logits": (arrays["logits"][-1] / scale, truth.logits / scale),
        "logits without patterns": (fused / scale, truth.logits / scale),
    }
    for name, (ours, theirs) in pairs.items():
        if ours.shape != theirs.shape:
            return f"{name}: shape {ours.shape}, published {theirs.shape}"
        worst = np.abs(ours - theirs).max()
        if not worst <= TOLERANCE:
            return f"{name}: {worst:.2g} from what is published"
    return ""


def assert_same(folder: Path, ids: tuple[int, ...]) -> Loaded:
    """Fail unless a folder computes here what `transformers` computes of it; returns it opened."""
    loaded = load(str(folder), "cpu")
    assert differs(loaded, compute(folder, ids), ids) == ""
    return loaded
