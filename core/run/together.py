"""Run several prompts at once: one call of a layer for all, a recording for each.

What `Stepper` runs for one prompt, made for many by the same steps of the model: a small model
spends its time on calls, not on numbers. Shorter prompts are padded **on the right**: no token of
a causal model sees what follows it, and positions count from the left, so that a prompt's numbers
are those it has alone, but for the order in which sums are taken (about 1e-7 of a state; a run
that magnifies what is that small parts from its like further on, as it does between two devices).
`core/over_prompts/batches.py` says which prompts may share a run.

Axis names: ``B`` prompts, ``T`` tokens of the longest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.interventions.applied import AppliedInterventions
from loopscope.core.model.layers import LayerOutput
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.kept_rows import BY_LAYER, Capture, kept_rows
from loopscope.core.run.readout import LogProbabilities, both_answers, spread
from loopscope.core.run.recording import Recording
from loopscope.core.run.rows import Rows
from loopscope.core.run.start import drawn, resolved, run_info


@dataclass(frozen=True, slots=True)
class Begin:
    """How every prompt begins, as `Stepper.begin` takes it; the seed is the same for all."""

    seed: int = 0
    start: str = "default"
    start_scale: float = 1.0


class Together:
    """Prompts that are run together; make it and `step` it in inference mode.

    Parameters
    ----------
    loaded
        The model.
    prompts
        The prompts, at least one.
    begin
        How each begins.
    """

    def __init__(self, loaded: Loaded, prompts: Sequence[Prompt], begin: Begin) -> None:
        self.loaded, self.prompts, self.begin = loaded, prompts, begin
        self.lengths = [len(prompt.token_ids) for prompt in prompts]
        longest = max(self.lengths)
        # A token of the prompt itself fills up: nothing is run that it would not run.
        ids = [p.token_ids + p.token_ids[-1:] * (longest - len(p.token_ids)) for p in prompts]
        self.tokens = torch.tensor(ids, device=loaded.device.device)
        self.model = loaded.model.bound(self.tokens)
        self.e = self.model.prelude(self.tokens)
        self.first = self.model.initial_state(self.e, self._noise())
        self.recurrent = self.model.begin(self.first)
        self.recurrences = 0
        self._applied = AppliedInterventions(self.model)

    @property
    def how(self) -> str:
        """How the runs start: "zeros", "random", "embedding" or "learned"."""
        return resolved(self.begin.start, self.loaded.architecture)

    def _noise(self) -> Tensor | None:
        """The random start that each prompt has alone, zeros where it is padded."""
        if self.how != "random":
            return None
        noise = torch.zeros(self.e.shape)
        for row, n in zip(noise, self.lengths, strict=True):
            shape = (1, n, self.e.shape[-1])
            row[:n] = drawn(
                self.loaded.architecture, shape, self.begin.seed, self.begin.start_scale
            )[0]
        return noise

    def step(
        self,
        see: Callable[[LayerOutput], None] = lambda out: None,
        patterns: bool = False,
        writes: bool = False,
    ) -> Tensor:
        """Run one recurrence; ``see`` is given what each layer did. Returns ``s_r``, [B, T, d]."""
        self.recurrences += 1
        x = self.recurrent.state
        for layer in range(self.model.arch.n_block):
            out, self.recurrent = self._applied.step(
                x, self.recurrent, self.e, self.recurrences, layer, patterns, writes
            )
            see(out)
            x = out.state
        return self.recurrent.state

    @property
    def sound(self) -> bool:
        """Whether padding has done nothing: what is not finite there reaches the prompts.

        A pattern gives it no weight, but nothing times infinity is not a number.
        """
        padded = min(self.lengths) < max(self.lengths)
        return not padded or bool(self.recurrent.state.isfinite().all())


@dataclass(slots=True)
class _Kept:
    """Rows of all prompts, ``[rows, B, ...]`` by the names of `kept_rows`, and how many there are.

    read : the last readout, to measure the next one's change.
    """

    rows: dict[str, npt.NDArray[Any]]
    filled: dict[str, int] = field(default_factory=dict)
    read: LogProbabilities | None = None

    @classmethod
    def of(cls, run: Together, capture: Capture, recurrences: int) -> _Kept:
        """Make room for so many recurrences."""
        arch, (b, *state) = run.loaded.architecture, run.e.shape
        counts = dict.fromkeys(BY_LAYER, recurrences * arch.n_block)
        rows = {}
        for name, (shape, dtype) in kept_rows(arch, tuple(state), capture).items():
            n = recurrences + 1 if name == "states" else counts.get(name, recurrences)
            rows[name] = np.empty((n, b, *shape), dtype)
        return cls(rows, dict.fromkeys(rows, 0))

    def put(self, name: str, values: Tensor | npt.NDArray[Any] | None) -> None:
        """Keep the next row of ``name``, where that is kept at all."""
        if name in self.rows:
            assert values is not None
            array = values.float().cpu().numpy() if isinstance(values, Tensor) else values
            row = self.rows[name][self.filled[name]]
            row[...] = array.reshape(row.shape)
            self.filled[name] += 1

    def see(self, out: LayerOutput) -> None:
        """Keep what a layer did."""
        self.put("layer_states", out.state)
        self.put("patterns", out.pattern)
        self.put("writes", out.writes)

    def read_out(self, run: Together) -> None:
        """Keep both lenses after a recurrence, and the gate's hazard."""
        model, state = run.model, run.recurrent.state
        logits = model.readout(state)
        both = both_answers(logits, model.head(state))
        for lens, answers in zip(("coda", "logit"), both, strict=True):
            self.put(f"{lens}_ids", answers.ids)
            self.put(f"{lens}_probabilities", answers.probabilities)
        read = LogProbabilities(logits)
        self.put("spread", spread(read, self.read))
        if model.arch.exit_gate:
            self.put("hazards", model.hazard(run.recurrent))
        self.read = read

    def recording(self, run: Together, i: int, capture: Capture) -> Recording:
        """The run of prompt ``i`` alone: a view of these rows without its padding."""
        loaded, begin, prompt, t = run.loaded, run.begin, run.prompts[i], run.lengths[i]
        state = (t, run.e.shape[-1])
        rows = {}
        for name, (shape, dtype) in kept_rows(loaded.architecture, state, capture).items():
            at: tuple[Any, ...] = (slice(None), i, *map(slice, shape))
            rows[name] = Rows(shape, dtype).extended([self.rows[name][at]])
        info = run_info(loaded, prompt, begin.seed, run.how, begin.start_scale)
        made = Recording.of_rows(info, rows, capture, loaded.tokenizer.label)
        made.shared, made.weight_identity = loaded.shared, loaded.weight_identity
        return made


@torch.inference_mode()
def run_together(
    loaded: Loaded,
    prompts: Sequence[Prompt],
    recurrences: int,
    capture: Capture,
    begin: Begin,
    report: Callable[[int], None] = lambda done: None,
) -> list[Recording] | None:
    """Run prompts together for so many recurrences and return a recording of each.

    ``report`` is told the recurrences done. None where a state of the padding was not finite: then
    each must be run alone.
    """
    run = Together(loaded, prompts, begin)
    kept = _Kept.of(run, capture, recurrences)
    kept.put("states", run.first)
    for r in range(recurrences):
        kept.put("states", run.step(kept.see, capture.patterns, capture.writes))
        if capture.readout:
            kept.read_out(run)
        report(r + 1)
    if not run.sound:
        return None
    return [kept.recording(run, i, capture) for i in range(len(prompts))]


def row_bytes(loaded: Loaded, length: int, recurrences: int, capture: Capture) -> int:
    """Bytes that a run of a prompt of ``length`` tokens takes here while it is made."""
    arch = loaded.architecture
    kept = kept_rows(arch, (length, arch.d_model), capture)
    counts = dict.fromkeys(BY_LAYER, recurrences * arch.n_block)
    rows = sum(
        math.prod(shape) * np.dtype(dtype).itemsize * counts.get(name, recurrences + 1)
        for name, (shape, dtype) in kept.items()
    )
    # Logits of this readout and the one before, and their probabilities.
    return rows + (4 * 4 * length * arch.vocab_size if capture.readout else 0)
