"""What all runs of one loaded model share: the prompt set in use, and results of the model.

A result of one run (its fixed points) belongs to its recording; a result over a prompt set is one
of the model and stays while single prompts of the set are run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from loopscope.core.errors import LoopscopeError
from loopscope.core.prompts.prompt_set import PromptSet
from loopscope.core.results import Results


@dataclass(slots=True, eq=False)
class Shared:
    """prompts : the prompt set in use, or None.  results : of the model."""

    prompts: PromptSet | None = None
    results: Results = field(default_factory=Results)

    def prompts_in_use(self) -> PromptSet:
        """Return the prompt set in use. Raises `LoopscopeError` when there is none."""
        if self.prompts is None:
            raise LoopscopeError("no prompt set is in use; open a prompt file")
        return self.prompts
