"""What all runs of one loaded model share: the prompt set in use, and what was found of the model.

A finding of one run (its fixed points) belongs to its recording; a finding over a prompt set is one
of the model and stays while single prompts of the set are run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from loopscope.core.prompts.prompt_set import PromptSet


@dataclass(slots=True, eq=False)
class Shared:
    """prompts : the prompt set in use, or None.  findings : by the key of the view that asked."""

    prompts: PromptSet | None = None
    findings: dict[str, Any] = field(default_factory=dict)
