"""What was run: enough to make a run again, in every file of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from loopscope.core.interventions.base import Intervention
from loopscope.core.interventions.registry import as_json
from loopscope.core.labels import visible
from loopscope.core.model.architecture import Architecture


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Everything needed to make the run again; goes into every exported file."""

    checkpoint: str
    weights_hash: str
    architecture: Architecture
    prompt: str
    token_ids: tuple[int, ...]
    token_labels: tuple[str, ...]
    seed: int
    start: str
    device: str
    dtype: str
    version: str
    start_scale: float = 1.0
    interventions: tuple[Intervention, ...] = ()
    notes: tuple[str, ...] = ()

    def names_of(self, tokens: Iterable[int]) -> tuple[str, ...]:
        """`visible` labels for axes and lists; in a grid with the cell, such as ``r2c3 7``."""
        labels, layout = self.token_labels, self.architecture.layout
        names = ((t, visible(labels[t])) for t in tokens)
        return tuple(name if layout is None else layout.name(t, name) for t, name in names)

    @property
    def token_names(self) -> tuple[str, ...]:
        """`names_of` all tokens."""
        return self.names_of(range(len(self.token_labels)))

    def provenance(self) -> dict[str, str]:
        """Flat strings for file metadata and figure footers."""
        return (
            {
                "loopscope": self.version,
                "checkpoint": self.checkpoint,
                "weights sha256": self.weights_hash,
                "prompt": self.prompt,
                "token ids": " ".join(map(str, self.token_ids)),
                "seed": str(self.seed),
                "start": self.start
                if self.start != "random"
                else f"random, scale {self.start_scale:g}",
                "device": self.device,
                "dtype": self.dtype,
            }
            | ({"notes": "; ".join(self.notes)} if self.notes else {})
            | (
                {"interventions": json.dumps(as_json(self.interventions))}
                if self.interventions
                else {}
            )
        )
