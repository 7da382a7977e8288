"""Which layers of a deep model are looped, and how: first, last, damping, recurrences."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFormLayout,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from loopscope.widgets.kit.numbers import POINT
from loopscope.widgets.kit.plain_text import PlainLabel

MOST_RECURRENCES = 1000


class SpanDialog(QDialog):
    """Asks for a span; stays open so that several can be tried.

    Signals
    -------
    loop_requested(int, int, float, int)
        Layers ``first`` to ``last - 1``, damping, recurrences.
    """

    loop_requested = Signal(int, int, float, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Loop a span of layers")
        self.setLocale(POINT)
        self._depth = 1
        self.first, self.last, self.count = QSpinBox(), QSpinBox(), QSpinBox()
        self.count.setRange(1, MOST_RECURRENCES)
        self.count.setValue(4)
        self.damping = QDoubleSpinBox()
        self.damping.setRange(0.01, 1.0)
        self.damping.setDecimals(2)
        self.damping.setSingleStep(0.05)
        self.damping.setValue(0.5)
        self.first.setToolTip("First layer of the span, from 0")
        self.last.setToolTip("Last layer of the span; it belongs to it")
        self.damping.setToolTip("β of x ← x + β (span(x) − x); 1 is plain repetition")
        self.count.setToolTip("How often the span is applied at once; Space applies it again")
        form = QFormLayout()
        form.addRow("First layer", self.first)
        form.addRow("Last layer", self.last)
        form.addRow("Damping β", self.damping)
        form.addRow("Recurrences", self.count)
        self.words = PlainLabel()
        self.words.setWordWrap(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.loop = QPushButton("Loop this span")
        self.loop.setDefault(True)
        self.whole = QPushButton("Deep model as it is")
        self.whole.setToolTip("All layers once, without a loop")
        buttons.addButton(self.loop, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.addButton(self.whole, QDialogButtonBox.ButtonRole.ActionRole)
        box = QVBoxLayout(self)
        box.addLayout(form)
        box.addWidget(self.words)
        box.addWidget(buttons)
        self.first.valueChanged.connect(self._on_changed)
        self.last.valueChanged.connect(self._on_changed)
        self.loop.clicked.connect(self._on_loop)
        self.whole.clicked.connect(lambda: self.loop_requested.emit(0, self._depth, 1.0, 1))
        buttons.rejected.connect(self.close)

    def ask(self, depth: int, first: int, last: int, damping: float) -> None:
        """Show the dialog for a model of ``depth`` layers; ``last`` is one past the span."""
        self._depth = depth
        for box in (self.first, self.last):
            box.setRange(0, depth - 1)
        if (first, last) == (0, depth) and depth > 2:  # something to begin with: the middle
            first, last = (
                depth // 3,
                2 * depth // 3 + 1,
            )
            damping = 0.5
        self.first.setValue(first)
        self.last.setValue(last - 1)
        self.damping.setValue(damping)
        self._on_changed()
        self.show()
        self.raise_()
        self.activateWindow()

    def _on_changed(self) -> None:
        first, last = self.first.value(), self.last.value()
        right = first <= last
        self.loop.setEnabled(right)
        n = last - first + 1
        layers = "1 layer" if n == 1 else f"{n} layers"
        self.words.setText(
            f"{first} before, {layers} looped, {self._depth - last - 1} after. Nothing is trained: "
            "x ← x + β (span(x) − x) at each recurrence (arXiv 2605.23872)."
            if right
            else "The last layer comes before the first."
        )

    def _on_loop(self) -> None:
        self.loop_requested.emit(
            self.first.value(), self.last.value() + 1, self.damping.value(), self.count.value()
        )
