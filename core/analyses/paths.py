"""Run a prompt from other start states."""

from __future__ import annotations

import numpy as np

from loopscope.core.arrays import F32
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import after_start
from loopscope.core.labels import printable
from loopscope.core.measures.path_independence import Paths
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.jobs import Job
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.start import Start
from loopscope.core.run.stepper import Stepper, least_for
from loopscope.core.selection import Selection
from loopscope.core.views.paths import OTHER_PROMPT, Options


def run(stepper: Stepper, selection: Selection, options: Options, job: Job[Paths]) -> Paths:
    """Run the prompt from zeros, random states and another prompt's end, as far as the run."""
    recording: Recording = stepper.recording
    own, n = recording.states, recording.n_recurrences
    # Before anything is run: it may be refused.
    other = _other_prompt(stepper, options.prompt) if options.prompt.strip() else None
    rms = float(np.sqrt(np.mean(np.square(own[-1], dtype=np.float64))))
    runs, names = [own[: n + 1].copy()], [f"the run ({recording.info.start})"]
    starts = [np.zeros_like(own[0])] if np.any(own[0]) else []
    names += ["zeros"] * len(starts)
    for i in range(int(options.random_starts)):
        rng = np.random.default_rng(options.seed + i)
        noise = rng.normal(size=own[0].shape) * (options.scale * rms)
        starts.append(noise.astype(np.float32))
        names.append(f"random, seed {options.seed + i}")
    share = 1 / (len(starts) + 2 * (other is not None))
    if other is not None:
        # The same start state as this run had, then as many recurrences.
        end = _run(other, other.recording.state(0), n, job, 0.0, share)[-1]
        starts.append(end)
        names.append(f"{OTHER_PROMPT}'{_short(printable(options.prompt))}'")
    done = share * (other is not None)
    for i, start in enumerate(starts):
        runs.append(_run(stepper, start, n, job, done + i * share, share))
    return Paths(np.stack(runs), tuple(names))


def _other_prompt(stepper: Stepper, text: str) -> Stepper:
    """A run of another prompt that begins as this one did; refused where tokens do not match."""
    info, loaded = stepper.recording.info, stepper.loaded
    prompt = loaded.tokenizer.encode(text)
    if len(prompt.token_ids) != len(info.token_ids):
        raise LoopscopeError(
            f"the other prompt has {len(prompt.token_ids)} tokens and this one "
            f"{len(info.token_ids)}: tokens are matched by position, so it must have as many"
        )
    # What was given as an array cannot be given to another prompt: its own default then.
    same: dict[str, Start] = {"zeros": "zeros", "random": "random"}
    start = same.get(info.start, "default")
    other = Stepper(loaded, Capture(patterns=False, writes=False, readout=False))
    # With the same interventions; their places must exist in a prompt of as many tokens.
    other.begin(
        prompt, seed=info.seed, start=start, start_scale=info.start_scale,
        interventions=info.interventions,
    )  # fmt: skip
    return other


def _short(text: str) -> str:
    return text if len(text) <= 24 else text[:23] + "…"


def _run(stepper: Stepper, start: F32, n: int, job: Job[Paths], done: float, share: float) -> F32:
    """States of one run from ``start``, ``[n + 1, T, d]``; the stepper's own run is not touched.

    The interventions that act in the stepper's run after its start act in this one too: the paths
    differ by where they start alone.
    """
    info = stepper.recording.info
    other = Stepper(stepper.loaded, least_for(info.interventions))
    other.begin(
        Prompt(info.prompt, info.token_ids, info.token_labels),
        initial_state=start,
        interventions=after_start(info.interventions),
    )
    for r in range(n):
        other.step()
        job.report(done + share * (r + 1) / n)
    return other.recording.states.copy()
