"""The views of the bench: one line each. Menus, docks, exports and tests follow from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from loopscope.core.views.base import Request, Table, ViewData

if TYPE_CHECKING:
    from loopscope.core.run.recording import Recording
    from loopscope.widgets.kit.view import View


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """One view: the modules of its data, of its widget and of its drawing.

    The modules are imported when they are first needed, so that the command line draws figures
    without Qt and the window appears before matplotlib is imported.
    """

    key: str
    title: str
    data: str
    widget: str
    view_class: str
    drawing: str
    shows: str

    def _core(self) -> Any:
        return import_module(f"loopscope.core.views.{self.data}")

    @property
    def options(self) -> type[Any]:
        """The view's ``Options`` dataclass."""
        options: type[Any] = self._core().Options
        return options

    @property
    def compute(self) -> Callable[..., ViewData]:
        """``compute(recording, selection, options) -> Data``."""
        compute: Callable[..., ViewData] = self._core().compute
        return compute

    @property
    def compute_beside(self) -> Callable[..., ViewData] | None:
        """``compute_beside(recording, beside, selection, options) -> Data``, or None.

        For a view that draws the run beside on the same axes; others are shown twice.
        """
        both: Callable[..., ViewData] | None = getattr(self._core(), "compute_beside", None)
        return both

    def draws_both(self, one: Recording, other: Recording) -> bool:
        """Whether the view draws both runs on its axes.

        A module says with ``on_one_axis(one, other)`` which runs have axes in common.
        """
        if self.compute_beside is None:
            return False
        asked: Callable[..., bool] | None = getattr(self._core(), "on_one_axis", None)
        return asked is None or asked(one, other)

    def drawn_twice(self, one: Recording, other: Recording) -> bool:
        """Whether the view is shown a second time for the run beside: not what is of the model."""
        of_model = self.request is not None and self.request.whose == "model"
        return not of_model and not self.draws_both(one, other)

    @property
    def request(self) -> Request | None:
        """The measurement that fills the view when it takes long, or None for a live view."""
        request: Request | None = getattr(self._core(), "REQUEST", None)
        return request

    @property
    def stop_reason(self) -> Callable[[Recording, Any], str | None] | None:
        """``stop_reason(recording, options)``: why playing may end now, None while it may not.

        Of the view that judges whether a run has settled.
        """
        reason: Callable[[Recording, Any], str | None] | None = getattr(
            self._core(), "stop_reason", None
        )
        return reason

    def measure(self, stepper: Any, selection: Any, options: Any, job: Any) -> object:
        """Make the measurement of `request`; imports torch, so not on the screen's thread."""
        return import_module(f"loopscope.core.analyses.{self.key}").run(
            stepper, selection, options, job
        )

    @property
    def table(self) -> Callable[[Any], Table]:
        """``table(data) -> Table``."""
        table: Callable[[Any], Table] = self._core().table
        return table

    @property
    def exports(self) -> dict[str, Callable[[Any, dict[str, str]], str]]:
        """Text formats beside CSV that the view can be written in: ``(data, provenance) -> str``.

        By suffix, from ``EXPORTS`` in its core module.
        """
        return dict(getattr(self._core(), "EXPORTS", {}))

    @property
    def draw(self) -> Callable[..., None]:
        """``draw(data, figure, page)``, for paper."""
        draw: Callable[..., None] = import_module(f"loopscope.widgets.figures.{self.drawing}").draw
        return draw

    def view(self) -> View:
        """Make the widget."""
        view: View = getattr(
            import_module(f"loopscope.widgets.views.{self.widget}"), self.view_class
        )()
        return view


# fmt: off
VIEW_SPECS: tuple[ViewSpec, ...] = (
    ViewSpec("state_space", "State space", "state_space.compute", "state_space.view", "StateSpaceView", "state_space", "where the state goes"),
    ViewSpec("settling", "Settling", "settling", "settling", "SettlingView", "settling", "how fast each token settles"),
    ViewSpec("distance", "Distance to the end", "distance", "distance", "DistanceView", "distance", "token x recurrence distance to the last state"),
    ViewSpec("heads", "Head consistency", "heads", "heads", "HeadsView", "heads", "whether each head does the same at each recurrence"),
    ViewSpec("graph", "Computation graph", "graph.compute", "graph.view", "GraphView", "graph", "the loop beside its unrolling"),
    ViewSpec("readout", "Readout", "readout", "answers.readout", "ReadoutView", "readout", "the top answer at each recurrence"),
    ViewSpec("pattern", "Attention pattern", "pattern", "pattern", "PatternView", "pattern", "what the selected head attends to"),
    ViewSpec("head_map", "Head over recurrences", "head_map", "head_map", "HeadMapView", "head_map", "the selected head's recurrence x recurrence similarity"),
    ViewSpec("depth", "Measures over depth", "depth", "depth", "DepthView", "depth", "any measure over recurrences, layers or effective depth"),
    ViewSpec("similarity", "Similarity over depth", "similarity", "similarity", "SimilarityView", "similarity", "how alike all places of the run are, the cycle as diagonals"),
    ViewSpec("lens", "Lens over depth", "lens.compute", "answers.lens", "LensView", "lens", "what would be answered after every layer"),
    ViewSpec("stability", "Fixed points and stability", "stability", "stability", "StabilityView", "stability", "eigenvalues of a recurrence, fixed and slow points"),
    ViewSpec("paths", "Path independence", "paths", "paths", "PathsView", "paths", "how far apart other start states end"),
    ViewSpec("correspondence", "Correspondence", "correspondence", "correspondence", "CorrespondenceView", "correspondence", "which layer of a second model does what this one does"),
    ViewSpec("probe", "Where does it live", "probe", "probe", "ProbeView", "probe", "what is lost when parameters, graph or trajectory are cut"),
    ViewSpec("prompts", "Prompt set", "prompts", "prompts", "PromptsView", "prompts", "any measure over a prompt file, opened to its prompts"),
    ViewSpec("exits", "Exits", "exits", "exits", "ExitsView", "exits", "where exit rules would have stopped, what they had said and saved"),
    ViewSpec("quality", "Quality against recurrences", "quality", "quality", "QualityView", "quality", "accuracy and perplexity of a prompt file at each recurrence"),
)
# fmt: on
BY_KEY = {spec.key: spec for spec in VIEW_SPECS}
