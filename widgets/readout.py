"""The readout on the screen: the top answer at each token after each recurrence."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from loopscope.core.measures.exit_gate import EXIT, HAZARD
from loopscope.core.measures.readout import FLIP, NO_ANSWER, UNCHANGED_SINCE
from loopscope.core.selection import Selection
from loopscope.core.views.readout import LENS_LABELS, NO_RUN, Data, Options
from loopscope.widgets.palette import Theme
from loopscope.widgets.readout_canvas import ReadoutCanvas
from loopscope.widgets.view import View


class ReadoutView(View):
    """Rows are tokens, columns recurrences; each cell has its top answer, shaded by probability."""

    DEPENDS_ON: ClassVar[frozenset[str]] = frozenset({"tokens"})

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self.data: Data | None = None
        self._row_of: dict[int, int] = {}
        self.canvas = ReadoutCanvas(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.canvas)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.canvas.setFocusProxy(self)
        self.canvas.clicked.connect(self._on_clicked)
        self.canvas.pointed.connect(self._on_pointed)
        self.clear()

    def show_data(self, data: Data) -> None:
        """Draw the answers."""
        if data is self.data:
            return
        if data.missing:
            self.data = None
            self.canvas.show_empty(data.missing)
            return
        self.data = data
        self._row_of = {token: row for row, token in enumerate(data.tokens)}
        self.canvas.show_data(data)
        self.show_selection(self.selection, {})

    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Outline the cursor's cell and mark what is pointed at."""
        before, self.selection = self.canvas.cursor[0], selection
        if self.data is None:
            return
        canvas = self.canvas
        canvas.cursor = self._cell(selection.token, selection.recurrence)
        canvas.hover = self._cell(hover.get("token"), hover.get("recurrence"))
        row = canvas.cursor[0]
        if row is not None and row != before:
            canvas.reveal_row(row)
        canvas.update()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours and redraw."""
        self.theme = theme
        self.canvas.set_theme(theme)

    def clear(self) -> None:
        """Go back to empty."""
        self.data = None
        self.canvas.show_empty(NO_RUN)

    def reset_view(self) -> None:
        """Scroll back to the cursor's row, or to the top."""
        self.canvas.scroll.setValue(0)
        if self.canvas.cursor[0] is not None:
            self.canvas.reveal_row(self.canvas.cursor[0])

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Up and Down go to the token above and below."""
        step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()))
        row = self.canvas.cursor[0]
        if step is None or row is None or self.data is None:
            super().keyPressEvent(event)
        elif 0 <= row + step < len(self.data.tokens):
            self.select_requested.emit({"token": self.data.tokens[row + step]})

    def _cell(self, token: int | None, recurrence: int | None) -> tuple[int | None, int | None]:
        """Row and recurrence of a place, each None when it is not shown."""
        row = None if token is None else self._row_of.get(token)
        n = 0 if self.data is None else self.data.n_recurrences
        return row, recurrence if recurrence is not None and 1 <= recurrence <= n else None

    def _place(self, row: int, recurrence: int) -> dict[str, int]:
        place = {"recurrence": recurrence} if recurrence >= 1 else {}
        if row >= 0 and self.data is not None:
            place["token"] = self.data.tokens[row]
        return place

    def _on_clicked(self, region: str, row: int, recurrence: int) -> None:
        if place := self._place(row, recurrence):
            self.select_requested.emit(place)

    def _on_pointed(self, region: str, row: int, recurrence: int) -> None:
        self.hover_changed.emit(self._place(row, recurrence))
        self.message.emit("" if self.data is None else self._text(region, row, recurrence))

    def _text(self, region: str, row: int, recurrence: int) -> str:
        data = self.data
        assert data is not None
        formula = f"{data.formula.formula} [{data.formula.unit}] · {data.formula.source}"
        cursor = self.canvas.cursor
        if region == "side" and cursor[0] is not None and cursor[1] is not None:
            row, recurrence = cursor
        elif region in ("legend", "side"):
            return f"{data.formula.text()} · {FLIP.text()}"
        if region == "row":
            since = int(data.unchanged_since[row])
            answer = data.text(int(data.top[-1, row]))
            return (
                f"{self._name(row)}: answer {answer} unchanged since recurrence {since} · "
                f"{UNCHANGED_SINCE.formula} · {LENS_LABELS[data.lens]}"
            )
        if row < 0 or recurrence < 1:
            return ""
        answers = self._answers(row, recurrence)
        if data.has_exits:
            at = recurrence - 1, row
            answers += (
                f" · {HAZARD.name} {data.hazards[at]:.3g}, {EXIT.name} {data.exits[at]:.3g} "
                f"({EXIT.formula})"
            )
        return f"Recurrence {recurrence}, {self._name(row)}: {answers} · p = {formula}"

    def _name(self, row: int) -> str:
        assert self.data is not None
        return f"token {self.data.tokens[row]} '{self.data.labels[row]}'"

    def _answers(self, row: int, recurrence: int) -> str:
        """The kept answers with probabilities to three significant digits, and the flip."""
        data, r = self.data, recurrence - 1
        assert data is not None
        if data.top[r, row] == NO_ANSWER:
            return "the readout is not finite"
        pairs = zip(data.ids[r, row].tolist(), data.probabilities[r, row].tolist(), strict=True)
        text = ", ".join(f"{data.text(a)} {p:.3g}" for a, p in pairs)
        if data.flip[r, row]:
            text += f" (flip: {data.text(int(data.top[r - 1, row]))} before)"
        return text
