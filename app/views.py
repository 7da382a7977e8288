"""The views of the bench, each in one place. Menus, docks, exports and tests follow from it.

A view is a `ViewSpec` here and its name in `OURS`, in the order of the menu. Those of other
packages come after ours.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from typing_extensions import override

from loopscope.app.view_spec import Analyse, Draw, ViewSpec
from loopscope.core.plugins import VIEW, Registry, fits

if TYPE_CHECKING:
    from loopscope.core.views import (
        correspondence,
        depth,
        distance,
        exits,
        head_map,
        heads,
        paths,
        pattern,
        probe,
        prompts,
        quality,
        readout,
        settling,
        similarity,
        stability,
    )
    from loopscope.core.views.base import ViewDefinition
    from loopscope.core.views.graph import data as graph
    from loopscope.core.views.lens import compute as lens_compute
    from loopscope.core.views.lens import data as lens
    from loopscope.core.views.state_space import data as state_space
    from loopscope.widgets.kit.view import View


class StateSpace(ViewSpec["state_space.Options", "state_space.Data"]):
    """Where the state goes."""

    key, title = "state_space", "State space"
    shows = "where the state goes"

    @override
    def definition(self) -> ViewDefinition[state_space.Options, state_space.Data]:
        from loopscope.core.views.state_space.compute import VIEW

        return VIEW

    @override
    def view(self) -> View[state_space.Data]:
        from loopscope.widgets.views.state_space.view import StateSpaceView

        return StateSpaceView()

    @override
    def drawing(self) -> Draw[state_space.Data]:
        from loopscope.widgets.figures.state_space import draw

        return draw


class Settling(ViewSpec["settling.Options", "settling.Data"]):
    """How fast each token settles."""

    key, title = "settling", "Settling"
    shows = "how fast each token settles"

    @override
    def definition(self) -> ViewDefinition[settling.Options, settling.Data]:
        from loopscope.core.views.settling import VIEW

        return VIEW

    @override
    def view(self) -> View[settling.Data]:
        from loopscope.widgets.views.settling import SettlingView

        return SettlingView()

    @override
    def drawing(self) -> Draw[settling.Data]:
        from loopscope.widgets.figures.settling import draw

        return draw


class Distance(ViewSpec["distance.Options", "distance.Data"]):
    """Token x recurrence distance to the last state."""

    key, title = "distance", "Distance to the end"
    shows = "token x recurrence distance to the last state"

    @override
    def definition(self) -> ViewDefinition[distance.Options, distance.Data]:
        from loopscope.core.views.distance import VIEW

        return VIEW

    @override
    def view(self) -> View[distance.Data]:
        from loopscope.widgets.views.distance import DistanceView

        return DistanceView()

    @override
    def drawing(self) -> Draw[distance.Data]:
        from loopscope.widgets.figures.distance import draw

        return draw


class Heads(ViewSpec["heads.Options", "heads.Data"]):
    """Whether each head does the same at each recurrence."""

    key, title = "heads", "Head consistency"
    shows = "whether each head does the same at each recurrence"

    @override
    def definition(self) -> ViewDefinition[heads.Options, heads.Data]:
        from loopscope.core.views.heads import VIEW

        return VIEW

    @override
    def view(self) -> View[heads.Data]:
        from loopscope.widgets.views.heads import HeadsView

        return HeadsView()

    @override
    def drawing(self) -> Draw[heads.Data]:
        from loopscope.widgets.figures.heads import draw

        return draw


class Graph(ViewSpec["graph.Options", "graph.Data"]):
    """The loop beside its unrolling."""

    key, title = "graph", "Computation graph"
    shows = "the loop beside its unrolling"

    @override
    def definition(self) -> ViewDefinition[graph.Options, graph.Data]:
        from loopscope.core.views.graph.compute import VIEW

        return VIEW

    @override
    def view(self) -> View[graph.Data]:
        from loopscope.widgets.views.graph.view import GraphView

        return GraphView()

    @override
    def drawing(self) -> Draw[graph.Data]:
        from loopscope.widgets.figures.graph import draw

        return draw


class Readout(ViewSpec["readout.Options", "readout.Data"]):
    """The top answer at each recurrence."""

    key, title = "readout", "Readout"
    shows = "the top answer at each recurrence"

    @override
    def definition(self) -> ViewDefinition[readout.Options, readout.Data]:
        from loopscope.core.views.readout import VIEW

        return VIEW

    @override
    def view(self) -> View[readout.Data]:
        from loopscope.widgets.views.answers.readout import ReadoutView

        return ReadoutView()

    @override
    def drawing(self) -> Draw[readout.Data]:
        from loopscope.widgets.figures.readout import draw

        return draw


class Pattern(ViewSpec["pattern.Options", "pattern.Data"]):
    """What the selected head attends to."""

    key, title = "pattern", "Attention pattern"
    shows = "what the selected head attends to"

    @override
    def definition(self) -> ViewDefinition[pattern.Options, pattern.Data]:
        from loopscope.core.views.pattern import VIEW

        return VIEW

    @override
    def view(self) -> View[pattern.Data]:
        from loopscope.widgets.views.pattern import PatternView

        return PatternView()

    @override
    def drawing(self) -> Draw[pattern.Data]:
        from loopscope.widgets.figures.pattern import draw

        return draw


class HeadMap(ViewSpec["head_map.Options", "head_map.Data"]):
    """The selected head's recurrence x recurrence similarity."""

    key, title = "head_map", "Head over recurrences"
    shows = "the selected head's recurrence x recurrence similarity"

    @override
    def definition(self) -> ViewDefinition[head_map.Options, head_map.Data]:
        from loopscope.core.views.head_map import VIEW

        return VIEW

    @override
    def view(self) -> View[head_map.Data]:
        from loopscope.widgets.views.head_map import HeadMapView

        return HeadMapView()

    @override
    def drawing(self) -> Draw[head_map.Data]:
        from loopscope.widgets.figures.head_map import draw

        return draw


class Depth(ViewSpec["depth.Options", "depth.Data"]):
    """Any measure over recurrences, layers or effective depth."""

    key, title = "depth", "Measures over depth"
    shows = "any measure over recurrences, layers or effective depth"

    @override
    def definition(self) -> ViewDefinition[depth.Options, depth.Data]:
        from loopscope.core.views.depth import VIEW

        return VIEW

    @override
    def view(self) -> View[depth.Data]:
        from loopscope.widgets.plots.curves_view import CurvesView

        return CurvesView(self.options())

    @override
    def drawing(self) -> Draw[depth.Data]:
        from loopscope.widgets.figures.curves import draw_curves

        return draw_curves


class Similarity(ViewSpec["similarity.Options", "similarity.Data"]):
    """How alike all places of the run are, the cycle as diagonals."""

    key, title = "similarity", "Similarity over depth"
    shows = "how alike all places of the run are, the cycle as diagonals"

    @override
    def definition(self) -> ViewDefinition[similarity.Options, similarity.Data]:
        from loopscope.core.views.similarity import VIEW

        return VIEW

    @override
    def view(self) -> View[similarity.Data]:
        from loopscope.widgets.views.similarity import SimilarityView

        return SimilarityView()

    @override
    def drawing(self) -> Draw[similarity.Data]:
        from loopscope.widgets.figures.similarity import draw

        return draw


class Lens(ViewSpec["lens_compute.Options", "lens.Data"]):
    """What would be answered after every layer."""

    key, title = "lens", "Lens over depth"
    shows = "what would be answered after every layer"

    @override
    def definition(self) -> ViewDefinition[lens_compute.Options, lens.Data]:
        from loopscope.core.views.lens.compute import VIEW

        return VIEW

    @override
    def view(self) -> View[lens.Data]:
        from loopscope.widgets.views.answers.lens import LensView

        return LensView()

    @override
    def drawing(self) -> Draw[lens.Data]:
        from loopscope.widgets.figures.lens import draw

        return draw

    @override
    def analysis(self) -> Analyse[lens_compute.Options]:
        from loopscope.core.analyses.lens import run

        return run


class Stability(ViewSpec["stability.Options", "stability.Data"]):
    """Eigenvalues of a recurrence, fixed and slow points."""

    key, title = "stability", "Fixed points and stability"
    shows = "eigenvalues of a recurrence, fixed and slow points"

    @override
    def definition(self) -> ViewDefinition[stability.Options, stability.Data]:
        from loopscope.core.views.stability import VIEW

        return VIEW

    @override
    def view(self) -> View[stability.Data]:
        from loopscope.widgets.views.stability import StabilityView

        return StabilityView()

    @override
    def drawing(self) -> Draw[stability.Data]:
        from loopscope.widgets.figures.stability import draw

        return draw

    @override
    def analysis(self) -> Analyse[stability.Options]:
        from loopscope.core.analyses.stability import run

        return run


class Paths(ViewSpec["paths.Options", "paths.Data"]):
    """How far apart other start states end."""

    key, title = "paths", "Path independence"
    shows = "how far apart other start states end"

    @override
    def definition(self) -> ViewDefinition[paths.Options, paths.Data]:
        from loopscope.core.views.paths import VIEW

        return VIEW

    @override
    def view(self) -> View[paths.Data]:
        from loopscope.core.views.paths import LACKS, NOT_YET
        from loopscope.widgets.kit.empty_text import empty_text
        from loopscope.widgets.plots.curves_view import CurvesView

        return CurvesView(self.options(), empty=empty_text(NOT_YET, LACKS))

    @override
    def drawing(self) -> Draw[paths.Data]:
        from loopscope.widgets.figures.curves import draw_curves

        return draw_curves

    @override
    def analysis(self) -> Analyse[paths.Options]:
        from loopscope.core.analyses.paths import run

        return run


class Correspondence(ViewSpec["correspondence.Options", "correspondence.Data"]):
    """Which layer of a second model does what this one does."""

    key, title = "correspondence", "Correspondence"
    shows = "which layer of a second model does what this one does"

    @override
    def definition(self) -> ViewDefinition[correspondence.Options, correspondence.Data]:
        from loopscope.core.views.correspondence import VIEW

        return VIEW

    @override
    def view(self) -> View[correspondence.Data]:
        from loopscope.widgets.views.correspondence import CorrespondenceView

        return CorrespondenceView()

    @override
    def drawing(self) -> Draw[correspondence.Data]:
        from loopscope.widgets.figures.correspondence import draw

        return draw

    @override
    def analysis(self) -> Analyse[correspondence.Options]:
        from loopscope.core.analyses.correspondence import run

        return run


class Probe(ViewSpec["probe.Options", "probe.Data"]):
    """What is lost when parameters, graph or trajectory are cut."""

    key, title = "probe", "Where does it live"
    shows = "what is lost when parameters, graph or trajectory are cut"

    @override
    def definition(self) -> ViewDefinition[probe.Options, probe.Data]:
        from loopscope.core.views.probe import VIEW

        return VIEW

    @override
    def view(self) -> View[probe.Data]:
        from loopscope.core.views.probe import LACKS, NOT_YET
        from loopscope.widgets.kit.empty_text import empty_text
        from loopscope.widgets.plots.curves_view import CurvesView

        return CurvesView(self.options(), empty=empty_text(NOT_YET, LACKS), names_all=True)

    @override
    def drawing(self) -> Draw[probe.Data]:
        from loopscope.widgets.figures.curves import draw_curves

        return draw_curves

    @override
    def analysis(self) -> Analyse[probe.Options]:
        from loopscope.core.analyses.probe import run

        return run


class Prompts(ViewSpec["prompts.Options", "prompts.Data"]):
    """Any measure over a prompt file, opened to its prompts."""

    key, title = "prompts", "Prompt set"
    shows = "any measure over a prompt file, opened to its prompts"

    @override
    def definition(self) -> ViewDefinition[prompts.Options, prompts.Data]:
        from loopscope.core.views.prompts import VIEW

        return VIEW

    @override
    def view(self) -> View[prompts.Data]:
        from loopscope.widgets.views.prompt_curves import PromptCurvesView

        return PromptCurvesView(self.options())

    @override
    def drawing(self) -> Draw[prompts.Data]:
        from loopscope.widgets.figures.curves import draw_curves

        return draw_curves

    @override
    def analysis(self) -> Analyse[prompts.Options]:
        from loopscope.core.analyses.prompts import run

        return run


class Exits(ViewSpec["exits.Options", "exits.Data"]):
    """Where exit rules would have stopped, what they had said and saved."""

    key, title = "exits", "Exits"
    shows = "where exit rules would have stopped, what they had said and saved"

    @override
    def definition(self) -> ViewDefinition[exits.Options, exits.Data]:
        from loopscope.core.views.exits import VIEW

        return VIEW

    @override
    def view(self) -> View[exits.Data]:
        from loopscope.widgets.views.exits import ExitsView

        return ExitsView()

    @override
    def drawing(self) -> Draw[exits.Data]:
        from loopscope.widgets.figures.curves import draw_curves

        return draw_curves

    @override
    def analysis(self) -> Analyse[exits.Options]:
        from loopscope.core.analyses.exits import run

        return run


class Quality(ViewSpec["quality.Options", "quality.Data"]):
    """Accuracy and perplexity of a prompt file at each recurrence."""

    key, title = "quality", "Quality against recurrences"
    shows = "accuracy and perplexity of a prompt file at each recurrence"

    @override
    def definition(self) -> ViewDefinition[quality.Options, quality.Data]:
        from loopscope.core.views.quality import VIEW

        return VIEW

    @override
    def view(self) -> View[quality.Data]:
        from loopscope.widgets.views.prompt_curves import PromptCurvesView

        return PromptCurvesView(self.options())

    @override
    def drawing(self) -> Draw[quality.Data]:
        from loopscope.widgets.figures.curves import draw_curves

        return draw_curves

    @override
    def analysis(self) -> Analyse[quality.Options]:
        from loopscope.core.analyses.quality import run

        return run


OURS: tuple[ViewSpec, ...] = (
    StateSpace(),
    Settling(),
    Distance(),
    Heads(),
    Graph(),
    Readout(),
    Pattern(),
    HeadMap(),
    Depth(),
    Similarity(),
    Lens(),
    Stability(),
    Paths(),
    Correspondence(),
    Probe(),
    Prompts(),
    Exits(),
    Quality(),
)


def _checked(value: object) -> ViewSpec:
    """Return what another package brings as a view; raises where it is none."""
    from loopscope.core.views.base import ViewDefinition

    spec: ViewSpec = fits(value, ViewSpec)  # type: ignore[type-abstract]
    fits(spec.definition(), ViewDefinition)
    spec.options()
    return spec


BY_KEY: Registry[ViewSpec] = Registry(VIEW, OURS, lambda spec: spec.key, _checked)
VIEW_SPECS: Collection[ViewSpec] = BY_KEY.values()
