"""Every prompt that a folder lacks is run, in this process or by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import LoopscopeError, is_out_of_memory, one_line
from loopscope.core.model.architecture import Architecture
from loopscope.core.over_prompts.measuring import at_line, encoded
from loopscope.core.paper.folder import Folder
from loopscope.core.paper.numbers import Numbers, numbers_of
from loopscope.core.paper.plan import Plan, check_looped
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.remote.models import MODELS
from loopscope.core.remote.spread import Undone, spread

if TYPE_CHECKING:
    from distributed import Client

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a page is about.

    name : of the checkpoint.  weights : hash of them.  longest : tokens of the longest prompt.
    notes : what the checkpoint says of itself, and the warning of its loading.
    """

    name: str
    weights: str
    architecture: Architecture
    device: str
    dtype: str
    longest: int
    notes: tuple[str, ...]


def subject_of(request: LoadRequest, prompts: PromptSet, plan: Plan) -> Subject:
    """Load the model and read the prompts, here or on a worker, before anything is run.

    Raises `LoopscopeError` for a model that is not looped and, naming file and line, for a prompt
    that it cannot take or in which a cut cannot be made.
    """
    loaded = MODELS.get(request)
    check_looped(loaded.architecture, request.path)
    tokens = encoded(loaded.tokenizer, prompts)
    for item, prompt in zip(prompts.items, tokens, strict=True):
        for cut in plan.interventions:
            try:
                cut.check(loaded.architecture, len(prompt.token_ids))
            except LoopscopeError as error:
                raise at_line(prompts, item, error) from None
    warning = (loaded.warning,) if loaded.warning else ()
    return Subject(
        loaded.checkpoint.name, loaded.weights_hash, loaded.architecture,
        str(loaded.device.device), loaded.dtype, max(len(p.token_ids) for p in tokens),
        (*loaded.checkpoint.notes, *warning),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """What a worker is asked first: `subject_of`."""

    request: LoadRequest
    prompts: PromptSet
    plan: Plan

    def alone(self) -> Iterator[Look]:
        """Return its parts as tasks of their own: itself, as it has one part."""
        yield self


def do_look(task: Look) -> Subject:
    """Look at a model and its prompts as a `Look` asks; called on a worker."""
    return subject_of(task.request, task.prompts, task.plan)


def subject_there(request: LoadRequest, prompts: PromptSet, plan: Plan, client: Client) -> Subject:
    """`subject_of` on a worker; raises `LoopscopeError` also where the worker is lost."""
    ((_, found),) = spread(client, do_look, [Look(request, prompts, plan)])
    if isinstance(found, Undone):
        raise LoopscopeError(found.why)
    return found


@dataclass(frozen=True, slots=True)
class PromptTask:
    """Prompts that a worker runs, with their keys; of those in ``drawn`` the floorplan is kept."""

    plan: Plan
    weights: str
    prompts: tuple[tuple[str, Item], ...]
    drawn: frozenset[str] = frozenset()

    def alone(self) -> Iterator[PromptTask]:
        """A task for each prompt."""
        return (replace(self, prompts=(own,)) for own in self.prompts)


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """Numbers of the prompts that could be run, by key, and why the others could not."""

    numbers: dict[str, Numbers]
    failures: dict[str, str]


def do_prompts(task: PromptTask, report: Callable[[float], None] = lambda share: None) -> Done:
    """Run the prompts of a task; one that cannot be run is said and the others go on."""
    numbers: dict[str, Numbers] = {}
    failures: dict[str, str] = {}
    for key, item in task.prompts:
        try:
            loaded = _same(MODELS.get(task.plan.request), task.weights)
            prompt = loaded.tokenizer.encode(item.text)
            numbers[key] = numbers_of(
                loaded, prompt, task.plan, floorplan=key in task.drawn, report=report
            )
        except Exception as error:  # whatever is wrong with one prompt, the others go on
            memory = is_out_of_memory(error)
            failures[key] = "there is not enough memory for this" if memory else one_line(error)
    return Done(numbers, failures)


def _same(loaded: Loaded, weights: str) -> Loaded:
    if loaded.weights_hash != weights:
        raise LoopscopeError("the checkpoint has other weights than when this began")
    return loaded


def keys_of(prompts: PromptSet, plan: Plan, weights: str) -> list[str]:
    """The key of every prompt, in their order; the floorplan is of the first."""
    items = enumerate(prompts.items)
    return [plan.key(weights, item.text, floorplan=i == 0) for i, item in items]


def tasks_left(
    prompts: PromptSet, keys: list[str], plan: Plan, weights: str, folder: Folder
) -> list[PromptTask]:
    """A task for each prompt that is not finished; one that is there twice is run once."""
    left = {key: item for key, item in zip(keys, prompts.items, strict=True) if not folder.has(key)}
    drawn = frozenset(keys[:1])
    return [PromptTask(plan, weights, ((key, item),), drawn) for key, item in left.items()]


def run_prompts(
    tasks: list[PromptTask],
    folder: Folder,
    client: Client | None = None,
    report: Report = lambda done, left: None,
) -> dict[int, str]:
    """Run the tasks and keep what comes; returns by a prompt's line why it could not be run.

    Without ``client`` in this process. ``report`` is given prompts done and left. Raises
    `LoopscopeError` where the folder takes no more and where the cluster is lost: what came before
    is kept.
    """
    failures: dict[int, str] = {}
    report(0, len(tasks))
    for done, (task, given) in enumerate(_outcomes(tasks, client), start=1):
        lines = {key: item.line for key, item in task.prompts}
        if isinstance(given, Undone):
            given = Done({}, dict.fromkeys(lines, given.why))
        for key, numbers in given.numbers.items():
            folder.put(key, numbers)
        failures |= {lines[key]: why for key, why in given.failures.items()}
        report(done, len(tasks) - done)
    return failures


def _outcomes(
    tasks: Iterable[PromptTask], client: Client | None
) -> Iterable[tuple[PromptTask, Done | Undone]]:
    if client is not None:
        return spread(client, do_prompts, tasks)
    return ((task, do_prompts(task)) for task in tasks)
