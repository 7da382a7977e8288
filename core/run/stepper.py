"""Step a looped model by hand: one layer, one recurrence, any number of times.

Every run that is recorded is stepped here, prompts of a set that share a run in `together` by the
same calls. Nothing that was done is computed again: stepping from
recurrence 40 to 41 costs one recurrence, and a readout of any recurrence costs one coda. What
keeps no recording iterates the model itself: training, evaluation and quality over prompts, the
probe, and the search for fixed points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from weakref import WeakMethod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from loopscope.core.arrays import F32
from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError, PromptError
from loopscope.core.interventions.applied import AppliedInterventions
from loopscope.core.interventions.base import END, Intervention, Source
from loopscope.core.interventions.layers import FreezeHead
from loopscope.core.model.looped_model import RecurrentState
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.budget import Budget
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.leaving import Leaving, array_of
from loopscope.core.run.reading_out import ReadingOut, reading_from
from loopscope.core.run.recording import Recording
from loopscope.core.run.start import Start, drawn, resolved, run_info
from loopscope.core.run.states import LayerState


class Stepper:
    """A run of one prompt on one loaded model.

    Parameters
    ----------
    loaded
        The model.
    capture
        What is kept of each layer besides its state.
    budget
        Of the memory that the recording takes; by default one that all share.
    """

    def __init__(
        self, loaded: Loaded, capture: Capture | None = None, budget: Budget | None = None
    ) -> None:
        self.loaded, self.capture, self.budget = loaded, capture or Capture(), budget
        self._recording: Recording | None = None
        self._e: Tensor
        self._x: Tensor
        self._recurrent: RecurrentState
        # The loaded model, bound to the prompt once a run has begun.
        self.model = loaded.model
        self._applied = AppliedInterventions(loaded.model)
        self._reading: ReadingOut | None = None
        self._leaving = Leaving(loaded.device.device)

    @property
    def recording(self) -> Recording:
        """What was kept so far; `begin` makes a new one.

        Raises `LoopscopeError` before that.
        """
        if self._recording is None:
            raise LoopscopeError("no run has begun; call begin(prompt) first")
        return self._recording

    @property
    def injected(self) -> Tensor:
        """``e``, what each recurrence is given, ``[1, T, d]``; a tensor autograd may use."""
        with torch.inference_mode(False):
            return self._e.clone()

    @torch.inference_mode()
    def begin(
        self,
        prompt: Prompt,
        *,
        seed: int = 0,
        start: Start = "default",
        start_scale: float = 1.0,
        initial_state: npt.NDArray[np.floating] | None = None,
        interventions: tuple[Intervention, ...] = (),
    ) -> Recording:
        """Run the prelude and set ``s_0``.

        Parameters
        ----------
        prompt
            From `PromptTokenizer`.
        seed
            Seeds a random start; the same seed gives the same states on one device.
        start, start_scale
            "default" is the model's own start state, "zeros", or "random": standard normal noise
            times ``start_scale``.
        initial_state
            ``[T, d]`` or ``[1, T, d]``, used in place of ``start``.
        interventions
            Each acts when the run comes to its place.

        Raises `LoopscopeError` for an intervention whose place does not exist here and for an
        initial state of another shape or with values that are not finite.
        """
        loaded, arch = self.loaded, self.loaded.architecture
        device = loaded.device.device
        self._recording = (
            None  # an intervention may take a state of this run, not of the one before
        )
        tokens = torch.tensor([prompt.token_ids], device=device)
        self.model = loaded.model.bound(tokens)
        self._e = self.model.prelude(tokens)
        shape = tuple(self._e.shape)
        how = resolved(start, arch)
        noise: Tensor | None = None
        if initial_state is not None:
            noise = torch.from_numpy(_checked_state(initial_state, shape))
            how = "given"
        elif how == "random":
            noise = drawn(arch, shape, seed, start_scale)
        for intervention in interventions:
            intervention.check(arch, len(prompt.token_ids))
        self._apply(interventions)
        self._x = self._applied.start(self.model.initial_state(self._e, noise))
        self._recurrent = self.model.begin(self._x)
        info = run_info(loaded, prompt, seed, how, start_scale, interventions)
        self._recording = Recording(
            info, array_of(self._x), self.capture, loaded.tokenizer.label, self.budget
        )
        self._recording.effects = self._applied.effects
        self._recording.shared = loaded.shared
        self._recording.weight_identity = loaded.weight_identity
        self._read_from_here()
        return self._recording

    def _read_from_here(self) -> None:
        """Have both lenses read out from where the recording ends, if it keeps them."""
        if self.capture.readout:
            self._reading = reading_from(self.recording, self.model, self._tensor)
            self.loaded.waiting.add(self.recording.readouts)

    def _apply(self, interventions: tuple[Intervention, ...]) -> None:
        state, pattern = _weakly(self._source_state), _weakly(self._own_pattern)
        self._applied = AppliedInterventions(self.model, interventions, state, pattern)

    @torch.inference_mode()
    def branch(self, interventions: tuple[Intervention, ...]) -> Stepper:
        """Return a run that is this one up to where ``interventions`` first act.

        They come after those that this run has. Nothing before that place is computed again, and
        what follows is bit for bit what `begin` with the same interventions would give (on a
        device whose arithmetic is reproducible). Where they act later than this run has gone, the
        new run stands where this one does. Raises `LoopscopeError` for a place that does not exist.
        """
        recording, n_layers = self.recording, self.recording.n_layers
        info = recording.info
        for intervention in interventions:
            intervention.check(info.architecture, recording.n_tokens)
        every = (*info.interventions, *interventions)
        other = Stepper(self.loaded, self.capture, self.budget)
        other._e, other.model = self._e, self.model
        starts = (own.starts_at(n_layers) for own in interventions)
        at = min([*starts, recording.layers_done])
        other._recording = recording.prefix(max(at, 0), replace(info, interventions=every))
        other._apply(every)
        done = len(info.interventions)
        if at < 0:
            # What acted on the initial state before is in it; the new ones come on top.
            fresh = AppliedInterventions(self.model, interventions, other._source_state)
            state = fresh.start(torch.from_numpy(recording.state(0).copy())[None].to(self._e))
            other._recording = Recording(
                replace(info, interventions=every), array_of(state), self.capture,
                self.loaded.tokenizer.label, self.budget,
            )  # fmt: skip
            other._recording.shared = recording.shared
            other._applied.effects = {(i + done, r): v for (i, r), v in fresh.effects.items()}
        # What earlier interventions did before this place they did in this run too.
        for (i, r), change in recording.effects.items():
            if every[i].done_before(r, n_layers) < max(at, 0):
                other._applied.effects[i, r] = change
        other._recording.effects = other._applied.effects
        other._recording.weight_identity = self.loaded.weight_identity
        other._restore()
        return other

    @classmethod
    @torch.inference_mode()
    def at_the_end_of(cls, loaded: Loaded, recording: Recording) -> Stepper:
        """Return a stepper that stands where a recording of this model ends and appends to it."""
        made = cls(loaded, recording.capture, recording.budget)
        tokens = torch.tensor([recording.info.token_ids], device=loaded.device.device)
        made.model = loaded.model.bound(tokens)
        made._e = made.model.prelude(tokens)
        made._recording = recording
        made._apply(recording.info.interventions)
        made._applied.effects.update(recording.effects)
        recording.effects = made._applied.effects
        recording.shared, recording.label = loaded.shared, loaded.tokenizer.label
        made._restore()
        return made

    def _restore(self) -> None:
        """Stand where the recording ends, as if all of it had been run by this stepper."""
        recording, model, arch = self.recording, self.model, self.loaded.architecture
        n_layers, done = recording.n_layers, recording.layers_done
        complete, layer = divmod(done, n_layers)
        state = self._tensor(recording.state(complete))
        self._x = self._tensor(recording.layer(complete + 1, layer - 1).state) if layer else state
        self._recurrent = model.begin(state)
        # The fast state of a nested loop is what its last finished pass put out, normed; the state
        # of an untied one that of the recurrence under way.
        first = 0 if arch.inner_cycles else complete * n_layers
        passes = [i for i in range(first, done) if self._ends_inner_pass(i)]
        if passes:
            r, at = divmod(passes[-1], n_layers)
            x = self._tensor(recording.layer(r + 1, at).state)
            self._recurrent = model.close_layer(x, self._recurrent, at)
        self._read_from_here()

    def _ends_inner_pass(self, index: int) -> bool:
        arch = self.loaded.architecture
        layer = index % arch.n_block + 1
        return layer % arch.n_stack == 0 and layer < arch.n_block

    def _tensor(self, array: F32) -> Tensor:
        """A recorded state ``[T, d]`` as ``[1, T, d]`` on the device."""
        return torch.from_numpy(array.copy())[None].to(self._e)

    def _own_pattern(self, recurrence: int, layer: int) -> Tensor:
        """A pattern ``[H, T, T]`` of this run, as it was when this recurrence was run."""
        pattern = self.recording.layer(recurrence, layer).pattern
        if pattern is None:
            raise LoopscopeError("this run keeps no attention patterns: none can be frozen")
        if not np.isfinite(pattern).all():  # of a skipped layer, or of a state that diverged
            raise LoopscopeError(
                f"at recurrence {recurrence} layer {layer} has no attention pattern to hold: it "
                "was skipped, or its state is not finite"
            )
        return torch.from_numpy(pattern.copy()).to(self._e)

    def _source_state(self, source: Source) -> Tensor:
        """The state of a `Source`, ``[1, T', d]``: of this run where it is that, else run anew."""
        recording = self._recording
        if recording is not None and self._is_own(source, recording):
            if source.layer == END:
                return self._tensor(recording.state(source.recurrence))
            return self._tensor(recording.layer(source.recurrence, source.layer).state)
        # With the same attention kernel as this run: the same state to the last bit.
        capture = Capture(patterns=self.capture.patterns, writes=False, readout=False)
        other = Stepper(self.loaded, capture)
        other.begin(
            self.loaded.tokenizer.from_ids(source.token_ids),
            seed=source.seed,
            start=source.start,  # type: ignore[arg-type]
            start_scale=source.start_scale,
            interventions=source.interventions,
        )
        for _ in range(source.recurrence):
            other.step()
        recorded = other.recording
        if source.layer == END:
            return other._tensor(recorded.state(source.recurrence))
        return other._tensor(recorded.layer(source.recurrence, source.layer).state)

    @staticmethod
    def _is_own(source: Source, recording: Recording) -> bool:
        """Whether a source is a place that this run has run, before its next intervention."""
        info, own = recording.info, recording.info.interventions
        same = (source.token_ids, source.seed, source.start_scale) == (
            info.token_ids, info.seed, info.start_scale,
        )  # fmt: skip
        if not same or resolved(source.start, info.architecture) != info.start:
            return False
        shared = len(source.interventions)
        if own[:shared] != source.interventions or source.recurrence > recording.n_recurrences:
            return False
        n = recording.n_layers
        place = (source.recurrence - 1) * n + (n - 1 if source.layer == END else source.layer)
        return all(place < later.starts_at(n) for later in own[shared:])

    @torch.inference_mode()
    def step_layer(self, ahead: float = 0) -> LayerState:
        """Run the next layer of the cycle; the last one also closes the recurrence.

        ``ahead`` more will be wanted, which only a run elsewhere prepares.
        """
        recording = self.recording
        recurrence, layer = divmod(recording.layers_done, recording.n_layers)
        recording.reserve()
        out, recurrent = self._applied.step(
            self._x, self._recurrent, self._e, recurrence + 1, layer, self.capture.patterns,
            self.capture.writes,
        )  # fmt: skip
        state, pattern, writes = self._leaving.arrays(out.state, out.pattern, out.writes)
        assert state is not None
        step = LayerState(recurrence + 1, layer, state, pattern, writes)
        if layer < recording.n_layers - 1:
            # Everything that can fail is done: from here the run and its recording move together.
            recording.append_layer(step)
        else:
            self._close_recurrence(step, recurrent)
        self._x, self._recurrent = out.state, recurrent
        return step

    def _close_recurrence(self, step: LayerState, recurrent: RecurrentState) -> None:
        """Append the last layer of a recurrence and its end, with the readouts that are due."""
        recording, reading = self.recording, self._reading
        if reading is None:
            recording.append_layer(step)
            recording.append_end(array_of(recurrent.state))
            return
        gate = self.model.arch.exit_gate
        hazard = array_of(self.model.hazard(recurrent)) if gate else None
        with reading.lock:
            block = reading.added(recurrent.state)
            made, left = reading.read(block) if reading.is_full(block) else (None, block)
            # Everything that can fail is done, as above.
            recording.append_layer(step)
            reading.block = left
            recording.readouts.append(made)
            recording.append_end(array_of(recurrent.state), hazard=hazard)

    def interrupt(self) -> None:
        """Nothing waits here: a layer runs to its end."""

    def step(self) -> int:
        """Run to the end of the recurrence (all of it, or what `step_layer` left).

        Returns its number. `recording` has what it left; its readout is made when asked for.
        """
        recording = self.recording
        target = recording.n_recurrences + 1
        while recording.n_recurrences < target:
            self.step_layer()
        return target

    @torch.inference_mode()
    def readout(self, recurrence: int | None = None) -> F32:
        """Logits ``[T, V]`` read out after ``recurrence`` (default: the last complete one).

        Raises `LoopscopeError` for a recurrence that has not been run.
        """
        done = self.recording.n_recurrences
        r = done if recurrence is None else recurrence
        if not 0 <= r <= done:
            raise LoopscopeError(f"recurrence {r} has not been run; 0 to {done} have")
        return array_of(self.model.readout(self._tensor(self.recording.state(r))))

    def readout_direction(self, token_id: int) -> F32:
        """The unembedding row of a token, ``[d]``: the direction that raises its logit."""
        if self.loaded.architecture.head_transform:
            raise LoopscopeError("this model's head is not linear in the state: no token has one")
        weight = self.loaded.model.unembed.weight
        if not 0 <= token_id < len(weight):
            raise PromptError(f"token id {token_id} is out of range; 0 to {len(weight) - 1}")
        return array_of(weight[token_id][None])


def _weakly(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A method of a stepper, for what the stepper itself holds.

    A run that is let go then gives its memory back at once, not when garbage is collected.
    """
    held = WeakMethod(method)

    def call(*of: object) -> Tensor:
        own = held()
        assert own is not None  # who calls is stepping
        return own(*of)

    return call


def least_for(interventions: tuple[Intervention, ...]) -> Capture:
    """Return the least capture that a run needs: with a frozen head, the run's own patterns."""
    frozen = any(isinstance(own, FreezeHead) for own in interventions)
    return Capture(patterns=frozen, writes=False, readout=False)


def _checked_state(state: npt.NDArray[np.floating], shape: tuple[int, ...]) -> F32:
    if state.shape not in (shape, shape[1:]):
        raise LoopscopeError(
            f"the initial state has shape {list(state.shape)}; this prompt needs {list(shape)}"
        )
    if not np.isfinite(state).all():
        raise LoopscopeError("the initial state holds NaN or infinite values")
    # A copy of our own: a recording's states are not writable, which torch does not like.
    return np.array(state.reshape(shape), dtype=np.float32, order="C")
