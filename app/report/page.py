"""Put runs, drawing library and script into one file that asks nothing of the network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from loopscope.app.report.content import MOST_PATTERNS, Shown, content
from loopscope.app.report.packing import compressed
from loopscope.core.errors import LoopscopeError
from loopscope.core.files import written
from loopscope.core.labels import writable

# A page may hold one run, or two side by side.
MOST_RUNS = 2


def write_page(runs: Sequence[Shown], path: Path, command: str) -> Path:
    """Write the page of one or two runs; ``command`` is what makes it again.

    Raises `LoopscopeError` where the drawing library is not installed, a run has no recurrence
    yet, or the file cannot be written.
    """
    if not 1 <= len(runs) <= MOST_RUNS:
        raise ValueError(f"a page shows one or two runs, not {len(runs)}")
    for run in runs:
        if not run.recording.n_recurrences:
            raise LoopscopeError(f"{run.name} has no recurrence yet; run one first")
    library = _library()
    share = MOST_PATTERNS // len(runs)
    data = {"command": command, "runs": [content(run, share) for run in runs]}
    # As JSON has no NaN, a number that is not finite travels inside an array.
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    page = _fill(
        _resource("page.html"),
        title=escape(writable(" and ".join(run.name for run in runs))),
        style=_resource("page.css"),
        library=compressed(library),
        data=compressed(writable(text).encode("utf-8")),
        script=_resource("page.js"),
    )
    with written(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _library() -> bytes:
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise LoopscopeError(
            "a page needs plotly; install it with: pip install 'loopscope[report]'"
        )
    return (Path(spec.origin).parent / "package_data" / "plotly.min.js").read_bytes()


def _resource(name: str) -> str:
    return (files("loopscope.resources") / "report" / name).read_text("utf-8")


def _fill(template: str, **parts: str) -> str:
    """Replace each ``{{name}}`` once; parts are not looked through again."""
    pieces = template.split("{{")
    out = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        out += [parts[name], rest]
    return "".join(out)
