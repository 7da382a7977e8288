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

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar
from weakref import ref

from loopscope.core.arrays import F32
from loopscope.core.errors import LoopscopeError
from loopscope.core.prompts.shared import Shared
from loopscope.core.results import ResultKey, Results
from loopscope.core.run.budget import Budget, shared_budget
from loopscope.core.run.kept_rows import BY_LAYER, Capture, first_rows, kept_rows, whole_rows
from loopscope.core.run.readouts import Readouts, of_one
from loopscope.core.run.rows import Picked, Rows
from loopscope.core.run.run_info import RunInfo
from loopscope.core.run.states import IterationState, LayerState, TopAnswers

T = TypeVar("T")

# Patterns that a measure reads at once, at most where a recurrence has fewer.
PART_BYTES = 1 << 25


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
    budget
        Of the memory that it takes, by default one that all recordings share; beyond it the
        oldest rows go to the disk.
    """

    def __init__(
        self,
        info: RunInfo,
        initial: F32,
        capture: Capture,
        label: Callable[[int], str] = str,
        budget: Budget | None = None,
    ) -> None:
        self.info, self.capture, self.label = info, capture, label
        self.budget = budget or shared_budget()
        arch = info.architecture
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
        # The run that this one was cut off, and layers that both share; it is held by others.
        self._parent: ref[Recording] | None = None
        self.shared_layers = 0
        # Of measurements of this run that take long.
        self.results = Results()
        # What this run shares with the other runs of its model.
        self.shared = Shared()
        kept = kept_rows(arch, initial.shape, capture)
        self._have({name: Rows(shape, dtype, self.budget) for name, (shape, dtype) in kept.items()})
        self._n_layers = arch.n_block
        self._rows["states"].append(initial)
        # What a layer adds at most, the last of a recurrence.
        self._layer_bytes = sum(rows.row_bytes for rows in self._rows.values())

    def _have(self, rows: dict[str, Rows]) -> None:
        """Take these as its rows; what makes readouts of a run is not taken along."""
        self._rows, self.readouts = rows, Readouts(rows)

    def prefix(self, layers: int, info: RunInfo) -> Recording:
        """Return a recording of ``info`` that begins with the first ``layers`` layers of this one.

        What was measured of this run is not taken along. ``layers`` is at most `layers_done`.
        Raises `ValueError` for any other number.
        """
        if not 0 <= layers <= self._layers_done:
            raise ValueError(f"cannot take {layers} of {self._layers_done} layers")
        self.readouts.make()
        begun = Recording(info, self.state(0), self.capture, self.label, self.budget)
        complete = layers // self._n_layers
        begun._have(first_rows(self._rows, layers, complete))
        begun._parent, begun.shared_layers = ref(self), layers
        begun._layers_done, begun._recurrences = layers, complete
        begun.readout_directions = dict(self.readout_directions)
        begun.shared = self.shared
        return begun

    @classmethod
    def of_rows(
        cls,
        info: RunInfo,
        rows: dict[str, Rows],
        capture: Capture,
        label: Callable[[int], str] = str,
        budget: Budget | None = None,
        parent: Recording | None = None,
        shared_layers: int = 0,
    ) -> Recording:
        """Return a recording of rows that are there already, as `kept_rows` names them.

        What lies beyond the last layer that is there in every part is left out.
        """
        layers, complete = whole_rows(rows, info.architecture.n_block)
        made = cls(info, rows["states"][0], capture, label, budget)
        made._have(first_rows(rows, layers, complete))
        made._layers_done, made._recurrences = layers, complete
        made._parent = None if parent is None else ref(parent)
        made.shared_layers = shared_layers
        return made

    def read_on(self, further: Recording) -> None:
        """Be as long as ``further``, this same run as its file holds it now.

        Rows come before their counts: who reads meanwhile sees the run as it was or as it is.
        """
        self._have(further._rows)
        self._recurrences, self._layers_done = further._recurrences, further._layers_done
        self.effects.update(further.effects)
        self.float32_error = further.float32_error
        for key, result in further.results.items():
            self.results.put(key, result)
        self.results.unread |= further.results.unread

    @property
    def parent(self) -> Recording | None:
        """The run that this one was cut off and shares its first rows with, while it is held."""
        return None if self._parent is None else self._parent()

    @property
    def kept(self) -> Mapping[str, Rows]:
        """The rows of everything that is kept, by the names of `kept_rows`."""
        self.readouts.make()
        return self._rows

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
        return sum(rows.nbytes for rows in self._rows.values())

    @property
    def held(self) -> int:
        """Bytes of those that are in memory; the others lie in a file."""
        return sum(rows.held for rows in self._rows.values())

    # ---- writing (the worker only) ----
    def reserve(self) -> None:
        """Make room for the next layer; raises `NoRoom` where memory and disk have none."""
        self.budget.make_room(self._layer_bytes)

    def append_layer(self, step: LayerState) -> None:
        """Append the next layer; raises `NoRoom` before anything is written."""
        expected = divmod(self._layers_done, self._n_layers)
        if (step.recurrence - 1, step.layer) != expected:
            raise ValueError(
                f"expected recurrence {expected[0] + 1}, layer {expected[1]}; "
                f"got recurrence {step.recurrence}, layer {step.layer}"
            )
        self.reserve()
        given = {"layer_states": step.state, "patterns": step.pattern, "writes": step.writes}
        for name in BY_LAYER:
            if name in self._rows:
                self._rows[name].append(_given(given[name], name))
        self._layers_done += 1

    def append_end(
        self,
        state: F32,
        coda_lens: TopAnswers | None = None,
        logit_lens: TopAnswers | None = None,
        hazard: F32 | None = None,
        spread: F32 | None = None,
    ) -> None:
        """Close the recurrence whose last layer was just appended.

        Its readout may have come before it, and comes later where `readouts` are made. ``spread``
        is ``[T, 2]``, see `ReadOut`. Raises `ValueError` while the recurrence has layers left, and
        for a part that is kept and not given.
        """
        if self._layers_done != (self._recurrences + 1) * self._n_layers:
            raise ValueError(f"recurrence {self._recurrences + 1} has layers left to run")
        if coda_lens is not None and logit_lens is not None:
            self.readouts.append(of_one(coda_lens, logit_lens, spread))
        self.readouts.check(self._recurrences + 1)
        self._rows["states"].append(state)
        if "hazards" in self._rows:
            self._rows["hazards"].append(_given(hazard, "hazard"))
        self._recurrences += 1

    # ---- reading (anyone) ----
    @property
    def states(self) -> F32:
        """``s_0 ... s_R``, float32 ``[R + 1, T, d]``."""
        return self._rows["states"].first(self._recurrences + 1)

    def state(self, recurrence: int) -> F32:
        """``s_r``, float32 ``[T, d]``; 0 is the initial state."""
        return self._rows["states"][recurrence]

    def states_of(self, first: int, last: int) -> F32:
        """``s_first ... s_last``, both included, float32 ``[n, T, d]``."""
        return self._rows["states"].rows(first, last + 1)

    @property
    def layer_states(self) -> F32:
        """``x[r, l]`` of complete recurrences, float32 ``[R, L, T, d]``."""
        return self._by_layer(self._rows["layer_states"])

    def layer_states_of(self, first: int, last: int) -> F32:
        """``x[r, l]`` of recurrences ``first ... last``, both included, ``[n, L, T, d]``."""
        return self._between(self._rows["layer_states"], first, last)

    @property
    def patterns(self) -> F32 | None:
        """Attention probabilities, float32 ``[R, L, H, T, T]`` (query, key), or None.

        Where they are large this is a copy of all of them: `patterns_of` gives those wanted.
        """
        return self._by_layer(self._rows["patterns"]) if "patterns" in self._rows else None

    def patterns_of(self, first: int, last: int) -> F32:
        """Patterns of recurrences ``first ... last``, both included, ``[n, L, H, T, T]``.

        Raises `LoopscopeError` where the run keeps none.
        """
        if "patterns" not in self._rows:
            raise LoopscopeError("this run keeps no attention patterns")
        return self._between(self._rows["patterns"], first, last)

    def head_patterns(self, layer: int, head: int) -> Sequence[F32]:
        """The patterns ``[T, T]`` of one head, by recurrence; none where none are kept."""
        rows = self._rows.get("patterns")
        places = range(layer, self._recurrences * self._n_layers, self._n_layers)
        return () if rows is None else Picked(rows, places, head)

    def pattern_parts(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Cut recurrences ``first ... last`` so that the patterns of a part take little memory."""
        rows = self._rows.get("patterns")
        size = 1 if rows is None else max(1, PART_BYTES // (rows.row_bytes * self._n_layers))
        for start in range(first, last + 1, size):
            yield start, min(start + size - 1, last)

    @property
    def writes(self) -> F32 | None:
        """Norms of what attention and the MLP wrote, float32 ``[R, L, T, 2]``, or None."""
        return self._by_layer(self._rows["writes"]) if "writes" in self._rows else None

    def _by_layer(self, rows: Rows) -> F32:
        flat: F32 = rows.first(self._recurrences * self._n_layers)
        return flat.reshape(-1, self._n_layers, *rows.shape)

    def _between(self, rows: Rows, first: int, last: int) -> F32:
        flat: F32 = rows.rows((first - 1) * self._n_layers, last * self._n_layers)
        return flat.reshape(-1, self._n_layers, *rows.shape)

    @property
    def hazards(self) -> F32 | None:
        """Hazards of the exit gate, float32 ``[R, T]``, or None without a gate."""
        rows = self._rows.get("hazards")
        return None if rows is None else rows.first(self._recurrences)

    @property
    def coda_entropy(self) -> F32 | None:
        """Entropy of each readout, ``H(p_r)`` in nats, float32 ``[R, T]``, or None."""
        return self.readouts.spread(0, self._recurrences)

    @property
    def coda_kl(self) -> F32 | None:
        """``KL(p_r || p_{r-1})`` in nats, float32 ``[R, T]``, NaN at r = 1, or None."""
        return self.readouts.spread(1, self._recurrences)

    def answers(self, lens: str) -> TopAnswers | None:
        """Answers of ``lens`` ("coda" or "logit") by recurrence, ``[R, T, k]``, or None."""
        return self.readouts.answers(lens, self._recurrences)

    def layer(self, recurrence: int, layer: int) -> LayerState:
        """The state at (recurrence, layer), the recurrence under way included.

        Raises `IndexError` for one that has not been run.
        """
        i = (recurrence - 1) * self._n_layers + layer
        if not (0 <= layer < self._n_layers and recurrence >= 1 and i < self._layers_done):
            raise IndexError(f"recurrence {recurrence}, layer {layer} has not been run")
        rows = self._rows
        return LayerState(
            recurrence,
            layer,
            rows["layer_states"][i],
            rows["patterns"][i] if "patterns" in rows else None,
            rows["writes"][i] if "writes" in rows else None,
        )


def iteration(recording: Recording, recurrence: int) -> IterationState:
    """The complete recurrence ``r`` of a recording, 1 to `n_recurrences`.

    Raises `IndexError` for any other.
    """
    if not 1 <= recurrence <= recording.n_recurrences:
        raise IndexError(f"recurrence {recurrence} is not among 1 to {recording.n_recurrences}")
    i, layers, rows = recurrence - 1, recording.n_layers, recording.kept
    before, state = recording.states_of(i, recurrence)

    def by_layer(name: str) -> F32 | None:
        return rows[name].rows(i * layers, recurrence * layers) if name in rows else None

    return IterationState(
        recurrence,
        state,
        recording.layer_states_of(recurrence, recurrence)[0],
        by_layer("patterns"),
        by_layer("writes"),
        before,
        recording.readouts.answers_at("coda", recurrence),
        recording.readouts.answers_at("logit", recurrence),
        rows["hazards"][i] if "hazards" in rows else None,
    )


def appended(recording: Recording) -> tuple[int, int]:
    """Layers run and recurrences complete: another moment of the run has others.

    The last layer of a recurrence does not close it yet: the readout may come between.
    """
    return recording.layers_done, recording.n_recurrences


def _given(array: F32 | None, name: str) -> F32:
    if array is None:
        raise ValueError(f"{name} is captured by this recording and must be given")
    return array
