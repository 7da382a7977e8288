"""The head consistency matrix on the screen: heads by recurrences."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.measures.head_groups import GROUP
from loopscope.core.measures.head_stability import RANKS, STABLE_SINCE, WITH_SETTLING
from loopscope.core.measures.heads import STATISTICS
from loopscope.core.selection import Selection
from loopscope.core.views.heads import Data, Options
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.plots.matrix_layout import Content, Marks
from loopscope.widgets.plots.matrix_steps import head_steps
from loopscope.widgets.plots.matrix_view import MatrixView, measure_bar, value_text

# The numbers beside the matrix: field, header. The last two are of the whole run.
SIDE = {
    "entropy": "entropy",
    "sink": "sink",
    "previous": "prev.",
    "own": "self",
    "induction": "induct.",
    "since": "since",
    "group": "group",
}
STATISTIC_KEYS = tuple(SIDE)[:5]
# Heads of a group that the status line names.
MOST_NAMED = 8


class HeadsView(MatrixView[Data]):
    """Rows are heads, columns recurrences, bright means the same as the reference."""

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self._row_of = np.zeros(0, np.int64)
        self._side_recurrence = -1

    @override
    def show_data(self, data: Data) -> None:
        """Draw the matrix."""
        self.data, self._side_recurrence = data, -1
        if data.missing:
            self.matrix.show_empty(empty_text(data.missing, data.lacks))
            return
        n, _, n_heads = data.values.shape
        self._row_of = np.full(data.consistency.size, -1)
        self._row_of[data.order] = np.arange(data.order.size)
        content = Content(
            n_rows=data.order.size,
            n_columns=n,
            title=f"{data.measure.label} to {data.reference}, bright = same",
            row_title="head (layer.head)",
            column_title="recurrence r",
            row_labels=data.row_labels,
            column_labels=tuple(map(str, range(data.first, data.first + n))),
            bar=measure_bar(data.measure, data.far, data.near),
            side=_side(data) if data.show_statistics else (),
            dated=len(STATISTIC_KEYS),
            bands=data.row_groups,
            scrolls=True,
            row_strides=head_steps(n_heads),
            number_columns=True,
            first_number=data.first,
            log_columns=tuple(range(data.first, data.first + n)) if data.log_r else (),
        )
        levels = data.measure.brightness(data.rows(data.values), data.far, data.near)
        self.matrix.show_content(content, levels)
        self.show_selection(self.selection, {})

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Outline the selected head and recurrence, and pick its statistics."""
        self.selection = selection
        if self.data is None or self.data.missing:
            return
        r = self._side_recurrence = selection.recurrence
        known = 1 <= r <= len(self.data.statistics.entropy)
        marks = Marks(
            cursor_row=self._row(selection.layer, selection.head),
            cursor_column=self._column(r),
            hover_row=self._row(hover.get("layer"), hover.get("head")),
            hover_column=self._column(hover.get("recurrence", -1)),
            side_text=self._side_text,
            side_caption=f"at recurrence {r}" if known else self._no_statistics(r),
        )
        self.matrix.show_marks(marks)

    def _no_statistics(self, recurrence: int) -> str:
        n = len(self.data.statistics.entropy)
        return f"none at recurrence {recurrence}" if recurrence < 1 else f"shown up to r = {n} yet"

    def _column(self, recurrence: int) -> int | None:
        column = recurrence - self.data.first
        return column if 0 <= column < len(self.data.values) else None

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Up and Down go to the head above and below."""
        steps = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}
        step = steps.get(Qt.Key(event.key()))
        row = self.matrix.cursor_row
        plain = event.modifiers() in (
            Qt.KeyboardModifier.NoModifier,
            Qt.KeyboardModifier.KeypadModifier,
        )
        if step is None or not plain or self.data is None or self.data.missing:
            super().keyPressEvent(event)
            return
        if row is None:  # the cursor's head is not shown: to the first or the last that is
            row = -1 if step > 0 else self.data.order.size
        if 0 <= row + step < self.data.order.size:
            self.select_requested.emit(self._head(row + step))

    def _side_text(self, row: int) -> tuple[str, ...]:
        r, data = self._side_recurrence, self.data
        place = self._head(row)
        texts = ["–"] * len(STATISTIC_KEYS)
        if 1 <= r <= len(data.statistics.entropy):
            at = (r - 1, *place.values())
            values = [self._statistic(k)[at] for k in STATISTIC_KEYS]
            texts = ["–" if v != v else f"{v:.3f}" for v in values]
        return (*texts, data.since_text(*place.values()), self._group(row))

    def _group(self, row: int) -> str:
        groups = self.data.groups
        return str(groups.label(int(groups.of[self.data.order[row]])))

    def _statistic(self, name: str) -> np.ndarray:
        return np.asarray(getattr(self.data.statistics, name))

    def _row(self, layer: int | None, head: int | None) -> int | None:
        _, n_layers, n_heads = self.data.values.shape
        if layer is None or head is None or not (0 <= layer < n_layers and 0 <= head < n_heads):
            return None
        row = int(self._row_of[layer * n_heads + head])
        return row if row >= 0 else None

    def _head(self, row: int) -> dict[str, int]:
        layer, head = divmod(int(self.data.order[row]), self.data.values.shape[2])
        return {"layer": layer, "head": head}

    @override
    def recurrence_of(self, column: int) -> int | None:
        return None if self.data is None else int(self.data.first) + column

    @override
    def _on_clicked(self, region: str, row: int, column: int) -> None:
        if region == "cell":
            self.select_requested.emit({**self._head(row), "recurrence": self.data.first + column})
        elif region in ("row", "side") and row >= 0:
            self.select_requested.emit(self._head(row))
        elif region == "column":
            self.select_requested.emit({"recurrence": self.data.first + column})

    @override
    def _on_pointed(self, region: str, row: int, column: int) -> None:
        if self.data is None or self.data.missing:
            return
        place: dict[str, int] = self._head(row) if row >= 0 else {}
        if region in ("cell", "column"):
            place["recurrence"] = self.data.first + column
        self.hover_changed.emit(place)
        self.message.emit(self._text(region, row, column))

    def _text(self, region: str, row: int, column: int) -> str:
        data = self.data
        formula = data.measure.formula
        name = data.row_labels[row] if row >= 0 else ""
        if region == "cell":
            at = tuple(self._head(row).values())
            other = int(data.reference_recurrence[column])
            r = data.first + column
            if not other:
                return f"Head {name}, recurrence {r}: there is no {_short(data)}."
            where = f"head {name}, recurrence {r} against {other}"
            return value_text(formula, float(data.values[column, *at]), where)
        if region == "row":
            at = tuple(self._head(row).values())
            where = f"head {name}, mean over recurrences"
            return value_text(formula, float(data.consistency[at]), where)
        if region == "side":
            return self._statistic_text(row, column)
        return formula.text() if region == "bar" else ""

    def _statistic_text(self, row: int, column: int) -> str:
        key = list(SIDE)[column]
        if key in ("since", "group"):
            return self._since_text(row) if key == "since" else self._group_text(row)
        formula, r = STATISTICS[key], self._side_recurrence
        if row < 0 or not 1 <= r <= len(self.data.statistics.entropy):
            return formula.text()
        value = float(self._statistic(key)[r - 1, *self._head(row).values()])
        text = value_text(formula, value, f"head {self.data.row_labels[row]}, recurrence {r}")
        missing = self.data.statistics.induction_missing
        return f"{text} · {missing}" if key == "induction" and missing else text

    def _since_text(self, row: int) -> str:
        f, options = STABLE_SINCE, self.data.options
        if row < 0:
            return f"{f.text()} · {self._correlations()}"
        place = self._head(row)
        since, layer = self.data.since_text(**place), place["layer"]
        settled = int(self.data.stability.layer_since[layer])
        since_text = f"since recurrence {settled}" if settled else "not yet"
        return (
            f"head {self.data.row_labels[row]} stable since {since}, change below "
            f"{options.tolerance:g} · its layer settled {since_text}, step below "
            f"{options.step_tolerance:g} · {f.formula} · {f.source}"
        )

    def _correlations(self) -> str:
        """How stability goes with settling, with formulas, or why that cannot be said."""
        s = self.data.stability
        r = f"{s.r:.3f}" if np.isfinite(s.r) else "none"
        ranks = f"{s.ranks:.3f}" if np.isfinite(s.ranks) else f"none ({s.ranks_missing})"
        return (
            f"{WITH_SETTLING.name} {r} (n = {s.n}): {WITH_SETTLING.formula} · "
            f"{RANKS.name} {ranks} (n = {s.n_ranks}): {RANKS.formula}"
        )

    def _group_text(self, row: int) -> str:
        if row < 0:
            return GROUP.text()
        data = self.data
        mine = np.flatnonzero(data.groups.of == data.groups.of[data.order[row]])
        named = ", ".join(data.head_names[i] for i in mine[:MOST_NAMED])
        more = f" and {len(mine) - MOST_NAMED} more" if len(mine) > MOST_NAMED else ""
        return f"group {self._group(row)}: heads {named}{more} · {GROUP.formula} · {GROUP.source}"


def _side(data: Data) -> tuple[tuple[str, str], ...]:
    """Header and widest text of each column."""
    labels = [data.groups.label(i) for i in range(len(data.groups.names))]
    widest = {"since": "not yet", "group": max(labels, key=len, default="")}
    return tuple((header, widest.get(key, "0.0000")) for key, header in SIDE.items())


def _short(data: Data) -> str:
    """The reference without its article: "previous recurrence"."""
    return data.reference.removeprefix("the ")
