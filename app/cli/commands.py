"""The commands that need no window."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from loopscope.app.cli.figures import run_figures
from loopscope.app.cli.one_run import model_and_prompt, run_of
from loopscope.app.cli.recorded import recorded
from loopscope.app.cli.study_commands import (
    run_evaluate,
    run_paper,
    run_probe,
    run_reproduce,
    run_serve,
    run_sweep,
    run_train,
    run_twins,
)
from loopscope.app.cli.terminal import Bar, interventions_of, output_file, warn_lines, write_json
from loopscope.core.errors import LoopscopeError

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

    output = output_file(options.output, ".npz")
    if (recording := recorded(options)) is not None:
        save_arrays(output, arrays_of(recording))
        print("loopscope: logits are left out: they need the model", file=sys.stderr)
        return
    check_recurrences(options.recurrences)
    state = load_state(Path(options.initial_state)) if options.initial_state else None
    loaded, prompt = model_and_prompt(options)
    warnings: list[str] = []
    with Bar("recurrences") as bar:
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


def run_report(options: Namespace) -> None:
    """Run a prompt, or take a recording, and write it as a page."""
    from loopscope.app.cli.report import run_report as report

    report(options)


def run_generate(options: Namespace) -> None:
    """Continue a text."""
    from loopscope.app.cli.generate import run_generate as generate

    generate(options)


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
    output = output_file(options.output, ".json") if options.output else None
    if options.prompts is not None and not is_recording(Path(options.path)):
        from loopscope.app.cli.prompt_commands import measured

        if options.recurrences is None:
            raise LoopscopeError("measure needs --recurrences with a checkpoint")
        check_recurrences(options.recurrences)
        write_json(measured(options, chosen), output)
        return
    recording = run_of(options)[1]
    results = {quantity.key: measure(recording, quantity).as_json() for quantity in chosen}
    document: dict[str, object] = {"run": recording.info.provenance(), "measures": results}
    if CLASSES in names:
        # A verdict on the whole run, not a number at each recurrence.
        document[CLASSES] = settling.as_json(recording)
    write_json(document, output)


def run_analyse(options: Namespace) -> None:
    """Make one view's measurement and print what it says."""
    from loopscope.app.cli.analyse import analyse

    analyse(options)


def run_quality(options: Namespace) -> None:
    """Print accuracy and perplexity over a prompt file after each recurrence."""
    from loopscope.app.cli.prompt_commands import quality

    quality(options)


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
    "analyse": run_analyse,
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
