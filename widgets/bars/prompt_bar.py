"""The prompt, its tokens, the seed and the start state."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QKeyEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from loopscope.core.model.token_layout import TokenLayout
from loopscope.core.selection import Selection
from loopscope.widgets.bars.prompt_line import Notice, PromptLine
from loopscope.widgets.bars.token_chips import HEIGHT, TokenChips
from loopscope.widgets.kit.numbers import POINT
from loopscope.widgets.kit.plain_text import PlainLabel, describe, plain_tip
from loopscope.widgets.palette import LIGHT, Theme

# Typing restarts the run after this pause.
PAUSE_MS = 350
LARGEST_SEED = 2**31 - 1
START_TIPS = {
    "zeros": "s₀ = 0",
    "random": "s₀ is normal noise of the seed, times the scale",
    "embedding": "s₀ is the embedded prompt: this model has no other start",
    "learned": "s₀ is one learned vector for all tokens: this model has no other start",
}


class PromptBar(QWidget):
    """The prompt line with seed and start state, and under it the tokens.

    Signals
    -------
    prompt_edited(str)
        After a pause in typing, or at once on Enter.
    seed_changed(int), start_changed(str, float)
        The user chose a seed; a start state and its scale.
    select_requested(dict)
        ``{"token": i}``, ``{"token": i, "tokens": (...)}`` or ``{"tokens": ()}`` for all.
    hover_changed(dict)
        ``{"token": i}`` or ``{}``.
    """

    prompt_edited = Signal(str)
    seed_changed = Signal(int)
    start_changed = Signal(str, float)
    select_requested = Signal(dict)
    hover_changed = Signal(dict)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setLocale(POINT)
        self.theme: Theme = LIGHT
        self._submitted = False
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE_MS)
        self._pause.timeout.connect(self._emit_prompt)
        self._make_line()
        self._make_start()
        self._make_tokens()
        self._lay_out()
        self.set_starts(("zeros", "random"))
        self.set_theme(LIGHT)

    # ---- making ----
    def _make_line(self) -> None:
        self.line = PromptLine()
        self.line.setPlaceholderText("Type a prompt, or token ids as #1,2,3")
        self.line.setMinimumWidth(160)
        describe(self.line, "Prompt")
        self.line.setToolTip(
            "The prompt (Ctrl+L). It runs after a pause in typing, or at once on Enter.\n"
            "Token ids: #1,2,3. Up and Down: earlier prompts. Escape: back to the window."
        )
        self.line.textEdited.connect(self._on_text_edited)
        self.line.submitted.connect(self._on_submitted)
        self._running = ""  # the prompt of the run that is shown
        self.line.abandoned.connect(self._abandon)

    def _make_start(self) -> None:
        self.seed = QSpinBox()
        self.seed.setRange(0, LARGEST_SEED)
        self.seed.setToolTip("Seed of the random start state; a new seed starts the run again")
        describe(self.seed, "Seed")
        self.start = QComboBox()
        self.start.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        describe(self.start, "Start state")
        self.scale = QDoubleSpinBox()
        describe(self.scale, "Scale of the start state")
        self.scale.setRange(0.0, 1000.0)
        self.scale.setDecimals(2)
        self.scale.setSingleStep(0.1)
        self.scale.setValue(1.0)
        self.scale.setToolTip("Scale of the random start state: s₀ = scale × normal noise")
        for box in (self.seed, self.scale):
            box.setKeyboardTracking(False)
            box.setAlignment(Qt.AlignmentFlag.AlignRight)
            box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.UpDownArrows)
            box.installEventFilter(self)
        self.start.installEventFilter(self)
        self.seed.valueChanged.connect(self.seed_changed)
        self.start.activated.connect(self._on_start_chosen)
        self.scale.valueChanged.connect(self._emit_start)

    def _make_tokens(self) -> None:
        self.notice = Notice(self)
        self.chips = TokenChips(self)
        self.chips.select_requested.connect(self._on_chip_selected)
        self.chips.hover_changed.connect(self.hover_changed)
        self.all = QToolButton()
        self.all.setText("all")
        self.all.setAutoRaise(True)
        self.all.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.all.setFixedHeight(HEIGHT)
        self.all.setEnabled(False)
        self.all.setToolTip("Show every token again (Ctrl+A)")
        self.all.clicked.connect(lambda: self._on_chip_selected({"tokens": ()}))

    def _lay_out(self) -> None:
        self._captions = []
        top = QHBoxLayout()
        top.setSpacing(6)
        for text, widgets in (
            ("prompt", (self.line,)),
            ("seed", (self.seed,)),
            ("start", (self.start, self.scale)),
        ):
            caption = PlainLabel(text)
            caption.setBuddy(widgets[0])
            self._captions.append(caption)
            top.addWidget(caption)
            for widget in widgets:
                top.addWidget(widget, 1 if widget is self.line else 0)
        below = QHBoxLayout()
        below.setSpacing(8)
        below.addWidget(self.notice)
        below.addWidget(self.chips, 1)
        below.addWidget(self.all, 0, Qt.AlignmentFlag.AlignTop)
        box = QVBoxLayout(self)
        box.setContentsMargins(10, 4, 10, 4)
        box.setSpacing(4)
        box.addLayout(top)
        box.addLayout(below)

    # ---- taking ----
    def set_prompt(self, text: str) -> None:
        """Show the prompt of the run; what the user is typing just now is not overwritten."""
        self._running = text
        if not self._pause.isActive() and text != self.line.text():
            self.line.setText(text)
            self.line.end_walk()

    def set_run(self, seed: int, start: str, scale: float) -> None:
        """Show seed and start state of the run; emits nothing."""
        with QSignalBlocker(self.seed), QSignalBlocker(self.scale):
            self.seed.setValue(seed)
            self.scale.setValue(scale)
        index = self.start.findData(start)
        if index >= 0:
            self.start.setCurrentIndex(index)
        self._show_scale()

    def set_starts(self, starts: tuple[str, ...]) -> None:
        """Say which start states the model can have."""
        chosen = self.start.currentData()
        self.start.clear()
        for i, start in enumerate(starts):
            self.start.addItem(start, start)
            tip = START_TIPS.get(start, "")
            self.start.setItemData(i, plain_tip(tip), Qt.ItemDataRole.ToolTipRole)
        self.start.setCurrentIndex(max(self.start.findData(chosen), 0))
        self.start.setEnabled(len(starts) > 1)
        self._show_scale()

    def set_history(self, prompts: list[str]) -> None:
        """Take earlier prompts, newest first."""
        self.line.history = list(prompts)

    def show_tokens(self, labels: tuple[str, ...], layout: TokenLayout | None = None) -> None:
        """Show the tokens of a new run, in a grid where they have a ``layout``."""
        self._submitted = False
        self.chips.show_tokens(tuple(labels), layout)
        self.chips.set_dimmed(bool(self.notice.message))

    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Mark the cursor's token, the chosen tokens and the one pointed at."""
        self.chips.show_selection(selection, hover)
        chosen = selection.tokens
        self.all.setEnabled(bool(chosen))

    def show_error(self, message: str | None) -> None:
        """Say under the line why the prompt was not run, or that all is well (None)."""
        text = message or ""
        if text != self.notice.message:
            self.notice.show_message(text)
            self.chips.set_dimmed(bool(text))
        if text and self._submitted:
            self._submitted = False
            self.line.setFocus()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours, and the text's size."""
        self.theme = self.chips.theme = theme
        self.seed.setFixedWidth(max(72, self.fontMetrics().horizontalAdvance("0000000") + 30))
        for label, colour in (
            (self.notice, theme.warning),
            *((caption, theme.muted) for caption in self._captions),
        ):
            palette = label.palette()
            palette.setColor(QPalette.ColorRole.WindowText, QColor(colour))
            label.setPalette(palette)
        self.chips.update()

    def edit(self) -> None:
        """Put the keyboard into the prompt line."""
        self.line.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.line.selectAll()

    # ---- what the user does ----
    def _on_text_edited(self) -> None:
        self._pause.start()

    def _on_submitted(self) -> None:
        """Run at once, and leave the keys to the window: Space steps from here on."""
        self._submitted = True
        self._leave()
        self._emit_prompt()

    def _emit_prompt(self) -> None:
        self._pause.stop()
        self.prompt_edited.emit(self.line.text())

    def _abandon(self) -> None:
        """Escape: what cannot be run gives way to the prompt of the run that is shown."""
        if self.notice.message and self._running:
            self._pause.stop()
            self.line.setText(self._running)
            self.show_error(None)
        self._leave()

    def _leave(self) -> None:
        self.window().setFocus()

    def _on_start_chosen(self) -> None:
        self._show_scale()
        self._emit_start()

    def _emit_start(self) -> None:
        self.start_changed.emit(self.start.currentData(), self.scale.value())

    def _show_scale(self) -> None:
        start = self.start.currentData()
        self.scale.setEnabled(start == "random")
        self.start.setToolTip(plain_tip(f"Start state: {START_TIPS.get(start, start)}"))

    def _on_chip_selected(self, changes: dict[str, object]) -> None:
        # Otherwise Space would go on being typed into the prompt.
        if self.line.hasFocus():
            self._leave()
        self.select_requested.emit(changes)

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Enter and Escape in a number leave it, Escape without taking what was typed.

        The wheel turns only what has the focus: passing over must not start another run.
        """
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget):
            return not watched.hasFocus()
        if isinstance(watched, QSpinBox | QDoubleSpinBox) and isinstance(event, QKeyEvent):
            key = Qt.Key(event.key()) if event.type() == QEvent.Type.KeyPress else None
            if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self._leave()
                return True
            if key == Qt.Key.Key_Escape:
                watched.lineEdit().setText(_value_text(watched))
                self._leave()
                return True
        return False

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Elide the notice anew."""
        self.notice.fit()
        super().resizeEvent(event)


def _value_text(box: QSpinBox | QDoubleSpinBox) -> str:
    """The number that a box holds, as it writes it."""
    if isinstance(box, QSpinBox):
        return box.textFromValue(box.value())
    return box.textFromValue(box.value())
