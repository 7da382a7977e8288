"""The line on top: which model, on which device, and its card."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QMenu,
    QProgressBar,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from loopscope.widgets.kit.plain_text import PlainLabel, describe, plain_tip
from loopscope.widgets.kit.shortening import ShortLabel
from loopscope.widgets.kit.theme import number_font
from loopscope.widgets.palette import LIGHT, Theme

DEVICES = ("auto", "cuda", "mps", "cpu")
DTYPES = ("float32", "bfloat16", "float16")
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class Header(QWidget):
    """Model in words, device and dtype (a menu), memory, card, loading progress with Cancel."""

    device_chosen = Signal(str, str)
    cancel_requested = Signal()
    offer_taken = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT
        self._card_text = ""
        self._wish, self._dtype = "auto", "float32"
        self._shown: tuple[str, ...] = ()
        self.model = ShortLabel()
        self.model.set_whole("Loopscope")
        self.model.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.notice = PlainLabel()
        self.notice.setVisible(False)
        self.offer = QPushButton()
        self.offer.setVisible(False)
        self.offer.clicked.connect(self.offer_taken)
        self.progress = QProgressBar()
        self.progress.setRange(0, 1000)
        self.progress.setFixedWidth(160)
        self.progress.setTextVisible(False)
        describe(self.progress, "Progress", "How far loading or the measurement under way is")
        describe(self.offer, "Read it as another family")
        self.doing = ShortLabel()
        self.doing.setAlignment(RIGHT)
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Give this up; the model that was running stays")
        self.cancel.clicked.connect(self.cancel_requested)
        self.device = QToolButton()
        self.device.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.device.setMenu(QMenu(self.device))
        self.device.setAutoRaise(True)
        self.card = QToolButton()
        self.card.setText("card")
        self.card.setAutoRaise(True)
        self.card.setToolTip("The checkpoint card: sizes, memory, what is unavailable (Ctrl+I)")
        self.card.clicked.connect(self.show_card)
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 4, 6, 0)
        row.addWidget(self.model, 3)
        row.addWidget(self.notice)
        row.addWidget(self.offer)
        row.addWidget(self.doing, 2)
        row.addWidget(self.progress)
        row.addWidget(self.cancel)
        row.addWidget(self.device)
        row.addWidget(self.card)
        # As high with Cancel as without, or all below would move by a pixel with every job.
        row.addStrut(self.cancel.sizeHint().height())
        self.show_progress(None)
        self.show_device("", "", "")

    def show_model(self, line: str, card: str) -> None:
        """Say which model is open; ``card`` is the text of its card."""
        self.model.set_whole(line)
        self._card_text = card
        self.card.setEnabled(bool(card))

    def show_device(self, text: str, why: str, memory: str) -> None:
        """Say where the model runs, in which dtype, why, and what it takes."""
        device = (text, why, memory, self._wish, self._dtype)
        if device == self._shown:  # asked with every change of status
            return
        self._shown = device
        parts = [part for part in (text, memory) if part]
        self.device.setText("  ·  ".join(parts) or "device")
        self.device.setToolTip(plain_tip(f"{why}\nClick to choose another device or dtype"))
        menu = self.device.menu()
        menu.clear()
        for title, names, current in (
            ("Device", DEVICES, self._wish),
            ("Dtype", DTYPES, self._dtype),
        ):
            menu.addSection(title)
            group = QActionGroup(menu)
            for name in names:
                action = QAction(name, menu, checkable=True, checked=name == current)
                action.triggered.connect(lambda _=False, t=title, n=name: self._choose(t, n))
                group.addAction(action)
                menu.addAction(action)

    def set_wish(self, device: str, dtype: str) -> None:
        """Take what the user has asked for; the menu shows it checked."""
        self._wish, self._dtype = device, dtype

    def _choose(self, menu: str, name: str) -> None:
        self._shown = ()  # the mark stands at what is in use until the wish is taken
        if menu == "Device":
            self.device_chosen.emit(name, self._dtype)
        else:
            self.device_chosen.emit(self._wish, name)

    def show_progress(self, share: float | None, doing: str = "") -> None:
        """Show loading progress, 0 to 1, or hide it (None). Below 0: not known."""
        loading = share is not None
        for widget in (self.progress, self.doing):
            widget.setVisible(loading)
        self.cancel.setVisible(loading and (share or 0) >= 0)
        if share is not None:
            self.progress.setRange(0, 0 if share < 0 else 1000)
            self.progress.setValue(int(max(share, 0) * 1000))
            self.doing.set_whole(doing)

    def show_notice(self, text: str | None) -> None:
        """Show a warning that stays until the next one, such as a device wish not met."""
        self.notice.setVisible(bool(text))
        self.notice.setText(
            "" if not text else f"⚠ {text}" if len(text) < 70 else f"⚠ {text[:67]}…"
        )
        self.notice.setToolTip(plain_tip(text or ""))

    def show_offer(self, text: str, why: str = "") -> None:
        """Show a button for what can be done about the notice; none for an empty text."""
        self.offer.setVisible(bool(text))
        self.offer.setText(text)
        self.offer.setToolTip(plain_tip(why))

    def show_card(self) -> None:
        """Open the card below its button."""
        popup = QFrame(self, Qt.WindowType.Popup)
        popup.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        popup.setFrameShape(QFrame.Shape.StyledPanel)
        label = PlainLabel(self._card_text)
        label.setFont(number_font())
        label.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        box = QVBoxLayout(popup)
        box.addWidget(label)
        popup.adjustSize()
        corner = self.card.mapToGlobal(self.card.rect().bottomRight())
        popup.move(corner.x() - popup.width(), corner.y() + 2)
        popup.show()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.theme = theme
        palette = self.notice.palette()
        palette.setColor(palette.ColorRole.WindowText, theme.warning)
        self.notice.setPalette(palette)
