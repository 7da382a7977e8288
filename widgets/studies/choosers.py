"""What is drawn of a study: a measure, a picture, its axes, and what is kept of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QFormLayout, QWidget

from loopscope.core.sweeps.axes import AXES
from loopscope.core.sweeps.picture import Choice, Offered
from loopscope.widgets.kit.plain_text import describe, plain_tip

KINDS = (("curves", "Mean and interval"), ("map", "Heat map"))
ONE_LINE = "one line"
# Places of an axis that are offered one by one.
MOST_PLACES = 2_000


class Choosers(QWidget):
    """A form whose rows follow the grid: an axis that is in the picture is not kept.

    Signals
    -------
    chosen(object)
        Another `Choice`.
    """

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.choice, self._there = Choice(), Offered((), {})
        self.form = QFormLayout(self)
        self.form.setContentsMargins(8, 6, 8, 6)
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self.boxes: dict[str, QComboBox] = {}
        self._add("measure", "Measure", "What is drawn")
        self._add("kind", "Picture", "Curves with intervals, or a heat map")
        self._add("along", "Across", "The axis of the grid that goes across")
        self._add("by", "Lines", "The axis of the grid that has a line for each place")
        for key, label in AXES.items():
            self._add(
                key, label[0].upper() + label[1:], "What is drawn of it, or the mean over all"
            )
        self.show_choice(self.choice, self._there)

    def _add(self, name: str, label: str, help: str) -> None:
        box = QComboBox()
        describe(box, label, help)
        box.setToolTip(plain_tip(help))
        box.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        box.setMinimumWidth(80)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(8)
        box.activated.connect(lambda i: self._take(name, str(box.itemData(i))))
        self.boxes[name] = box
        self.form.addRow(label, box)

    def show_choice(self, choice: Choice, there: Offered) -> None:
        """Show what is drawn, and what could be."""
        self.choice, self._there = choice, there
        axes = list(there.axes)
        named = [(key, AXES[key]) for key in axes]
        self._fill("measure", [(key, key) for key in there.measures], choice.measure)
        self._fill("kind", KINDS, choice.kind)
        self._fill("along", named, choice.along)
        lines = [entry for entry in named if entry[0] != choice.along]
        down = choice.kind == "map"
        self._fill("by", lines if down else [("", ONE_LINE), *lines], choice.by)
        label = self.form.labelForField(self.boxes["by"])
        label.setProperty("text", "Down" if down else "Lines")
        for name in ("measure", "kind", "along", "by"):
            self.boxes[name].setEnabled(bool(there.measures))
        for key in AXES:
            shown = key in axes and key not in (choice.along, choice.by)
            self.form.setRowVisible(self.boxes[key], shown)
            if shown:
                places = there.axes[key][:MOST_PLACES]
                entries = [
                    ("", f"mean over {len(there.axes[key])}"),
                    *zip(places, places, strict=True),
                ]
                self._fill(key, entries, choice.kept.get(key, ""))

    def _fill(self, name: str, entries: Sequence[tuple[str, str]], value: str) -> None:
        box = self.boxes[name]
        now = [(box.itemData(i), box.itemText(i)) for i in range(box.count())]
        if now != list(entries):
            box.clear()
            for key, text in entries:
                box.addItem(text, key)
        box.setCurrentIndex(max(0, box.findData(value)))

    def _take(self, name: str, value: str) -> None:
        choice = self.choice
        if name in AXES:
            choice = replace(choice, kept=choice.kept | {name: value})
        elif name == "along" and value == choice.by:  # the two change places
            choice = replace(choice, along=value, by=choice.along)
        else:
            values: dict[str, Any] = {name: value}
            choice = replace(choice, **values)
        if choice != self.choice:
            self.chosen.emit(choice)
