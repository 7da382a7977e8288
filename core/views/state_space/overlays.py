"""What the state-space plotter draws beside the run's own trajectories, on the same axes.

A *source* says what of a run there is to draw, as states; the plotter projects them on its basis
and draws all of them in one way. A branch, a second run or anything else that has states is one
more function and a line in `SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from loopscope.core.measures.fixed_points import RESIDUAL
from loopscope.core.measures.path_independence import PATHS
from loopscope.core.measures.stability import EIGENVALUE, STABILITY
from loopscope.core.run.recording import Recording
from loopscope.core.views.second_run import SecondRun
from loopscope.core.views.stability import FIXED, kinds_of
from loopscope.core.views.state_space.data import Options
from loopscope.core.views.state_space.frame import Frame
from loopscope.core.views.state_space.overlay import Overlay, Role
from loopscope.core.views.state_space.places import stations

# Half length of the longest segment of a mode, over the RMS distance of the points shown from
# their mean.
MODE_LENGTH = 0.2


@dataclass(frozen=True, slots=True)
class OverlayContext:
    """What overlays are made from: the tokens shown, the settings, and how far the points spread.

    spread : RMS distance of the run's shown states from their mean, state units.
    """

    tokens: tuple[int, ...]
    options: Options
    spread: float


def found_points(recording: Recording, context: OverlayContext) -> list[Overlay]:
    """Fixed and slow points of a search; with every layer shown, the points of their cycles."""
    stability = recording.result(STABILITY)
    if stability is None or not context.options.show_points:
        return []
    tokens, out = list(context.tokens), []
    by_layer = context.options.states == "layers"
    for i, kind in enumerate(kinds_of(stability)):
        points = stability.cycles[i] if by_layer else stability.points.points[i].reshape(
            1, recording.n_tokens, -1
        )  # fmt: skip
        radius = stability.radii[i]
        about = (
            f"{kind}{'' if kind not in FIXED else ' fixed point'} {i + 1}, relative residual "
            f"{stability.points.residual[i]:.1e}"
            + (f", spectral radius {radius:.3g}" if np.isfinite(radius) else "")
            + (", where the run's end leads" if i == stability.points.from_end else "")
            + f", found from {stability.points.found_by[i]} of {stability.points.n_starts} starts"
        )
        n = len(points)
        out.append(
            Overlay(
                name=kind
                if kind == "slow point"
                else f"point {kind}"
                if kind not in FIXED
                else f"{kind} point",
                kind="points",
                role=kind,
                points=points[:, tokens].transpose(1, 0, 2).astype(np.float64),
                recurrences=np.full(n, -1),
                layers=np.arange(n) if by_layer else np.full(n, -1),
                tooltips=_tooltips(recording, context, about, RESIDUAL.text()),
            )
        )
    return out


def modes(recording: Recording, context: OverlayContext) -> list[Overlay]:
    """Leading eigenvectors of the Jacobian at the state they were taken at, a segment a token.

    They are directions of the state at the end of a recurrence, so only these are drawn with them.
    """
    stability = recording.result(STABILITY)
    wanted = int(context.options.modes)
    if stability is None or not wanted or context.options.states == "layers":
        return []
    tokens, out = list(context.tokens), []
    at = recording.state(stability.recurrence)[tokens].astype(np.float64)
    # Of a complex pair one stands for both.
    leading = [i for i, value in enumerate(stability.spectrum.values) if value.imag >= 0][:wanted]
    for rank, i in enumerate(leading, start=1):
        value, residual = stability.spectrum.values[i], stability.spectrum.residuals[i]
        vector = stability.spectrum.vectors[i].reshape(recording.n_tokens, -1)
        largest = float(np.linalg.norm(vector, axis=1).max())
        turns = 2 * np.pi / abs(np.angle(value)) if value.imag else np.inf
        about = (
            f"mode {rank} of the Jacobian at recurrence {stability.recurrence}: modulus "
            f"{abs(value):.3g}, phase {np.degrees(np.angle(value)):.3g}°"
            + (f", one turn in {turns:.3g} recurrences" if np.isfinite(turns) else "")
            + f", residual {residual:.1e}; the longest is ± {MODE_LENGTH:g} × the RMS distance of "
            "the states shown from their mean, the others as their share of the mode"
        )
        parts: list[tuple[Role, npt.NDArray[np.float64]]] = [("mode", vector.real)]
        if value.imag:
            parts.append(("mode, imaginary", vector.imag))
        for role, part in parts:
            half = part[tokens] * (MODE_LENGTH * context.spread / max(largest, 1e-300))
            out.append(
                Overlay(
                    name=f"mode {rank}, |λ| {abs(value):.2g}",
                    kind="segment",
                    role=role,
                    points=np.stack([at - half, at + half], axis=1),
                    recurrences=np.full(2, stability.recurrence),
                    layers=np.full(2, -1),
                    tooltips=_tooltips(
                        recording, context, about.replace(":", f" ({_part(role, value)}):", 1),
                        EIGENVALUE.text(),
                    ),
                )
            )  # fmt: skip
    return out


def _part(role: str, value: complex) -> str:
    if not value.imag:
        return "a real direction"
    return "imaginary part" if role.endswith("imaginary") else "real part"


def other_starts(recording: Recording, context: OverlayContext) -> list[Overlay]:
    """Runs of the same prompt from other start states; their layers were not kept."""
    paths = recording.result(PATHS)
    on = context.options.show_starts and context.options.states == "ends"
    if paths is None or not on:
        return []
    n = paths.states.shape[1]
    return [
        Overlay(
            name=name,
            kind="path",
            role="run",
            points=paths.states[i][:, list(context.tokens)].transpose(1, 0, 2).astype(np.float64),
            recurrences=np.arange(n),
            layers=np.full(n, -1),
            tooltips=_tooltips(recording, context, f"the run from another start, {name}", ""),
            index=i - 1,
        )
        for i, name in enumerate(paths.names)
        if i  # the first is the run itself
    ]


def n_other_starts(recording: Recording) -> int:
    """How many runs from other starts were made of this one."""
    paths = recording.result(PATHS)
    return 0 if paths is None else len(paths.names) - 1


def second_path(
    recording: Recording, second_run: SecondRun, tokens: tuple[int, ...], by_layer: bool
) -> Overlay:
    """Return the second run, from where its states are no longer bit for bit those of this run.

    Tokens are matched by position: a token that the second prompt does not have is not drawn.
    """
    second = second_run.recording
    states, recurrences, layers = stations(second, by_layer)
    own = stations(recording, by_layer)[0]
    there = [t for t in tokens if t < second.n_tokens]
    shared = 0
    if recording.n_tokens == second.n_tokens:
        common = min(len(own), len(states))
        differs = np.flatnonzero((own[:common] != states[:common]).any((1, 2)))
        shared = int(differs[0]) if len(differs) else common
    points = np.full((len(tokens), len(states), states.shape[-1]), np.nan)
    points[: len(there)] = states[:, there].transpose(1, 0, 2)
    points[:, : max(shared - 1, 0)] = np.nan  # from the last state they share
    places = [
        second_run.place_back({"recurrence": int(r)} | ({"layer": int(i)} if i >= 0 else {}))
        for r, i in zip(recurrences, layers, strict=True)
    ]
    same = f", as this run in its first {shared} states" if shared > 1 else ""
    labels = list(second.info.names_of(there))
    return Overlay(
        name=second_run.name,
        kind="path",
        role="second run",
        points=points,
        recurrences=np.array([place["recurrence"] for place in places], dtype=np.int64),
        layers=np.array([place.get("layer", -1) for place in places], dtype=np.int64),
        tooltips=tuple(
            f"token {t} '{label}' of {second_run.name}{same}"
            for t, label in zip(there, labels, strict=True)
        )
        + ("",) * (len(tokens) - len(there)),
    )


def _tooltips(
    recording: Recording, context: OverlayContext, about: str, formula: str
) -> tuple[str, ...]:
    """One text for each shown token."""
    after = f"   {formula}" if formula else ""
    return tuple(
        f"token {t} '{recording.info.names_of((t,))[0]}', {about}{after}" for t in context.tokens
    )


@dataclass(frozen=True, slots=True)
class Source:
    """Something to draw beside a run.

    draw : overlays in states, ``[N, S, d]``, or [] when there are none or they are switched off.
    reads : what they are made from: while this is the same object (or an equal tuple, such as of
        a run and its length), the projected picture is kept.
    """

    draw: Callable[[Recording, OverlayContext], list[Overlay]]
    reads: Callable[[Recording], object]


SOURCES: tuple[Source, ...] = (
    Source(other_starts, lambda recording: recording.result(PATHS)),
    Source(found_points, lambda recording: recording.result(STABILITY)),
    Source(modes, lambda recording: recording.result(STABILITY)),
)


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    read: object
    context: OverlayContext
    frame: Frame
    overlays: tuple[Overlay, ...]


_kept: WeakKeyDictionary[Recording, dict[Source, _Kept]] = WeakKeyDictionary()


def overlays_of(recording: Recording, context: OverlayContext, frame: Frame) -> tuple[Overlay, ...]:
    """Everything there is to draw beside this run, in coordinates of ``frame``."""
    plain = replace(context.options, basis=None, refit=None, azimuth=0.0, elevation=0.0)
    # Two digits of the spread are enough for the length of a mode, and stay while a run settles.
    context = OverlayContext(context.tokens, plain, float(f"{context.spread:.2g}"))
    kept = _kept.setdefault(recording, {})
    out: list[Overlay] = []
    for source in SOURCES:
        read, last = source.reads(recording), kept.get(source)
        same = last is not None and (last.read is read or _equal_tuples(last.read, read))
        if last is None or not same or last.context != context or not last.frame.same(frame):
            drawn = source.draw(recording, context)
            last = _Kept(read, context, frame, tuple(map(frame.projected, drawn)))
            kept[source] = last
        out += last.overlays
    return tuple(out)


def _equal_tuples(a: object, b: object) -> bool:
    return isinstance(a, tuple) and isinstance(b, tuple) and a == b
