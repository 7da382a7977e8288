"""The commands that need no window."""

from __future__ import annotations

import contextlib
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from loopscope.app.cli.recorded import recorded
from loopscope.app.cli.terminal import Bar as _Bar
from loopscope.app.cli.terminal import interventions_of, load_request, warn_lines, width, write_json
from loopscope.app.cli.terminal import output_file as _output_file
from loopscope.app.cli.terminal import warn as _warn
from loopscope.core.errors import LoopscopeError
from loopscope.core.files import make_folder

if TYPE_CHECKING:
    from distributed import Client

    from loopscope.app.view_spec import ViewSpec
    from loopscope.core.checkpoint.loading import Loaded
    from loopscope.core.prompts.tokenizer import Prompt
    from loopscope.core.run.recording import Recording
    from loopscope.core.run.stepper import Stepper
    from loopscope.core.selection import Selection
    from loopscope.core.views.second_run import SecondRun


# What `measure` calls the settling classes.
CLASSES = "settling_classes"


def run_inspect(options: Namespace) -> None:
    """Print the checkpoint card; imports no torch."""
    from loopscope.core.checkpoint.folder import open_checkpoint
    from loopscope.core.prompts.tokenizer import PromptTokenizer
    from loopscope.core.recordings.reader import is_recording
    from loopscope.core.run.card import card, card_text

    if is_recording(Path(options.path)):
        _inspect_recording(options)
        return
    checkpoint = open_checkpoint(options.path, options.family)
    arch = checkpoint.architecture
    tokenizer = PromptTokenizer(
        checkpoint.tokenizer_file,
        arch.vocab_size,
        arch.max_positions,
        arch.prefix,
        arch.prefix_rows,
    )
    values = card(checkpoint, tokenizer.problem)
    print(json.dumps(values, indent=2) if options.json else card_text(values))


def _inspect_recording(options: Namespace) -> None:
    from loopscope.core.recordings.card import card, card_text
    from loopscope.core.recordings.reader import open_recording

    values = card(open_recording(Path(options.path)))
    print(json.dumps(values, indent=2) if options.json else card_text(values))


def run_run(options: Namespace) -> None:
    """Run prompts into a recording."""
    from loopscope.app.cli.record import record

    print(record(options))


def run_trace(options: Namespace) -> None:
    """Run a prompt and write its arrays; of a recording, those that need no model."""
    from loopscope.core.run.requests import check_recurrences
    from loopscope.core.run.run_warnings import run_warnings
    from loopscope.core.run.trace import arrays_of, load_state, save_arrays, trace

    output = _output_file(options.output, ".npz")
    if (recording := recorded(options)) is not None:
        save_arrays(output, arrays_of(recording))
        print("loopscope: logits are left out: they need the model", file=sys.stderr)
        return
    check_recurrences(options.recurrences)
    state = load_state(Path(options.initial_state)) if options.initial_state else None
    loaded, prompt = _load(options)
    warnings: list[str] = []
    with _Bar("recurrences") as bar:
        arrays = trace(
            loaded,
            prompt,
            options.recurrences,
            seed=options.seed,
            initial_state=state,
            interventions=interventions_of(options),
            report=bar.show,
            seen=lambda recording: warnings.extend(run_warnings(recording)),
        )
    warn_lines(warnings)
    save_arrays(output, arrays)


def run_figures(options: Namespace) -> None:
    """Run a prompt, or take a recording, and write the figure of every view.

    Raises `LoopscopeError` for input that cannot be used, and at the end for the figures that
    failed.
    """
    from loopscope.app.figures import drawable, write_figures
    from loopscope.core.prompts.prompt_set import read_prompts
    from loopscope.core.selection import RecurrenceRange, Selection
    from loopscope.widgets.kit.export_choice import ExportChoice

    formats = _formats(options.format)
    prompts = read_prompts(options.prompts) if options.prompts else None
    wanted = _measured(options.measure)
    stepper, recording = _run(options)
    recording.shared.prompts = prompts
    last = Selection(recurrence=recording.n_recurrences, token=recording.n_tokens - 1)
    second, beside = _second_run(options, recording, last)
    for spec in wanted:
        _measure(spec, stepper, last, second)
        if second is not None and beside is not None and _is_of_each(spec):
            _measure(spec, second, beside.selection, None)
    choice = ExportChoice(
        formats, options.page.replace("-", " "), options.dpi, str(options.output), options.name,
        options.replace,
    )  # fmt: skip
    specs = drawable(recording, beside)
    first, final = options.range or (0, None)
    shown = RecurrenceRange(first, final, options.log_r)
    report = write_figures(recording, last, specs, {}, choice, second_run=beside, shown=shown)
    for path in report.written:
        print(path)
    if report.note:
        print(f"loopscope: {report.note}", file=sys.stderr)
    if report.failures:
        raise LoopscopeError("; ".join(report.failures))


def _second_run(
    options: Namespace, recording: Recording, at: Selection
) -> tuple[Stepper | None, SecondRun | None]:
    """Make or take the run of ``--beside``, with the place in it that goes with ``at``."""
    if options.beside is None:
        return None, None
    from loopscope.app.cli.beside import second_name, second_options
    from loopscope.core.run.pairing import Pairing
    from loopscope.core.views.second_run import SecondRun, second_selection

    stepper, there = _run(second_options(options, recording))
    pairing = Pairing(recording.info.architecture, there.info.architecture)
    beside = second_selection(at, pairing, there)
    return stepper, SecondRun(there, second_name(options, there), pairing, beside)


def _is_of_each(spec: ViewSpec) -> bool:
    """Whether a view's measurement is made of each of two runs, not of the model or of both."""
    request = spec.request
    return request is not None and request.scope == "run" and not request.second_run


def run_report(options: Namespace) -> None:
    """Run a prompt, or take a recording, and write it as a page."""
    from loopscope.app.cli.report import run_report as report

    report(options, lambda asked: _run(asked)[1])


def run_generate(options: Namespace) -> None:
    """Continue a text."""
    from loopscope.app.cli.generate import run_generate as generate

    generate(options)


def _measured(keys: list[str] | None) -> tuple[ViewSpec, ...]:
    """Views whose measurement is asked for: none, those named, or all that take one."""
    from loopscope.app.views import BY_KEY, VIEW_SPECS

    if keys is None:
        return ()
    for key in keys:
        if key not in BY_KEY or BY_KEY[key].request is None:
            known = ", ".join(p.key for p in VIEW_SPECS if p.request is not None)
            raise LoopscopeError(f"there is no measurement '{key}'; there are {known}")
    return tuple(p for p in VIEW_SPECS if p.request is not None and (p.key in keys or not keys))


def _measure(
    spec: ViewSpec, stepper: Stepper | None, selection: Selection, second: Stepper | None
) -> None:
    """Make a view's measurement where it takes one; say why where it cannot be made.

    ``second`` is for what compares two runs.
    """
    from loopscope.core.run.jobs import Job

    assert spec.request is not None
    if stepper is None:
        why = "a recording is measured so with its model: give --checkpoint PATH"
        print(f"loopscope: {spec.title}: {why}", file=sys.stderr)
        return
    alone = spec.request.second_run if second is None else ""
    if why := spec.request.missing(stepper.recording) or alone:
        print(f"loopscope: {spec.title}: {why}", file=sys.stderr)
        return
    job: Job[object] = Job(spec.title)
    job.second_run = second
    try:
        result = spec.measure(stepper, selection, spec.options(), job)
    except LoopscopeError as error:  # the other views can be drawn all the same
        print(f"loopscope: {spec.title}: {error}", file=sys.stderr)
        return
    stepper.recording.keep(spec.request.result, result)


def run_train(options: Namespace) -> None:
    """Train a native model and write it as a checkpoint folder."""
    from loopscope.app.cli.train import train

    train(options)


def run_evaluate(options: Namespace) -> None:
    """Print accuracy for each hop count at each recurrence.

    Raises `LoopscopeError` for options that do not fit the task or the model.
    """
    from loopscope.core.checkpoint.loading import load_model
    from loopscope.core.experiments.evaluation import evaluate_hops, table
    from loopscope.core.experiments.hops import MAX_HOPS
    from loopscope.core.run.requests import check_recurrences

    check_recurrences(options.recurrences)
    if options.hops > MAX_HOPS:
        raise LoopscopeError(f"--hops {options.hops}: the task has at most {MAX_HOPS}")
    loaded = load_model(load_request(options))
    _warn(loaded)
    per_pass, n_block = options.per_pass, loaded.architecture.n_block
    if per_pass and n_block % per_pass:
        raise LoopscopeError(f"--per-pass {per_pass} does not divide the block's {n_block} layers")
    with _Bar("evaluating") as bar:
        evaluation = evaluate_hops(
            loaded,
            hops=tuple(range(1, options.hops + 1)),
            recurrences=options.recurrences,
            n_examples=options.examples,
            seed=options.seed,
            per_pass=per_pass or 0,
            report=bar.show,
        )
    warn_lines(evaluation.warnings())
    if options.json:
        write_json(evaluation.as_json(), None)
    else:
        print(table(evaluation, width()))


def run_measure(options: Namespace) -> None:
    """Print the live measures of one run as JSON, or list what there is.

    Raises `LoopscopeError` where path or recurrences are missing.
    """
    from loopscope.core.measures.base import measure
    from loopscope.core.measures.registry import MEASURES, find
    from loopscope.core.recordings.reader import is_recording
    from loopscope.core.run.requests import check_recurrences
    from loopscope.core.views import settling, settling_data

    if options.list:
        for key, quantity in MEASURES.items():
            print(f"{key:28s}{quantity.formula.text()}")
        print(f"{CLASSES:28s}{settling_data.CLASS.text()}")
        return
    if options.path is None:
        raise LoopscopeError("measure needs a PATH (or --list)")
    keys = [*MEASURES, CLASSES] if options.measures == "all" else options.measures.split(",")
    names = [key.strip() for key in keys]
    chosen = [find(key) for key in names if key != CLASSES]
    output = _output_file(options.output, ".json") if options.output else None
    if options.prompts is not None and not is_recording(Path(options.path)):
        from loopscope.app.cli.prompt_commands import measured

        if options.recurrences is None:
            raise LoopscopeError("measure needs --recurrences with a checkpoint")
        check_recurrences(options.recurrences)
        write_json(measured(options, chosen), output)
        return
    recording = _run(options)[1]
    results = {quantity.key: measure(recording, quantity).as_json() for quantity in chosen}
    document: dict[str, object] = {"run": recording.info.provenance(), "measures": results}
    if CLASSES in names:
        # A verdict on the whole run, not a number at each recurrence.
        document[CLASSES] = settling.as_json(recording)
    write_json(document, output)


def run_quality(options: Namespace) -> None:
    """Print accuracy and perplexity over a prompt file after each recurrence."""
    from loopscope.app.cli.prompt_commands import quality

    quality(options)


def run_reproduce(options: Namespace) -> None:
    """Train the ablations that are missing, measure everything and write the page."""
    from loopscope.app.cli.reproduce import bundled_cycle, measure_all, write_page
    from loopscope.core.sweeps.small import models_of

    # Sizes where none are given: seeds, prompts, examples of accuracy.
    table, usual = ("quick", (1, 6, 100)) if options.quick else ("ablations", (3, 24, 400))
    n_prompts = options.prompts or usual[1]
    seeds, models = _seeds(options.seeds or usual[0]), models_of(table)
    folder = make_folder(Path(options.output))
    root = folder / ("models-quick" if options.quick else "models")
    with _small_models(table, options, seeds, root) as client, _Bar("measuring") as bar:
        studies = measure_all(models, root, seeds, n_prompts, bar.show, usual[2], client)
    print(write_page(studies, bundled_cycle(), folder, models))


def run_twins(options: Namespace) -> None:
    """Train the small twins that are missing, evaluate everything and write the page."""
    from loopscope.app.cli.twins import evaluate_all, write_page

    seeds, folder = _seeds(options.seeds), make_folder(Path(options.output))
    root = folder / "models"
    with _small_models("twins", options, seeds, root) as client, _Bar("evaluating") as bar:
        shipped, small = evaluate_all(root, seeds, options.examples, bar.show, client)
    print(write_page(shipped, small, folder))


def _seeds(n: int) -> tuple[int, ...]:
    from loopscope.core.experiments.small_models import SEEDS
    from loopscope.core.remote.address import check_installed

    check_installed()
    if n > len(SEEDS):
        raise LoopscopeError(f"--seeds {n} is more than {len(SEEDS)}")
    return SEEDS[:n]


@contextlib.contextmanager
def _small_models(
    table: str, options: Namespace, seeds: tuple[int, ...], root: Path
) -> Iterator[Client]:
    """Train what is missing of a table; the workers that did it measure next."""
    from loopscope.core.sweeps.small import cluster_for, train_missing

    with cluster_for(options.on, options.jobs) as (client, here):
        with _Bar("training") as bar:
            train_missing(table, root, seeds, bar.show, client, here)
        yield client


def run_probe(options: Namespace) -> None:
    """Cut a model in every way and write what was lost.

    Raises `LoopscopeError` for more hops than the task has.
    """
    from loopscope.app.cli.probe import probed, write_page
    from loopscope.core.experiments.hops import MAX_HOPS

    if options.hops > MAX_HOPS:
        raise LoopscopeError(f"--hops {options.hops}: the task has at most {MAX_HOPS}")
    folder = make_folder(Path(options.output))
    with _Bar("cutting") as bar:
        result = probed(options, bar.show)
    print(write_page(result, folder))


def run_sweep(options: Namespace) -> None:
    """Measure a grid of runs on a cluster."""
    from loopscope.app.cli.sweep import run_sweep as sweep

    sweep(options)


def run_serve(options: Namespace) -> None:
    """Start workers on this machine."""
    from loopscope.app.cli.serve import run_serve as serve

    serve(options)


def _load(options: Namespace) -> tuple[Loaded, Prompt]:
    from loopscope.core.checkpoint.loading import load_model
    from loopscope.core.prompts.tokenizer import parse_ids

    loaded = load_model(load_request(options))
    _warn(loaded)
    if options.token_ids is not None:
        return loaded, loaded.tokenizer.from_ids(parse_ids(options.token_ids))
    return loaded, loaded.tokenizer.encode(options.prompt)


def _run(options: Namespace) -> tuple[Stepper | None, Recording]:
    """Take the recording that a command names, or run its prompt and keep everything.

    Without the model there is no stepper.
    """
    from loopscope.core.run.requests import check_recurrences
    from loopscope.core.run.run_warnings import run_warnings

    checkpoint = getattr(options, "checkpoint", None)
    also = ("device", "family") if checkpoint else ()
    recording = recorded(options, ("prompts", *also) if options.command == "figures" else ())
    if recording is not None:
        warn_lines(run_warnings(recording))
        return _with_model(options, recording, checkpoint), recording
    if checkpoint:
        raise LoopscopeError("--checkpoint is for a recording; PATH is a checkpoint itself")
    check_recurrences(options.recurrences)
    from loopscope.core.run.stepper import Stepper

    loaded, prompt = _load(options)
    stepper = Stepper(loaded)
    stepper.begin(prompt, seed=options.seed, interventions=interventions_of(options))
    with _Bar("recurrences") as bar:
        for r in range(options.recurrences):
            stepper.step()
            bar.show((r + 1) / options.recurrences)
    warn_lines(run_warnings(stepper.recording))
    return stepper, stepper.recording


def _with_model(options: Namespace, recording: Recording, checkpoint: str | None) -> Stepper | None:
    """The stepper that goes on with a recording; None where no checkpoint is named."""
    if checkpoint is None:
        return None
    from loopscope.core.checkpoint.loading import load_model
    from loopscope.core.recordings.finding import request_for
    from loopscope.core.recordings.going_on import resume

    loaded = load_model(request_for(recording, checkpoint, options.device, options.family))
    _warn(loaded)
    return resume(loaded, recording)


def _formats(text: str) -> tuple[str, ...]:
    formats = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    from loopscope.app.views import VIEW_SPECS

    known = (
        "pdf",
        "svg",
        "png",
        "csv",
        "txt",
        *(name for spec in VIEW_SPECS for name in spec.exports),
    )
    for name in formats:
        if name not in known:
            raise LoopscopeError(f"cannot write '{name}'; --format takes {', '.join(known)}")
    if not formats:
        raise LoopscopeError(f"--format is empty; it takes {', '.join(known)}")
    return formats


def run_convert(options: Namespace) -> None:
    """Make a checkpoint folder and print its card."""
    from loopscope.core.convert.convert import Source, convert
    from loopscope.core.run.card import card, card_text

    config, roles, tokenizer, base = (
        None if given is None else Path(given)
        for given in (options.config, options.map, options.tokenizer, options.base)
    )
    source = Source(Path(options.source), config, roles, tokenizer, base)
    print(card_text(card(convert(source, Path(options.output)))))


def run_paper(options: Namespace) -> None:
    """Run a prompt file and write the page of the paper's figures."""
    from loopscope.app.cli.paper import run_paper as paper

    paper(options)


def run_doctor(options: Namespace) -> None:
    """Check install, devices and desktop."""
    from loopscope.app.cli.doctor import run_doctor as doctor

    doctor(options)


def run_plugins(options: Namespace) -> None:
    """Print what other packages add."""
    from loopscope.app.cli.plugins import run_plugins as plugins

    plugins(options)


def run_install_desktop(options: Namespace) -> None:
    """Add menu entry, icon and file types to the desktop, or remove them."""
    from loopscope.app.cli.desktop_entry import run_install_desktop as install

    install(options)


# What each command does, by its name; `open` is the window's, see `desktop`.
RUN: dict[str, Callable[[Namespace], None]] = {
    "inspect": run_inspect,
    "run": run_run,
    "trace": run_trace,
    "figures": run_figures,
    "report": run_report,
    "generate": run_generate,
    "train": run_train,
    "evaluate": run_evaluate,
    "measure": run_measure,
    "quality": run_quality,
    "reproduce": run_reproduce,
    "twins": run_twins,
    "probe": run_probe,
    "sweep": run_sweep,
    "paper": run_paper,
    "serve": run_serve,
    "convert": run_convert,
    "doctor": run_doctor,
    "plugins": run_plugins,
    "install-desktop": run_install_desktop,
}
