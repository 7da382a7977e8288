"""`loopscope paper`: the figures of arXiv 2604.11791 for a checkpoint and a prompt file."""

from __future__ import annotations

import contextlib
import json
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from loopscope.app.cli.sweep import progress
from loopscope.app.cli.terminal import Bar, interventions_of, load_request, warn_lines
from loopscope.core.errors import LoopscopeError

if TYPE_CHECKING:
    from distributed import Client

    from loopscope.core.paper.folder import Folder
    from loopscope.core.paper.plan import Plan
    from loopscope.core.paper.running import Subject
    from loopscope.core.prompts.prompt_set import PromptSet


def run_paper(options: Namespace) -> None:
    """Run every prompt that the folder lacks and write the page.

    Raises `LoopscopeError` where some could not be run; the page is of the others then.
    """
    from loopscope.core.paper.folder import Folder
    from loopscope.core.paper.plan import Plan
    from loopscope.core.prompts.prompt_set import read_prompts

    plan = Plan(
        load_request(options), options.recurrences, options.deep, options.seed,
        interventions_of(options),
    )  # fmt: skip
    plan.check()
    prompts = read_prompts(options.prompts)
    with Folder(Path(options.output)) as folder, contextlib.ExitStack() as stack:
        client = None
        if options.on:
            from loopscope.core.remote.cluster import check_workers, connected

            client = stack.enter_context(connected(options.on))
            workers = check_workers(client, ((plan.request.path, plan.request.family),))
            print(f"{len(workers)} workers; dashboard {client.dashboard_link}")
        _make(plan, prompts, folder, client)


def _make(plan: Plan, prompts: PromptSet, folder: Folder, client: Client | None) -> None:
    from loopscope.core.paper.running import keys_of, run_prompts, tasks_left

    subject = _subject(plan, prompts, client)
    warn_lines(subject.notes)
    plan = replace(plan, longest=subject.longest)
    keys = keys_of(prompts, plan, subject.weights)
    tasks = tasks_left(prompts, keys, plan, subject.weights, folder)
    print(f"{len(prompts)} prompts: {len(prompts) - len(tasks)} are done, {len(tasks)} are left")
    sys.stdout.flush()
    with Bar("prompts") as bar:
        failures = run_prompts(tasks, folder, client, progress(bar.show))
    lines = [f"{prompts.name}, line {line}: {why}" for line, why in failures.items()]
    if len(failures) < len(prompts):
        print(_write(plan, prompts, folder, subject, keys, lines))
    if lines:
        raise LoopscopeError(
            f"{len(lines)} of {len(prompts)} prompts could not be run; the first, {lines[0]}"
        )


def _subject(plan: Plan, prompts: PromptSet, client: Client | None) -> Subject:
    from loopscope.core.paper.running import subject_of, subject_there

    if client is None:
        return subject_of(plan.request, prompts, plan)
    return subject_there(plan.request, prompts, plan, client)


def _write(
    plan: Plan, prompts: PromptSet, folder: Folder, subject: Subject, keys: list[str],
    failures: list[str],
) -> Path:  # fmt: skip
    from loopscope.app.report.paper import write_paper
    from loopscope.core.interventions.registry import as_json
    from loopscope.core.paper.findings import findings
    from loopscope.core.paper.pool import Pool
    from loopscope.core.version import package_version

    done = tuple(key for key in keys if folder.has(key))
    pool = Pool(folder.get, done, keys[0] if folder.has(keys[0]) else "")
    found = findings(pool, plan, subject.architecture, subject.dtype)
    provenance = {
        "loopscope": package_version(),
        "checkpoint": subject.name,
        "weights sha256": subject.weights,
        "device": subject.device,
        "dtype": subject.dtype,
        "prompt file": prompts.name,
        "prompts": str(len(done)),
        "recurrences": f"{plan.shown} shown, {plan.deep} run",
        "seed": str(plan.seed),
        "interventions": json.dumps(as_json(plan.interventions)),
    }
    return write_paper(found, folder.path, provenance, failures)
