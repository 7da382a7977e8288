"""What was kept of one run: append-only, one writer (the worker), many readers.

Recurrences are numbered from 1; ``r = 0`` is the initial state. Layers of the cycle, heads and
tokens are numbered from 0. Axis names: ``R`` complete recurrences, ``L`` layers of the recurrent
block, ``T`` pos, ``d`` d_model, ``H`` heads, ``k`` kept answers.

A reader takes the count first and then the rows below it; rows once appended never change, so
no lock is needed and a view may keep an array for as long as it likes. Rows lie in blocks that
never move (`Rows`): ask for the recurrences that are wanted (`states_of`, `layer_states_of`,
`patterns_of`), as the whole of a long run is put together of its blocks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
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
from loopscope.core.run.rows import Picked, Rows
from loopscope.core.run.states import TOP_K, IterationState, LayerState, TopAnswers
from loopscope.core.run.steps import ratio, state_norm, step_size

T = TypeVar("T")

# Patterns that a measure reads at once, at most where a recurrence has fewer.
PART_BYTES = 1 << 25


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
class Series:
    """The rows of a recording; None where nothing is captured."""

    state: Rows
    layers: Rows
    patterns: Rows | None
    writes: Rows | None
    hazards: Rows | None
    spread: Rows | None
    answers: dict[str, tuple[Rows, Rows]] = field(default_factory=dict)


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
        # The same run in float32, once a verdict was rechecked there.
        self.float32_run: Recording | None = None
        # Relative change that interventions made, by their index and recurrence; see `applied`.
        self.effects: dict[tuple[int, int], float] = {}
        # Digest of each set of weights, by its key in the graph; empty without a model.
        self.weight_identity: dict[str, str] = {}
        # Of measurements of this run that take long.
        self.results = Results()
        # What this run shares with the other runs of its model.
        self.shared = Shared()
        self._rows = Series(
            state=Rows((t, d), np.float32),
            layers=Rows((t, d), np.float32),
            patterns=Rows((heads, t, t), np.float32) if capture.patterns else None,
            writes=Rows((t, 2), np.float32) if capture.writes else None,
            hazards=Rows((t,), np.float32) if capture.readout and arch.exit_gate else None,
            spread=Rows((t, 2), np.float32) if capture.readout else None,
        )
        if capture.readout:
            k = min(TOP_K, arch.vocab_size)
            self._rows.answers = {
                lens: (Rows((t, k), np.int64), Rows((t, k), np.float32))
                for lens in ("coda", "logit")
            }
        self._n_layers = n_layers
        self._rows.state.append(initial)
        # What a layer adds at most, the last of a recurrence.
        self._layer_bytes = sum(rows.row_bytes for rows in self._all_rows())

    def prefix(self, layers: int, info: RunInfo) -> Recording:
        """Return a recording of ``info`` that begins with the first ``layers`` layers of this one.

        What was measured of this run is not taken along. ``layers`` is at most `layers_done`.
        """
        if not 0 <= layers <= self._layers_done:
            raise ValueError(f"cannot take {layers} of {self._layers_done} layers")
        begun = Recording(info, self.state(0), self.capture, self.label, self.budget_bytes)
        complete = layers // self._n_layers
        own, other = begun._rows, self._rows
        own.state, own.layers = other.state.begun(complete + 1), other.layers.begun(layers)
        own.patterns, own.writes = _begun(other.patterns, layers), _begun(other.writes, layers)
        own.hazards, own.spread = _begun(other.hazards, complete), _begun(other.spread, complete)
        own.answers = {
            lens: (ids.begun(complete), probabilities.begun(complete))
            for lens, (ids, probabilities) in other.answers.items()
        }
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
        """Bytes of the rows appended here; a shared prefix counts where it was run."""
        return sum(rows.nbytes for rows in self._all_rows())

    def _all_rows(self) -> list[Rows]:
        s = self._rows
        kept = [s.state, s.layers, s.patterns, s.writes, s.hazards, s.spread]
        kept += [rows for pair in s.answers.values() for rows in pair]
        return [rows for rows in kept if rows is not None]

    # ---- writing (the worker only) ----
    def reserve(self) -> None:
        """Raise `MemoryBudgetReached` when the next layer would not fit the budget."""
        if self.nbytes + self._layer_bytes > self.budget_bytes:
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
        return self._rows.state.first(self._recurrences + 1)

    def state(self, recurrence: int) -> F32:
        """``s_r``, float32 ``[T, d]``; 0 is the initial state."""
        return self._rows.state[recurrence]

    def states_of(self, first: int, last: int) -> F32:
        """``s_first ... s_last``, both included, float32 ``[n, T, d]``."""
        return self._rows.state.rows(first, last + 1)

    @property
    def layer_states(self) -> F32:
        """``x[r, l]`` of complete recurrences, float32 ``[R, L, T, d]``."""
        return self._by_layer(self._rows.layers)

    def layer_states_of(self, first: int, last: int) -> F32:
        """``x[r, l]`` of recurrences ``first ... last``, both included, ``[n, L, T, d]``."""
        return self._between(self._rows.layers, first, last)

    @property
    def patterns(self) -> F32 | None:
        """Attention probabilities, float32 ``[R, L, H, T, T]`` (query, key), or None.

        Where they are large this is a copy of all of them: `patterns_of` gives those wanted.
        """
        return None if self._rows.patterns is None else self._by_layer(self._rows.patterns)

    def patterns_of(self, first: int, last: int) -> F32:
        """Patterns of recurrences ``first ... last``, both included, ``[n, L, H, T, T]``.

        Raises `LoopscopeError` where the run keeps none.
        """
        if self._rows.patterns is None:
            raise LoopscopeError("this run keeps no attention patterns")
        return self._between(self._rows.patterns, first, last)

    def head_patterns(self, layer: int, head: int) -> Sequence[F32]:
        """The patterns ``[T, T]`` of one head, by recurrence; none where none are kept."""
        rows = self._rows.patterns
        places = range(layer, self._recurrences * self._n_layers, self._n_layers)
        return () if rows is None else Picked(rows, places, head)

    def pattern_parts(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Cut recurrences ``first ... last`` so that the patterns of a part take little memory."""
        rows = self._rows.patterns
        size = 1 if rows is None else max(1, PART_BYTES // (rows.row_bytes * self._n_layers))
        for start in range(first, last + 1, size):
            yield start, min(start + size - 1, last)

    @property
    def writes(self) -> F32 | None:
        """Norms of what attention and the MLP wrote, float32 ``[R, L, T, 2]``, or None."""
        return None if self._rows.writes is None else self._by_layer(self._rows.writes)

    def _by_layer(self, rows: Rows) -> F32:
        flat: F32 = rows.first(self._recurrences * self._n_layers)
        return flat.reshape(-1, self._n_layers, *rows.shape)

    def _between(self, rows: Rows, first: int, last: int) -> F32:
        flat: F32 = rows.rows((first - 1) * self._n_layers, last * self._n_layers)
        return flat.reshape(-1, self._n_layers, *rows.shape)

    @property
    def hazards(self) -> F32 | None:
        """Hazards of the exit gate, float32 ``[R, T]``, or None without a gate."""
        rows = self._rows.hazards
        return None if rows is None else rows.first(self._recurrences)

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
        return None if rows is None else rows.first(self._recurrences)[..., which]

    def answers(self, lens: str) -> TopAnswers | None:
        """Answers of ``lens`` ("coda" or "logit") by recurrence, ``[R, T, k]``, or None."""
        if lens not in self._rows.answers:
            return None
        ids, probabilities = self._rows.answers[lens]
        n = self._recurrences
        return TopAnswers(ids.first(n), probabilities.first(n))

    def layer(self, recurrence: int, layer: int) -> LayerState:
        """The state at (recurrence, layer), the recurrence under way included."""
        i = (recurrence - 1) * self._n_layers + layer
        if not (0 <= layer < self._n_layers and recurrence >= 1 and i < self._layers_done):
            raise IndexError(f"recurrence {recurrence}, layer {layer} has not been run")
        rows = self._rows
        return LayerState(
            recurrence,
            layer,
            rows.layers[i],
            None if rows.patterns is None else rows.patterns[i],
            None if rows.writes is None else rows.writes[i],
        )

    def __getitem__(self, recurrence: int) -> IterationState:
        """The complete recurrence ``r``, 1 to `n_recurrences`."""
        if not 1 <= recurrence <= self._recurrences:
            raise IndexError(f"recurrence {recurrence} is not among 1 to {self._recurrences}")
        i = recurrence - 1
        before, state = self.states_of(i, recurrence)
        step = step_size(np.stack([before, state]))[0]
        relative = ratio(step, state_norm(state))
        coda, logit = (self._answers_of(lens, i) for lens in ("coda", "logit"))
        writes, hazards = self._rows.writes, self._rows.hazards
        return IterationState(
            recurrence,
            state,
            self.layer_states_of(recurrence, recurrence)[0],
            None if self._rows.patterns is None else self.patterns_of(recurrence, recurrence)[0],
            None if writes is None else self._between(writes, recurrence, recurrence)[0],
            step.astype(np.float32),
            relative.astype(np.float32),
            coda,
            logit,
            None if hazards is None else hazards[i],
        )

    def _answers_of(self, lens: str, i: int) -> TopAnswers | None:
        if lens not in self._rows.answers:
            return None
        ids, probabilities = self._rows.answers[lens]
        return TopAnswers(ids[i], probabilities[i])


def _begun(rows: Rows | None, n: int) -> Rows | None:
    return None if rows is None else rows.begun(n)


def _given(array: F32 | None, name: str) -> F32:
    if array is None:
        raise ValueError(f"{name} is captured by this recording and must be given")
    return array
