"""What a worker does: load a checkpoint once, make its runs, measure them at each length asked for.

Every number is that of a run of R recurrences, whatever longer run it was taken from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from loopscope.core.analyses.lens import read_run
from loopscope.core.arrays import F64
from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError, is_out_of_memory, one_line
from loopscope.core.experiments.probe.conditions import (
    RUNS_ONCE,
    conditions,
    plan_for,
    too_few,
)
from loopscope.core.experiments.probe.running import Batch, accuracy_lost
from loopscope.core.labels import size
from loopscope.core.measures.base import Measured, measure
from loopscope.core.measures.exits import Signals, signals_of, stops
from loopscope.core.measures.lens import READINGS, Readings
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.over_prompts.measuring import least_capture
from loopscope.core.over_prompts.quality import quality_over
from loopscope.core.prompts.answers import NO_ANSWER_GIVEN, Asked, ask, convention_of
from loopscope.core.prompts.prompt_set import PromptSet
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.recordings.writing import save
from loopscope.core.remote.models import MODELS
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper, least_for
from loopscope.core.sweeps.grid import Run, Task
from loopscope.core.sweeps.quantities import (
    AGREEMENT,
    EXIT,
    PROBE,
    QUALITY,
    condition_of,
    exit_quantity,
    formula_of,
)
from loopscope.core.views.depth import OFFERED
from loopscope.core.views.lens.curves import LENS_OF, read_curve

NO_PLACE = -1
# Bytes of a run that is kept as a recording: it travels whole.
MOST_RECORDED = 256 << 20
I32 = npt.NDArray[np.int32]
Cell = tuple[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The rows of one cell.

    layer, head, token : int32 ``[N]``, `NO_PLACE` where the value is of no such place.
    value : float64 ``[N]``, NaN where there is no number; then ``note`` may say why.
    """

    run: str
    measure: str
    r: int
    layer: I32
    head: I32
    token: I32
    value: F64
    unit: str
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a task gave.

    failures : by the run's key, why it could not be made; its other cells are not in ``blocks``.
    weights, device : of the checkpoint as it was loaded; "" where it was not.
    recordings : by the run's key, the bytes of a recording.
    """

    blocks: tuple[Block, ...]
    failures: dict[str, str]
    weights: str = ""
    device: str = ""
    recordings: dict[str, bytes] = field(default_factory=dict)


def do_task(task: Task) -> Outcome:
    """Make the runs of a task; one that cannot be made is said and the others go on."""
    try:
        loaded = MODELS.get(task.checkpoint.request)
        if task.weights and task.weights != loaded.weights_hash:
            raise LoopscopeError(
                other_weights(task.checkpoint.path, loaded.weights_hash, task.weights)
            )
    except (LoopscopeError, OSError, MemoryError, RuntimeError) as error:
        return Outcome((), dict.fromkeys((run.key for run in task.runs), _told(error)))
    blocks: list[Block] = []
    failures: dict[str, str] = {}
    recordings: dict[str, bytes] = {}
    for run in task.runs:
        try:
            blocks += measured(loaded, run, every_place=task.every_place)
            if run.record:
                recordings[run.key] = recorded(loaded, run)
        except Exception as error:  # whatever is wrong with one run, the study goes on
            failures[run.key] = _told(error)
    device = str(loaded.device.device)
    return Outcome(tuple(blocks), failures, loaded.weights_hash, device, recordings)


def other_weights(path: str, now: str, before: str) -> str:
    """Say that a checkpoint is not the one that the store's rows are of."""
    return (
        f"{path}: its weights are not those of the rows there are ({now[:12]}, not {before[:12]}); "
        "give the checkpoint another name in the study"
    )


def _told(error: Exception) -> str:
    return "there is not enough memory for this" if is_out_of_memory(error) else one_line(error)


def measured(loaded: Loaded, run: Run, *, every_place: bool = False) -> list[Block]:
    """Make one run as far as its longest length and measure it at each.

    Raises `LoopscopeError` for a prompt or a cut that this model cannot take.
    """
    blocks: list[Block] = []
    takers = (
        (_quality, _is_quality), (_exits, _is_exit), (_probed, _is_probed),
        (_measures, _is_measure),
    )  # fmt: skip
    for take, mine in takers:
        if cells := [cell for cell in run.wanted if mine(cell[0])]:
            blocks += take(loaded, run, cells, every_place)
    return blocks


def recorded(loaded: Loaded, run: Run) -> bytes:
    """Make one run and return the file of its recording.

    Raises `LoopscopeError` for one that is too large to be sent.
    """
    stepper = Stepper(loaded)
    recording = stepper.begin(
        loaded.tokenizer.encode(run.item.text),
        seed=run.seed,
        start=run.start.start,
        start_scale=run.start.scale,
        interventions=run.cuts,
    )
    while recording.n_recurrences < run.record:
        stepper.step()
        if recording.nbytes > MOST_RECORDED:
            raise LoopscopeError(
                f"a recording of {run.record} recurrences takes more than {size(MOST_RECORDED)}; "
                "make it with loopscope run"
            )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5"
        save(path, [recording], "loopscope sweep")
        return path.read_bytes()


def _is_quality(key: str) -> bool:
    return key in QUALITY


def _is_exit(key: str) -> bool:
    return key.startswith((EXIT, AGREEMENT))


def _is_probed(key: str) -> bool:
    return key.startswith(PROBE)


def _is_measure(key: str) -> bool:
    return key in OFFERED


def _lengths(
    loaded: Loaded, run: Run, prompt: Prompt, cells: list[Cell], capture: Capture
) -> Iterator[tuple[Recording, list[str]]]:
    """Step one run; at each length asked for, the run so far and what is asked of it."""
    stepper = Stepper(loaded, capture)
    recording = stepper.begin(
        prompt,
        seed=run.seed,
        start=run.start.start,
        start_scale=run.start.scale,
        interventions=run.cuts,
    )
    for r in sorted({r for _, r in cells}):
        while recording.n_recurrences < r:
            stepper.step()
        yield recording, [key for key, at in cells if at == r]


def _measures(loaded: Loaded, run: Run, cells: list[Cell], every_place: bool) -> Iterator[Block]:
    prompt, keys = loaded.tokenizer.encode(run.item.text), {key for key, _ in cells}
    capture = Capture()
    if not keys & set(LENS_OF):
        capture = least_capture(loaded, prompt, [OFFERED[key] for key in sorted(keys)])
        if least_for(run.cuts).patterns:
            capture = replace(capture, patterns=True)
    for recording, asked in _lengths(loaded, run, prompt, cells, capture):
        for key in asked:
            found = _taken(loaded, recording, key)
            yield _block(run, recording.n_recurrences, found, every_place)


def _taken(loaded: Loaded, recording: Recording, key: str) -> Measured:
    lens = LENS_OF.get(key)
    if lens is None:
        return measure(recording, OFFERED[key])
    # Some curves are relative to the run's end, so that each length is read anew.
    reading = read_run(loaded, recording, lens, lambda share: None)
    recording.keep(READINGS, Readings().put(lens, reading))
    return read_curve(recording, OFFERED[key])


def _block(run: Run, r: int, found: Measured, every_place: bool) -> Block:
    own = found.measure
    if found.missing:
        return _single(run, own.key, r, np.nan, found.missing)
    axes = own.axes if every_place else tuple(axis for axis in own.axes if axis == "layer")
    values = found.values[r - 1] if every_place else found.by_depth()[r - 1]
    if not axes:
        values = values.reshape(())
    places = np.indices(values.shape, dtype=np.int32).reshape(len(axes), values.size)
    by_axis = dict(zip(axes, places, strict=True))
    nowhere = np.full(values.size, NO_PLACE, np.int32)
    layer, head, token = (by_axis.get(axis, nowhere) for axis in ("layer", "head", "token"))
    return Block(run.key, own.key, r, layer, head, token, values.ravel(), own.formula.unit)


def _single(run: Run, key: str, r: int, value: float, note: str = "") -> Block:
    nowhere = np.full(1, NO_PLACE, np.int32)
    return Block(
        run.key, key, r, nowhere, nowhere, nowhere, np.array([value]), formula_of(key).unit, note
    )


def _exits(loaded: Loaded, run: Run, cells: list[Cell], every_place: bool) -> Iterator[Block]:
    """Where rules would have stopped a run of R; at the answers where the file gives any."""
    asked = _asked(loaded, run)
    if run.has_answers and not asked.positions:
        yield from (_single(run, key, r, np.nan, asked.missing) for key, r in cells)
        return
    capture = Capture(patterns=least_for(run.cuts).patterns, writes=False)
    for recording, keys in _lengths(loaded, run, asked.prompt, cells, capture):
        signals = signals_of(recording)
        if run.has_answers:
            signals = signals.of(asked.positions)
        for key in keys:
            yield _single(run, key, recording.n_recurrences, *_stopped(signals, key))


def _stopped(signals: Signals, key: str) -> tuple[float, str]:
    """Mean over the tokens that have an answer, and why there is none."""
    asked = exit_quantity(key)
    if asked.rule.key in signals.missing:
        why = signals.missing[asked.rule.key]
        return np.nan, why or "this model has no gate that is read by this rule"
    sums = stops(asked.rule, signals, np.array([asked.threshold]))
    if not sums.n:
        return np.nan, "no token has a readout that is finite"
    return float((sums.used if asked.used else sums.agree)[0]) / sums.n, ""


def _probed(loaded: Loaded, run: Run, cells: list[Cell], every_place: bool) -> Iterator[Block]:
    """Accuracy that a condition of the probe costs this prompt in a run of R, mean over draws."""
    asked, arch = _asked(loaded, run), loaded.architecture
    why = asked.missing or (RUNS_ONCE if arch.runs_once else "") or _no_probe(run, asked)
    for key, r in cells:
        reason = why or too_few(r, arch.trained_recurrences)
        if reason:
            yield _single(run, key, r, np.nan, reason)
            continue
        plan = plan_for(arch.trained_recurrences, recurrences=r)
        condition = condition_of(key, conditions(arch, plan))
        if condition.donor:
            yield _single(run, key, r, np.nan, "this needs other prompts: loopscope probe has them")
            continue
        last = asked.positions[-1] + 1
        batch = Batch(
            torch.tensor([asked.prompt.token_ids[:last]]), torch.tensor([asked.targets]), np.nan,
            run.prompts,
        )  # fmt: skip
        lost = float(accuracy_lost(loaded, batch, plan, condition)[0])
        note = "no other start ends in the right answers" if np.isnan(lost) else ""
        yield _single(run, key, r, lost, note)


def _no_probe(run: Run, asked: Asked) -> str:
    """Why this run cannot be probed, or ""."""
    if run.cuts:
        return "a condition of the probe is a cut into a run without others"
    if run.start.label != "default":
        return "the probe starts as the model does"
    first, *_, last = (asked.positions[0], *asked.positions)
    return "" if last - first + 1 == len(asked.positions) else "its answers do not stand together"


def _asked(loaded: Loaded, run: Run) -> Asked:
    """What is asked of the run's prompt; a prompt without an answer among others asks nothing."""
    arch = loaded.architecture
    return ask(
        loaded.tokenizer, run.item, arch, convention_of(arch), "space", answers=run.has_answers
    )


def _quality(loaded: Loaded, run: Run, cells: list[Cell], every_place: bool) -> Iterator[Block]:
    if run.has_answers and run.item.answer is None:
        yield from (_single(run, key, r, np.nan, NO_ANSWER_GIVEN) for key, r in cells)
        return
    longest = max(r for _, r in cells)
    how = HowRun(longest, run.seed, run.start.start, run.start.scale, run.cuts)
    found = quality_over(loaded, PromptSet(run.prompts, run.prompts, (run.item,)), how)
    n = float(found.tokens[0])
    for key, r in cells:
        value = {
            "quality:accuracy": float(found.right[0, r - 1]),
            "quality:nll": float(found.nll[0, r - 1]) / n if n else np.nan,
            "quality:tokens": n,
        }[key]
        why = found.why_no_accuracy if key == "quality:accuracy" else found.why_nothing
        yield _single(run, key, r, value, why if np.isnan(value) else "")
