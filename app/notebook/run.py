"""A run for a script: stepped, cut, measured, drawn, shown and taken away."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from loopscope.app.notebook.arrays import (
    Array,
    MeasuredArray,
    arrays_by_hook,
    arrays_of_run,
    measured_array,
)
from loopscope.app.notebook.run_view import (
    RunView,
    find_view,
    options_of,
    selection_of,
    view_of,
)
from loopscope.core.arrays import F32
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import Intervention
from loopscope.core.interventions.registry import from_json
from loopscope.core.run.float32_twin import Float32Twin
from loopscope.core.run.jobs import Job
from loopscope.core.run.pairing import STEP_PAIRINGS, Pairing, StepPairing
from loopscope.core.run.recording import Recording, iteration
from loopscope.core.run.requests import check_recurrences
from loopscope.core.run.run_warnings import overflow
from loopscope.core.run.states import IterationState, LayerState
from loopscope.core.run.stepper import Stepper
from loopscope.core.run.trace import save_arrays
from loopscope.core.views.second_run import SecondRun, second_selection

if TYPE_CHECKING:
    from loopscope.widgets.figures.page_figure import PageFigure

# As `intervention` makes them, or as a file of interventions has them.
Given = Intervention | Mapping[str, Any]


def intervention(kind: str, **fields: Any) -> Intervention:
    """Make an intervention: ``intervention("noise", recurrence=4, last=4, layer=-1, size=0.5)``.

    ``kind`` and ``fields`` are those of a file of interventions (docs/runs.md). Raises
    `LoopscopeError` that names the kind or the field that does not exist or does not fit.
    """
    return from_json([{"kind": kind, **_plain(fields)}], "intervention")[0]


def interventions_of(given: Iterable[Given]) -> tuple[Intervention, ...]:
    """Return interventions, those that are given as plain values read."""
    return tuple(
        one if isinstance(one, Intervention) else from_json([_plain(one)], "intervention")[0]
        for one in given
    )


def _plain(value: Any) -> Any:
    """Tuples as the lists that a file would have."""
    if isinstance(value, Mapping):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


class Run:
    """One prompt on one model, as far as it was stepped.

    `Model.run` makes it; `open_recording` reads it from a file, where it has no model until
    `Model.resume`.

    name : what figures of two runs call it.
    recording : all that was kept, of ``loopscope.core``, which may change from version to version.
    """

    def __init__(self, recording: Recording, name: str, stepper: Stepper | None = None) -> None:
        self.recording, self.name, self._stepper = recording, name, stepper
        self._overflow_said = False
        self._twin: Float32Twin | None = None

    @override
    def __repr__(self) -> str:
        recording, info = self.recording, self.recording.info
        cuts = f", {len(info.interventions)} interventions" if info.interventions else ""
        return (
            f"<{self.name}: {info.checkpoint}, {info.prompt!r}, {recording.n_tokens} tokens, "
            f"{recording.n_recurrences} recurrences{cuts}>"
        )

    @property
    def stepper(self) -> Stepper:
        """What steps it, of ``loopscope.core``, which may change from version to version.

        Raises `LoopscopeError` for a run of a file, which has no model.
        """
        if self._stepper is None:
            raise LoopscopeError(
                "this run was read from a file and has no model: call model.resume(run) for one"
            )
        return self._stepper

    # ---- what was kept ----
    @property
    def recurrences(self) -> int:
        """Complete recurrences, ``R``."""
        return self.recording.n_recurrences

    @property
    def tokens(self) -> tuple[str, ...]:
        """The text of each token of the prompt."""
        return self.recording.info.token_labels

    @property
    def provenance(self) -> dict[str, str]:
        """What was run: checkpoint and hash of its weights, prompt, seed, device, dtype."""
        return self.recording.info.provenance()

    @property
    def states(self) -> F32:
        """``s_0 ... s_R``, float32 ``[R + 1, T, d]``; row 0 is the initial state."""
        return np.asarray(self.recording.states)

    @property
    def layer_states(self) -> F32:
        """``x[r, l]`` after each layer of the block, float32 ``[R, L, T, d]``."""
        return np.asarray(self.recording.layer_states)

    @property
    def patterns(self) -> F32:
        """Attention probabilities, float32 ``[R, L, H, T, T]`` (query, key).

        Raises `LoopscopeError` where the run did not keep them.
        """
        patterns = self.recording.patterns
        if patterns is None:
            raise LoopscopeError("this run did not keep attention patterns; see keep= of Model.run")
        return np.asarray(patterns)

    def logits(self, recurrence: int | None = None) -> F32:
        """Read the logits out after a recurrence, the last by default: float32 ``[T, V]``.

        Raises `LoopscopeError` for a recurrence that has not been run.
        """
        return self.stepper.readout(recurrence)

    # ---- stepping ----
    def step(self, recurrences: int = 1) -> IterationState:
        """Run on for so many recurrences; returns what the last of them left.

        One that is under way is the first. Raises `LoopscopeError` where the recording would
        outgrow its memory budget; what was run until then stays.
        """
        check_recurrences(recurrences)
        for _ in range(recurrences):
            done = self.stepper.step()
        self._warn()
        return iteration(self.recording, done)

    def step_layer(self) -> LayerState:
        """Run the next layer of the block; the last one also closes the recurrence."""
        layer = self.stepper.step_layer()
        self._warn()
        return layer

    def _warn(self) -> None:
        """Say once that states overflow."""
        if not self._overflow_said and (line := overflow(self.recording)):
            self._overflow_said = True
            warnings.warn(line, RuntimeWarning, stacklevel=3)

    def branch(self, *interventions: Given, run_on: bool = True) -> Run:
        """Return a run that is this one up to where ``interventions`` first act.

        It is run as far as this one, or left where they act when ``run_on`` is False. Nothing
        before that place is computed again. Raises `LoopscopeError` for a place that does not
        exist.
        """
        stepper = self.stepper.branch(interventions_of(interventions))
        branch = Run(stepper.recording, "branch", stepper)
        while run_on and branch.recording.layers_done < self.recording.layers_done:
            branch.step_layer()
        return branch

    # ---- numbers ----
    def measure(self, name: str) -> MeasuredArray:
        """Measure every recurrence: numbers with axes, unit, formula and source.

        ``loopscope.measures()`` lists the names. Raises `LoopscopeError` for an unknown one, and
        where this run has no such number, with the reason.
        """
        return measured_array(self.recording, name)

    def analyse(
        self,
        name: str,
        *,
        second: Run | None = None,
        at: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Make the measurement that the view ``name`` shows; it is kept with the run or its model.

        ``options`` are settings of the view, ``at`` is the cursor (see `view`). ``second`` is the
        run that it compares with. Returns the result, whose fields may change from version to
        version; `view` draws it. Raises `LoopscopeError` for what cannot be measured here.
        """
        spec = find_view(name)
        if spec.request is None:
            raise LoopscopeError(f"“{spec.title}” needs no measurement: call view('{name}')")
        why = spec.request.missing(self.recording) or (
            spec.request.second_run if second is None else ""
        )
        if why:
            raise LoopscopeError(why)
        job: Job[object] = Job(spec.title)
        job.second_run = None if second is None else second.stepper
        selection = selection_of(self.recording, at or {})
        result = spec.measure(self.stepper, selection, options_of(spec, options), job)
        self.recording.keep(spec.request.result, result)
        return result

    def compare_with_float32(self) -> F32:
        """Run the same in float32 and return the relative error of each state, ``[R, T]``.

        *Settling* draws it from then on. Raises `LoopscopeError` for a run in float32.
        """
        self._twin = self._twin or Float32Twin(self.stepper.loaded)
        self.recording.float32_error = self._twin.error(self.recording)
        return self.recording.float32_error

    # ---- figures ----
    def view(
        self,
        name: str,
        *,
        second: Run | None = None,
        at: Mapping[str, Any] | None = None,
        step_pairing: StepPairing = "depth",
        second_at: Mapping[str, Any] | None = None,
        difference: bool = False,
        **options: Any,
    ) -> RunView:
        """Return what the view ``name`` shows of this run: data, table and figure.

        Parameters
        ----------
        name
            Of the view, as `loopscope.views` lists them.
        second
            A run to draw on the same axes, for a view that does, or to subtract.
        at
            The cursor: "recurrence" (0 is the initial state), "layer", "head" and "token" (from
            0), "tokens" (those selected; all by default). By default the last recurrence and token.
        step_pairing, second_at
            How the second run's cursor follows: "depth", "recurrence" or "own", and where it is.
        difference
            Whether to show this run less the second one, for a heat map or a matrix.
        options
            Settings of the view (docs/settings.md), by their names in its ``Options``.

        Raises `LoopscopeError` for what does not exist, and where a measurement has to be made
        first.
        """
        spec = find_view(name)
        selection = selection_of(self.recording, at or {})
        second_run = None
        if second is not None:
            if step_pairing not in STEP_PAIRINGS:
                raise LoopscopeError(
                    f"there is no step pairing '{step_pairing}'; "
                    f"there are {', '.join(STEP_PAIRINGS)}"
                )
            there = second.recording
            pairing = Pairing(
                self.recording.info.architecture, there.info.architecture, step_pairing
            )
            own = selection_of(there, second_at or {})
            cursor = second_selection(selection, pairing, there, own)
            second_run = SecondRun(there, second.name, pairing, cursor)
        return view_of(
            spec, self.recording, selection, options_of(spec, options), second_run,
            lambda token: self.stepper.readout_direction(token), difference=difference,
        )  # fmt: skip

    def figure(self, name: str, *, page: str = "two columns", **how: Any) -> PageFigure:
        """Draw the view ``name`` as a `matplotlib.figure.Figure`, which a notebook shows.

        ``page`` is the size: "one column", "two columns" or "slide". What else is given is that
        of `view`.
        """
        return self.view(name, **how).figure(page)

    def show(self, second: Run | None = None) -> None:
        """Open the window on this run, with ``second`` beside it, and return at once.

        The window is a process of its own that makes the runs again: what is done in it does not
        come back here. Raises `LoopscopeError` without a display, for a run of a file without its
        model, and for one that was begun from an array.
        """
        from loopscope.app.notebook.showing import show

        runs = (self,) if second is None else (self, second)
        show([(run.name, run.stepper) for run in runs])

    # ---- taking it away ----
    def to_dict(self) -> dict[str, Array]:
        """Return what was kept by TransformerLens-style hook names, each with its recurrence.

        ``recurrence.3.blocks.0.hook_resid_post`` is the state after layer 0 of recurrence 3;
        docs/notebook.md has all names and shapes. Nothing is copied.
        """
        return arrays_by_hook(self.recording)

    def save(self, path: str | Path, *others: Run) -> None:
        """Write the run to a recording file (.h5), complete or not there at all.

        ``others``, such as its branches, go into the same file; what runs share is there once.
        Raises `LoopscopeError` where it cannot be written.
        """
        from loopscope.core.recordings.writing import save

        save(Path(path), [run.recording for run in (self, *others)])

    def to_npz(self, path: str | Path) -> None:
        """Write the complete recurrences as one ``.npz`` file, complete or not there at all.

        docs/notebook.md has its arrays. Raises `LoopscopeError` where it cannot be written.
        """
        save_arrays(Path(path), arrays_of_run(self.recording))


def open_recording(path: str | Path) -> tuple[Run, ...]:
    """Read the runs of a recording file: ``run, *branches = open_recording("run.h5")``.

    Everything but what needs the model can be asked of them; a run goes on after `Model.resume`.
    Rows stay in the file until they are asked for. Raises `LoopscopeError` for what is no
    recording.
    """
    from loopscope.core.recordings.reader import open_recording as opened

    file = opened(Path(path))
    for note in file.notes:
        warnings.warn(f"{path}: {note}", RuntimeWarning, stacklevel=2)
    names = ("run" if parent is None else "branch" for parent in file.parents)
    return tuple(Run(run, name) for run, name in zip(file.runs, names, strict=True))
