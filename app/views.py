"""The views of the bench, each in one place. Menus, docks, exports and tests follow from it.

A view is a `ListedView` here and its name in `OURS`, in the order of the menu. Those of other
packages come after ours. ``loopscope`` is imported part by part, when a view asks for one of its
four parts; a type checker reads it as it stands.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from loopscope.app.view_spec import Late, ListedView, ViewSpec
from loopscope.core.plugins import VIEW, Registry, fits

if TYPE_CHECKING:
    import loopscope.core.analyses.correspondence
    import loopscope.core.analyses.exits
    import loopscope.core.analyses.interchange
    import loopscope.core.analyses.lens
    import loopscope.core.analyses.linear_probes
    import loopscope.core.analyses.nulls
    import loopscope.core.analyses.paths
    import loopscope.core.analyses.probe
    import loopscope.core.analyses.prompts
    import loopscope.core.analyses.quality
    import loopscope.core.analyses.stability
    import loopscope.core.analyses.stitching
    import loopscope.core.views.correspondence
    import loopscope.core.views.depth
    import loopscope.core.views.distance
    import loopscope.core.views.exits
    import loopscope.core.views.graph.compute
    import loopscope.core.views.head_map
    import loopscope.core.views.heads
    import loopscope.core.views.interchange
    import loopscope.core.views.lens.compute
    import loopscope.core.views.linear_probes
    import loopscope.core.views.nulls
    import loopscope.core.views.paths
    import loopscope.core.views.pattern
    import loopscope.core.views.probe
    import loopscope.core.views.prompts
    import loopscope.core.views.quality
    import loopscope.core.views.readout
    import loopscope.core.views.settling
    import loopscope.core.views.similarity
    import loopscope.core.views.stability
    import loopscope.core.views.state_space.compute
    import loopscope.core.views.stitching
    import loopscope.widgets.figures.correspondence
    import loopscope.widgets.figures.curves
    import loopscope.widgets.figures.distance
    import loopscope.widgets.figures.graph
    import loopscope.widgets.figures.head_map
    import loopscope.widgets.figures.heads
    import loopscope.widgets.figures.lens
    import loopscope.widgets.figures.pattern
    import loopscope.widgets.figures.readout
    import loopscope.widgets.figures.settling
    import loopscope.widgets.figures.similarity
    import loopscope.widgets.figures.stability
    import loopscope.widgets.figures.state_space
    import loopscope.widgets.kit.empty_text
    import loopscope.widgets.plots.curves_view
    import loopscope.widgets.views.answers.lens
    import loopscope.widgets.views.answers.readout
    import loopscope.widgets.views.correspondence
    import loopscope.widgets.views.distance
    import loopscope.widgets.views.exits
    import loopscope.widgets.views.graph.view
    import loopscope.widgets.views.head_map
    import loopscope.widgets.views.heads
    import loopscope.widgets.views.pattern
    import loopscope.widgets.views.prompt_curves
    import loopscope.widgets.views.settling
    import loopscope.widgets.views.similarity
    import loopscope.widgets.views.stability
    import loopscope.widgets.views.state_space.view
    from loopscope.widgets.plots.curves_view import CurvesView
    from loopscope.widgets.views.prompt_curves import PromptCurvesView
else:
    loopscope = Late("loopscope")


def _measured_curves(module: Any) -> CurvesView:
    """Curves of a view that is empty until it is measured, as its module says."""
    empty = loopscope.widgets.kit.empty_text.empty_text(module.NOT_YET, module.LACKS)
    return loopscope.widgets.plots.curves_view.CurvesView(module.Options(), empty=empty)


def _probe() -> CurvesView:
    probe = loopscope.core.views.probe
    empty = loopscope.widgets.kit.empty_text.empty_text(probe.NOT_YET, probe.LACKS)
    curves_view = loopscope.widgets.plots.curves_view
    return curves_view.CurvesView(probe.Options(), empty=empty, names_all=True)


def _over_prompts(options: object) -> PromptCurvesView:
    return loopscope.widgets.views.prompt_curves.PromptCurvesView(options)


# fmt: off
STATE_SPACE = ListedView(
    "state_space", "State space", "where the state goes",
    lambda: loopscope.core.views.state_space.compute.VIEW,
    lambda: loopscope.widgets.views.state_space.view.StateSpaceView(),
    lambda: loopscope.widgets.figures.state_space.draw,
)
SETTLING = ListedView(
    "settling", "Settling", "how fast each token settles",
    lambda: loopscope.core.views.settling.VIEW,
    lambda: loopscope.widgets.views.settling.SettlingView(),
    lambda: loopscope.widgets.figures.settling.draw,
)
DISTANCE = ListedView(
    "distance", "Distance to the end", "token x recurrence distance to the last state",
    lambda: loopscope.core.views.distance.VIEW,
    lambda: loopscope.widgets.views.distance.DistanceView(),
    lambda: loopscope.widgets.figures.distance.draw,
)
HEADS = ListedView(
    "heads", "Head consistency", "whether each head does the same at each recurrence",
    lambda: loopscope.core.views.heads.VIEW,
    lambda: loopscope.widgets.views.heads.HeadsView(),
    lambda: loopscope.widgets.figures.heads.draw,
)
GRAPH = ListedView(
    "graph", "Computation graph", "the loop beside its unrolling",
    lambda: loopscope.core.views.graph.compute.VIEW,
    lambda: loopscope.widgets.views.graph.view.GraphView(),
    lambda: loopscope.widgets.figures.graph.draw,
)
READOUT = ListedView(
    "readout", "Readout", "the top answer at each recurrence",
    lambda: loopscope.core.views.readout.VIEW,
    lambda: loopscope.widgets.views.answers.readout.ReadoutView(),
    lambda: loopscope.widgets.figures.readout.draw,
)
PATTERN = ListedView(
    "pattern", "Attention pattern", "what the selected head attends to",
    lambda: loopscope.core.views.pattern.VIEW,
    lambda: loopscope.widgets.views.pattern.PatternView(),
    lambda: loopscope.widgets.figures.pattern.draw,
)
HEAD_MAP = ListedView(
    "head_map", "Head over recurrences", "the selected head's recurrence x recurrence similarity",
    lambda: loopscope.core.views.head_map.VIEW,
    lambda: loopscope.widgets.views.head_map.HeadMapView(),
    lambda: loopscope.widgets.figures.head_map.draw,
)
DEPTH = ListedView(
    "depth", "Measures over depth", "any measure over recurrences, layers or effective depth",
    lambda: loopscope.core.views.depth.VIEW,
    lambda: loopscope.widgets.plots.curves_view.CurvesView(loopscope.core.views.depth.Options()),
    lambda: loopscope.widgets.figures.curves.draw_curves,
)
SIMILARITY = ListedView(
    "similarity", "Similarity over depth",
    "how alike all places of the run are, the cycle as diagonals",
    lambda: loopscope.core.views.similarity.VIEW,
    lambda: loopscope.widgets.views.similarity.SimilarityView(),
    lambda: loopscope.widgets.figures.similarity.draw,
)
LENS = ListedView(
    "lens", "Lens over depth", "what would be answered after every layer",
    lambda: loopscope.core.views.lens.compute.VIEW,
    lambda: loopscope.widgets.views.answers.lens.LensView(),
    lambda: loopscope.widgets.figures.lens.draw,
    lambda: loopscope.core.analyses.lens.run,
)
STABILITY = ListedView(
    "stability", "Fixed points and stability", "eigenvalues of a recurrence, fixed and slow points",
    lambda: loopscope.core.views.stability.VIEW,
    lambda: loopscope.widgets.views.stability.StabilityView(),
    lambda: loopscope.widgets.figures.stability.draw,
    lambda: loopscope.core.analyses.stability.run,
)
PATHS = ListedView(
    "paths", "Path independence", "how far apart other start states end",
    lambda: loopscope.core.views.paths.VIEW,
    lambda: _measured_curves(loopscope.core.views.paths),
    lambda: loopscope.widgets.figures.curves.draw_curves,
    lambda: loopscope.core.analyses.paths.run,
)
CORRESPONDENCE = ListedView(
    "correspondence", "Correspondence", "which layer of a second model does what this one does",
    lambda: loopscope.core.views.correspondence.VIEW,
    lambda: loopscope.widgets.views.correspondence.CorrespondenceView(),
    lambda: loopscope.widgets.figures.correspondence.draw,
    lambda: loopscope.core.analyses.correspondence.run,
)
PROBE = ListedView(
    "probe", "Where does it live", "what is lost when parameters, graph or trajectory are cut",
    lambda: loopscope.core.views.probe.VIEW,
    lambda: _probe(),
    lambda: loopscope.widgets.figures.curves.draw_curves,
    lambda: loopscope.core.analyses.probe.run,
)
INTERCHANGE = ListedView(
    "interchange", "Interchange",
    "whether answers follow when part of the state is another prompt's",
    lambda: loopscope.core.views.interchange.VIEW,
    lambda: _measured_curves(loopscope.core.views.interchange),
    lambda: loopscope.widgets.figures.curves.draw_curves,
    lambda: loopscope.core.analyses.interchange.run,
)
NULLS = ListedView(
    "nulls", "Held to nulls", "heads, stages and cycle beside what is there anyway",
    lambda: loopscope.core.views.nulls.VIEW,
    lambda: _measured_curves(loopscope.core.views.nulls),
    lambda: loopscope.widgets.figures.curves.draw_curves,
    lambda: loopscope.core.analyses.nulls.run,
)
STITCHING = ListedView(
    "stitching", "Stitching", "whether a second model can go on from this one's state, mapped",
    lambda: loopscope.core.views.stitching.VIEW,
    lambda: _measured_curves(loopscope.core.views.stitching),
    lambda: loopscope.widgets.figures.curves.draw_curves,
    lambda: loopscope.core.analyses.stitching.run,
)
LINEAR_PROBES = ListedView(
    "linear_probes", "Linear probes", "what can be read of a label from the state at every place",
    lambda: loopscope.core.views.linear_probes.VIEW,
    lambda: _measured_curves(loopscope.core.views.linear_probes),
    lambda: loopscope.widgets.figures.curves.draw_curves,
    lambda: loopscope.core.analyses.linear_probes.run,
)
PROMPTS = ListedView(
    "prompts", "Prompt set", "any measure over a prompt file, opened to its prompts",
    lambda: loopscope.core.views.prompts.VIEW,
    lambda: _over_prompts(loopscope.core.views.prompts.Options()),
    lambda: loopscope.widgets.figures.curves.draw_curves,
    lambda: loopscope.core.analyses.prompts.run,
)
EXITS = ListedView(
    "exits", "Exits", "where exit rules would have stopped, what they had said and saved",
    lambda: loopscope.core.views.exits.VIEW,
    lambda: loopscope.widgets.views.exits.ExitsView(),
    lambda: loopscope.widgets.figures.curves.draw_curves,
    lambda: loopscope.core.analyses.exits.run,
)
QUALITY = ListedView(
    "quality", "Quality against recurrences",
    "accuracy and perplexity of a prompt file at each recurrence",
    lambda: loopscope.core.views.quality.VIEW,
    lambda: _over_prompts(loopscope.core.views.quality.Options()),
    lambda: loopscope.widgets.figures.curves.draw_curves,
    lambda: loopscope.core.analyses.quality.run,
)

OURS: tuple[ViewSpec, ...] = (
    STATE_SPACE, SETTLING, DISTANCE, HEADS, GRAPH, READOUT,
    PATTERN, HEAD_MAP, DEPTH, SIMILARITY, LENS, STABILITY,
    PATHS, CORRESPONDENCE, STITCHING, LINEAR_PROBES, INTERCHANGE,
    NULLS, PROBE, PROMPTS, EXITS, QUALITY,
)
# fmt: on


def _checked(value: object) -> ViewSpec:
    """Return what another package brings as a view; raises where it is none."""
    from loopscope.core.views.base import ViewDefinition

    spec: ViewSpec = fits(value, ViewSpec)  # type: ignore[type-abstract]
    fits(spec.definition(), ViewDefinition)
    spec.options()
    return spec


BY_KEY: Registry[ViewSpec] = Registry(VIEW, OURS, lambda spec: spec.key, _checked)
VIEW_SPECS: Collection[ViewSpec] = BY_KEY.values()
