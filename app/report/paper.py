"""The page of `loopscope paper`: one file with its figures, and the numbers beside it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure

from loopscope.core.files import make_folder, write_text, written
from loopscope.core.labels import writable
from loopscope.core.measures.intervals import MEAN_METHOD, SHARE_METHOD, Estimate
from loopscope.core.paper.findings import CLASSES, SERIES, Findings
from loopscope.core.paper.sections import Section, limit_rows, sections
from loopscope.widgets.figures.paper_curves import (
    deep_figure,
    ends_figure,
    stages_figure,
    steps_figure,
)
from loopscope.widgets.figures.paper_maps import floorplan_figure, maps_figure, trajectory_figure

PAGE, NUMBERS, FIGURES = "paper.html", "numbers.json", "figures"
DPI = 160
DRAWN = {
    "trajectory": trajectory_figure,
    "maps": maps_figure,
    "steps": steps_figure,
    "ends": ends_figure,
    "stages": stages_figure,
    "deep": deep_figure,
    "floorplan": floorplan_figure,
}


def write_paper(
    found: Findings, folder: Path, provenance: Mapping[str, str], failures: Sequence[str] = ()
) -> Path:
    """Write the page, its figures as PNG and PDF, and its numbers; returns the page.

    Each file appears whole or not at all. Raises `LoopscopeError` where one cannot be written.
    """
    said = sections(found)
    place = make_folder(folder / FIGURES)
    pictures = {name: _pictured(draw(found), place, name) for name, draw in DRAWN.items()}
    numbers = {"provenance": dict(provenance)} | numbers_json(found, said)
    write_text(folder / NUMBERS, json.dumps(numbers, allow_nan=False) + "\n")
    page = folder / PAGE
    write_text(page, writable(_page(found, said, provenance, failures, pictures)))
    return page


def _pictured(figure: Figure, folder: Path, name: str) -> str:
    """Write a figure as PDF and PNG; return the PNG as base64."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    with written(folder / f"{name}.png") as part:
        part.write_bytes(buffer.getvalue())
    with written(folder / f"{name}.pdf") as part:
        figure.savefig(part, format="pdf", dpi=DPI)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _page(
    found: Findings, said: Sequence[Section], provenance: Mapping[str, str],
    failures: Sequence[str], pictures: Mapping[str, str],
) -> str:  # fmt: skip
    shortest, longest = found.tokens
    tokens = f"{longest}" if shortest == longest else f"{shortest} to {longest}"
    plan, arch = found.plan, found.arch
    about = (
        f"{arch.n_prelude} + {arch.n_block} × r + {arch.n_coda} layers, {found.n} "
        f"prompt{'' if found.n == 1 else 's'} of {tokens} tokens, {plan.deep} recurrences in "
        f"{found.dtype}"
    )
    method = (
        f"Each prompt is run by itself to recurrence {plan.deep}; its tokens and heads are "
        "averaged by each measure's own average, then prompts alike, long or short. States "
        "are sampled as a layer leaves them, before a norm that closes the recurrence; limiting "
        f"behaviour is of the state that is carried on. Means: {MEAN_METHOD}. Shares: "
        f"{SHARE_METHOD}."
    )
    template = (files("loopscope.resources") / "paper" / "page.html").read_text("utf-8")
    return jinja2.Environment(autoescape=True).from_string(template).render(
        title=f"{provenance['checkpoint']}: the figures of the looped models’ paper",
        about=about,
        sections=said,
        limits=limit_rows(found),
        pictures=pictures,
        method=method,
        formulas=[own.measure.formula.text() for own in found.stages.values()],
        provenance=provenance,
        failures=failures,
        tone=lambda s: {True: "yes", False: "no", None: ""}[s.holds],
    )  # fmt: skip


def numbers_json(found: Findings, said: Sequence[Section]) -> dict[str, Any]:
    """Every mean with its interval, every map, what the sections say; NaN is null."""
    return {
        "n_prompts": found.n,
        "intervals": {"means": MEAN_METHOD, "shares": SHARE_METHOD},
        "sections": [
            {"title": s.title, "figures": s.of, "found": list(s.found), "asked for": s.criterion,
             "verdict": s.verdict}
            for s in said
        ],
        "curves": {k: _estimate(v) for k, v in (found.steps | found.ends).items()},
        "stages": {
            key: {
                "curve": _estimate(own.curve), "prelude": _estimate(own.prelude),
                "coda": _estimate(own.coda), "coda_deep": _estimate(own.coda_deep),
                "even_attention": None if own.null is None else _plain(own.null),
                "repeat": _estimate(own.repeat), "kept": _estimate(own.kept),
                "drift": _estimate(own.drift),
            }
            for key, own in found.stages.items()
        },
        "maps": {
            f"{by}.{length}": {"places": list(own.names), "values": _plain(own.values)}
            for (by, length), own in found.maps.items()
        },
        "cycles": {by: _estimate(own) for by, own in found.cycles.items()},
        "plane": _estimate(found.plane),
        "limits": {
            "series": list(SERIES), "classes": [kind.value for kind in CLASSES],
            "tokens": _estimate(found.token_shares), "prompts": _estimate(found.prompt_shares),
        },
    }  # fmt: skip


def _estimate(own: Estimate) -> dict[str, Any]:
    return {
        "mean": _plain(own.value), "low": _plain(own.low), "high": _plain(own.high),
        "n": own.n.tolist(),
    }  # fmt: skip


def _plain(values: np.ndarray) -> Any:
    numbers = np.asarray(values, np.float64)
    plain = numbers.astype(object)
    plain[~np.isfinite(numbers)] = None
    return plain.tolist()
