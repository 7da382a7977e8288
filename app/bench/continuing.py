"""The text of the run shown is continued as a job; the longer text becomes a run of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from loopscope.app.bench.background import Background
from loopscope.app.bench.session import Session
from loopscope.core.errors import Cancelled
from loopscope.core.labels import visible
from loopscope.core.run.jobs import Job
from loopscope.core.run.requests import RunRequest

if TYPE_CHECKING:
    from loopscope.core.generation.continuing import NewToken, Plan
    from loopscope.core.generation.sampling import Sampling
    from loopscope.core.run.elsewhere import AnyModel
    from loopscope.core.run.run_info import RunInfo

NAME = "continuing the text"


@dataclass(frozen=True, slots=True)
class Continued:
    """What was added to a text.

    tokens : text, recurrences taken and probability of each.  prompt : the whole text, as it is
        run.  stopped : whether it was stopped before its end.
    """

    tokens: tuple[tuple[str, int, float], ...]
    prompt: str
    stopped: bool


class Continuing:
    """Continues the text of the run shown.

    Parameters
    ----------
    begin
        Begins a run.
    """

    def __init__(
        self, session: Session, background: Background, begin: Callable[[RunRequest], None]
    ) -> None:
        self._session, self._background, self._begin = session, background, begin

    def refusal(self) -> str:
        """Why the text of the run shown cannot be continued, or ""."""
        recording, loaded = self._session.recording, self._session.status.loaded
        if recording is None or loaded is None:
            return "There is no run with its model to continue."
        from loopscope.core.generation.continuing import why_not

        if why := why_not(loaded.architecture):
            return f"This model cannot continue a text: {why}."
        if recording.info.interventions:
            return "This run has interventions, which are not made into new tokens."
        return ""

    def start(
        self,
        make: Callable[[RunInfo], tuple[Plan, Sampling]],
        done: Callable[[Continued], None],
    ) -> Job[Any] | None:
        """Continue it; the new run is begun when that is over, or stopped.

        ``make`` says how, for the run that is continued; it is called in the job's thread.
        """
        recording, loaded = self._session.recording, self._session.status.loaded
        if recording is None or loaded is None or self.refusal():
            return None
        info, request = recording.info, self._session.request

        def work(job: Job[Any]) -> Continued:
            return _continued(job, loaded, info, *make(info))

        def finished(continued: Continued) -> None:
            if continued.tokens and self._session.status.loaded is loaded:
                taken = max(1, max(r for _, r, _ in continued.tokens))
                again = RunRequest(continued.prompt) if request is None else request
                self._begin(
                    replace(again, prompt=continued.prompt, recurrences=taken, interventions=())
                )
            done(continued)

        return self._background.start_job(NAME, work, finished)


def _continued(
    job: Job[Any], loaded: AnyModel, info: RunInfo, plan: Plan, sampling: Sampling
) -> Continued:
    from loopscope.core.checkpoint.loading import Loaded
    from loopscope.core.generation.continuing import continue_text

    made: list[NewToken] = []
    stopped, tokenizer = False, loaded.tokenizer
    try:
        prompt = tokenizer.from_ids(info.token_ids)
        if isinstance(loaded, Loaded):
            tokens = continue_text(loaded, prompt, plan, sampling)
        else:
            tokens = loaded.continued(prompt, plan, sampling, job.keep_going)
        for token in tokens:
            made.append(token)
            job.report(len(made) / plan.tokens)
    except Cancelled:
        stopped = True  # what was made so far is kept
    ids = (*info.token_ids, *(token.token_id for token in made))
    rows = tuple(
        (visible(tokenizer.label(token.token_id)), token.recurrences, token.probability)
        for token in made
    )
    return Continued(rows, tokenizer.spelled(ids, info.prompt), stopped)
