"""What a page holds of a run: numbers that the views compute, and how they are thinned."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loopscope.app.report.packing import LEVELS, as_bytes, packed, recurrences_that_fit
from loopscope.app.views import BY_KEY
from loopscope.core.labels import visible
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views import heads, readout, settling
from loopscope.core.views.base import ViewData
from loopscope.core.views.state_space import compute as state_space
from loopscope.core.views.state_space.data import Options as StateSpaceOptions

# Bytes of attention patterns that a page holds of all its runs, before compression.
MOST_PATTERNS = 3 << 20
# Answers of a readout that are listed.
ANSWERS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A run and what it is called on the page. recording : at least one recurrence of it."""

    name: str
    recording: Recording


def content(run: Shown, most_patterns: int = MOST_PATTERNS) -> dict[str, Any]:
    """Return the part of a page that is of one run, as JSON.

    Numbers are those of the window's views with their default settings; patterns are rounded to
    1/255 and, beyond ``most_patterns`` bytes, kept of some recurrences alone. What was left out
    is said under "thinned".
    """
    recording, info = run.recording, run.recording.info
    arch = info.architecture
    at = Selection(recurrence=recording.n_recurrences, token=recording.n_tokens - 1)
    patterns, thinned = _patterns(recording, most_patterns)
    return {
        "name": run.name,
        "tokens": [visible(text) for text in info.token_labels],
        "recurrences": recording.n_recurrences,
        "layers": list(arch.layer_names),
        "heads": [arch.head_name(*at) for at in np.ndindex(arch.n_block, arch.layer.n_heads)],
        "block": arch.block_words,
        "provenance": info.provenance(),
        "state_space": _state_space(recording, at),
        "settling": _settling(recording, at),
        "heads_change": _heads(recording, at),
        "patterns": patterns,
        "readout": _readout(recording, at),
        "graph": _graph(recording, at),
        "thinned": thinned,
    }


def _about(data: ViewData) -> dict[str, Any]:
    return {"statement": data.statement, "formulas": [f.text() for f in data.formulas]}


def _state_space(recording: Recording, at: Selection) -> dict[str, Any]:
    data = state_space.compute(recording, at, StateSpaceOptions(dimensions="3-D", fit_on="all"))
    return _about(data) | {
        "points": packed(data.points),
        "axes": [axis.short for axis in data.axes],
    }


def _settling(recording: Recording, at: Selection) -> dict[str, Any]:
    data = settling.compute(recording, at, settling.Options())
    return _about(data) | {
        "values": packed(data.values),
        "median": packed(data.median),
        "tolerance": packed(data.tolerance_line),
        "floor": packed(data.floor_line),
        "classes": [c.describe() for c in data.classes[0].of] if data.classes else [],
        "judged": data.judged,
    }


def _heads(recording: Recording, at: Selection) -> dict[str, Any]:
    data = heads.compute(recording, at, heads.Options())
    return _about(data) | {
        "values": packed(data.values.reshape(len(data.values), -1)),
        "measure": data.measure.formula.name,
        "unit": data.measure.formula.unit,
        "reference": data.reference,
        "far": float(data.far),
        "near": float(data.near),
    }


def _readout(recording: Recording, at: Selection) -> dict[str, Any]:
    data = readout.compute(recording, at, readout.Options())
    ids = data.ids[..., :ANSWERS]
    shown, places = np.unique(ids, return_inverse=True)
    return _about(data) | {
        "answers": places.reshape(ids.shape).tolist(),
        "texts": [data.text(int(i)) for i in shown],
        "probabilities": packed(data.probabilities[..., :ANSWERS]),
        "flips": packed(data.flip.astype(np.uint8)),
        "lens": data.lens_label,
    }


def _patterns(recording: Recording, most: int) -> tuple[dict[str, Any] | None, list[str]]:
    """Patterns ``[kept, L * H, T, T]`` in bytes with the recurrences kept, and what was thinned."""
    n, t = recording.n_recurrences, recording.n_tokens
    if not recording.capture.patterns or not n:
        return None, []
    rows = recording.n_layers * recording.info.architecture.layer.n_heads
    kept = recurrences_that_fit(n, rows * t * t, most)
    thinned = [f"attention is rounded to 1/{LEVELS}"]
    if len(kept) < n:
        thinned.append(
            f"attention patterns are kept of {len(kept)} of {n} recurrences "
            f"({', '.join(map(str, kept))})"
        )
    stack = np.stack([as_bytes(recording.patterns_of(r, r)).reshape(rows, t, t) for r in kept])
    return {"recurrences": kept, "values": packed(stack)}, thinned


def _graph(recording: Recording, at: Selection) -> dict[str, Any]:
    """The picture that the window exports, as SVG."""
    from loopscope.widgets.figures.export import ExportItem, export
    from loopscope.widgets.figures.style import Page

    spec = BY_KEY["graph"]
    data = spec.compute(recording, at, spec.options())
    provenance: Mapping[str, str] = recording.info.provenance()
    item = ExportItem(spec.key, spec.title, spec.draw, spec.table, data, recurrence=at.recurrence)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.svg"
        export(item, path, page=Page("two columns"), dpi=100, provenance=dict(provenance))
        return _about(data) | {"svg": path.read_text("utf-8")}
