"""The frame that every view has: title, one plain sentence, settings, export, formulas."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QContextMenuEvent, QResizeEvent
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget
from typing_extensions import override

from loopscope.core.formula import Formula
from loopscope.core.options import settings_of
from loopscope.core.views.base import Request, ViewData
from loopscope.widgets.kit.icons import themed_icon
from loopscope.widgets.kit.measure_row import MeasureRow
from loopscope.widgets.kit.panes import Panes, mute
from loopscope.widgets.kit.plain_text import PlainLabel, describe
from loopscope.widgets.kit.popup import show_below
from loopscope.widgets.kit.settings_form import SettingsForm
from loopscope.widgets.kit.title_bar import TitleBar
from loopscope.widgets.kit.view import View
from loopscope.widgets.palette import LIGHT, Theme


class ViewFrame(QWidget):
    """A view in its frame; `title_bar` belongs into the dock.

    Signals
    -------
    options_changed(object)
        The user changed a setting.
    menu_requested(QPoint)
        A right click on the title or the view, on the screen.
    export_requested(), maximise_toggled(bool), close_requested(), step_requested()
    measure_requested(), measure_cancelled(), recheck_requested()
        The buttons.
    """

    options_changed = Signal(object)
    menu_requested = Signal(QPoint)
    export_requested = Signal()
    maximise_toggled = Signal(bool)
    close_requested = Signal()
    step_requested = Signal()
    measure_requested = Signal()
    measure_cancelled = Signal()
    recheck_requested = Signal()

    def __init__(self, title: str, view: View, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view = view
        describe(view, title, "Nothing is shown yet")
        self.theme: Theme = LIGHT
        self._statement = ""
        self._briefs: tuple[str, ...] = ()
        self._lag: int | None = None
        self._formulas: tuple[Formula, ...] = ()
        self._maximised = False
        self._form: SettingsForm | None = None
        self.quick: SettingsForm | None = None
        self.title_bar = TitleBar(title)
        bar = self.title_bar
        bar.add_button("settings", f"Settings of {title}").clicked.connect(self.show_settings)
        bar.add_button("export", f"Export {title}…").clicked.connect(self.export_requested)
        bar.add_button("help", "Formulas and sources").clicked.connect(self._show_formulas)
        maximise = bar.add_button("maximise", "Maximise (F11, or double-click the title)")
        maximise.clicked.connect(self._toggle_maximised)
        bar.add_button("close", f"Hide {title}").clicked.connect(self.close_requested)
        bar.double_clicked.connect(self._toggle_maximised)
        bar.menu_requested.connect(self.menu_requested)
        self.error = PlainLabel()
        self.error.setWordWrap(True)
        self.error.setMargin(6)
        self.error.setVisible(False)
        self.error.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(self.error)
        self.measuring = MeasureRow(self)
        self.measuring.setVisible(False)
        self.measuring.button.clicked.connect(self.measure_requested)
        self.measuring.cancel.clicked.connect(self.measure_cancelled)
        box.addWidget(self.measuring)
        self.recheck = QPushButton("Recheck in float32", self)
        self.recheck.setToolTip("Run the same in float32 and say the verdict there")
        self.recheck.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.recheck.setVisible(False)
        self.recheck.clicked.connect(self.recheck_requested)
        box.addWidget(self.recheck, 0, Qt.AlignmentFlag.AlignLeft)
        self.panes = Panes(title, view)
        box.addWidget(self.panes, 1)
        # Over an empty view while nothing can be run, or its measurement is made or was not.
        self.under_way = PlainLabel(parent=self)
        self.under_way.setWordWrap(True)
        self.under_way.setAutoFillBackground(True)
        self.under_way.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.under_way.setVisible(False)
        self._share: float | None = None
        self._failure, self._lacks, self._waits_for = "", False, ""
        self.step_button = QPushButton("Run a recurrence", self)
        self.step_button.setToolTip("Step one recurrence (Space)")
        self.step_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.step_button.clicked.connect(self.step_requested)
        self.step_button.setVisible(False)

    def set_options(self, options: Any) -> None:
        """Take the view's options; the settings show them."""
        self._options = options
        self.title_bar.buttons["settings"].setVisible(bool(settings_of(options)))
        if self._form is not None:
            self._form.set_options(options)
        at_hand = tuple(s.name for s in settings_of(options) if s.at_hand)
        if self.quick is None and at_hand:
            self.quick = SettingsForm(options, self, defaults=False, across=at_hand)
            self.quick.changed.connect(self._on_quick)
            if self.measuring.isHidden():  # a live view: it has no row for a measurement
                self.title_bar.add_settings(self.quick)
            else:
                self.measuring.row.insertWidget(1, self.quick)
        elif self.quick is not None:
            self.quick.set_options(options)

    def set_data(self, data: ViewData) -> None:
        """Take the statement and the formulas of what is shown."""
        self._statement, self._formulas = data.statement, data.formulas
        # An empty view says itself what it lacks: its title says it whole or not at all.
        self._briefs = ("",) if data.lacks is not None else data.briefs
        self._lacks = data.lacks is not None and data.lacks.kind == "measurement"
        self._show_statement()
        self._show_under_way()
        self.recheck.setVisible(data.unresolved)
        self.title_bar.buttons["help"].setEnabled(bool(data.formulas))

    def set_lag(self, recurrence: int | None) -> None:
        """Say of which recurrence the data is while the run is far ahead; None says nothing."""
        self._lag = recurrence
        self._show_statement()

    def _show_statement(self) -> None:
        lag = "" if self._lag is None else f"Shown up to r = {self._lag}, catching up: "
        statement = lag + self._statement
        if text := self._measuring_text():
            statement = text if self._lacks else f"{text}. {statement}"
        briefs = self._briefs if statement == self._statement else ()
        self.title_bar.statement.set_whole(statement, briefs)
        self.view.setAccessibleDescription(statement)

    def set_request(self, request: Request | None) -> None:
        """Offer the measurement that fills this view on a button; None for a live view."""
        self.measuring.setVisible(request is not None)
        if request is not None:
            self.measuring.offer(request.label, request.help)

    def show_measuring(self, share: float | None) -> None:
        """Show how far the view's measurement is, in its row and, where it is empty, in it."""
        self.measuring.show_progress(share)
        self._share = share
        self._show_statement()
        self._show_under_way()

    def set_failure(self, why: str) -> None:
        """Say in the view why its measurement has no result; "" when it is begun again."""
        self._failure = why
        self._show_statement()
        self._show_under_way()

    def set_waits_for(self, text: str) -> None:
        """Say over the view what it waits for, where no run can be begun yet; "" when it can."""
        if text != self._waits_for:
            self._waits_for = text
            self._show_under_way()

    def _show_under_way(self) -> None:
        """Put what is being done, or why it was not, over the words of an empty view."""
        text = self._waits_for or (self._measuring_text() if self._lacks else "")
        self.under_way.setText(text)
        self.under_way.setVisible(bool(text))
        if text:
            self.under_way.setGeometry(self.panes.geometry())
            self.under_way.raise_()

    def _measuring_text(self) -> str:
        """What is said of the measurement: how far it is, or why there is none; "" for neither."""
        what = self.measuring.button.text()
        if self._share is None:
            # It may be followed by a sentence of the view.
            why = self._failure.removesuffix(".")
            return f"“{what}” gave no result: {why}" if why else ""
        if self._share < 0:
            return f"“{what}” waits until the measurement under way is done"
        left = f", {self.measuring.left.text()}" if self.measuring.left.text() else ""
        return f"“{what}” is under way: {100 * self._share:.0f} %{left}"

    def set_empty(self, empty: bool) -> None:
        """Offer the button that fills the panel, while nothing has been run."""
        self.step_button.setVisible(empty and self.view.NEEDS_RUN)
        self._place_button()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the button under the words in the middle, two drawings the better way round."""
        super().resizeEvent(event)
        self.panes.share_room(self.width(), self.height() - self.panes.y())
        self._place_button()
        self._show_under_way()

    @override
    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Ask for the menu of the view, wherever in it was clicked."""
        self.menu_requested.emit(event.globalPos())

    def _place_button(self) -> None:
        size = self.step_button.sizeHint()
        self.step_button.resize(size)
        top = min(self.height() // 2 + 26, self.height() - size.height() - 3)
        self.step_button.move((self.width() - size.width()) // 2, top)

    def set_error(self, text: str | None) -> None:
        """Show why the view could not be computed, in the panel; None hides it."""
        self.error.setVisible(bool(text))
        self.error.setText(f"This view could not be computed: {text}" if text else "")

    def set_maximised(self, maximised: bool) -> None:
        """Say whether this view is shown alone."""
        self._maximised = maximised
        self._dress()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours; the view is told by the bench."""
        self.theme = theme
        self.title_bar.set_theme(theme)
        palette = self.error.palette()
        palette.setColor(palette.ColorRole.WindowText, theme.warning)
        self.error.setPalette(palette)
        self.panes.set_theme(theme)
        for label in (self.measuring.why, self.measuring.waits, self.under_way):
            mute(label, theme)
        palette = self.under_way.palette()
        palette.setColor(palette.ColorRole.Window, theme.panel)
        self.under_way.setPalette(palette)
        self._dress()

    def _dress(self) -> None:
        name = "restore" if self._maximised else "maximise"
        button = self.title_bar.buttons["maximise"]
        button.setIcon(themed_icon(name, self.theme))
        button.setToolTip("Show all views again (Esc)" if self._maximised else "Maximise (F11)")

    def _toggle_maximised(self) -> None:
        self.maximise_toggled.emit(not self._maximised)

    def show_settings(self) -> None:
        """Open the form of the view's settings."""
        if self._form is None:
            self._form = SettingsForm(self._options, self)
            self._form.changed.connect(self._on_form_changed)
        self._form.set_options(self._options)
        self._form.popup_below(self.title_bar.buttons["settings"])

    def _on_form_changed(self, options: Any) -> None:
        self._options = options
        if self.quick is not None:
            self.quick.set_options(options)
        self.options_changed.emit(options)

    def _on_quick(self, options: Any) -> None:
        self.set_options(options)
        self.options_changed.emit(options)

    def _show_formulas(self) -> None:
        from loopscope.widgets.kit.formulas_popup import FormulasPopup

        self.formulas_popup = FormulasPopup(self._formulas, self.theme, self)
        show_below(self.formulas_popup, self.title_bar.buttons["help"])
