"""How a text is continued, and what became of it: each new token with the recurrences it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFormLayout,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from loopscope.widgets.kit.check_box import CheckBox
from loopscope.widgets.kit.numbers import POINT
from loopscope.widgets.kit.plain_text import PlainLabel, describe

MOST = 10_000
RULES = (
    ("", "all take as many", "Every token takes the recurrences above"),
    ("step", "relative step", "‖s_r − s_{r−1}‖ / ‖s_r‖ below the threshold"),
    ("kl", "KL of readouts", "KL(p_r ‖ p_{r−1}) below the threshold, nats"),
    ("gate", "the model's exit gate", "The gate's threshold, from the model's config"),
)
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
DEFAULTS = {"step": "0.01", "kl": "0.0005"}


@dataclass(frozen=True, slots=True)
class ContinueChoice:
    """What was chosen. rule : as `--exit` is written, such as "step:0.01", or "" for none."""

    tokens: int
    recurrences: int
    rule: str
    temperature: float
    seed: int
    ends: bool


class ContinueDialog(QDialog):
    """Asks how a text is continued; stays open and lists what was added.

    Signals
    -------
    chosen(object)
        A `ContinueChoice`.
    """

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Continue the text")
        self.setLocale(POINT)
        self.tokens, self.recurrences, self.seed = QSpinBox(), QSpinBox(), QSpinBox()
        for box, value in ((self.tokens, 20), (self.recurrences, 1)):
            box.setRange(1, MOST)
            box.setValue(value)
        self.seed.setRange(0, 2**31 - 1)
        self.rule = QComboBox()
        for key, text, tip in RULES:
            self.rule.addItem(text, key)
            self.rule.setItemData(self.rule.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.threshold = QLineEdit()
        self.temperature = QDoubleSpinBox()
        self.temperature.setRange(0, 100)
        self.temperature.setSingleStep(0.1)
        self.temperature.setSpecialValueText("greedy")
        self.ends = CheckBox("Stop where the model ends the text")
        self.ends.setChecked(True)
        self._tips()
        self.words, self.outcome = PlainLabel(), PlainLabel()
        for label in (self.words, self.outcome):
            label.setWordWrap(True)
        self.table = _table()
        describe(self.table, "New tokens", "The tokens written, with the recurrences of each")
        describe(self.rule, "A token leaves by")
        self._lay_out()
        self.rule.currentIndexChanged.connect(self._on_rule)
        self.threshold.textChanged.connect(self._on_changed)
        self.temperature.valueChanged.connect(self._on_changed)
        self.start.clicked.connect(self._on_start)
        self._refusal = ""
        self._on_rule()

    def _tips(self) -> None:
        self.tokens.setToolTip("Tokens to add")
        self.recurrences.setToolTip(
            "Of the prompt and of each new token; with a rule, the most that a new token takes"
        )
        self.rule.setToolTip("When a new token leaves the loop")
        self.threshold.setToolTip("Of the rule")
        self.temperature.setToolTip("greedy takes the likeliest; else drawn from softmax(logits/T)")
        self.seed.setToolTip("Of the draws")

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow("Tokens", self.tokens)
        form.addRow("Recurrences", self.recurrences)
        form.addRow("A token leaves by", self.rule)
        form.addRow("Threshold", self.threshold)
        form.addRow("Temperature", self.temperature)
        form.addRow("Seed", self.seed)
        form.addRow("", self.ends)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.start = QPushButton("Continue")
        self.start.setDefault(True)
        buttons.addButton(self.start, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.rejected.connect(self.close)
        box = QVBoxLayout(self)
        box.addLayout(form)
        box.addWidget(self.words)
        box.addWidget(self.table, 1)
        box.addWidget(self.outcome)
        box.addWidget(buttons)

    def ask(self, recurrences: int, *, gate: bool, refusal: str) -> None:
        """Show the dialog for a run of so many recurrences.

        ``gate`` says whether the model has an exit gate, ``refusal`` why its text cannot be
        continued, or "".
        """
        self.recurrences.setValue(recurrences)
        index = self.rule.findData("gate")
        if not gate and self.rule.currentIndex() == index:
            self.rule.setCurrentIndex(0)
        model = self.rule.model()
        assert isinstance(model, QStandardItemModel)
        model.item(index).setEnabled(gate)
        self._refusal = refusal
        self._on_changed()
        self.show()
        self.raise_()
        self.activateWindow()

    def show_tokens(self, rows: Sequence[tuple[str, int, float]], said: str) -> None:
        """List each new token with its recurrences and its probability."""
        self.table.setRowCount(len(rows))
        for i, (text, recurrences, probability) in enumerate(rows):
            for j, cell in enumerate((text, str(recurrences), f"{probability:.3f}")):
                item = QTableWidgetItem(cell)
                if j:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                self.table.setItem(i, j, item)
        self.outcome.setText(said)

    @property
    def _key(self) -> str:
        return str(self.rule.currentData())

    def _on_rule(self) -> None:
        key = self._key
        self.threshold.setEnabled(key in DEFAULTS)
        self.threshold.setText(DEFAULTS.get(key, ""))
        self.threshold.setPlaceholderText("the model's own" if key == "gate" else "none")
        self._on_changed()

    def _on_changed(self) -> None:
        self.seed.setEnabled(self.temperature.value() > 0)
        problem = self._refusal or self._problem()
        self.start.setEnabled(not problem)
        self.words.setText(problem)
        self.words.setVisible(bool(problem))

    def _problem(self) -> str:
        if self._key not in DEFAULTS:
            return ""
        try:
            right = 0 < float(self.threshold.text()) < float("inf")
        except ValueError:
            right = False
        return "" if right else "The threshold is a number above 0, such as 0.01."

    def _on_start(self) -> None:
        key = self._key
        rule = f"{key}:{float(self.threshold.text()):g}" if key in DEFAULTS else key
        self.chosen.emit(
            ContinueChoice(
                self.tokens.value(), self.recurrences.value(), rule, self.temperature.value(),
                self.seed.value(), self.ends.isChecked(),
            )
        )  # fmt: skip


def _table() -> QTableWidget:
    table = QTableWidget(0, 3)
    table.setHorizontalHeaderLabels(["new token", "recurrences", "probability"])
    table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    table.verticalHeader().hide()
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setAccessibleName("New tokens")
    table.setMinimumHeight(120)
    return table
