"""Where the state goes: trajectories of tokens through state space, on two or three axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from loopscope.core.arrays import F32, F64
from loopscope.core.formula import Formula
from loopscope.core.labels import name_tokens
from loopscope.core.measures import projection
from loopscope.core.measures.projection import Basis
from loopscope.core.measures.stability import STABILITY
from loopscope.core.measures.state_forms import NORM_RATIO, StateForm
from loopscope.core.run.recording import Recording
from loopscope.core.selection import RecurrenceRange, Selection
from loopscope.core.views.base import Table, ViewDefinition
from loopscope.core.views.second_run import SecondRun
from loopscope.core.views.state_space.data import Axis, Data, MassiveToken, Options
from loopscope.core.views.state_space.fitting import FitSet, choose_basis, elsewhere
from loopscope.core.views.state_space.frame import Frame
from loopscope.core.views.state_space.overlay import Overlay
from loopscope.core.views.state_space.overlays import (
    OverlayContext,
    n_other_starts,
    overlays_of,
    second_path,
)
from loopscope.core.views.state_space.places import stations
from loopscope.core.views.state_space.words import drawn_words, statement, token_name

__all__ = [
    "VIEW",
    "Axis",
    "Data",
    "Options",
    "compute",
    "compute_second",
    "on_one_axis",
    "run_identity",
    "table",
]

PCA = Formula(
    "coordinate on PC k",
    "v_k · (s − mean), C v_k = λ_k v_k, C = Cov(s)",
    "state units",
    "PCA; largest |entry| of v_k positive",
)
SHARE = Formula(
    "share of variance",
    "Var(v_k · s) / Σ_j Var(s_j) over the points shown",
    "share, 0 to 1",
    "PCA",
)
READOUT = Formula(
    "readout coordinate",
    "s · w / ‖w‖, w = unembedding row of the token",
    "state units",
    "logit lens (nostalgebraist 2020), without the norm",
)
RANDOM = Formula(
    "random coordinate", "s · u, u seeded Gaussian, orthonormal pair", "state units", "seeded"
)
CLOSING = Formula(
    "closing of the cycle",
    "‖s_R − s_{R−1}‖ / ‖s_R‖; with every layer shown, max over l of the same on x[r,l]",
    "1 (relative)",
    "per-layer step size, arXiv 2604.11791",
)


# Of the states, on an axis.
FORMS_ON_AXES = {"raw": "", "normalised": "s/rms(s)", "centred": "s − token mean"}


def run_identity(recording: Recording) -> str:
    """Name of the run: the same checkpoint, prompt, seed and start give the same name.

    A branch has the name of the run it was cut off, and so keeps the axes that were locked there.
    """
    import hashlib  # brings OpenSSL, which the first paint does without

    start = np.ascontiguousarray(recording.state(0))
    digest = hashlib.sha256(repr(replace(recording.info, interventions=())).encode())
    digest.update(start.tobytes())
    return digest.hexdigest()[:16]


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Project the selected tokens' states."""
    return _compute(recording, selection, options)[0]


def _compute(
    recording: Recording, selection: Selection, options: Options
) -> tuple[Data, Frame | None]:
    """Return what is shown, and the frame it is drawn in."""
    states, recurrences, layers = stations(recording, options.states == "layers")
    n_layers = recording.n_layers
    complete = int(recurrences[-1]) if len(recurrences) else 0
    if options.states == "layers":
        complete = len(recurrences) // n_layers
    run = run_identity(recording)
    fit = FitSet.of(recording, options, run, states, complete)
    selected = selection.shown_tokens(recording.n_tokens)
    tokens = tuple(t for t in selected if t not in fit.left_out) or selected
    directions = getattr(recording, "readout_directions", {})
    basis, locked, missing = choose_basis(directions, options, run, fit, tokens)
    names, rows = _axes(recording, options, basis)
    whole = tokens == tuple(range(recording.n_tokens))  # then nothing is copied
    trajectories = (states if whole else states[:, list(tokens)]).transpose(1, 0, 2)
    finite = np.asarray(np.isfinite(trajectories).all(-1))
    all_finite = bool(finite.all())
    coordinates, shares = np.full((*finite.shape, 0), np.nan), np.zeros(len(rows))
    frame = None
    if basis is not None:
        frame = Frame(fit.form, basis.mean, rows, tokens)
        taken = fit.form.of(trajectories, tokens)
        shares = projection.variance_shares(taken if all_finite else taken[finite], rows)
        known = trajectories if all_finite else np.where(finite[..., None], trajectories, 0)
        coordinates = np.where(finite[..., None], frame.coordinates(known), np.nan)
    else:
        recurrences, layers = recurrences[:0], layers[:0]
    massive = tuple(m for m in fit.massive if m.position in selected)
    left_out = [m.position for m in massive if m.position not in tokens]
    without = name_tokens(left_out) if left_out else ""
    form = FORMS_ON_AXES[options.form]
    data = Data(
        statement="",
        formulas=_formulas(options, fit.form, massive),
        points=coordinates,
        recurrences=recurrences,
        layers=layers,
        tokens=tokens,
        labels=recording.info.names_of(tokens),
        token_texts=tuple(recording.info.token_labels[t] for t in tokens),
        axes=tuple(Axis(n, float(s), form, without) for n, s in zip(names, shares, strict=True)),
        basis=basis,
        locked=locked,
        run=run,
        closing=_closing(trajectories, complete, n_layers, options),
        n_recurrences=complete,
        n_layers=n_layers,
        layer_names=recording.info.architecture.layer_names,
        n_left_out=int((~finite).sum()),
        missing_directions=missing,
        options=options,
        elsewhere=elsewhere(basis, options, tokens, locked),
        massive=massive,
        runs_once=recording.info.architecture.runs_once,
        other_starts=n_other_starts(recording) if options.states == "ends" else 0,
    )
    if frame is not None and finite.any():
        # Only a mode is drawn in proportion to it; of a long run it costs a third of the view.
        modes = recording.result(STABILITY) is not None
        spread = _spread(trajectories[finite]) if modes else 0.0
        context = OverlayContext(tokens, options, spread)
        data = replace(data, overlays=overlays_of(recording, context, frame))
    return replace(data, statement=statement(data, recording)), frame


def _spread(points: F32) -> float:
    """RMS distance of ``points [n, d]`` from their mean."""
    return float(np.sqrt(points.var(0, dtype=np.float64).sum()))


def on_one_axis(recording: Recording, other: Recording) -> bool:
    """Whether two runs' states have axes in common: those of two models mean different things."""
    return recording.info.weights_hash == other.info.weights_hash


def compute_second(
    recording: Recording, second_run: SecondRun, selection: Selection, options: Options
) -> Data:
    """Project the second run, of the same weights, on the axes of the one that is shown."""
    data, frame = _compute(recording, selection, options)
    if frame is None or data.empty:
        return data
    path = second_path(recording, second_run, data.tokens, data.by_layer)
    data = replace(data, overlays=(*data.overlays, frame.projected(path)))
    return replace(data, statement=statement(data, recording))


def _axes(
    recording: Recording, options: Options, basis: Basis | None
) -> tuple[tuple[str, ...], F64]:
    """Names of the axes and their directions ``[k, d]``."""
    d = recording.info.architecture.d_model
    if options.axes == "random":
        names = tuple(f"random {i} of seed {options.random_seed}" for i in (1, 2))
    elif options.axes == "readout":
        wanted = (options.readout_x, options.readout_y)
        names = tuple(f"readout of {token_name(recording, i)}" for i in wanted)
    else:
        chosen = (options.pc_x, options.pc_y, options.pc_z)
        kept = chosen if options.dimensions == "3-D" else chosen[:2]
        names = tuple(f"PC{i}" for i in kept)
        if basis is not None:
            return names, np.stack([basis.component(i - 1) for i in kept])
    return names, np.zeros((len(names), d)) if basis is None else basis.components


def _closing(trajectories: F32, complete: int, n_layers: int, options: Options) -> F64:
    """Relative distance of the last cycle from the one before, ``[N]``."""
    size = n_layers if options.states == "layers" else 1
    first = (complete - 1) * size if options.states == "layers" else complete
    if complete < 2:
        return np.full(len(trajectories), np.nan)
    last = trajectories[:, first : first + size].astype(np.float64)
    before = trajectories[:, first - size : first].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.linalg.norm(last - before, axis=-1) / np.linalg.norm(last, axis=-1)
    return np.asarray(gap.max(-1))


def _formulas(
    options: Options, form: StateForm, massive: tuple[MassiveToken, ...]
) -> tuple[Formula, ...]:
    coordinate = {"pca": PCA, "readout": READOUT, "random": RANDOM}[options.axes]
    if options.form == "normalised":
        coordinate = replace(coordinate, unit="1")
    more = (form.formula, NORM_RATIO if massive else None)
    return (coordinate, *(f for f in more if f is not None), SHARE, CLOSING)


def table(data: Data) -> Table:
    """One row for each token and station, then for what is drawn beside the run.

    Coordinates in state units, exact.
    """
    axes = (axis.name for axis in data.axes)
    return Table(("position", "token", "recurrence", "layer", *axes, "beside the run"), _rows(data))


def _rows(data: Data) -> Iterator[tuple[object, ...]]:
    for row, (token, label) in enumerate(zip(data.tokens, data.token_texts, strict=True)):
        for i, (recurrence, layer) in enumerate(zip(data.recurrences, data.layers, strict=True)):
            at = "" if layer < 0 else int(layer)
            yield (token, label, int(recurrence), at, *map(float, data.points[row, i]), "")
    for overlay in data.overlays:
        name = f"{overlay.name}{', imaginary' * overlay.role.endswith('imaginary')}"
        for row, i in np.ndindex(overlay.points.shape[:2]):
            r, layer = int(overlay.recurrences[i]), int(overlay.layers[i])
            where = (r if r >= 0 else "", layer if layer >= 0 else "")
            at_axes = map(float, overlay.points[row, i])
            yield (data.tokens[row], data.token_texts[row], *where, *at_axes, name)


def within(data: Data, shown: RecurrenceRange) -> Data:
    """Only these recurrences, of other runs too; axes and shares stay those of all."""
    if not len(data.recurrences) or data.empty:
        return data
    first, last = shown.ends(data.newest)
    kept = (data.recurrences >= first) & (data.recurrences <= last)
    if kept.all():
        return data
    overlays = (_path_within(overlay, first, last) for overlay in data.overlays)
    part = replace(
        data, points=data.points[:, kept], recurrences=data.recurrences[kept],
        layers=data.layers[kept], axes=tuple(replace(axis, of_all=True) for axis in data.axes),
        overlays=tuple(o for o in overlays if o.points.shape[1]),
    )  # fmt: skip
    return replace(part, statement=data.statement.replace(drawn_words(data), drawn_words(part), 1))


def _path_within(overlay: Overlay, first: int, last: int) -> Overlay:
    """The part of a path between two recurrences; what has no recurrence, or stays, is whole."""
    if overlay.kind != "path":
        return overlay
    kept = (overlay.recurrences >= first) & (overlay.recurrences <= last)
    if kept.all():
        return overlay
    return replace(
        overlay, points=overlay.points[:, kept], recurrences=overlay.recurrences[kept],
        layers=overlay.layers[kept],
    )  # fmt: skip


VIEW = ViewDefinition(
    Options,
    compute,
    table,
    reads=frozenset({"tokens"}),
    compute_second=compute_second,
    on_one_axis=on_one_axis,
    within=within,
)
