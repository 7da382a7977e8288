"""The difference of two runs on the screen: signed values, no difference in the middle."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.selection import Selection
from loopscope.core.views.difference import SHOWN, Difference, Side
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.plots.matrix_layout import Bar, Content, Marks
from loopscope.widgets.plots.matrix_steps import STEPS, head_steps
from loopscope.widgets.plots.matrix_view import MatrixView, value_text

COLOURS = "diverging"


class DifferenceView(MatrixView[Difference]):
    """Brown is more in the run shown, blue is more in the second run."""

    def __init__(self, options: object = None, parent: QWidget | None = None) -> None:
        super().__init__(options, parent)
        self._rows: dict[tuple[tuple[str, int], ...], int] = {}
        self._columns: dict[tuple[tuple[str, int], ...], int] = {}
        self._feet: tuple[tuple[int, int, int], ...] = ()

    @override
    def show_data(self, data: Difference) -> None:
        if data.missing:
            self.data = None
            self.matrix.show_empty(empty_text(data.missing, data.lacks))
            return
        self.data = data
        self._rows, self._columns = _index(data.rows), _index(data.columns)
        self._feet = tuple(data.spans_apart())
        content = Content(
            n_rows=len(data.rows.labels),
            n_columns=len(data.columns.labels),
            title=_title(data),
            row_title=data.rows.title,
            column_title=data.columns.title,
            row_labels=data.rows.labels,
            column_labels=data.columns.labels,
            bar=difference_bar(data),
            scrolls=not data.symmetric and data.rows.title != "query token",
            row_strides=head_steps(data.rows.group) if data.rows.group else STEPS,
            column_strides=head_steps(data.columns.group) if data.columns.group else STEPS,
            number_rows=data.rows.first is not None,
            number_columns=data.columns.first is not None,
            first_row=data.rows.first or 0,
            first_number=data.columns.first or 0,
            row_group=data.rows.group,
            column_group=data.columns.group,
            colours=COLOURS,
            log_columns=data.columns.recurrences if data.log_r else (),
            log_rows=data.rows.recurrences if data.log_r else (),
        )
        self.matrix.show_content(content, data.levels())
        self.show_selection(self.selection, {})

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Outline the cursor's cell and what is pointed at."""
        self.selection = selection
        data = self.data
        if data is None:
            return

        def of(index: dict[tuple[tuple[str, int], ...], int], fields: dict[str, int]) -> int | None:
            names = next(iter(index), ())
            return index.get(tuple((name, fields.get(name, -1)) for name, _ in names))

        at = {name: getattr(selection, name) for name in ("recurrence", "layer", "head", "token")}
        column = None if data.symmetric else of(self._columns, hover)
        self.matrix.show_marks(
            Marks(
                cursor_row=of(self._rows, at),
                cursor_column=of(self._columns, at) if data.columns.places[0] else None,
                cross=data.symmetric,
                hover_row=of(self._rows, hover) if hover and not data.symmetric else None,
                hover_column=column if hover and data.columns.places[0] else None,
                feet=self._feet,
            )
        )

    def _place(self, region: str, row: int, column: int) -> dict[str, int]:
        if self.data is None:
            return {}
        place: dict[str, int] = {}
        if row >= 0 and region in ("cell", "row", "side"):
            place |= self.data.rows.places[row]
        if column >= 0 and region in ("cell", "column"):
            place |= self.data.columns.places[column]
        return place

    @override
    def recurrence_of(self, column: int) -> int | None:
        return None if self.data is None else self.data.columns.places[column].get("recurrence")

    @override
    def _on_clicked(self, region: str, row: int, column: int) -> None:
        if place := self._place(region, row, column):
            self.select_requested.emit(place)

    @override
    def _on_pointed(self, region: str, row: int, column: int) -> None:
        data, text = self.data, ""
        if data is None:
            return
        self.hover_changed.emit(self._place(region, row, column))
        if region == "cell":
            where = f"{data.rows.title} {data.rows.labels[row]}, "
            where += f"{data.columns.title} {data.columns.labels[column]}"
            text = value_text(data.formula, float(data.values[row, column]), where)
            if data.answers is not None:
                here, there = (str(answers[row, column]) for answers in data.answers)
                same = here == there
                said = f"both answer '{here}'" if same else f"answers '{here}', second '{there}'"
                text = f"{said} · {text}"
        elif region == "bar":
            text = data.formula.text()
        self.message.emit(text)


def _title(data: Difference) -> str:
    """What is subtracted; with answers what the line at the foot of a cell is."""
    title = f"{data.formula.name}, {SHOWN} − {data.second}"
    return f"{title}; underlined: answers differ" if data.apart.any() else title


def difference_bar(data: Difference) -> Bar:
    """The colour bar from −far to far; without any difference it says so."""
    label = f"difference ({data.formula.unit})"
    if not data.far:
        return Bar(label, ((0.5, "0"),))
    return Bar(label, ((0.0, f"−{data.far:.3g}"), (0.5, "0"), (1.0, f"+{data.far:.3g}")))


def _index(side: Side) -> dict[tuple[tuple[str, int], ...], int]:
    """Which row or column each place of the cursor is."""
    return {tuple(place.items()): i for i, place in enumerate(side.places) if place}
