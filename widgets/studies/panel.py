"""The panel of a study: its picture, what is drawn, how far it is, Start and Cancel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from loopscope.core.sweeps.picture import Choice, Offered, StudyMap, StudyPicture
from loopscope.widgets.kit.empty_actions import EmptyActions
from loopscope.widgets.kit.panes import mute
from loopscope.widgets.kit.plain_text import PlainLabel, describe, plain_tip
from loopscope.widgets.palette import LIGHT, Theme
from loopscope.widgets.studies.choosers import Choosers
from loopscope.widgets.studies.curves import StudyCurvesView
from loopscope.widgets.studies.map import StudyMapView

NOTHING = (
    "No study is open. A study is a grid of runs, described in a TOML file; its results lie in a "
    "folder. Open either."
)
# The window's command behind each button of the empty panel.
EMPTY_ACTIONS = {"open_study": "Open a study…", "bundled_study": "Open the bundled study"}


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a study is, in words and as a share.

    share : 0 to 1; None where it is not known how much there is.
    can : what the button does, "" for neither.  why : why it cannot be started, or "".
    problem : what went wrong, or "".
    """

    words: str
    share: float | None = None
    can: Literal["", "start", "cancel"] = ""
    why: str = ""
    problem: str = ""


class StudyPanel(QWidget):
    """Shows one study; knows neither files nor processes.

    Signals
    -------
    chosen(object)
        Another `Choice`.
    cell_chosen(int)
        A row of the study that is in what was clicked.
    start_requested(), cancel_requested()
        The button.
    command_requested(str)
        The name of a command of the window, of a button of the empty panel.
    message(str)
        What is pointed at.
    """

    chosen = Signal(object)
    cell_chosen = Signal(int)
    start_requested = Signal()
    cancel_requested = Signal()
    command_requested = Signal(str)
    message = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT
        self.choosers, self.curves, self.map = Choosers(), StudyCurvesView(), StudyMapView()
        self.empty = QWidget()
        self.empty_words = PlainLabel(NOTHING)
        self.empty_actions = EmptyActions(EMPTY_ACTIONS, self.empty)
        self.stack = QStackedWidget()
        self.progress, self.button = QProgressBar(), QPushButton("Start")
        self.address = QLineEdit()
        self.words, self.problem = PlainLabel(), PlainLabel()
        self._lay_out()
        self.choosers.chosen.connect(self.chosen)
        for view in (self.curves, self.map):
            view.cell_chosen.connect(self.cell_chosen)
            view.message.connect(self.message)
        self.empty_actions.command_requested.connect(self.command_requested)
        self.button.clicked.connect(self._on_button)
        self._can = ""
        self.show_nothing()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self.empty)
        column.setContentsMargins(16, 8, 16, 64)
        column.addWidget(self.empty_words)
        self.empty_words.setWordWrap(True)
        self.empty_words.setAlignment(Qt.AlignmentFlag.AlignCenter)
        for widget in (self.empty, self.curves, self.map):
            self.stack.addWidget(widget)
        side = QScrollArea()
        side.setWidget(self.choosers)
        side.setWidgetResizable(True)
        side.setFrameShape(QScrollArea.Shape.NoFrame)
        side.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        side.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.side = side
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self.stack)
        self.splitter.addWidget(side)
        self.splitter.setStretchFactor(0, 1)
        self.splitter.setStretchFactor(1, 0)
        self.splitter.setSizes([700, 250])
        describe(self.progress, "Progress of the study", "Cells that are done")
        self.progress.setRange(0, 1000)
        self.progress.setTextVisible(False)
        self.progress.setMaximumHeight(10)
        self.progress.setFixedWidth(140)
        describe(self.button, "Start the study")
        self.button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.address.setPlaceholderText("on this machine")
        self.address.setToolTip(
            "Where it runs: empty for this machine, or tcp://HOST:8786 of a Dask scheduler"
        )
        describe(self.address, "Address of a scheduler")
        self.address.setMaximumWidth(170)
        self.words.setWordWrap(True)
        self.problem.setWordWrap(True)
        self.problem.setContentsMargins(8, 0, 8, 3)
        self.row = QWidget()
        row = QHBoxLayout(self.row)
        row.setContentsMargins(8, 3, 8, 3)
        row.addWidget(self.button)
        row.addWidget(self.address)
        row.addWidget(self.progress)
        row.addWidget(self.words, 1)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(self.row)
        box.addWidget(self.problem)
        box.addWidget(self.splitter, 1)

    @override
    def resizeEvent(self, event: object) -> None:
        """Put the choices under the picture where there is little width."""
        narrow = self.width() < 420
        way = Qt.Orientation.Vertical if narrow else Qt.Orientation.Horizontal
        if self.splitter.orientation() != way:
            self.splitter.setOrientation(way)
            self.splitter.setSizes([self.height() * 3 // 5, self.height() * 2 // 5] if narrow
                                   else [self.width() - 250, 250])  # fmt: skip
        super().resizeEvent(event)  # type: ignore[arg-type]

    # ---- what is shown ----
    def show_nothing(self, problem: str = "") -> None:
        """Show that no study is open, and why one could not be."""
        self.row.hide()
        self.side.hide()
        self._show_problem(problem)
        self.empty_words.setText(NOTHING)
        self.empty_actions.show_only(tuple(EMPTY_ACTIONS))
        self.stack.setCurrentWidget(self.empty)

    def show_standing(self, standing: Standing) -> None:
        """Show how far a study is and what its button does."""
        self.row.show()
        self._can = standing.can
        self.button.setVisible(bool(standing.can))
        self.button.setText("Cancel" if standing.can == "cancel" else "Start")
        what = (
            "End the study; what was measured stays, and Start goes on"
            if standing.can == "cancel"
            else "Run the cells that are missing"
        )
        self.button.setAccessibleName(f"{self.button.text()} the study")
        self.button.setToolTip(plain_tip(standing.why or what))
        self.button.setEnabled(not standing.why)
        self.address.setVisible(standing.can == "start")
        self.progress.setVisible(standing.share is not None)
        self.progress.setValue(round(1000 * (standing.share or 0)))
        self.words.setText(standing.words)
        self._show_problem(standing.problem)

    def _show_problem(self, problem: str) -> None:
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))

    def show_picture(self, data: StudyPicture, choice: Choice, there: Offered) -> None:
        """Draw what there is, or say that there is nothing yet."""
        self.side.show()
        self.choosers.show_choice(choice, there)
        if isinstance(data, StudyMap):
            self.map.show_data(data)
            self.stack.setCurrentWidget(self.map)
        else:
            self.curves.show_data(data)
            self.stack.setCurrentWidget(self.curves)

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.theme = theme
        self.curves.set_theme(theme)
        self.map.set_theme(theme)
        mute(self.empty_words, theme)
        mute(self.words, theme)
        palette = self.problem.palette()
        palette.setColor(palette.ColorRole.WindowText, theme.warning)
        self.problem.setPalette(palette)

    def _on_button(self) -> None:
        (self.cancel_requested if self._can == "cancel" else self.start_requested).emit()
