"""What the state-space plotter says: one sentence on what is shown, or on what is missing."""

from __future__ import annotations

from collections import Counter

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.labels import name_tokens, visible
from loopscope.core.run.recording import Recording
from loopscope.core.views.state_space.data import Data, fit_recurrences


def token_name(recording: Recording, token_id: int) -> str:
    """A token id's text in quotes, or the id itself when the model has no such token."""
    known = token_id < recording.info.architecture.vocab_size
    return f"'{visible(recording.label(token_id))}'" if known else str(token_id)


def count(n: int, noun: str) -> str:
    """Such as "1 token" and "2 tokens"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def statement(data: Data, recording: Recording) -> str:
    """Say in one sentence what is shown, or what is missing."""
    if data.missing_directions:
        return _missing(data.missing_directions, recording)
    if data.basis is None:
        drawn = "layer" if data.by_layer else "recurrence"
        return f"No {drawn} has been run yet: the trajectories start with the first."
    if data.empty:
        return f"None of the {data.n_left_out} states is finite: there is nothing to draw."
    parts = [drawn_words(data), _axes_said(data)]
    gap = _median(data.closing)
    if gap is not None:
        repeats = "the last cycle repeats" if data.by_layer else "the last state is"
        parts.append(
            f"{repeats} the one before to within {100 * gap:.3g} % (median)"
            if data.by_layer
            else f"{repeats} {100 * gap:.3g} % from the one before (median)"
        )
    if data.overlays:
        parts.append(f"beside it {_overlays_said(data)}")
    if data.n_left_out:
        parts.append(f"{count(data.n_left_out, 'state')} not finite left out")
    return "; ".join(parts) + "."


def drawn_words(data: Data) -> str:
    """Which tokens are drawn, and at which recurrences."""
    tokens, first = count(len(data.tokens), "token"), int(data.recurrences[0])
    span = f"recurrences {first} to {data.newest}" if data.newest > first else f"recurrence {first}"
    if data.by_layer:
        return f"{tokens} after each of {count(data.n_layers, 'layer')}, {span}"
    return f"{tokens} at the ends of {span}"


def _overlays_said(data: Data) -> str:
    """Count what is drawn beside the run: "2 stable points, 1 slow point, 1 mode"."""
    names = Counter(
        {"segment": "mode", "path": "other start"}.get(overlay.kind, overlay.name)
        for overlay in data.overlays
        if overlay.role not in ("mode, imaginary", "second run")
    )
    besides = [overlay.name for overlay in data.overlays if overlay.role == "second run"]
    return ", ".join([*(count(n, name) for name, n in names.items()), *besides])


def _axes_said(data: Data) -> str:
    names = " × ".join(axis.name for axis in data.axes)
    if data.options.axes == "readout" and data.basis is not None:
        cosine = float(np.clip(data.basis.components[0] @ data.basis.components[1], -1, 1))
        angle = np.degrees(np.arccos(cosine))
        plane = ", a plane: drawn in 2-D" if data.options.dimensions == "3-D" else ""
        return f"{names} ({angle:.0f}° apart{plane}){_form_said(data)}"
    # A component chosen for two axes holds its share once.
    share = 100 * sum({axis.name: axis.share for axis in data.axes}.values())
    text = f"{names} hold {share:.1f} % of the variance shown"
    if data.basis is None or data.options.axes != "pca":
        flat = data.options.dimensions == "3-D"
        plane = " (a pair has no third axis: drawn in 2-D)" if flat else ""
        return f"{text}{plane}{_form_said(data)}"
    return f"{text}{_form_said(data)}, {axes_words(data)}"


def _form_said(data: Data) -> str:
    """Form of the states, and the tokens of massive norm, in words."""
    text = {
        "raw": "",
        "normalised": ", states as the next norm reads them",
        "centred": ", each token's states less their mean",
    }[data.options.form]
    return text + massive_words(data)


def massive_words(data: Data) -> str:
    """Say which tokens are of massive norm, and what becomes of them; "" for none."""
    if not data.massive:
        return ""
    names = name_tokens([m.position for m in data.massive])
    verb, largest = ("have", "up to ") if len(data.massive) > 1 else ("has", "")
    ratio = max(m.ratio for m in data.massive)
    text = f", {names} {verb} {largest}{ratio:.0f} × the median norm"
    return text + (" and left out" if data.without else "")


def axes_words(data: Data) -> str:
    """Where PCA axes come from, and how long they stay; without the first capital."""
    assert data.basis is not None
    basis, other = data.basis, "" if data.basis.run == data.run else " of an earlier run"
    if data.elsewhere:
        return data.elsewhere[0].lower() + data.elsewhere[1:] + other
    fitted = f"fitted on {basis.fitted_on}{other}"
    if data.provisional and not data.runs_once:
        until = fit_recurrences(data.options, data.run)
        return f"axes change until recurrence {until}, so far {fitted}"
    return f"axes follow the run, {fitted}" if data.follows_run else f"axes {fitted}"


def _missing(ids: tuple[int, ...], recording: Recording) -> str:
    if recording.info.architecture.head_transform:
        return "This model's head is not linear in the state: tokens have no readout direction."
    vocab = recording.info.architecture.vocab_size
    unknown = [i for i in ids if not 0 <= i < vocab]
    if unknown:
        return f"Token id {unknown[0]} does not exist: the model has ids 0 to {vocab - 1}."
    names = " and ".join(f"{token_name(recording, i)} (id {i})" for i in ids)
    plural, have = ("s", "have") if len(ids) > 1 else ("", "has")
    return f"The readout direction{plural} of {names} {have} not been read from the model yet."


def _median(values: F64) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None
