"""A loaded model for a script: it makes runs, and measures over prompt sets."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from loopscope.app.notebook.run import Given, Run, interventions_of
from loopscope.core.checkpoint.loading import Loaded, load_model
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import LoopscopeError
from loopscope.core.measures.over_prompts import HowRun, OverPrompts
from loopscope.core.measures.registry import MEASURES, find
from loopscope.core.model.architecture import Architecture
from loopscope.core.over_prompts.measuring import measure_over
from loopscope.core.prompts.prompt_set import Item, PromptSet, read_prompts
from loopscope.core.run.card import card, card_text
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.requests import check_recurrences
from loopscope.core.run.run_warnings import WarningsOverRuns
from loopscope.core.run.start import Start, check_start
from loopscope.core.run.stepper import Stepper

# What a run may keep besides its states.
KEEP = ("patterns", "writes", "readouts")
# A prompt set: a file, ``bundled:NAME``, or the prompts.
Prompts = str | Sequence[str] | PromptSet


def load(
    path: str,
    device: str = "auto",
    dtype: str = "float32",
    *,
    loop: tuple[int, int] | None = None,
    damping: float | None = None,
    family: str = "",
    weights: str = "",
) -> Model:
    """Load the checkpoint at ``path``.

    Parameters
    ----------
    path
        A local checkpoint folder, or a bundled model, such as ``bundled:looped``; the error for
        an unknown name lists them. Nothing of a folder is executed.
    device
        "auto", "cuda", "mps" or "cpu".
    dtype
        "float32", "bfloat16" or "float16".
    loop, damping
        ``(first, end)``: loop the layers ``first`` to ``end - 1`` of a deep model, in steps
        ``x ← x + damping (span(x) − x)``; damping 1, the default, is plain repetition.
    family
        Read the folder as this family, whatever it says of its own code.
    weights
        SHA-256 that the weights should have; others are loaded with a warning.

    Raises `CheckpointError` for a folder that cannot be read, `LoopscopeError` for an unknown
    device or dtype, for a span that the model does not have and for too little memory.
    """
    if damping is not None and loop is None:
        raise LoopscopeError("damping is of a looped span: give loop=(first, end) with it")
    span = None if loop is None else (*loop, 1.0 if damping is None else damping)
    loaded = load_model(LoadRequest(path, device, dtype, span, family))
    for line in (*loaded.checkpoint.notes, *([loaded.warning] if loaded.warning else [])):
        warnings.warn(line, RuntimeWarning, stacklevel=2)
    if weights and weights != loaded.weights_hash:
        told = f"{path}: has other weights ({loaded.weights_hash[:12]}…) than {weights[:12]}…"
        warnings.warn(told, RuntimeWarning, stacklevel=2)
    return Model(loaded)


class Model:
    """A model on a device; `loopscope.load` makes it.

    loaded : the model itself, of ``loopscope.core``, which may change from version to version.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded

    @override
    def __repr__(self) -> str:
        return f"<{self.name} on {self.loaded.device.device}, {self.loaded.dtype}>"

    @property
    def name(self) -> str:
        """The checkpoint's name, with the span that is looped."""
        return self.loaded.checkpoint.name

    @property
    def architecture(self) -> Architecture:
        """Sizes and shapes: layers of prelude, block and coda, heads, width, vocabulary."""
        return self.loaded.architecture

    @property
    def trained_recurrences(self) -> int:
        """Recurrences that the model was trained to; 1 for a deep model."""
        return self.architecture.trained_recurrences

    def card(self) -> str:
        """Return the checkpoint card as text: sizes, memory, and what is unavailable and why."""
        return card_text(card(self.loaded.checkpoint, self.loaded.tokenizer.problem))

    # ---- runs ----
    def run(
        self,
        prompt: str | Sequence[int],
        recurrences: int | None = None,
        *,
        seed: int = 0,
        start: Start = "default",
        start_scale: float = 1.0,
        initial_state: npt.NDArray[np.floating] | None = None,
        interventions: Iterable[Given] = (),
        keep: Iterable[str] = KEEP,
        name: str = "run",
    ) -> Run:
        """Run a prompt.

        Parameters
        ----------
        prompt
            Text, or token ids.
        recurrences
            How many; those that the model was trained to by default. 0 runs the prelude alone:
            `Run.step` goes on from there.
        seed
            Of a random start.
        start, start_scale
            "default" is the model's own start state, "zeros", or "random": standard normal noise
            times ``start_scale``. A model that starts from its embedding, or from what it has
            learned, has that alone.
        initial_state
            ``[T, d]``, used in place of ``start``.
        interventions
            Each acts when the run comes to its place; see `loopscope.intervention`.
        keep
            What is kept besides the states: "patterns", "writes", "readouts".
        name
            What figures of two runs call it.

        Raises `PromptError` for a prompt that this model cannot take, `LoopscopeError` for a
        start, an intervention or an initial state that does not fit and for a run that outgrows
        its memory budget.
        """
        check_start(start, start_scale, self.architecture)
        kept = {"readouts" if what == "readout" else what for what in keep}
        if unknown := sorted(kept - set(KEEP)):
            raise LoopscopeError(f"keep: there is no '{unknown[0]}'; there are {', '.join(KEEP)}")
        capture = Capture("patterns" in kept, "writes" in kept, "readouts" in kept)
        stepper = Stepper(self.loaded, capture)
        text = isinstance(prompt, str)
        tokenizer = self.loaded.tokenizer
        stepper.begin(
            tokenizer.encode(prompt) if text else tokenizer.from_ids(tuple(prompt)),  # type: ignore[arg-type]
            seed=seed,
            start=start,
            start_scale=start_scale,
            initial_state=initial_state,
            interventions=interventions_of(interventions),
        )
        run = Run(stepper.recording, name, stepper)
        wanted = self.trained_recurrences if recurrences is None else recurrences
        if wanted:
            run.step(wanted)
        return run

    def resume(self, run: Run) -> Run:
        """Give a run of a file its model back: what is returned goes on from its last state.

        On the same device, dtype, version of torch and number of threads it goes on bit for bit
        as it would have. Raises `LoopscopeError` for a run of other weights.
        """
        from loopscope.core.recordings.going_on import resume

        return Run(run.recording, run.name, resume(self.loaded, run.recording))

    # ---- prompt sets ----
    @property
    def prompts(self) -> PromptSet | None:
        """The prompt set in use, which views and analyses over prompts are of; None for none.

        A file, ``bundled:hops`` or a list of prompts can be assigned. Raises `LoopscopeError` for
        one that cannot be read.
        """
        return self.loaded.shared.prompts

    @prompts.setter
    def prompts(self, prompts: Prompts) -> None:
        self.loaded.shared.prompts = prompt_set(prompts)

    def measure(
        self,
        name: str,
        prompts: Prompts | None = None,
        recurrences: int | None = None,
        *,
        seed: int = 0,
        start: Start = "default",
        start_scale: float = 1.0,
        interventions: Iterable[Given] = (),
    ) -> OverPrompts:
        """Take a measure of every prompt of a set, the one in use by default.

        Returns ``values``, float64 ``[P, R, L]`` (each prompt's tokens and heads by the measure's
        own mean or median; ``L`` is 1 for a measure without layers), and ``mean`` over prompts
        with its 95 % interval: ``mean.value``, ``mean.low`` and ``mean.high``, ``[R, L]``, over
        ``mean.n`` prompts. Raises `PromptError` with the line of a prompt that this model cannot
        take, and `LoopscopeError` for what does not exist, before anything is run.
        """
        chosen = self.loaded.shared.prompts_in_use() if prompts is None else prompt_set(prompts)
        wanted = self.trained_recurrences if recurrences is None else recurrences
        check_recurrences(wanted)
        check_start(start, start_scale, self.architecture)
        how = HowRun(wanted, seed, start, start_scale, interventions_of(interventions))
        seen = WarningsOverRuns()
        found = measure_over(self.loaded, chosen, [find(name)], how, seen=seen.see)[name]
        for line in seen.lines():
            warnings.warn(line, RuntimeWarning, stacklevel=2)
        return found


def prompt_set(prompts: Prompts) -> PromptSet:
    """Return a prompt set: of a file, ``bundled:NAME``, or the prompts that are given.

    Raises `LoopscopeError` without a prompt, and for a file that cannot be read.
    """
    if isinstance(prompts, PromptSet):
        return prompts
    if isinstance(prompts, str):
        return read_prompts(prompts)
    items = tuple(Item(text, None, i) for i, text in enumerate(prompts, start=1))
    if not items:
        raise LoopscopeError("a prompt set needs at least one prompt")
    return PromptSet("", "the list given", items)


def measures() -> dict[str, str]:
    """Return every measure that `Run.measure` takes: its name, formula, unit and source."""
    return {key: quantity.formula.text() for key, quantity in MEASURES.items()}


def views() -> dict[str, str]:
    """Return every view that `Run.view` takes, and what it shows."""
    from loopscope.app.views import VIEW_SPECS

    return {spec.key: spec.shows for spec in VIEW_SPECS}
