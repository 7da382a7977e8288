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
    patterns = arrays["attention"].reshape(-1, *arrays["attention"].shape[2:])
    with torch.inference_mode():
        fused = loaded.model(torch.tensor([ids]), recurrences)[0].numpy()
    return _differ(truth, patterns, {"logits": arrays["logits"][-1], "fused logits": fused})


@torch.inference_mode()
def differs_in_float64(
    loaded: Loaded, truth: Truth, ids: tuple[int, ...], start: np.ndarray | None
) -> str:
    """The same for a truth in float64, which the model is run in too.

    ``start`` is ``s_0``, ``[T, d]``, where it is not the model's own.
    """
    tokens, prefix = torch.tensor([ids]), loaded.architecture.prefix
    model = loaded.model.double().bound(tokens)
    e = model.prelude(tokens)
    noise = None if start is None else torch.from_numpy(start)[None]
    recurrent = model.begin(model.initial_state(e, noise))
    fused, patterns = recurrent, []
    for r in range(loaded.architecture.trained_recurrences):
        fused = model.recur(fused, e, first=r == 0, recurrence=r + 1)
        x = recurrent.state
        for layer in range(loaded.architecture.n_block):
            x = model.open_layer(x, recurrent, e, layer, r == 0)
            out = model.run_layer(x, layer, want_pattern=True, recurrence=r + 1)
            x = out.state
            patterns.append(out.pattern[0].numpy())
            recurrent = model.close_layer(x, recurrent, layer)
    logits = {"logits": recurrent, "fused logits": fused}
    read = {name: model.readout(state.state)[0, prefix:].numpy() for name, state in logits.items()}
    return _differ(truth, np.stack(patterns), read)


@torch.inference_mode()
def lost_in_rounding(loaded: Loaded, truth: Truth, ids: tuple[int, ...]) -> bool:
    """Whether a difference is no more than what float32 loses of this model.

    A model of two dimensions, say, can turn the last bit of a norm into the third digit of a logit:
    then our own float32 is further from our float64 than `TOLERANCE` allows, and the truth about
    as far. The model is left in float64.
    """
    recurrences, tokens = loaded.architecture.trained_recurrences, torch.tensor([ids])
    rounded = loaded.model(tokens, recurrences)[0].numpy()
    exact = loaded.model.double()(tokens, recurrences)[0].numpy()
    scale = max(1.0, float(np.abs(exact).max()))
    lost, apart = (np.abs(x - exact).max() / scale for x in (rounded, truth.logits))
    return bool(lost > TOLERANCE / 2 and apart < 4 * lost)


def _differ(truth: Truth, patterns: np.ndarray, logits: dict[str, np.ndarray]) -> str:
    scale = max(1.0, float(np.abs(truth.logits).max()))
    pairs = {name: (ours / scale, truth.logits / scale) for name, ours in logits.items()}
    pairs["pattern"] = (patterns, truth.patterns)
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
