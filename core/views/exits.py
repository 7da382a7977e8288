"""Exits: where each rule would have stopped, what it had said, what that would have saved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.measures.base import NO_READOUTS, RUNS_ONCE
from loopscope.core.measures.exits import (
    AGREEMENT,
    RULES,
    USED,
    Rule,
    Signals,
    below_resolution,
    final_since,
    signals_of,
)
from loopscope.core.measures.exits_over_prompts import EXITS_OVER_PROMPTS, ExitsOverPrompts, swept
from loopscope.core.measures.intervals import MEAN_METHOD, SHARE_KIND, SHARE_METHOD, with_n
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import RECURRENCE, Lack, Request, Table, ViewDefinition
from loopscope.core.views.curves_data import Curve
from loopscope.core.views.exit_outcomes import Outcome, outcomes_of, texts_of
from loopscope.core.views.prompt_curves import (
    Column,
    PromptCurves,
    PromptRows,
    index_of,
    lack,
    of_uncut,
    prompt_rows,
    takes_bundled,
    why_not,
)

LABEL = "Simulate over the prompt set"
TOO_FEW = "An exit needs two recurrences to choose from."
OF_A_DEEP_MODEL = f"An exit needs two recurrences to choose from; {RUNS_ONCE}."
INTERVALS = f"recurrences: {MEAN_METHOD}; agreement: {SHARE_METHOD}"
Over = Literal["run", "prompts"]


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the rules."""

    over: Literal["auto", "run", "prompts"] = setting(
        "auto",
        "Over",
        "The tokens of the run in the bench, live, or the prompt set",
        labels={
            "auto": "the prompt set once it is simulated, else this run",
            "run": "the tokens of this run",
            "prompts": "the prompt set",
        },
    )
    step: float = setting(1e-2, "τ of the relative step", "‖s_r − s_{r−1}‖ / ‖s_r‖ < τ")
    acceleration: float = setting(
        1e-2, "τ of the acceleration", "‖Δ_r − Δ_{r−1}‖ / ‖s_r‖ < τ at two recurrences running"
    )
    kl: float = setting(5e-4, "τ of the KL", "KL(p_r ‖ p_{r−1}) < τ, nats")

    def threshold(self, rule: Rule, gate: float) -> float:
        """Threshold of a rule; the gate has the model's own."""
        return gate if rule.gate else float(getattr(self, rule.key))


@dataclass(frozen=True, slots=True, eq=False)
class Data(PromptCurves):
    """Agreement against recurrences used, a curve for each rule, its threshold marked.

    over : what the curves are over.  n_prompts : with an answer, that the intervals rest on; 0 for
        one run.  n_recurrences : of the full run that they are over.
    n_run : recurrences of the run in the bench.
    tokens, labels : of the run shown.  full : the full run's answers.  outcomes : of every rule.
    rules, thresholds : of each curve, and of each of its points.
    result : the simulation over the prompt set, or None.
    """

    over: Over = "run"
    n_prompts: int = 0
    n_recurrences: int = 0
    n_run: int = 0
    tokens: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    rules: tuple[Rule, ...] = ()
    thresholds: tuple[F64, ...] = ()
    result: ExitsOverPrompts | None = None


REQUEST = Request(
    LABEL,
    "Runs every prompt of the file as far as this run has gone and stops it by every rule at every "
    "threshold",
    EXITS_OVER_PROMPTS,
    why_not,
    live=True,
)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Simulate the exits of this run, and draw them or those over the prompt set."""
    prompts = recording.shared.prompts
    result = recording.result(EXITS_OVER_PROMPTS)
    if result is not None and prompts is not None and result.prompts != prompts:
        result = None
    over: Over = "prompts" if result is not None else "run"
    if options.over != "auto":
        over = options.over
    tokens = selection.shown_tokens(recording.n_tokens)
    gate = recording.info.architecture.exit_threshold
    run = None if _why_no_run(recording) else signals_of(recording).of(tokens)
    outcomes = () if run is None else outcomes_of(run, options.threshold, gate, recording)
    full = () if run is None else texts_of(run.answers[-1], recording)
    n_run = 0 if run is None else len(run.same)
    lacks: Lack | None = None
    signals: tuple[Signals, ...] = ()
    if over == "run":
        n, missing = n_run, _why_no_run(recording)
        signals = () if run is None else (run,)
    elif result is not None:
        n, missing, signals = result.how.recurrences, "", result.signals
    else:
        n, (lacks, missing) = 0, lack(recording)
        if not missing:
            assert prompts is not None
            lacks = Lack("measurement", LABEL)
            missing = f"Exits have not been simulated over {prompts.name}."
    missing = missing or _why_no_curve(signals, n)
    if missing == TOO_FEW and recording.info.architecture.runs_once:
        missing = OF_A_DEEP_MODEL
    lacks = RECURRENCE if missing == TOO_FEW else lacks
    drawn = result if over == "prompts" else None
    n_prompts = sum(bool(np.isfinite(s.same).all(0).any()) for s in signals)
    curves, rules, thresholds = _curves(() if missing else signals, drawn, options, gate)
    uncut = of_uncut(recording, drawn.how) if drawn is not None else ""
    return Data(
        statement=missing
        or _statement(curves, rules, thresholds, n, over, signals, result)
        + _unresolved_said(curves, rules, thresholds, signals, recording.info.dtype)
        + uncut,
        formulas=(AGREEMENT, USED, *(rule.formula for rule in RULES)),
        curves=curves,
        x_label=f"mean recurrences used (the full run: {n})",
        y_label="agreement with the full run [share of tokens]",
        formula=AGREEMENT,
        whole_x=False,
        missing=missing,
        marks=_marks(signals) if not missing else (),
        x_shown=_near_the_loss(curves),
        bands=with_n(SHARE_KIND, n_prompts) if any(c.low is not None for c in curves) else "",
        rows=None if result is None else _prompt_rows(result, options, gate, recording),
        lacks=lacks,
        bundled=takes_bundled(recording),
        unresolved=over == "run"
        and recording.info.dtype != "float32"
        and any(o.unresolved.any() for o in outcomes),
        over=over,
        n_prompts=n_prompts if over == "prompts" else 0,
        n_recurrences=n,
        n_run=n_run,
        tokens=tokens,
        labels=recording.info.names_of(tokens),
        full=full,
        outcomes=outcomes,
        rules=rules,
        thresholds=thresholds,
        result=result,
    )


def _why_no_run(recording: Recording) -> str:
    """Why exits cannot be simulated on this run, or ""."""
    if recording.answers("coda") is None:
        return NO_READOUTS
    return TOO_FEW if recording.n_recurrences < 2 else ""


def _why_no_curve(signals: tuple[Signals, ...], n: int) -> str:
    if n < 2:
        return TOO_FEW
    if not signals:
        return "No prompt of the set has an answer to look at."
    if not any(np.isfinite(s.same).all(0).any() for s in signals):
        return "The readout is not finite: there is no answer to agree with."
    return ""


def _curves(
    signals: tuple[Signals, ...], result: ExitsOverPrompts | None, options: Options, gate: float
) -> tuple[tuple[Curve, ...], tuple[Rule, ...], tuple[F64, ...]]:
    """For each rule its sweep and, as a curve of one point, the threshold chosen."""
    curves: list[Curve] = []
    rules: list[Rule] = []
    thresholds: list[F64] = []
    for i, rule in enumerate(RULES):
        if not signals or any(rule.key in s.missing for s in signals):
            continue
        chosen = options.threshold(rule, gate)
        sweeps = (
            (swept(rule, signals, rule.thresholds), swept(rule, signals, np.array([chosen])))
            if result is None
            else (result.sweeps[rule.key], result.at(rule, chosen))
        )
        for j, sweep in enumerate(sweeps):
            x, y = sweep.mean_used.value, sweep.agreement.value
            # Many thresholds stop alike: one point for each place is enough.
            kept = np.r_[True, (np.diff(x) != 0) | (np.diff(y) != 0)]
            ends = np.isfinite(sweep.agreement.low).any()
            curves.append(
                Curve(
                    f"{rule.name} {rule.sign}" if j == 0 else "", x[kept], y[kept],
                    sweep.agreement.low[kept] if ends else None,
                    sweep.agreement.high[kept] if ends else None,
                    role="token", index=i, count=len(RULES),
                )
            )  # fmt: skip
            rules.append(rule)
            thresholds.append(sweep.thresholds[kept])
    return tuple(curves), tuple(rules), tuple(thresholds)


def _near_the_loss(curves: tuple[Curve, ...]) -> tuple[float, float] | None:
    """Where something is lost, and the thresholds chosen; beyond it a rule only uses more.

    Else what is worth seeing of a long run is squeezed into its first recurrences.
    """
    ends = [float(c.x[0]) for c in curves if not c.name]
    for c in curves:
        # Thresholds rise along a curve, so it begins where nothing is lost.
        lost = np.flatnonzero(c.y < 1)
        ends.append(float(c.x[max(lost[0] - 1, 0)]) if len(lost) else float(c.x.min()))
    if not curves:
        return None
    least = min(float(c.x.min()) for c in curves)
    most = max(float(c.x.max()) for c in curves)
    return least, min(most, least + 1.25 * (max(ends) - least))


def _marks(signals: tuple[Signals, ...]) -> tuple[tuple[float, str], ...]:
    """From when on, on average, the answers are those of the full run: known with hindsight."""
    since = np.concatenate([final_since(s.same) for s in signals])
    mean = float(np.nanmean(since))
    return ((mean, f"answers final since {mean:.3g}"),)


def _statement(
    curves: tuple[Curve, ...], rules: tuple[Rule, ...], thresholds: tuple[F64, ...], n: int,
    over: Over, signals: tuple[Signals, ...], result: ExitsOverPrompts | None,
) -> str:  # fmt: skip
    """Say for each rule at its threshold what it uses and how much it agrees."""
    count = sum(int(np.isfinite(s.same).all(0).sum()) for s in signals)
    where = "1 token" if count == 1 else f"{count} tokens"
    if over == "prompts" and result is not None:
        where = f"{count} {'answer tokens' if result.only_answers else 'tokens'} of "
        where += result.prompts.name
    prompts = sum(bool(np.isfinite(s.same).all(0).any()) for s in signals)
    parts = [
        f"{rule.name} {rule.sign[0]} {at[0]:g} uses {c.x[0]:.3g} (agrees {100 * c.y[0]:.3g} %"
        f"{_interval_said(c, prompts)})"
        for c, rule, at in zip(curves, rules, thresholds, strict=True)
        if not c.name
    ]
    out = sum(s.same.shape[1] for s in signals) - count
    left = f" ({out} more left out: their readout is not finite)" if out else ""
    return f"Of {n} recurrences, {where}{left}: {', '.join(parts)}"


def _unresolved_said(
    curves: tuple[Curve, ...], rules: tuple[Rule, ...], thresholds: tuple[F64, ...],
    signals: tuple[Signals, ...], dtype: str,
) -> str:  # fmt: skip
    """How many tokens each rule stops where the number it looks at may be rounding."""
    parts = []
    for c, rule, at in zip(curves, rules, thresholds, strict=True):
        n = 0 if c.name else sum(int(below_resolution(rule, s, at[0]).sum()) for s in signals)
        if n:
            parts.append(f"{n} by {rule.name}")
    return f"; stopped below what {dtype} resolves: {', '.join(parts)}" if parts else ""


def _interval_said(c: Curve, n: int) -> str:
    if c.low is None or c.high is None:
        return ""
    return f", 95 % {100 * c.low[0]:.3g} to {100 * c.high[0]:.3g}, n = {n}"


def _prompt_rows(
    result: ExitsOverPrompts, options: Options, gate: float, recording: Recording
) -> PromptRows:
    """Recurrences used and agreement of every prompt, two columns for each rule."""
    columns = []
    p = len(result.prompts)
    for rule in RULES:
        if rule.key not in result.sweeps:
            continue
        threshold = options.threshold(rule, gate)
        one, used, agree = result.at(rule, threshold), np.full(p, np.nan), np.full(p, np.nan)
        n, rows = np.where(one.n > 0, one.n, np.nan), list(result.rows)
        used[rows], agree[rows] = one.used[:, 0] / n, one.agree[:, 0] / n
        name = f"{rule.name} {rule.sign[0]} {threshold:g}"
        columns.append(Column(f"{rule.short} r", f"{name}: {USED.text()}", used))
        columns.append(Column(f"{rule.short} =", f"{name}: {AGREEMENT.text()}", agree))
    current = index_of(recording.info.prompt, result.opens)
    missing = list(result.left_out)
    for row, signals in zip(result.rows, result.signals, strict=True):
        if not np.isfinite(signals.same).all(0).any():
            missing[row] = "Its readout is not finite: the run diverges."
    return PromptRows(
        result.prompts, result.how, tuple(columns), result.opens, tuple(missing), current
    )


def table(data: Data) -> Table:
    """Every point of the curves, then every token of the run or every prompt of the set."""
    columns = (
        "rule", "threshold", "line or token", "text", "recurrences used", "agreement",
        "agreement low", "agreement high", "prompts", "said", "full run said", "intervals",
        "below resolution",
    )  # fmt: skip
    return Table(columns, _rows(data))


def _rows(data: Data) -> Iterator[tuple[object, ...]]:
    for c, rule, at in zip(data.curves, data.rules, data.thresholds, strict=True):
        for i in range(len(c.x)):
            known = c.low is not None and c.high is not None
            ends = (float(c.low[i]), float(c.high[i])) if known else ("", "")  # type: ignore[index]
            intervals = INTERVALS if known else ""
            yield (rule.name, float(at[i]), "", "all", float(c.x[i]), float(c.y[i]), *ends,
                   data.n_prompts or "", "", "", intervals, "")  # fmt: skip
    if data.over == "run":
        for outcome in data.outcomes:
            for i, at in enumerate(outcome.at):
                yield (outcome.rule.name, outcome.threshold, data.tokens[i], data.labels[i],
                       int(at), float(outcome.agrees[i]), "", "", "", outcome.answers[i],
                       data.full[i], "", int(outcome.unresolved[i]))  # fmt: skip
    elif data.rows is not None:
        names = [c.help.split(":")[0] for c in data.rows.columns[::2]]
        for line, text, _, _, *values in prompt_rows(data.rows):
            for name, used, agree in zip(names, values[::2], values[1::2], strict=True):
                yield name, "", line, text, used, agree, "", "", "", "", "", "", ""


VIEW = ViewDefinition(Options, compute, table, reads=frozenset({"tokens"}), request=REQUEST)
