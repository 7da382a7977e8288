"""Commands that train models, evaluate them and measure many runs."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from loopscope.app.cli.terminal import Bar, load_request, warn, warn_lines, width, write_json
from loopscope.core.errors import LoopscopeError
from loopscope.core.files import make_folder

if TYPE_CHECKING:
    from distributed import Client


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
    warn(loaded)
    per_pass, n_block = options.per_pass, loaded.architecture.n_block
    if per_pass and n_block % per_pass:
        raise LoopscopeError(f"--per-pass {per_pass} does not divide the block's {n_block} layers")
    with Bar("evaluating") as bar:
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
    with _small_models(table, options, seeds, root) as client, Bar("measuring") as bar:
        studies = measure_all(models, root, seeds, n_prompts, bar.show, usual[2], client)
    print(write_page(studies, bundled_cycle(), folder, models))


def run_twins(options: Namespace) -> None:
    """Train the small twins that are missing, evaluate everything and write the page."""
    from loopscope.app.cli.twins import evaluate_all, write_page

    seeds, folder = _seeds(options.seeds), make_folder(Path(options.output))
    root = folder / "models"
    with _small_models("twins", options, seeds, root) as client, Bar("evaluating") as bar:
        shipped, small = evaluate_all(root, seeds, options.examples, bar.show, client)
    print(write_page(shipped, small, folder))


def run_probe(options: Namespace) -> None:
    """Cut a model in every way and write what was lost.

    Raises `LoopscopeError` for more hops than the task has.
    """
    from loopscope.app.cli.probe import probed, write_page
    from loopscope.core.experiments.hops import MAX_HOPS

    if options.hops > MAX_HOPS:
        raise LoopscopeError(f"--hops {options.hops}: the task has at most {MAX_HOPS}")
    folder = make_folder(Path(options.output))
    with Bar("cutting") as bar:
        result = probed(options, bar.show)
    print(write_page(result, folder))


def run_sweep(options: Namespace) -> None:
    """Measure a grid of runs on a cluster."""
    from loopscope.app.cli.sweep import run_sweep as sweep

    sweep(options)


def run_paper(options: Namespace) -> None:
    """Run a prompt file and write the page of the paper's figures."""
    from loopscope.app.cli.paper import run_paper as paper

    paper(options)


def run_serve(options: Namespace) -> None:
    """Start workers on this machine."""
    from loopscope.app.cli.serve import run_serve as serve

    serve(options)


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
        with Bar("training") as bar:
            train_missing(table, root, seeds, bar.show, client, here)
        yield client
