"""A view's settings, made from its ``Options`` dataclass."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QWidget,
)

from loopscope.core.options import Setting, settings_of
from loopscope.widgets.kit.check_box import CheckBox
from loopscope.widgets.kit.choice_box import ChoiceBox
from loopscope.widgets.kit.numbers import POINT, number_text, number_validator
from loopscope.widgets.kit.plain_text import PlainLabel, plain_tip
from loopscope.widgets.kit.popup import EdgedFrame, show_below


class SettingsForm(EdgedFrame):
    """One control for each setting.

    Signals
    -------
    changed(object)
        The new options.
    edited()
        The text of a line was changed; it is taken when the line is left, or by `commit`.

    Parameters
    ----------
    options
        The instance to edit. Fields that are no settings are kept as they are.
    defaults
        Whether there is a button that sets everything back; without it the form is part of another.
    across
        Only these settings, in one row and without labels; () for all of them under each other.
    """

    changed = Signal(object)
    edited = Signal()

    def __init__(
        self,
        options: Any,
        parent: QWidget | None = None,
        *,
        defaults: bool = True,
        across: tuple[str, ...] = (),
    ) -> None:
        super().__init__(parent)
        self.options = options
        self.setLocale(POINT)
        self.setFrameShape(QFrame.Shape.StyledPanel if defaults else QFrame.Shape.NoFrame)
        self.controls: dict[str, QWidget] = {}
        self._entries: dict[str, Setting] = {}
        if across:
            self._make_row([e for e in settings_of(options) if e.name in across])
            self.set_options(options)
            return
        form = QFormLayout(self)
        for entry in settings_of(options):
            control = self._control(entry)
            control.setAccessibleName(entry.label)
            self.controls[entry.name] = control
            self._entries[entry.name] = entry
            if isinstance(control, QCheckBox):
                form.addRow(control)
            else:
                form.addRow(entry.label, control)
        self.defaults_button = QPushButton("Defaults")
        self.defaults_button.setToolTip("Set every setting of this view back")
        self.defaults_button.clicked.connect(self.reset)
        self.problem_label = PlainLabel()
        self.problem_label.setVisible(False)
        if defaults:
            form.addRow(self.problem_label)
            form.addRow(self.defaults_button)
            self.edited.connect(self._show_problem)
        else:
            form.setContentsMargins(0, 0, 0, 0)
        self.set_options(options)

    def _make_row(self, entries: list[Setting]) -> None:
        self.setFrameShape(QFrame.Shape.NoFrame)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for entry in entries:
            control = self._control(entry)
            control.setAccessibleName(entry.label)
            self._entries[entry.name] = replace(entry, help=f"{entry.label}: {entry.help}")
            control.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            if isinstance(control, QComboBox):
                # As wide as its longest choice, and narrower where there is no room for it.
                control.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
                control.setMinimumWidth(60)
            self.controls[entry.name] = control
            row.addWidget(control)

    def _control(self, entry: Setting) -> QWidget:
        name = entry.name
        if entry.kind == "choice":
            box = ChoiceBox()
            for value, text in entry.choices:
                box.addItem(text, value)
            box.activated.connect(lambda i: self._take(name, box.itemData(i)))
            return box
        if entry.kind == "flag":
            check = CheckBox(entry.label)
            check.clicked.connect(lambda on: self._take(name, bool(on)))
            return check
        if entry.kind == "number" and isinstance(getattr(self.options, name), int):
            spin = QSpinBox()
            spin.setRange(int(entry.low), int(entry.high))
            spin.setSpecialValueText(entry.lowest)
            spin.setKeyboardTracking(False)
            spin.valueChanged.connect(lambda value: self._take(name, value))
            return spin
        line = QLineEdit()
        line.textEdited.connect(lambda _: self.edited.emit())
        if entry.kind == "number":
            line.setValidator(number_validator(entry.low, entry.high, line))
            line.editingFinished.connect(lambda: self._take(name, float(line.text())))
        else:
            line.editingFinished.connect(lambda: self._take(name, line.text()))
        return line

    @property
    def labels(self) -> list[QWidget]:
        """The labels that stand before controls."""
        form = self.layout()
        assert isinstance(form, QFormLayout)
        labels = (form.labelForField(control) for control in self.controls.values())
        return [label for label in labels if label is not None]

    @property
    def problem(self) -> str:
        """What is wrong with a line as it stands, in words; "" when all can be taken."""
        for entry in settings_of(self.options):
            line = self.controls.get(entry.name)
            if isinstance(line, QLineEdit) and not line.hasAcceptableInput():
                return f"{entry.label} has to be a number from {entry.low:g} to {entry.high:g}."
        return ""

    def commit(self) -> None:
        """Take every line as it stands, as if it were left."""
        for line in self.controls.values():
            if isinstance(line, QLineEdit) and line.hasAcceptableInput():
                line.editingFinished.emit()

    def _show_problem(self) -> None:
        self.problem_label.setText(self.problem)
        self.problem_label.setVisible(bool(self.problem))
        self.adjustSize()

    def _take(self, name: str, value: Any) -> None:
        if getattr(self.options, name) == value:
            return
        self.options = dataclasses.replace(self.options, **{name: value})
        self._show_idle()
        self.changed.emit(self.options)

    def set_options(self, options: Any) -> None:
        """Show ``options``; emits nothing."""
        self.options = options
        for name, control in self.controls.items():
            value = getattr(options, name)
            control.blockSignals(True)
            if isinstance(control, QComboBox):
                control.setCurrentIndex(max(0, control.findData(value)))
            elif isinstance(control, QCheckBox):
                control.setChecked(value)
            elif isinstance(control, QSpinBox):
                control.setValue(value)
            elif isinstance(control, QLineEdit) and not control.hasFocus():
                control.setText(number_text(value) if isinstance(value, float) else str(value))
            control.blockSignals(False)
        self._show_idle()

    def _show_idle(self) -> None:
        """Disable what has no effect as the others stand, and say why."""
        for name, control in self.controls.items():
            entry = self._entries[name]
            why = entry.idle(self.options)
            tip = f"No effect: {why}" if why else entry.help or entry.label
            for widget in (control, self._label_of(control)):
                if widget is not None:
                    widget.setEnabled(not why)
                    widget.setToolTip(plain_tip(tip))
            control.setAccessibleDescription(tip)

    def _label_of(self, control: QWidget) -> QWidget | None:
        form = self.layout()
        return form.labelForField(control) if isinstance(form, QFormLayout) else None

    def reset(self) -> None:
        """Set every setting to its default; what is no setting stays."""
        fresh = type(self.options)()
        changes = {name: getattr(fresh, name) for name in self.controls}
        options = dataclasses.replace(self.options, **changes)
        if options != self.options:
            self.set_options(options)
            self.changed.emit(options)

    def popup_below(self, widget: QWidget) -> None:
        """Show the form as a popup under ``widget``; Esc or a click elsewhere closes it."""
        self.setWindowFlag(Qt.WindowType.Popup)
        show_below(self, widget)
