"""What was kept of one run: append-only, one writer (the worker), many readers.

Recurrences are numbered from 1; ``r = 0`` is the initial state. Layers of the cycle, heads and
tokens are numbered from 0. Axis names: ``R`` complete recurrences, ``L`` layers of the recurrent
block, ``T`` pos, ``d`` d_model, ``H`` heads, ``k`` kept answers.

A reader takes the count first and then the rows below it; rows once appended never change, so
no lock is needed and a view may keep an array for as long as it likes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from loopscope.core.arrays import F32
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import Intervention
from loopscope.core.interventions.registry import as_json
from loopscope.core.model.architecture import Architecture
from loopscope.core.prompts.shared import Shared
from loopscope.core.results import ResultKey, Results
from loopscope.core.run.growing_array import GrowingArray
from loopscope.core.run.states import TOP_K, IterationState, LayerState, TopAnswers
from loopscope.core.run.steps import ratio, state_norm, step_size

T = TypeVar("T")


class MemoryBudgetReached(LoopscopeError):
    """The next recurrence would not fit the recording's memory budget."""


@dataclass(frozen=True, slots=True)
class Capture:
    """What is kept besides the states: attention patterns, layer writes and readouts."""

    patterns: bool = True
    writes: bool = True
    readout: bool = True


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Everything needed to make the run again; goes into every exported file."""

    checkpoint: str
    weights_hash: str
    architecture: Architecture
    prompt: str
    token_ids: tuple[int, ...]
    token_labels: tuple[str, ...]
    seed: int
    start: str
    device: str
    dtype: str
    version: str
    start_scale: float = 1.0
    interventions: tuple[Intervention, ...] = ()
    notes: tuple[str, ...] = ()

    def provenance(self) -> dict[str, str]:
        """Flat strings for file metadata and figure footers."""
        return (
            {
                "loopscope": self.version,
                "checkpoint": self.checkpoint,
                "weights sha256": self.weights_hash,
                "prompt": self.prompt,
                "token ids": " ".join(map(str, self.token_ids)),
                "seed": str(self.seed),
                "start": self.start
                if self.start != "random"
                else f"random, scale {self.start_scale:g}",
                "device": self.device,
                "dtype": self.dtype,
            }
            | ({"notes": "; ".join(self.notes)} if self.notes else {})
            | (
                {"interventions": json.dumps(as_json(self.interventions))}
                if self.interventions
                else {}
            )
        )


@dataclass(slots=True)
class _Series:
    """The growing arrays of a recording; None where nothing is captured."""

    state: GrowingArray
    layers: GrowingArray
    patterns: GrowingArray | None
    writes: GrowingArray | None
    hazards: GrowingArray | None
    spread: GrowingArray | None
    answers: dict[str, tuple[GrowingArray, GrowingArray]] = field(default_factory=dict)


class Recording:
    """One run, as far as it has got.

    Parameters
    ----------
    info
        What was run.
    initial
        float32 ``[T, d]``, ``s_0``.
    capture
        What is kept besides the states.
    label
        Token id to the text shown for it.
    budget_bytes
        The recording refuses to grow beyond this and says so; it never drops what it has.
    """

    def __init__(
        self,
        info: RunInfo,
        initial: F32,
        capture: Capture,
        label: Callable[[int], str] = str,
        budget_bytes: int = 4 << 30,
    ) -> None:
        self.info, self.capture, self.label = info, capture, label
        self.budget_bytes = budget_bytes
        arch = info.architecture
        t, d = initial.shape
        n_layers, heads = arch.n_block, arch.layer.n_heads
        self._layers_done = 0
        self._recurrences = 0
        # Unembedding rows that were read for the state-space view, float32 [d] by token id.
        self.readout_directions: dict[int, F32] = {}
        # Relative error against float32, float32 [R', T], once it was measured.
        self.float32_error: F32 | None = None
        # Relative change that interventions made, by their index and recurrence; see `applied`.
        self.effects: dict[tuple[int, int], float] = {}
        # Digest of each set of weights, by its key in the graph; empty without a model.
        self.weight_identity: dict[str, str] = {}
        # Of measurements of this run that take long.
        self.results = Results()
        # What this run shares with the other runs of its model.
        self.shared = Shared()
        self._rows = _Series(
            state=GrowingArray((t, d), np.float32),
            layers=GrowingArray((t, d), np.float32),
            patterns=GrowingArray((heads, t, t), np.float32) if capture.patterns else None,
            writes=GrowingArray((t, 2), np.float32) if capture.writes else None,
            hazards=GrowingArray((t,), np.float32) if capture.readout and arch.exit_gate else None,
            spread=GrowingArray((t, 2), np.float32) if capture.readout else None,
        )
        if capture.readout:
            k = min(TOP_K, arch.vocab_size)
            self._rows.answers = {
                lens: (GrowingArray((t, k), np.int64), GrowingArray((t, k), np.float32))
                for lens in ("coda", "logit")
            }
        self._n_layers = n_layers
        self._rows.state.append(initial)

    def prefix(self, layers: int, info: RunInfo) -> Recording:
        """Return a recording of ``info`` that begins with the first ``layers`` layers of this one.

        What was measured of this run is not taken along. ``layers`` is at most `layers_done`.
        """
        if not 0 <= layers <= self._layers_done:
            raise ValueError(f"cannot take {layers} of {self._layers_done} layers")
        begun = Recording(info, self.states[0], self.capture, self.label, self.budget_bytes)
        complete = layers // self._n_layers
        own, other = begun._rows, self._rows
        for mine, theirs, n in (
            (own.state, other.state, complete + 1),
            (own.layers, other.layers, layers),
            (own.patterns, other.patterns, layers),
            (own.writes, other.writes, layers),
            (own.hazards, other.hazards, complete),
            (own.spread, other.spread, complete),
        ):
            if mine is not None and theirs is not None:
                mine.copy_from(theirs, n)
        for lens, pair in own.answers.items():
            for mine, theirs in zip(pair, other.answers[lens], strict=True):
                mine.copy_from(theirs, complete)
        begun._layers_done, begun._recurrences = layers, complete
        begun.readout_directions = dict(self.readout_directions)
        begun.shared = self.shared
        return begun

    def result(self, key: ResultKey[T]) -> T | None:
        """A result of this run, or of its model, which all its runs share; None for none."""
        return self._results(key).get(key)

    def keep(self, key: ResultKey[T], result: T) -> None:
        """Keep a result with this run, or with its model. Raises `TypeError` for a wrong class."""
        self._results(key).put(key, result)

    def _results(self, key: ResultKey[T]) -> Results:
        return self.shared.results if key.scope == "model" else self.results

    # ---- size ----
    @property
    def n_recurrences(self) -> int:
        """Complete recurrences."""
        return self._recurrences

    @property
    def n_layers(self) -> int:
        """Layers of the recurrent block, ``L``."""
        return self._n_layers

    @property
    def n_tokens(self) -> int:
        """Positions, ``T``."""
        return len(self.info.token_ids)

    @property
    def layers_done(self) -> int:
        """Layers run so far, those of the recurrence under way included."""
        return self._layers_done

    @property
    def nbytes(self) -> int:
        """Bytes allocated by the recording."""
        return sum(rows.nbytes for rows in self._all_rows())

    def _all_rows(self) -> list[GrowingArray]:
        s = self._rows
        kept = [s.state, s.layers, s.patterns, s.writes, s.hazards, s.spread]
        kept += [rows for pair in s.answers.values() for rows in pair]
        return [rows for rows in kept if rows is not None]

    # ---- writing (the worker only) ----
    def reserve(self) -> None:
        """Raise `MemoryBudgetReached` when the next layer would not fit the budget."""
        growth = sum(rows.nbytes_next for rows in self._all_rows())
        # An array that grows is replaced by one twice as large: half of that is new.
        if growth and self.nbytes + growth // 2 > self.budget_bytes:
            raise MemoryBudgetReached(
                f"the next recurrence would take the recording beyond its memory budget of "
                f"{self.budget_bytes / 2**30:.3g} GiB; it holds {self.nbytes / 2**30:.3g} GiB "
                f"after {self._recurrences} recurrences"
            )

    def append_layer(self, step: LayerState) -> None:
        """Append the next layer; raises `MemoryBudgetReached` before anything is written."""
        expected = divmod(self._layers_done, self._n_layers)
        if (step.recurrence - 1, step.layer) != expected:
            raise ValueError(
                f"expected recurrence {expected[0] + 1}, layer {expected[1]}; "
                f"got recurrence {step.recurrence}, layer {step.layer}"
            )
        self.reserve()
        self._rows.layers.append(step.state)
        if self._rows.patterns is not None:
            self._rows.patterns.append(_given(step.pattern, "pattern"))
        if self._rows.writes is not None:
            self._rows.writes.append(_given(step.writes, "writes"))
        self._layers_done += 1

    def append_end(
        self,
        state: F32,
        coda_lens: TopAnswers | None,
        logit_lens: TopAnswers | None,
        hazard: F32 | None = None,
        spread: F32 | None = None,
    ) -> None:
        """Close the recurrence whose last layer was just appended.

        ``spread`` is ``[T, 2]``: entropy of the coda lens and its divergence from the recurrence
        before; NaN where it was not measured.
        """
        if self._layers_done != (self._recurrences + 1) * self._n_layers:
            raise ValueError(f"recurrence {self._recurrences + 1} has layers left to run")
        self._rows.state.append(state)
        for lens, answers in (("coda", coda_lens), ("logit", logit_lens)):
            if self.capture.readout:
                if answers is None:
                    raise ValueError(f"the {lens} lens is captured and must be given")
                ids, probabilities = self._rows.answers[lens]
                ids.append(answers.ids)
                probabilities.append(answers.probabilities)
        if self._rows.hazards is not None:
            self._rows.hazards.append(_given(hazard, "hazard"))
        if self._rows.spread is not None:
            unknown = np.full((self.n_tokens, 2), np.nan, np.float32)
            self._rows.spread.append(unknown if spread is None else spread)
        self._recurrences += 1

    # ---- reading (anyone) ----
    @property
    def states(self) -> F32:
        """``s_0 ... s_R``, float32 ``[R + 1, T, d]``."""
        return self._rows.state.rows(self._recurrences + 1)

    @property
    def layer_states(self) -> F32:
        """``x[r, l]`` of complete recurrences, float32 ``[R, L, T, d]``."""
        return self._by_layer(self._rows.layers)

    @property
    def patterns(self) -> F32 | None:
        """Attention probabilities, float32 ``[R, L, H, T, T]`` (query, key), or None."""
        return None if self._rows.patterns is None else self._by_layer(self._rows.patterns)

    @property
    def writes(self) -> F32 | None:
        """Norms of what attention and the MLP wrote, float32 ``[R, L, T, 2]``, or None."""
        return None if self._rows.writes is None else self._by_layer(self._rows.writes)

    def _by_layer(self, rows: GrowingArray) -> F32:
        n = self._recurrences
        flat: F32 = rows.rows(n * self._n_layers)
        return flat.reshape(n, self._n_layers, *flat.shape[1:])

    @property
    def hazards(self) -> F32 | None:
        """Hazards of the exit gate, float32 ``[R, T]``, or None without a gate."""
        rows = self._rows.hazards
        return None if rows is None else rows.rows(self._recurrences)

    @property
    def coda_entropy(self) -> F32 | None:
        """Entropy of each readout, ``H(p_r)`` in nats, float32 ``[R, T]``, or None."""
        return self._spread(0)

    @property
    def coda_kl(self) -> F32 | None:
        """``KL(p_r || p_{r-1})`` in nats, float32 ``[R, T]``, NaN at r = 1, or None."""
        return self._spread(1)

    def _spread(self, which: int) -> F32 | None:
        rows = self._rows.spread
        return None if rows is None else rows.rows(self._recurrences)[..., which]

    def answers(self, lens: str) -> TopAnswers | None:
        """Answers of ``lens`` ("coda" or "logit") by recurrence, ``[R, T, k]``, or None."""
        if lens not in self._rows.answers:
            return None
        ids, probabilities = self._rows.answers[lens]
        n = self._recurrences
        return TopAnswers(ids.rows(n), probabilities.rows(n))

    def layer(self, recurrence: int, layer: int) -> LayerState:
        """The state at (recurrence, layer), the recurrence under way included."""
        i = (recurrence - 1) * self._n_layers + layer
        if not (0 <= layer < self._n_layers and recurrence >= 1 and i < self._layers_done):
            raise IndexError(f"recurrence {recurrence}, layer {layer} has not been run")
        rows = self._rows
        return LayerState(
            recurrence,
            layer,
            rows.layers.rows(i + 1)[i],
            None if rows.patterns is None else rows.patterns.rows(i + 1)[i],
            None if rows.writes is None else rows.writes.rows(i + 1)[i],
        )

    def __getitem__(self, recurrence: int) -> IterationState:
        """The complete recurrence ``r``, 1 to `n_recurrences`."""
        if not 1 <= recurrence <= self._recurrences:
            raise IndexError(f"recurrence {recurrence} is not among 1 to {self._recurrences}")
        i = recurrence - 1
        step = step_size(self.states[i : recurrence + 1])[0]
        relative = ratio(step, state_norm(self.states[recurrence]))
        answers = [self.answers(lens) for lens in ("coda", "logit")]
        coda, logit = (
            None if a is None else TopAnswers(a.ids[i], a.probabilities[i]) for a in answers
        )
        return IterationState(
            recurrence,
            self.states[recurrence],
            self.layer_states[i],
            None if self.patterns is None else self.patterns[i],
            None if self.writes is None else self.writes[i],
            step.astype(np.float32),
            relative.astype(np.float32),
            coda,
            logit,
            None if self.hazards is None else self.hazards[i],
        )


def _given(array: F32 | None, name: str) -> F32:
    if array is None:
        raise ValueError(f"{name} is captured by this recording and must be given")
    return array
