"""What the state-space plotter shows, and how it is cut into strokes of one colour."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from loopscope.core.arrays import F64
from loopscope.core.measures import projection
from loopscope.core.measures.projection import MAX_COMPONENTS, Basis
from loopscope.core.measures.state_forms import FORM_LABELS, Form
from loopscope.core.options import fitted, setting
from loopscope.core.views.base import ViewData
from loopscope.core.views.state_space.overlay import Overlay

# Recurrences that axes are fitted on, from the first: the same ones however far a run has come.
FIT_FIRST = 8
# Relative change per recurrence up to which the last cycle is drawn as closed.
CLOSED_BELOW = 0.01
# Colour groups of one picture: more would make redrawing slow.
MAX_GROUPS = 16
# How much of the colour scale goes by recurrence where it is spread by motion.
EVEN = 0.2
N_COLOURS = 8


@dataclass(frozen=True, slots=True)
class Refit:
    """That the axes of one run were fitted anew, on its first ``recurrences``."""

    run: str
    recurrences: int


def _no_components(options: Options) -> str:
    return "" if options.axes == "pca" else "the axes are not principal components"


def _no_readout(options: Options) -> str:
    return "" if options.axes == "readout" else "the axes are not readout directions"


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the state-space plotter.

    basis : the PCA basis as it was fitted, or None to fit one.  refit : on how many recurrences,
    where the user had it fitted anew.  azimuth, elevation : from where the 3-D picture is seen,
    degrees. These four are set by the view, not by the settings.
    """

    states: Literal["ends", "layers"] = setting(
        "ends",
        "States",
        "The state at the end of each recurrence, or after every layer of the cycle",
        labels={"ends": "recurrence ends", "layers": "every layer"},
    )
    dimensions: Literal["2-D", "3-D"] = setting("2-D", "Dimensions", "3-D turns by dragging")
    colour: Literal["recurrence", "token"] = setting("recurrence", "Colour by")
    spread: Literal["motion", "recurrence"] = setting(
        "motion",
        "Colours change with",
        "Along the way that the states go, so that the first recurrences of a long run have "
        "colours of their own, or evenly by recurrence",
        labels={"motion": "the way gone", "recurrence": "the recurrence"},
        idle=lambda o: "" if o.colour == "recurrence" else "colours are of tokens",
    )
    axes: Literal["pca", "readout", "random"] = setting(
        "pca",
        "Axes",
        "Principal components, two directions that the readout looks along, or a random pair",
        labels={
            "pca": "principal components",
            "readout": "two readout directions",
            "random": "random pair",
        },
    )
    form: Form = setting(
        "raw",
        "Form of the states",
        "As they are; as the next norm reads them, without its weights; or each token's less its "
        "own mean over the recurrences of the fit",
        labels=FORM_LABELS,
    )
    massive: Literal["kept", "left out"] = setting(
        "kept",
        "Tokens of massive norm",
        "One token of massive norm, such as an attention sink, takes nearly all of the variance",
    )
    pc_x: int = setting(1, "Component across", low=1, high=MAX_COMPONENTS, idle=_no_components)
    pc_y: int = setting(2, "Component up", low=1, high=MAX_COMPONENTS, idle=_no_components)
    pc_z: int = setting(
        3, "Third component", "Used in 3-D", low=1, high=MAX_COMPONENTS,
        idle=lambda o: "the view is in 2-D" if o.dimensions == "2-D" else _no_components(o),
    )  # fmt: skip
    readout_x: int = setting(
        0, "Readout across", "Token id whose unembedding row is the axis", idle=_no_readout
    )
    readout_y: int = setting(
        1, "Readout up", "Token id whose unembedding row is the axis", idle=_no_readout
    )
    random_seed: int = setting(
        0, "Random seed", "Seed of the random pair",
        idle=lambda o: "" if o.axes == "random" else "the axes are not a random pair",
    )  # fmt: skip
    fit_on: Literal["selected", "all", "final"] = setting(
        "selected",
        "Fit on",
        "Which tokens' states a refit uses",
        labels={"selected": "selected tokens", "all": "all tokens", "final": "the final token"},
    )
    fit_over: Literal["first", "all"] = setting(
        "first",
        "Fit over",
        "The first recurrences, so that the axes are the same however far a run has come; or all "
        "that have been run, so that the axes change with each",
        labels={"first": f"the first {FIT_FIRST} recurrences", "all": "all recurrences run"},
    )
    keep_basis: bool = setting(
        False,
        "Keep the basis for new runs",
        "A new run of the same width is drawn on the same axes",
    )
    equal_scale: bool = setting(
        False, "Same scale on both axes", "Distances then look as they are; always so in 3-D"
    )
    show_points: bool = setting(
        True,
        "Fixed points",
        "Those that a search found: stable filled, unstable hollow, slow points crossed",
    )
    modes: int = setting(
        1,
        "Modes",
        "Leading eigenvectors of the Jacobian drawn at its state",
        high=20,
        lowest="none",
    )
    show_starts: bool = setting(
        False,
        "Other starts",
        "The same prompt from other start states, once these were run; offered above the plot",
        idle=lambda o: "" if o.states == "ends" else "the layers of other starts were not kept",
    )
    basis: Basis | None = fitted()
    refit: Refit | None = None
    azimuth: float = -60.0
    elevation: float = 25.0


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis. share : of the variance of the points shown, 0 to 1.

    form : of the states, in a few words, "" as they are.  without : the tokens left out, or "".
    of_all : whether only a part of the recurrences is shown, and the share is of them all.
    """

    name: str
    share: float
    form: str = ""
    without: str = ""
    of_all: bool = False

    @property
    def label(self) -> str:
        """Such as ``PC1 (62.1 % of variance)``."""
        of = f" of {self.form}" if self.form else ""
        without = f", without {self.without}" if self.without else ""
        of_all = " over all r" if self.of_all else ""
        return f"{self.name}{of} ({self.percent} of variance{of_all}{without})"

    @property
    def percent(self) -> str:
        """The share, such as ``62.1 %``."""
        return f"{100 * self.share:.1f} %"

    @property
    def short(self) -> str:
        """Such as ``PC1 62.1 %``, for a small plot."""
        return f"{self.name} {self.percent}"


# What is drawn beside the run, for a caption.
_BESIDE = (
    ({"stable"}, "Filled diamond: a stable fixed point"),
    ({"unstable"}, "Hollow diamond: an unstable fixed point"),
    ({"marginal"}, "Grey diamond: a fixed point too near to 1 to tell"),
    ({"slow point", "below resolution"}, "Cross: a slow point, which is not fixed"),
    ({"mode", "mode, imaginary"}, "Segments: a mode of the Jacobian, dotted its imaginary part"),
    ({"run"}, "Thin lines: the same prompt from other starts"),
    ({"second run"}, "Dotted: the second run"),
)


@dataclass(frozen=True, slots=True)
class MassiveToken:
    """A token of massive norm: position, readable text, largest norm over the median one."""

    position: int
    label: str
    ratio: float


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """Trajectories on two or three axes. ``N`` tokens, ``S`` stations along the path.

    points : float64 ``[N, S, k]``, k 2 or 3, state units; NaN where the state is not finite.
    recurrences, layers : int64 ``[S]``, where each station is; layer is -1 for recurrence ends.
    tokens : positions shown.  labels, token_texts : their texts, readable and exact.
    axes : k axes.  basis : what was projected on (None when nothing could be).
    locked : the basis was given and not fitted now.  run : identity of the run shown.
    elsewhere : in a sentence, that the axes were fitted on other states than are shown, or "".
    massive : tokens of massive norm among those selected; drawn unless the options leave them out.
    runs_once : whether the model is a deep one, whose axes are fitted on its one recurrence.
    other_starts : how many runs from other starts there are to draw beside this one.
    closing : float64 ``[N]``, how far the last cycle is from repeating the one before, relative
        (max over layers); NaN before recurrence 2.
    n_recurrences : complete recurrences.  n_layers : ``L``, with their names in `layer_names`.
    overlays : what is drawn beside the run, on the same axes.
    n_left_out : states that are not finite.
    missing_directions : token ids whose readout directions are wanted and not recorded.
    """

    points: F64
    recurrences: npt.NDArray[np.int64]
    layers: npt.NDArray[np.int64]
    tokens: tuple[int, ...]
    labels: tuple[str, ...]
    token_texts: tuple[str, ...]
    axes: tuple[Axis, ...]
    basis: Basis | None
    locked: bool
    run: str
    closing: F64
    n_recurrences: int
    n_layers: int
    layer_names: tuple[str, ...]
    n_left_out: int
    missing_directions: tuple[int, ...]
    options: Options
    overlays: tuple[Overlay, ...] = ()
    elsewhere: str = ""
    massive: tuple[MassiveToken, ...] = ()
    runs_once: bool = False
    other_starts: int = 0

    @property
    @override
    def drawn_words(self) -> str:
        """What lines, colours and markers are."""
        colour = (
            "Colour: the token"
            if self.options.colour == "token"
            else "Colour: the recurrence, from dark (first) to light (last)"
            + ("" if self.options.spread == "recurrence" else ", spread by the way gone")
        )
        shapes = (
            "the shape says after which layer"
            if self.by_layer
            else f"hollow: {self.start_words}, filled: the end"
        )
        kinds = {o.role for o in self.overlays}
        more = [text for roles, text in _BESIDE if kinds & roles]
        return " ".join(
            f"{part}." for part in ("A line for each token", colour, f"Markers: {shapes}", *more)
        )

    @property
    @override
    def directions_to_read(self) -> tuple[int, ...]:
        """Token ids of the axes that cannot be drawn yet."""
        return self.missing_directions

    @property
    def by_layer(self) -> bool:
        """Whether every layer of the cycle is shown."""
        return self.options.states == "layers"

    @property
    def is_3d(self) -> bool:
        """Whether there is a third axis."""
        return len(self.axes) == 3

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return self.points.size == 0 or bool(np.isnan(self.points).all())

    @property
    def provisional(self) -> bool:
        """Whether PCA was fitted now, on fewer recurrences than it will be."""
        if self.basis is None or self.options.axes != "pca" or self.locked:
            return False
        return not self.follows_run and self.basis.n_recurrences < fit_recurrences(
            self.options, self.run
        )

    @property
    def follows_run(self) -> bool:
        """Whether the axes are fitted on every recurrence run, and so change with each."""
        return self.options.fit_over == "all" and refitted(self.options, self.run) is None

    @property
    def without(self) -> str:
        """The tokens of massive norm that are left out, such as "token 0", or ""."""
        return self.axes[0].without if self.axes else ""

    @property
    def start_words(self) -> str:
        """What the first station is, where recurrence ends are shown."""
        first = int(self.recurrences[0]) if len(self.recurrences) else 0
        return f"r = {first}" if first else "the start s₀"

    @property
    def last_cycle(self) -> slice:
        """Stations of the run's last complete cycle; empty where they are not shown."""
        if not self.by_layer or self.newest < self.n_recurrences:
            return slice(0, 0)
        last = int((self.recurrences <= self.n_recurrences).sum())
        return slice(max(last - self.n_layers, 0), last)

    def station(self, recurrence: int, layer: int) -> int | None:
        """Index of the station at (recurrence, layer), or None when it is not shown."""
        first = int(self.recurrences[0]) if len(self.recurrences) else 0
        i = (recurrence - first) * self.n_layers + layer if self.by_layer else recurrence - first
        ok = 0 <= i < len(self.recurrences) and int(self.recurrences[i]) == recurrence
        return i if ok else None

    def colour_ticks(self) -> list[tuple[float, int]]:
        """Recurrences that the colour scale names, each with its place there."""
        position, r = colour_positions(self), self.recurrences
        at = [0, *np.searchsorted(position, (0.25, 0.5, 0.75)).tolist(), len(r) - 1]
        ticks = {int(r[i]): float(position[i]) for i in at if 0 <= i < len(r)}
        return [(place, number) for number, place in ticks.items()]

    @property
    def newest(self) -> int:
        """The largest recurrence shown: the end of the colour scale."""
        return int(self.recurrences[-1]) if len(self.recurrences) else 0


def refitted(options: Options, run: str) -> int | None:
    """On how many recurrences of ``run`` the user had the axes fitted anew, or None."""
    refit = options.refit
    return refit.recurrences if refit is not None and refit.run == run else None


def fit_recurrences(options: Options, run: str) -> int:
    """On how many recurrences of ``run`` axes are fitted, where not on all."""
    chosen = refitted(options, run)
    return FIT_FIRST if chosen is None else chosen


@dataclass(frozen=True, slots=True)
class Stroke:
    """A part of the picture in one colour: rows of ``points`` and stations first to last.

    age : 0 for the oldest to 1 for the newest.  level : its place on the colour scale.
    colour : index of the token colour, or None for the colour of the recurrence.
    """

    rows: tuple[int, ...]
    first: int
    last: int
    age: float
    colour: int | None
    level: float = 0.0

    @property
    def alpha(self) -> float:
        """Opacity: what is old fades."""
        return 0.4 + 0.6 * self.age


def strokes(
    data: Data, rows: tuple[int, ...] | None = None, position: F64 | None = None
) -> list[Stroke]:
    """Cut the paths of ``rows`` (all by default) into at most `MAX_GROUPS` one-colour parts.

    Screen and page draw these, oldest first. ``position`` is `colour_positions` of the data, where
    they are known.
    """
    rows = tuple(range(len(data.tokens))) if rows is None else rows
    by_token = data.options.colour == "token"
    groups: dict[int | None, list[int]] = {}
    for row in rows:
        groups.setdefault(row % N_COLOURS if by_token else None, []).append(row)
    steps = len(data.recurrences) - 1
    parts = min(MAX_GROUPS // max(len(groups), 1), steps)
    if parts < 1:
        return []
    position = colour_positions(data) if position is None else position
    edges = _edges(position, parts)
    out = []
    for i, (first, last) in enumerate(pairwise(edges), 1):
        for colour, members in groups.items():
            newest = last == steps
            level = position[last] if newest else (position[first] + position[last]) / 2
            age = i / (len(edges) - 1)
            out.append(Stroke(tuple(members), first, last, age, colour, float(level)))
    return out


def _edges(position: F64, parts: int) -> list[int]:
    """Stations at which colours change: evenly apart on the colour scale."""
    steps = len(position) - 1
    wanted = np.linspace(0, 1, parts + 1)[1:-1]
    inner = np.searchsorted(position, wanted, "left").tolist()
    return sorted({0, steps, *(i for i in inner if 0 < i < steps)})


def placed(data: Data, azimuth: float, elevation: float) -> F64:
    """The run's points as seen, ``[N, S, 2]``."""
    return seen(data, data.points, azimuth, elevation)


def seen(data: Data, points: F64, azimuth: float, elevation: float) -> F64:
    """``points [..., k]`` as seen, ``[..., 2]``: as they are, or turned about `middle` in 3-D."""
    if not data.is_3d or data.empty:
        return points[..., :2]
    return projection.turn(points - middle(data), azimuth, elevation)[..., :2]


def joint_pca(options: Options) -> Options:
    """The settings of arXiv 2604.11791: components of the final token over layers and recurrences.

    The paper fits two components to all latent states of the final token, after every layer of
    every recurrence, jointly.
    """
    return replace(
        options, states="layers", axes="pca", dimensions="2-D", fit_on="final", fit_over="all",
        pc_x=1, pc_y=2, form="raw", basis=None, refit=None,
    )  # fmt: skip


def middle(data: Data) -> F64:
    """Centre ``[k]`` of the box around the points: what a 3-D picture turns about."""
    high, low = np.nanmax(data.points, (0, 1)), np.nanmin(data.points, (0, 1))
    return np.asarray((high + low) / 2)


def scale_position(part: Stroke) -> float:
    """Place of ``part`` on the recurrence colour scale, 0 (first shown) to 1 (newest)."""
    return part.level


def colour_positions(data: Data) -> F64:
    """Place of each station on the colour scale, 0 (first) to 1 (newest), ``[S]``.

    Evenly by recurrence; or by the way gone, the median over tokens of the distance from one
    station to the next along the axes, added up, with a share of `EVEN` by recurrence, so that
    states that stand still keep their colours apart.
    """
    n = len(data.recurrences)
    even = np.linspace(0, 1, n) if n > 1 else np.zeros(n)
    if data.options.spread == "recurrence" or n < 3 or data.empty:
        return even
    steps = np.linalg.norm(np.diff(data.points, axis=1), axis=-1)
    steps = np.where(np.isfinite(steps), steps, np.nan)
    known = np.isfinite(steps).any(0)
    way = np.zeros(n - 1)
    # Without a gap the same number by a function that takes all columns at once.
    median = np.median if np.isfinite(steps).all() else np.nanmedian
    way[known] = median(steps[:, known], axis=0)
    total = float(way.sum())
    if not total > 0:
        return even
    moved = np.concatenate([[0.0], np.cumsum(way) / total])
    return (1 - EVEN) * moved + EVEN * even
