"""Where the state goes: trajectories of tokens through state space, on two or three axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from loopscope.core.arrays import F32, F64
from loopscope.core.formula import Formula
from loopscope.core.labels import visible
from loopscope.core.measures import projection
from loopscope.core.measures.projection import Basis
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import Table, ViewDefinition
from loopscope.core.views.second_run import SecondRun
from loopscope.core.views.state_space.data import Axis, Data, Options
from loopscope.core.views.state_space.overlays import OverlayContext, overlays_of, second_path
from loopscope.core.views.state_space.places import stations
from loopscope.core.views.state_space.words import count, statement, token_name

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
    tokens = selection.shown_tokens(recording.n_tokens)
    states, recurrences, layers = stations(recording, options.states == "layers")
    n_layers = recording.n_layers
    complete = int(recurrences[-1]) if len(recurrences) else 0
    if options.states == "layers":
        complete = len(recurrences) // n_layers
    trajectories = states[:, list(tokens)].transpose(1, 0, 2)
    run = run_identity(recording)
    finite = np.isfinite(trajectories).all(-1)
    points = trajectories[finite]
    basis, locked, missing = _basis(recording, options, run, states, tokens, complete)
    names, rows = _axes(recording, options, basis)
    shares = projection.variance_shares(points, rows)
    coordinates = np.full((*finite.shape, len(rows)), np.nan)
    if basis is not None:
        coordinates[finite] = projection.project(points, basis.mean, rows)
    else:
        coordinates = coordinates[:, :0]
    if basis is None:
        recurrences, layers = recurrences[:0], layers[:0]
    data = Data(
        statement="",
        formulas=_formulas(options),
        points=coordinates,
        recurrences=recurrences,
        layers=layers,
        tokens=tokens,
        labels=tuple(visible(recording.info.token_labels[t]) for t in tokens),
        token_texts=tuple(recording.info.token_labels[t] for t in tokens),
        axes=tuple(Axis(n, float(s), locked) for n, s in zip(names, shares, strict=True)),
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
    )
    if basis is not None and points.size:
        spread = float(np.sqrt(points.var(0, dtype=np.float64).sum()))
        context = OverlayContext(tokens, options, spread)
        data = replace(data, overlays=overlays_of(recording, context, basis.mean, rows))
    return replace(data, statement=statement(data, recording))


def on_one_axis(recording: Recording, other: Recording) -> bool:
    """Whether two runs' states have axes in common: those of two models mean different things."""
    return recording.info.weights_hash == other.info.weights_hash


def compute_second(
    recording: Recording, second_run: SecondRun, selection: Selection, options: Options
) -> Data:
    """Project the second run, of the same weights, on the axes of the one that is shown."""
    data = compute(recording, selection, options)
    if data.basis is None or data.empty:
        return data
    _, rows = _axes(recording, options, data.basis)
    path = second_path(recording, second_run, data.tokens, data.by_layer)
    overlays = (*data.overlays, path.projected(data.basis.mean, rows))
    data = replace(data, overlays=overlays)
    return replace(data, statement=statement(data, recording))


def _basis(
    recording: Recording,
    options: Options,
    run: str,
    states: F32,
    tokens: tuple[int, ...],
    complete: int,
) -> tuple[Basis | None, bool, tuple[int, ...]]:
    """Axes to project on: (basis or None, whether it was locked, directions that are missing)."""
    d = states.shape[-1]
    nowhere = np.zeros(d)
    if options.axes == "random":
        pair = projection.random_pair(d, options.random_seed)
        return _if_any(states, Basis(nowhere, pair, np.zeros(2), 0.0)), False, ()
    if options.axes == "readout":
        wanted = (options.readout_x, options.readout_y)
        have = getattr(recording, "readout_directions", {})
        missing = tuple(dict.fromkeys(i for i in wanted if i not in have))
        if missing:
            return None, False, missing
        pair = projection.unit_rows(np.stack([have[i] for i in wanted]))
        return _if_any(states, Basis(nowhere, pair, np.zeros(2), 0.0)), False, ()
    given = options.basis
    if given is not None and given.width == d and (given.run == run or options.keep_basis):
        return _if_any(states, given), True, ()
    every = list(range(states.shape[1]))
    on = {"all": every, "selected": list(tokens), "final": every[-1:]}[options.fit_on]
    fitted = states if on == every else states[:, on]
    flat = fitted.reshape(-1, d)
    basis = projection.fit_pca(flat[np.isfinite(flat).all(1)])
    which = {"all": "all tokens", "final": "the final token"}.get(
        options.fit_on, count(len(tokens), "token")
    )
    kind = "every layer" if options.states == "layers" else "the ends"
    fitted_on = f"{kind} of {count(complete, 'recurrence')}, {which}"
    return (
        _if_any(states, replace(basis, fitted_on=fitted_on, run=run, n_recurrences=complete)),
        False,
        (),
    )


def _if_any(states: F32, basis: Basis) -> Basis | None:
    return basis if len(states) else None


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


def _formulas(options: Options) -> tuple[Formula, ...]:
    coordinate = {"pca": PCA, "readout": READOUT, "random": RANDOM}[options.axes]
    return (coordinate, SHARE, CLOSING)


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


VIEW = ViewDefinition(
    Options,
    compute,
    table,
    reads=frozenset({"tokens"}),
    compute_second=compute_second,
    on_one_axis=on_one_axis,
)
