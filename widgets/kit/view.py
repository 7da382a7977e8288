"""The base of every view: data in, signals out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QScrollBar, QWidget
from typing_extensions import TypeVar

from loopscope.core.selection import Selection
from loopscope.widgets.palette import LIGHT, Theme

# What a view draws. A view of curves draws any data that are curves, hence contravariant.
DataT = TypeVar("DataT", contravariant=True, default=Any)


class View(QWidget, Generic[DataT]):
    """A panel's contents. It never sees a model or a recording, only its own `Data`, ``DataT``.

    Subclasses implement `show_data`, `show_selection` and `set_theme`. A change of a field of
    `Selection` that the view's ``compute`` does not read only moves a mark, in `show_selection`,
    and must take less than a frame.

    Signals
    -------
    select_requested(dict)
        The user clicked a place: the fields of `Selection` to change, such as
        ``{"recurrence": 7, "token": 10}``.
    hover_changed(dict)
        The user points at a place (same keys), or ``{}`` when the pointer left.
    options_changed(object)
        The view wants its options to be this instance from now on.
    message(str)
        Something to say in the status line: hovered numbers with their formula.
    command_requested(str)
        A button of the view asks for a command of the window, by its name in `app.window.actions`.
    run_requested(dict)
        The view asks for a run: the fields of `RunRequest` to change.
    zoom_requested(float, float)
        More recurrences are to be shown or, with a factor below 1, fewer: about which, the factor.
    range_requested(float, float)
        The recurrences between two are to be shown.
    """

    # Whether the view is empty until a recurrence has been run: its frame offers to run one.
    NEEDS_RUN: ClassVar[bool] = True
    # How two runs are told apart where both are drawn on the same axes: the first, the second.
    BOTH: ClassVar[tuple[str, str] | None] = None

    select_requested = Signal(dict)
    hover_changed = Signal(dict)
    options_changed = Signal(object)
    message = Signal(str)
    command_requested = Signal(str)
    run_requested = Signal(dict)
    zoom_requested = Signal(float, float)
    range_requested = Signal(float, float)

    def __init__(self, options: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.options = options
        self.theme: Theme = LIGHT
        self.selection = Selection()

    def set_options(self, options: Any) -> None:
        """Take new options; the app computes and sends new data after this."""
        self.options = options

    def show_data(self, data: DataT) -> None:
        """Draw ``data``."""
        raise NotImplementedError

    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Move the cursor mark, and the hover mark to ``hover`` (empty: hide it)."""
        raise NotImplementedError

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours and redraw."""
        raise NotImplementedError

    def clear(self) -> None:
        """Go back to empty: there is no run to show."""
        raise NotImplementedError

    def place(self) -> dict[str, float]:
        """Where in its picture the user has scrolled or zoomed to, for `go_to`; {} if nowhere."""
        return {}

    def go_to(self, place: Mapping[str, float]) -> None:
        """Scroll and zoom to what `place` told; what is not of this picture is left out."""

    def scroll_bars(self) -> list[QScrollBar]:
        """Scroll bars that two drawings of the view share."""
        return []

    def reset_view(self) -> None:
        """Show everything again after the user zoomed or turned."""
