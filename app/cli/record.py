"""``loopscope run``: runs into a recording, which goes on where it was killed."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from loopscope.app.cli.recorded import opened
from loopscope.app.cli.terminal import (
    Bar,
    interventions_of,
    load_request,
    output_file,
    warn,
    warn_lines,
)
from loopscope.core.checkpoint.loading import Loaded, load_model
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import Intervention
from loopscope.core.prompts.prompt_set import read_prompts
from loopscope.core.prompts.tokenizer import Prompt, parse_ids
from loopscope.core.recordings.going_on import differences, resume
from loopscope.core.recordings.reader import RecordingFile, is_recording
from loopscope.core.recordings.writing import RecordingWriter
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.requests import check_recurrences
from loopscope.core.run.run_warnings import WarningsOverRuns, run_warnings
from loopscope.core.run.stepper import Stepper

# What --keep names; states are kept always.
KEEP = ("states", "patterns", "writes", "readouts")


def record(options: Namespace) -> Path:
    """Run every prompt into the recording of ``-o``; what that holds already is not run again.

    Returns its path. Raises `LoopscopeError` for what cannot be run or written, and for a file
    that holds other runs.
    """
    check_recurrences(options.recurrences)
    capture, interventions = _capture(options.keep), interventions_of(options)
    output = output_file(options.output, ".h5")
    texts = _texts(options)
    file = opened(output) if is_recording(output) else None
    if file is None and output.exists():
        raise LoopscopeError(f"{output}: is there and is no recording; give another name")
    loaded = load_model(load_request(options))
    warn(loaded)
    prompts = _prompts(options, loaded, texts)
    _check_same(file, prompts, loaded, options, capture, interventions)
    begun = [] if file is None else [resume(loaded, run) for run in file.runs]
    if file is not None and (other := differences(loaded, file.runs[0], file.about)):
        print(f"loopscope: {output}: {other}", file=sys.stderr)
    if _complete(begun, prompts, options.recurrences):
        return output
    writer = RecordingWriter(
        output, shlex.join(["loopscope", *sys.argv[1:]]), [run.recording for run in begun]
    )
    runs: list[Recording] = []
    try:
        with Bar("recurrences") as bar:
            for i, prompt in enumerate(prompts):
                stepper = begun[i] if i < len(begun) else Stepper(loaded, capture)
                if i >= len(begun):
                    stepper.begin(prompt, seed=options.seed, interventions=interventions)
                    writer.add(stepper.recording)
                runs.append(stepper.recording)
                _run_on(stepper, options.recurrences, writer, bar, (i, len(prompts)))
    finally:
        writer.close()
    _warn_of(runs)
    return output


def _run_on(
    stepper: Stepper, recurrences: int, writer: RecordingWriter, bar: Bar, place: tuple[int, int]
) -> None:
    """Step to so many recurrences; ``place`` is which of how many runs this is."""
    (i, n), recording = place, stepper.recording
    while recording.n_recurrences < recurrences:
        stepper.step()
        if writer.problem:
            raise LoopscopeError(writer.problem.removesuffix("; the run goes on"))
        note = f"prompt {i + 1} of {n}" if n > 1 else ""
        bar.show((i + recording.n_recurrences / recurrences) / n, note)


def _complete(begun: Sequence[Stepper], prompts: Sequence[Prompt], recurrences: int) -> bool:
    done = all(run.recording.n_recurrences >= recurrences for run in begun)
    return done and len(begun) == len(prompts)


def _capture(text: str) -> Capture:
    """What ``--keep`` asks for."""
    given = [name.strip() for name in text.split(",") if name.strip()]
    names = ["readouts" if name == "readout" else name for name in given]
    for name in names:
        if name not in KEEP:
            raise LoopscopeError(f"--keep: there is no '{name[:40]}'; there are {', '.join(KEEP)}")
    return Capture("patterns" in names, "writes" in names, "readouts" in names)


def _texts(options: Namespace) -> list[str]:
    """The prompts of a file; none for one that is given in the command."""
    return [] if options.prompts is None else [i.text for i in read_prompts(options.prompts).items]


def _prompts(options: Namespace, loaded: Loaded, texts: list[str]) -> list[Prompt]:
    if options.token_ids is not None:
        return [loaded.tokenizer.from_ids(parse_ids(options.token_ids))]
    return [loaded.tokenizer.encode(text) for text in texts or [options.prompt]]


def _check_same(
    file: RecordingFile | None,
    prompts: Sequence[Prompt],
    loaded: Loaded,
    options: Namespace,
    capture: Capture,
    interventions: tuple[Intervention, ...],
) -> None:
    """Refuse to go on in a file that holds other runs than those asked for."""
    if file is None:
        return
    if file.read_only:
        raise LoopscopeError(f"{file.path}: {file.notes[-1]}")
    asked = {"dtype": loaded.dtype, "--keep": capture, "interventions": interventions}
    random = any(run.info.start == "random" for run in file.runs)
    for i, run in enumerate(file.runs):
        info, beyond = run.info, i >= len(prompts)
        held = {"dtype": info.dtype, "--keep": run.capture, "interventions": info.interventions}
        other = [name for name, value in asked.items() if held[name] != value]
        if beyond or prompts[i].token_ids != info.token_ids:
            other.insert(0, "prompt")
        if random and options.seed != info.seed:
            other.append("seed")
        if file.parents[i] is not None:
            other.append("a branch")
        if other:
            raise LoopscopeError(
                f"{file.path}: run {i} of it is another than asked for ({', '.join(other)}); "
                "give another name"
            )


def _warn_of(runs: Sequence[Recording]) -> None:
    if len(runs) == 1:
        warn_lines(run_warnings(runs[0]))
        return
    warnings = WarningsOverRuns()
    for run in runs:
        warnings.see(run)
    warn_lines(warnings.lines())
