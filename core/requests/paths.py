"""Run a prompt from other start states."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from loopscope.core.recording import F32, Recording
from loopscope.core.selection import Selection
from loopscope.core.views.paths import Options, Paths


def run(stepper: Any, selection: Selection, options: Options, job: Any) -> Paths:
    """Run the prompt from zeros and from random states, as far as the run has gone."""
    recording: Recording = stepper.recording
    own = recording.states
    rms = float(np.sqrt(np.mean(np.square(own[-1], dtype=np.float64))))
    runs, names = [own[: recording.n_recurrences + 1].copy()], [f"the run ({recording.info.start})"]
    starts = [np.zeros_like(own[0])] if np.any(own[0]) else []
    names += ["zeros"] * len(starts)
    for i in range(int(options.random_starts)):
        rng = np.random.default_rng(options.seed + i)
        noise = rng.normal(size=own[0].shape) * (options.scale * rms)
        starts.append(noise.astype(np.float32))
        names.append(f"random, seed {options.seed + i}")
    for i, start in enumerate(starts):
        runs.append(_run(stepper, start, len(runs[0]) - 1, job, i / len(starts), 1 / len(starts)))
    return Paths(np.stack(runs), tuple(names))


def _run(stepper: Any, start: F32, n: int, job: Any, done: float, share: float) -> F32:
    """States of one run from ``start``, ``[n + 1, T, d]``; the stepper's own run is not touched."""
    model, e = stepper.loaded.model, stepper.injected
    out = np.empty((n + 1, *start.shape), np.float32)
    out[0] = start
    with torch.no_grad():
        carry = model.begin(torch.from_numpy(start)[None].to(e))
        for r in range(n):
            carry = model.recur(carry, e, first=r == 0)
            out[r + 1] = carry.state[0].float().cpu().numpy()
            job.report(done + share * (r + 1) / n)
    return out
