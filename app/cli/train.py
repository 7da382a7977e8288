"""`loopscope train`: from its arguments to a plan, a model and a checkpoint folder."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from loopscope.app.cli.terminal import Bar, width
from loopscope.core.checkpoint.series import STEP_FOLDER, STEPS
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.hops import VOCABULARY
from loopscope.core.experiments.training_plan import (
    RECIPES,
    HopsData,
    Recurrences,
    TextData,
    TrainingPlan,
)
from loopscope.core.files import make_folder
from loopscope.core.labels import count, size
from loopscope.core.system import host_free_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from loopscope.core.experiments.text import Corpus
    from loopscope.core.experiments.training import Progress, Training
    from loopscope.core.model.architecture import Architecture

DEFAULT_RECIPE = {"hops": "walker", "text": "text"}
# Width and rotary base of the models, by task.
D_MODEL = {"hops": 64, "text": 128}
ROPE_THETA = {"hops": 100.0, "text": 10_000.0}
# Passes after which a looped model is evaluated at least: those trained, or so many.
LEAST_EVALUATED = 16
# Examples of each hop count, and tokens of held-out text, that a finished model is evaluated on.
EVALUATED, EVALUATED_TOKENS = 500, 1 << 16


@dataclass(frozen=True, slots=True)
class Start:
    """The model that a training goes on from."""

    architecture: Architecture
    weights: dict[str, Tensor]
    digest: str


def train(args: Namespace) -> None:
    """Train, or go on with a training that was stopped, and write and evaluate the model.

    Raises `LoopscopeError` for arguments that do not fit together, and without the memory for it.
    """
    import torch

    from loopscope.core.experiments.native_folder import save_native
    from loopscope.core.experiments.text import TextTask, read_corpus
    from loopscope.core.experiments.training import Training

    torch.set_num_threads(args.threads)
    recipe = args.recipe or DEFAULT_RECIPE[args.task]
    plan = plan_for(args, recipe)
    corpus = None
    if isinstance(plan.data, TextData):
        if args.corpus is None:
            raise LoopscopeError("train text needs --corpus FILE, one document a line")
        corpus = read_corpus(Path(args.corpus), plan.data.vocabulary)
        plan = replace(plan, data=replace(plan.data, corpus=corpus.sha256))
    arch = architecture_for(args, plan)
    _check_room(arch)
    start = _start(args, recipe, arch)
    plan = replace(plan, weights=start.digest if start else "")
    folder = Path(args.output)
    task = TextTask(plan, corpus) if corpus else None
    training = Training(folder, plan, arch, task, start.weights if start else None)
    make_folder(folder)  # before the work rather than after it
    tokenizer = corpus.tokenizer if corpus else None

    def keep(place: Path) -> None:
        record = {"recipe": recipe, "model": args.model, **training.record()}
        save_native(place, training.model, tokenizer=tokenizer, record=record, half=args.half)

    _run(training, keep, args.keep_every or 0)
    keep(folder)
    print(_evaluated(folder, training, corpus))
    print(f"{training.progress.step} steps, {training.progress.cpu_minutes:.1f} CPU minutes")


def _check_room(arch: Architecture) -> None:
    """Refuse a model that cannot be trained in main memory, before it is made."""
    # Weights, gradients and the two moments of AdamW, float32.
    needed, room = 16 * arch.n_parameters, host_free_bytes()
    if room is not None and needed > room:
        raise LoopscopeError(
            f"not enough memory: training {count(arch.n_parameters)} parameters takes "
            f"{size(needed)}, {size(room)} are free"
        )


def plan_for(args: Namespace, recipe: str) -> TrainingPlan:
    """Return the recipe's plan with what the arguments change of it.

    Raises `LoopscopeError` for a recipe of the other task and for sizes that the task has not.
    """
    plan = RECIPES[recipe].plan
    data = plan.data
    if isinstance(data, HopsData) != (args.task == "hops"):
        raise LoopscopeError(f"the recipe '{recipe}' is not for the task {args.task}")
    if isinstance(data, HopsData):
        data = _hops_data(args, data)
    else:
        data = replace(data, vocabulary=args.vocabulary or data.vocabulary)
    longest = replace(plan, data=data).longest
    return replace(
        plan,
        data=data,
        seed=args.seed,
        steps=args.steps or plan.steps,
        finishing_steps=args.finishing or plan.finishing_steps,
        batch_size=args.batch or plan.batch_size,
        learning_rate=args.learning_rate or plan.learning_rate,
        recurrences=_recurrences(args, plan.recurrences),
        passes=_passes(args, data.max_hops if isinstance(data, HopsData) else longest),
    )


def _recurrences(args: Namespace, rule: Recurrences) -> Recurrences:
    given = {name: getattr(args, name) for name in ("slack", "pace", "kept")}
    changes = {name: value for name, value in given.items() if value is not None}
    if changes and not rule.slack:
        raise LoopscopeError(
            f"--{next(iter(changes))} is for recipes in which R goes beyond the hop count"
        )
    return replace(rule, **changes)


def _hops_data(args: Namespace, data: HopsData) -> HopsData:
    from loopscope.core.experiments.hops import LETTERS, MAX_HOPS

    hops, letters = args.hops or data.max_hops, args.letters or data.n_letters
    if hops > MAX_HOPS:
        raise LoopscopeError(f"--hops {hops}: the task has at most {MAX_HOPS}")
    if not 3 <= letters <= len(LETTERS):
        raise LoopscopeError(f"--letters {letters} is not between 3 and {len(LETTERS)}")
    return replace(data, max_hops=hops, n_letters=letters, examples=args.examples or 0)


def _passes(args: Namespace, longest: int) -> int:
    """Passes of a model that has so many and no more; 0 for a looped one."""
    if args.model.startswith("shallow"):
        return 1
    if args.model == "looped":
        if args.passes:
            raise LoopscopeError("--passes is for models of separate layers, not for a looped one")
        return 0
    return args.passes or longest


def architecture_for(args: Namespace, plan: TrainingPlan) -> Architecture:
    """Return the architecture that the arguments ask for.

    Raises `LoopscopeError` for sizes and parts that do not fit together.
    """
    from loopscope.core.experiments.architectures import (
        comparison_architecture,
        default_architecture,
    )

    width = args.d_model or D_MODEL[args.task]
    if width % 8:
        raise LoopscopeError(f"--d-model {width} is not divisible by 8")
    if args.model.startswith("deep") and (args.injection != "concat" or args.no_state_norm):
        raise LoopscopeError("a deep model has neither an injection nor a state norm")
    text = plan.data if isinstance(plan.data, TextData) else None
    looped = default_architecture(
        d_model=width,
        n_block=args.block,
        trained_recurrences=plan.longest,
        injection=args.injection,
        state_norm=not args.no_state_norm,
        rope_theta=ROPE_THETA[args.task],
        vocab_size=len(VOCABULARY) if text is None else text.vocabulary,
        task="hops" if text is None else "",
    )
    passes = plan.passes
    if args.model.startswith("shallow"):  # its sizes are taken from the looped model run whole
        passes = plan.data.max_hops if isinstance(plan.data, HopsData) else plan.longest
    return comparison_architecture(args.model, looped, passes or 1)


def _start(args: Namespace, recipe: str, arch: Architecture) -> Start | None:
    """The weights of ``--from``; raises `LoopscopeError` where they are missing or do not fit."""
    if args.start is None:
        if before := RECIPES[recipe].start:
            raise LoopscopeError(
                f"the recipe '{recipe}' goes on from a model of the recipe '{before}'; name its "
                "folder with --from"
            )
        return None
    from loopscope.core.checkpoint.loading import load

    loaded = load(args.start, "cpu")
    architecture = replace(loaded.architecture, trained_recurrences=arch.trained_recurrences)
    if architecture != arch:
        raise LoopscopeError(
            f"{args.start} has another architecture than the model that is to be trained"
        )
    weights = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    return Start(arch, weights, loaded.weights_hash)


def _run(training: Training, keep: Callable[[Path], None], every: int) -> None:
    """Train to the end; ``keep`` writes the model, at the beginning and every so many steps."""
    on_the_way = training.folder / STEPS

    def kept(step: int) -> None:
        if every and step % every == 0:
            keep(on_the_way / STEP_FOLDER.format(step))

    if training.progress.step:
        print(f"resuming at step {training.progress.step}", file=sys.stderr)
    else:
        kept(0)
    hops = isinstance(training.plan.data, HopsData)
    try:
        with Bar("training") as bar:

            def report(p: Progress) -> None:
                note = f"step {p.step}  loss {p.mean_loss:.3f}"
                if hops:
                    note += f"  {p.hops} hops  accuracy {p.accuracy:.3f}"
                bar.show(training.share_done, note + ("  finishing" if p.finishing else ""))
                kept(p.step)

            training.run(report)
    except KeyboardInterrupt:
        training.save()
        print(f"stopped; run the same command to resume from {training.folder}", file=sys.stderr)
        raise


def _evaluated(folder: Path, training: Training, corpus: Corpus | None) -> str:
    """What is printed of a finished model: accuracy by hop count, or loss by recurrence."""
    from loopscope.core.checkpoint.loading import load
    from loopscope.core.experiments.evaluation import evaluate_hops, table

    plan, arch = training.plan, training.arch
    passes = plan.passes or max(LEAST_EVALUATED, plan.longest)
    loaded, per_pass = load(str(folder), "cpu"), training.per_pass
    if corpus is None:
        assert isinstance(plan.data, HopsData)
        evaluation = evaluate_hops(
            loaded,
            hops=tuple(range(1, plan.data.max_hops + 1)),
            recurrences=passes,
            n_examples=EVALUATED,
            n_letters=plan.data.n_letters,
            per_pass=per_pass,
        )
        return table(evaluation, width())
    from loopscope.core.experiments.text import held_out_loss

    assert isinstance(plan.data, TextData)
    tokens, context = corpus.held_out[:EVALUATED_TOKENS], plan.data.context
    losses = held_out_loss(
        loaded.model, tokens, n_passes=passes, per_pass=per_pass, context=context
    ).mean(0)
    rows = "  ".join(f"R={r}: {loss:.4f}" for r, loss in enumerate(losses, 1))
    step = "pass" if plan.passes else "recurrence"
    return (
        f"loss on held-out text after each {step}, nats a token "
        f"({arch.n_parameters:,} parameters): {rows}"
    )
