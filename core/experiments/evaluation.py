"""Accuracy on pointer chasing for each hop count at each recurrence: one pass, never re-run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.hops import VOCABULARY, chance_level, make_batch
from loopscope.core.experiments.passes import pass_states
from loopscope.core.measures.intervals import wilson_interval


@dataclass(frozen=True, slots=True)
class Cell:
    """One (hop count, recurrence): accuracy over all queries, with its 95 % interval.

    accuracy : share of right answers over ``n_examples`` x ``n_letters`` queries.
    low, high : Wilson interval with the *examples* as the independent units (queries of one graph
        are answered together, so counting each as independent would make it too narrow).
    relative_step : median over examples and positions of ``||s_r - s_{r-1}|| / ||s_r||``; NaN
        where a state is not finite.
    """

    hops: int
    recurrence: int
    accuracy: float
    low: float
    high: float
    chance: float
    relative_step: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Accuracy by hop count and recurrence."""

    checkpoint: str
    n_examples: int
    n_letters: int
    seed: int
    cells: tuple[Cell, ...]

    def cell(self, hops: int, recurrence: int) -> Cell:
        """Return one cell; raises KeyError when it was not measured."""
        for cell in self.cells:
            if (cell.hops, cell.recurrence) == (hops, recurrence):
                return cell
        raise KeyError((hops, recurrence))

    def warnings(self) -> list[str]:
        """One line when states are not finite, and so answers mean nothing."""
        diverged = [c.recurrence for c in self.cells if not math.isfinite(c.relative_step)]
        if not diverged:
            return []
        return [f"states are not finite from recurrence {min(diverged)} on: answers are no answers"]

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``--json``; None where a number is not finite."""
        document = asdict(self)
        for cell in document["cells"]:
            if not math.isfinite(cell["relative_step"]):
                cell["relative_step"] = None
        return document


@torch.inference_mode()
def evaluate_hops(
    loaded: Loaded,
    *,
    hops: tuple[int, ...] = (1, 2, 3, 4),
    recurrences: int = 16,
    n_examples: int = 2000,
    n_letters: int = 8,
    seed: int = 1_000_003,
    batch_size: int = 500,
    per_pass: int = 0,
    report: Callable[[float], None] = lambda share: None,
) -> Evaluation:
    """Evaluate on ``n_examples`` fresh single-cycle graphs for each hop count.

    ``per_pass`` layers of the block count as a recurrence: all of them unless given, and in an
    untied loop those of a pass. Raises `LoopscopeError` for a model that was not trained on the
    task.
    """
    arch, model, device = loaded.architecture, loaded.model, loaded.device.device
    if arch.vocab_size != len(VOCABULARY):
        raise LoopscopeError(
            f"{loaded.checkpoint.name} has {arch.vocab_size} tokens; "
            f"the task hops is for models trained on it ({len(VOCABULARY)} tokens)"
        )
    per_pass = per_pass or (arch.n_stack if arch.untied_passes else arch.n_block)
    rng = np.random.default_rng(seed)
    cells = []
    for i, k in enumerate(hops):
        right = np.zeros(recurrences)
        steps: list[list[np.ndarray]] = [[] for _ in range(recurrences)]
        done = 0
        while done < n_examples:
            b = min(batch_size, n_examples - done)
            batch = make_batch(rng, np.full(b, k), n_letters=n_letters)
            e = model.prelude(torch.from_numpy(batch.tokens).to(device))
            answers = torch.from_numpy(batch.answers).to(device)
            before = model.initial_state(e)
            for r, state in enumerate(pass_states(model, e, recurrences, per_pass)):
                logits = model.readout(state)[:, -n_letters:]
                # NaN answers nothing, though `argmax` names a token.
                correct = (logits.argmax(-1) == answers) & logits.isfinite().all(-1)
                right[r] += float(correct.float().mean(1).sum())
                step = (state - before).float().norm(dim=-1) / state.float().norm(dim=-1)
                steps[r].append(step.flatten().cpu().numpy())
                before = state
            done += b
            report((i + done / n_examples) / len(hops))
        for r in range(recurrences):
            low, high = wilson_interval(right[r], n_examples)
            cells.append(
                Cell(
                    k, r + 1, right[r] / n_examples, low, high, chance_level(k, n_letters),
                    float(np.median(np.concatenate(steps[r]))),
                )
            )  # fmt: skip
    return Evaluation(loaded.checkpoint.name, n_examples, n_letters, seed, tuple(cells))


# Characters of a row before its figures, and of the figures of one recurrence.
_ROW_HEAD, _CELL = 14, 21


def table(evaluation: Evaluation, width: int | None = None) -> str:
    """Write an evaluation as an aligned text table: a row per hop count, a column per R.

    ``width`` : columns of the terminal: what has no room goes on in a further block; None for one.
    """
    every = sorted({c.recurrence for c in evaluation.cells})
    n = len(every) if width is None else max(1, (width - _ROW_HEAD + 2) // _CELL)
    lines = []
    for rs in (every[i : i + n] for i in range(0, len(every), n)):
        head = "hops".ljust(6) + "chance".ljust(_ROW_HEAD - 6)
        lines.append(head + "".join(f"R={r}".ljust(_CELL) for r in rs))
        for k in sorted({c.hops for c in evaluation.cells}):
            row = [evaluation.cell(k, r) for r in rs]
            figures = (f"{c.accuracy:.3f} {c.low:.3f}-{c.high:.3f}" for c in row)
            head = f"{k:<6d}{row[0].chance:.3f}".ljust(_ROW_HEAD)
            lines.append(head + "".join(f.ljust(_CELL) for f in figures))
        steps = (
            np.median([c.relative_step for c in evaluation.cells if c.recurrence == r]) for r in rs
        )
        lines.append("step".ljust(_ROW_HEAD) + "".join(f"{s:.1e}".ljust(_CELL) for s in steps))
        lines.append("")
    lines[-1:] = ["step: median relative step of a recurrence"]
    lines.append(
        f"{evaluation.n_examples} examples a hop count, seed {evaluation.seed}; "
        f"95 % Wilson intervals over these {evaluation.n_examples} examples"
    )
    return "\n".join(line.rstrip() for line in lines)
