"""Simulate exits over the prompt set."""

from __future__ import annotations

from loopscope.core.measures.exits import Signals, signals_of
from loopscope.core.measures.exits_over_prompts import ExitsOverPrompts
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.over_prompts.measuring import run_each
from loopscope.core.over_prompts.quality import asked_of
from loopscope.core.run.jobs import Job
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.exits import Options


def run(
    stepper: Stepper, selection: Selection, options: Options, job: Job[ExitsOverPrompts]
) -> ExitsOverPrompts:
    """Run every prompt to the end and keep the signals of the exit rules.

    Where the file gives answers, only the positions of the answers are kept; prompts without an
    answer are left out then.
    """
    loaded, prompts = stepper.loaded, stepper.loaded.shared.prompts_in_use()
    how = HowRun.like(stepper.recording)
    questions = asked_of(loaded, prompts)
    only_answers = prompts.has_answers
    rows = [i for i, a in enumerate(questions) if a.positions or not only_answers]
    capture = Capture(patterns=False, writes=False)
    signals: dict[int, Signals] = {}
    runs = run_each(loaded, [questions[i].prompt for i in rows], how, capture, job.report)
    for place, recording in runs:
        whole, asked = signals_of(recording), questions[rows[place]].positions
        signals[place] = whole.of(asked) if only_answers else whole
    return ExitsOverPrompts.of(
        [signals[place] for place in range(len(rows))],
        prompts=prompts,
        how=how,
        rows=tuple(rows),
        only_answers=only_answers,
        opens=tuple(a.opens for a in questions),
        left_out=tuple(a.missing if only_answers else "" for a in questions),
    )
