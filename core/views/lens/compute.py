"""Lens over depth: what would be answered after every layer of every recurrence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import F64, Bools
from loopscope.core.formula import Formula
from loopscope.core.measures.lens import (
    CHANCE,
    DIVERGENCE,
    ENTROPY,
    FINAL_SINCE,
    RANK,
    READINGS,
    TOP,
    Lens,
    Reading,
    final_since,
)
from loopscope.core.measures.places import shown_places
from loopscope.core.measures.readout import NO_ANSWER, Ids, flips
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.selection import RecurrenceRange, Selection
from loopscope.core.views.answers_data import Shade
from loopscope.core.views.answers_difference import answers_difference
from loopscope.core.views.base import Lack, Request, Table, ViewDefinition
from loopscope.core.views.difference import (
    Difference,
    Side,
    difference_formula,
    goes_with,
    left_out,
)
from loopscope.core.views.lens.data import Data, Order
from loopscope.core.views.lens.token import LABEL, Target, choose
from loopscope.core.views.second_run import SecondRun

NOT_YET = "Nothing has been read."
LACKS = Lack("measurement", LABEL)
Kind = TypeVar("Kind", bound=np.generic)
Quantity = Literal["top", "entropy", "divergence", "chance", "rank"]
FORMULAS: dict[str, Formula] = {
    "entropy": ENTROPY,
    "divergence": DIVERGENCE,
    "chance": CHANCE,
    "rank": RANK,
}
# Columns of the map: more are finer than a screen.
MOST_PLACES = 512
# Divergences below this are rounding of float32 logits, and get one colour.
LEAST_DIVERGENCE = 1e-6


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the lens."""

    lens: Lens = setting(
        "coda",
        "Lens",
        "How a state is read out: as if the recurrence ended after the layer, or by the head alone",
        labels={"coda": "coda lens: head(coda(x))", "logit": "logit lens: head(norm(x))"},
    )
    quantity: Quantity = setting(
        "top",
        "Shade",
        "What the shade of a cell is; the text is the top answer always",
        labels={
            "top": "probability of the top answer",
            "entropy": "entropy",
            "divergence": "KL to the last readout",
            "chance": "probability of the chosen token",
            "rank": "rank of the chosen token",
        },
    )
    target: Target = setting(
        "cursor",
        "Chosen token",
        "Whose probability and rank are shown",
        labels={
            "cursor": "the final answer at the cursor's token",
            "own": "each token's own final answer",
            "written": "the one written below",
        },
    )
    token: str = setting(
        "",
        "Written token",
        "Its text (␣ for a space), or its id as #12. The prompt's tokens, the final answers and "
        "what stood here when the layers were read are shown at once, others after reading again",
        idle=lambda o: "" if o.target == "written" else "the chosen token is not a written one",
    )
    order: Order = setting(
        "depth",
        "Order",
        "Of the columns",
        labels={"depth": "by recurrence: along effective depth", "layer": "by layer"},
    )
    numbers: bool = setting(
        False, "Values as numbers", "Written into the cells that are wide enough"
    )


def why_not(recording: Recording) -> str:
    """Why there is nothing to read yet, or ""."""
    return "" if recording.n_recurrences else "Run a recurrence first: its layers are read out."


REQUEST = Request(
    LABEL,
    "Reads the state after every layer of every recurrence through the head (and the coda)",
    READINGS,
    why_not,
)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Arrange what was read, for the shown tokens."""
    tokens = selection.shown_tokens(recording.n_tokens)
    arch, readings = recording.info.architecture, recording.result(READINGS)
    marks = tuple(map(arch.layer_mark, range(arch.n_block)))
    reading = None if readings is None else readings.of(options.lens)
    missing = "" if reading is not None else NOT_YET
    if missing and readings is not None:
        missing = f"Nothing has been read with the {options.lens} lens."
    lacks = LACKS if missing else None
    reading = reading or _nothing(recording)
    places = shown_places(len(reading.ids), marks, MOST_PLACES)
    order = np.arange(len(places))
    if options.order == "layer":
        order = order.reshape(-1, places.n_layers).T.ravel()
    # Where each column's place is among all of them.
    index = (np.array(places.depths, dtype=np.int64) - 1)[order]

    def cut(values: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
        """``[R, L, T, ...]`` to ``[N, n, ...]``, as drawn."""
        return values.reshape(-1, *values.shape[2:])[index][:, list(tokens)]

    chosen = choose(recording, selection, options.target, options.token, reading, tokens)
    if options.quantity in ("chance", "rank"):
        lacks = lacks or (LACKS if chosen.read_again else None)
        missing = missing or chosen.missing
    chance, rank, top = cut(chosen.chances), cut(chosen.ranks), cut(reading.top)
    shaded = {
        "top": cut(reading.probabilities[..., 0]),
        "entropy": cut(reading.entropy),
        "divergence": cut(reading.divergence),
        "chance": chance,
        "rank": rank,
    }[options.quantity]
    values = np.asarray(shaded, dtype=np.float64)
    ids, final = cut(reading.ids), reading.final(tokens)
    known = {int(i) for part in (ids, final, chosen.ids) for i in np.unique(part)} - {NO_ANSWER}
    segments = 1 if options.order == "depth" else places.n_layers
    since, ends = _final_since(reading, tokens)
    data = Data(
        statement=missing,
        formulas=(TOP[options.lens], *FORMULAS.values(), FINAL_SINCE),
        tokens=tokens,
        labels=recording.info.names_of(tokens),
        token_texts=tuple(recording.info.token_labels[t] for t in tokens),
        ids=ids,
        probabilities=cut(reading.probabilities),
        top=top,
        flip=_changes(top, segments),
        texts={i: recording.label(i) for i in known},
        numbers=options.numbers,
        exits=np.zeros((0, len(tokens))),
        places=places,
        order=order,
        by=options.order,
        shaded=values,
        scale=_shade(options.quantity, values, chosen.name),
        formula=FORMULAS.get(options.quantity, TOP[options.lens]),
        mark=_marks(top, final, segments),
        entropy=cut(reading.entropy),
        divergence=cut(reading.divergence),
        chance=chance,
        rank=rank,
        chosen=chosen.ids,
        final=final,
        final_since=since,
        final_recurrence=ends,
        lens=options.lens,
        masked=arch.masked,
        layer_names=arch.layer_names,
        n_recurrences=len(reading.ids),
        missing=missing,
        lacks=lacks,
    )
    return data if missing else replace(data, statement=_statement(data, reading, recording))


def _nothing(recording: Recording) -> Reading:
    shape = (0, recording.n_layers, recording.n_tokens)
    none = np.zeros(shape, np.float32)
    kept = np.zeros((*shape, 0), np.float32)
    ids = np.zeros((*shape, 1), np.int64)
    return Reading(ids, ids.astype(np.float32), none, none, np.zeros(0, np.int64), kept, kept, none,
                   none)  # fmt: skip


# ---- where the answer is the final one ----
def _changes(top: Ids, segments: int) -> Bools:
    """Where a text of its own begins: a new answer, or a new layer."""
    changed = flips(top)
    if segments > 1 and len(top):
        changed[:: len(top) // segments] = True
        changed[0] = False
    return changed


def _marks(top: Ids, final: Ids, segments: int) -> Bools:
    """The first cell of the final answer, along depth or within each layer's recurrences."""
    mark = np.zeros(top.shape, np.bool_)
    for part in np.array_split(np.arange(len(top)), max(segments, 1)):
        since = final_since(top[part], final)
        rows = np.flatnonzero(since < len(part))
        mark[part[since[rows]], rows] = True
    return mark


def _final_since(reading: Reading, tokens: tuple[int, ...]) -> tuple[Ids, Ids]:
    """From which place, and from which recurrence end, the final answer stays; 0 for never."""
    top, final = reading.top[..., list(tokens)], reading.final(tokens)
    since_of = []
    for answers in (top.reshape(-1, len(tokens)), top[:, -1]):
        since = final_since(answers, final)
        since_of.append(np.where(since < len(answers), since + 1, 0))
    return since_of[0], since_of[1]


# ---- shade and words ----
def _shade(quantity: Quantity, values: F64, name: str) -> Shade:
    """The scale of a quantity, reaching as far as its values."""
    known = values[np.isfinite(values)]
    most = float(known.max()) if known.size else 1.0
    if quantity == "entropy":
        return Shade("entropy [nats]", "H", "entropy, nats", high=most or 1.0, low_is_bright=True)
    if quantity == "divergence":
        apart = known[known > LEAST_DIVERGENCE]
        low = float(apart.min()) if apart.size else LEAST_DIVERGENCE
        return Shade("KL to the last [nats]", "KL", "KL to the last readout, nats", low,
                     max(most, low), log=True, colours="distance", digits=".1g")  # fmt: skip
    if quantity == "rank":
        return Shade(f"rank of {name}", "rank", f"rank of {name}", 1, max(most, 2.0), log=True,
                     low_is_bright=True, digits=".0f")  # fmt: skip
    if quantity == "chance":
        return Shade(f"probability of {name}", "p", f"probability of {name}")
    return Shade("probability", "p", "top answer's probability")


def _statement(data: Data, reading: Reading, recording: Recording) -> str:
    """Say from where on the final answers stand."""
    n, last = len(data.tokens), data.n_recurrences
    known = data.final != NO_ANSWER
    lens = f"{data.lens.capitalize()} lens"
    if not known.any():
        return f"{lens}: the last readout is not finite at any token shown"
    who = "the final answer" if n == 1 else f"the final answers of {known.sum()} tokens"
    within = final_since(reading.top[-1][:, list(data.tokens)], data.final)[known]
    layer = f"layer {data.places.marks[int(within.max())]} on"
    if n > 1:
        layer += f" (median {data.places.marks[int(np.median(within))]})"
    if last > 1:
        ends = data.final_recurrence[known]
        text = f"{lens}: at recurrence ends {who} {'stands' if n == 1 else 'stand'} from "
        text += f"recurrence {ends.max()} on"
        text += f" (median {np.median(ends):g})" if n > 1 else ""
        text += f", within recurrence {last} from {layer}"
    else:
        text = f"{lens}: {who} {'stands' if n == 1 else 'stand'} from {layer}"
    if n - known.sum():
        text += f"; {n - known.sum()} of {n} tokens have no finite last readout"
    if recording.n_recurrences > last:
        text += f"; read at {last} of {recording.n_recurrences} recurrences"
    if data.places.step > 1:
        text += f"; {data.places.said()}"
    return text


def table(data: Data) -> Table:
    """One row for each place and token: the curves by depth of every number."""
    k = data.ids.shape[-1] if len(data.ids) else 0
    answers = [(f"answer {i + 1} id", f"answer {i + 1}", f"p {i + 1}") for i in range(k)]
    columns = (
        "effective depth",
        "recurrence",
        "layer",
        "token index",
        "token",
        "lens",
        *(name for names in answers for name in names),
        "entropy [nats]",
        "KL to the last [nats]",
        "chosen token id",
        "chosen token",
        "p of the chosen token",
        "rank of the chosen token",
        "final since depth",
        "final since recurrence",
    )
    return Table(columns, _table_rows(data))


def _table_rows(data: Data) -> Iterator[tuple[object, ...]]:
    depths = data.places.depths
    # Along depth, whatever the order in which columns are drawn.
    for column in np.argsort(data.order):
        place = data.places.at(int(data.order[column]))
        for row, token in enumerate(data.tokens):
            at = int(column), row
            pairs = zip(data.ids[at].tolist(), data.probabilities[at].tolist(), strict=True)
            chosen = int(data.chosen[row])
            yield (
                depths[int(data.order[column])],
                *place.values(),
                token,
                data.token_texts[row],
                data.lens,
                *(cell for i, p in pairs for cell in (i, data.texts[i], p)),
                float(data.entropy[at]),
                float(data.divergence[at]),
                chosen if chosen != NO_ANSWER else "",
                data.texts[chosen] if chosen != NO_ANSWER else "",
                float(data.chance[at]),
                float(data.rank[at]),
                int(data.final_since[row]),
                int(data.final_recurrence[row]),
            )


def within(data: Data, shown: RecurrenceRange) -> Data:
    """Only places of these recurrences; scale and final answers stay those of all."""
    places = data.places
    if data.missing or not places.recurrences:
        return data
    first, last = shown.ends(max(places.recurrences))
    kept = tuple(r for r in places.recurrences if first <= r <= last)
    if len(kept) == len(places.recurrences):
        return data
    columns = [i for i, at in enumerate(data.order) if places.at(int(at))["recurrence"] in kept]
    order = np.arange(len(kept) * places.n_layers)
    if data.by == "layer":
        order = order.reshape(-1, places.n_layers).T.ravel()
    cut = ("ids", "probabilities", "top", "flip", "shaded", "mark", "entropy", "divergence",
           "chance", "rank")  # fmt: skip
    parts = {name: getattr(data, name)[columns] for name in cut}
    return replace(data, places=replace(places, recurrences=kept), order=order, **parts)


def difference(one: Data, other: Data, selection: Selection, second: SecondRun) -> Difference:
    """How much more, or less, of what is shaded the run shown has than the second one."""
    shown = {tuple(other.places.at(int(i)).values()): j for j, i in enumerate(other.order)}
    pairs = []
    for column, i in enumerate(map(int, one.order)):
        place = one.places.at(i)
        at = goes_with(place["recurrence"], place["layer"], second)
        if at in shown:
            pairs.append((column, shown[at]))
    here = [column for column, _ in pairs]
    columns = Side(
        one.column_title,
        tuple(one.column_labels[i] for i in here),
        tuple(one.places.at(int(one.order[i])) for i in here),
        first=one.first_number,
        group=one.group if len(here) == one.n_columns else 0,
    )
    about = (one.scale.whole, other.scale.whole)
    words = (
        left_out("places", len(pairs), one.n_columns, other.n_columns),
        "" if about[0] == about[1] else f"{about[0]} less {about[1]}",
    )
    least = {DIVERGENCE: LEAST_DIVERGENCE, RANK: 1.0}.get(one.formula, 0.0)
    formula = difference_formula(one.formula, log=least > 0)
    if one.formula == DIVERGENCE:
        formula = replace(formula, formula=f"{formula.formula}, at least {least:g}")
    return answers_difference(
        one, other, pairs, columns, formula, second, words, least=least,
        missing=(one.missing, other.missing),
    )  # fmt: skip


VIEW = ViewDefinition(
    Options,
    compute,
    table,
    reads=frozenset({"tokens", "token"}),
    request=REQUEST,
    difference=difference,
    within=within,
)
