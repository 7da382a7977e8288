"""Probe the model: the same batch of prompts under every intervention."""

from __future__ import annotations

from loopscope.core.experiments.probe.conditions import plan_for
from loopscope.core.experiments.probe.running import hops_batch, probe
from loopscope.core.measures.probe import Probe
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.probe import Options

HOPS = (1, 2, 3, 4, 5, 6)


def run(stepper: Stepper, selection: Selection, options: Options, job: Job[Probe]) -> Probe:
    """Run every condition of the probe."""
    loaded = stepper.loaded
    plan = plan_for(
        loaded.architecture.trained_recurrences,
        recurrences=int(options.recurrences),
        mid=int(options.mid),
        late=int(options.late),
        draws=int(options.draws),
    )
    batch = hops_batch(loaded, int(options.prompts), HOPS)
    return probe(loaded, batch, plan, job.report)
