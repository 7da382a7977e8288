"""What a recording file holds, in words and as JSON; imports no torch."""

from __future__ import annotations

from typing import Any

from loopscope.core.interventions.registry import as_json
from loopscope.core.labels import printable, size
from loopscope.core.recordings.reader import RecordingFile
from loopscope.core.run.recording import Recording


def card(file: RecordingFile) -> dict[str, Any]:
    """Return what a file holds: where it comes from, and each run with its arrays, as JSON.

    "bytes" counts the rows of a run, those that it shares with its parent included.
    """
    return {
        "recording": file.path.name,
        "provenance": file.provenance,
        "runs": [_run(run, parent) for run, parent in zip(file.runs, file.parents, strict=True)],
        "read_only": file.read_only,
        "notes": list(file.notes),
    }


def _run(run: Recording, parent: int | None) -> dict[str, Any]:
    return {
        "prompt": run.info.prompt,
        "tokens": run.n_tokens,
        "recurrences": run.n_recurrences,
        "layers_under_way": run.layers_done % run.n_layers,
        "seed": run.info.seed,
        "start": run.info.start,
        "interventions": as_json(run.info.interventions),
        "parent": parent,
        "kept": {name: [len(rows), *rows.shape] for name, rows in run.kept.items()},
        "bytes": sum(len(rows) * rows.row_bytes for rows in run.kept.values()),
    }


def card_text(values: dict[str, Any]) -> str:
    """Write a card as aligned text, a line for each run."""
    said = values["provenance"]
    rows = [
        ("recording", values["recording"]),
        ("checkpoint", f"{said['checkpoint']}, sha256 {said['weights sha256'][:12]}"),
        ("made on", f"{said['device']}, {said['dtype']}, torch {said.get('torch', 'unknown')}"),
        *([("command", said["command"])] if "command" in said else []),
        *((f"run {i}", _line(run)) for i, run in enumerate(values["runs"])),
        *(("note", note) for note in values["notes"]),
    ]
    return "\n".join(f"{key:<12} {value}" for key, value in rows)


def _line(run: dict[str, Any]) -> str:
    parts = [
        printable(run["prompt"]),
        f"{run['tokens']} tokens",
        f"{run['recurrences']} recurrences",
        size(run["bytes"]),
        "keeps " + ", ".join(run["kept"]),
    ]
    if run["layers_under_way"]:
        parts.insert(3, f"{run['layers_under_way']} layers of the next")
    if run["parent"] is not None:
        parts.insert(0, f"branch of run {run['parent']}")
    return "; ".join(parts)
