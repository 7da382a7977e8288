"""What the app knows of one view: its name, its data, its widget and its drawing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, Protocol, cast

from typing_extensions import TypeVar, override

from loopscope.core.views.base import (
    Compute,
    ComputeSecond,
    MakeTable,
    Request,
    ViewData,
    ViewDefinition,
    WriteText,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from loopscope.core.run.elsewhere import AnyRun
    from loopscope.core.run.jobs import Job
    from loopscope.core.run.recording import Recording
    from loopscope.core.run.stepper import Stepper
    from loopscope.core.selection import RecurrenceRange, Selection
    from loopscope.core.views.second_run import SecondRun
    from loopscope.widgets.figures.style import Page
    from loopscope.widgets.kit.view import View

OptionsT = TypeVar("OptionsT", default=Any)
DataT = TypeVar("DataT", bound=ViewData, default=Any)
OptionsIn = TypeVar("OptionsIn", contravariant=True)
DataIn = TypeVar("DataIn", contravariant=True)


class Draw(Protocol[DataIn]):
    """Draws a view's data on paper."""

    def __call__(self, data: DataIn, figure: Figure, page: Page, /) -> None:
        """Draw ``data`` into the empty ``figure``, whose size and type ``page`` gives."""


class Analyse(Protocol[OptionsIn]):
    """Makes the measurement that fills a view when it takes long."""

    def __call__(
        self, stepper: Stepper, selection: Selection, options: OptionsIn, job: Job[Any], /
    ) -> object:
        """Return the result; ``job`` is told how far it is, and stops it."""


class ViewSpec(ABC, Generic[OptionsT, DataT]):
    """One view. A subclass names it and refers to its four parts.

    Each reference imports its part when it is first asked for: the command line draws figures
    without Qt, the window appears before matplotlib is imported, and torch is imported in the
    threads that need it. As the imports stand in the code, a type checker follows them, and sees
    that the drawing takes the data that the definition computes.

    key : names the view in files, settings and on the command line.
    title : in menus and on its dock.  shows : completes "Show ..." in a tooltip.
    """

    key: str
    title: str
    shows: str

    @abstractmethod
    def definition(self) -> ViewDefinition[OptionsT, DataT]:
        """Return what its module in `core.views` offers."""

    @abstractmethod
    def view(self) -> View[DataT]:
        """Make the widget."""

    @abstractmethod
    def drawing(self) -> Draw[DataT]:
        """Return what draws it on paper."""

    def analysis(self) -> Analyse[OptionsT]:
        """Return what makes the measurement of its request; imports torch.

        Raises `LookupError` where there is none.
        """
        raise LookupError(f"the view “{self.title}” has no measurement that takes long")

    # ---- what the parts offer ----
    @property
    def options(self) -> type[OptionsT]:
        """The view's ``Options`` dataclass."""
        return self.definition().options

    @property
    def reads(self) -> frozenset[str]:
        """The fields of `Selection` that change what is computed."""
        return self.definition().reads

    @property
    def compute(self) -> Compute[OptionsT, DataT]:
        """``compute(recording, selection, options) -> Data``."""
        return self.definition().compute

    @property
    def compute_second(self) -> ComputeSecond[OptionsT, DataT] | None:
        """``compute_second(recording, second_run, selection, options) -> Data``, or None.

        For a view that draws the second run on the same axes; others are shown twice.
        """
        return self.definition().compute_second

    @property
    def request(self) -> Request | None:
        """The measurement that fills the view when it takes long, or None for a live view."""
        return self.definition().request

    @property
    def table(self) -> MakeTable[DataT]:
        """``table(data) -> Table``."""
        return self.definition().table

    @property
    def compares_patterns(self) -> bool:
        """Whether computing the view compares attention patterns of all recurrences."""
        return self.definition().compares_patterns

    @property
    def exports(self) -> Mapping[str, WriteText[DataT]]:
        """Text formats besides CSV that the view can be written in, by suffix."""
        return self.definition().exports

    @property
    def stop_reason(self) -> Callable[[Recording, OptionsT], str | None] | None:
        """``stop_reason(recording, options)``: why playing may end now, None while it goes on.

        None for a view that does not judge whether a run has settled.
        """
        return self.definition().stop_reason

    @property
    def draw(self) -> Callable[[DataT, Figure, Page], None]:
        """``draw(data, figure, page)``, for paper."""
        return self.drawing()

    def measure(
        self, stepper: AnyRun, selection: Selection, options: OptionsT, job: Job[Any]
    ) -> object:
        """Make the measurement of `request` where the model is.

        Imports torch, so not on the screen's thread.
        """
        from loopscope.core.run.stepper import Stepper

        analysis, request = self.analysis(), self.request
        if isinstance(stepper, Stepper):
            return analysis(stepper, selection, options, job)
        assert request is not None
        return stepper.measure(
            analysis, selection, options, request.result, job.report, job.second_run
        )

    # ---- two runs ----
    def draws_both(self, one: Recording, other: Recording) -> bool:
        """Whether the view draws both runs on its axes."""
        definition = self.definition()
        return definition.compute_second is not None and definition.on_one_axis(one, other)

    @property
    def reads_difference(self) -> frozenset[str]:
        """The fields of `Selection` that change what is different between two runs."""
        return self.reads | self.definition().difference_reads

    @property
    def has_difference(self) -> bool:
        """Whether the view has a map of what is different between two runs."""
        return self.definition().difference is not None

    def alike(self, one: DataT, other: DataT) -> tuple[DataT, DataT]:
        """The data of two runs on one colour scale and in one order, where they can be."""
        make = self.definition().alike
        return (one, other) if make is None else make(one, other)

    def difference(
        self, recording: Recording, second: SecondRun, selection: Selection, options: OptionsT
    ) -> ViewData:
        """Compute what is different between two runs; only where the view `has_difference`.

        Raises `LookupError` where it has none.
        """
        make = self.definition().difference
        if make is None:
            raise LookupError(f"the view “{self.title}” has no difference of two runs")
        one = self.compute(recording, selection, options)
        other = self.compute(second.recording, second.selection, options)
        return make(one, other, selection, second)

    def within(self, data: ViewData, shown: RecurrenceRange) -> ViewData:
        """The part of the data, or of a difference, that is of a range of recurrences."""
        from loopscope.core.views.curves_data import Curves, curves_within
        from loopscope.core.views.difference import Difference
        from loopscope.core.views.difference import within as difference_within

        make = self.definition().within
        if isinstance(data, Difference):
            return difference_within(data, shown)
        if make is not None and not data.lacks:
            return make(cast("DataT", data), shown)
        return curves_within(data, shown) if isinstance(data, Curves) else data

    def drawn_twice(self, one: Recording, other: Recording) -> bool:
        """Whether the view is shown a second time for the second run: not what is of the model."""
        of_model = self.request is not None and self.request.scope == "model"
        return not of_model and not self.draws_both(one, other)


class ListedView(ViewSpec[OptionsT, DataT]):
    """A view whose four parts are given as functions, which import them when they are asked for.

    ``definition``, ``view``, ``drawing`` and ``analysis`` return what the methods of these names
    do.
    """

    def __init__(
        self,
        key: str,
        title: str,
        shows: str,
        definition: Callable[[], ViewDefinition[OptionsT, DataT]],
        view: Callable[[], View[DataT]],
        drawing: Callable[[], Draw[DataT]],
        analysis: Callable[[], Analyse[OptionsT]] | None = None,
    ) -> None:
        self.key, self.title, self.shows = key, title, shows
        self._definition, self._view = cache(definition), view
        self._drawing, self._analysis = drawing, analysis

    @override
    def definition(self) -> ViewDefinition[OptionsT, DataT]:
        return self._definition()

    @override
    def view(self) -> View[DataT]:
        return self._view()

    @override
    def drawing(self) -> Draw[DataT]:
        return self._drawing()

    @override
    def analysis(self) -> Analyse[OptionsT]:
        return super().analysis() if self._analysis is None else self._analysis()


class Late:
    """A package that is imported, and so is what lies in it, when something of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        module = import_module(self._name)
        entry = getattr(module, name, None)
        if entry is not None and not isinstance(entry, ModuleType):
            return entry
        if not hasattr(module, "__path__"):
            raise AttributeError(f"there is no {name} in {self._name}")
        return Late(f"{self._name}.{name}")
