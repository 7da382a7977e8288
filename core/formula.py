"""Where a number comes from: its formula, unit and source, shown beside the number."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Formula:
    """Where a number comes from: shown when the user hovers or asks."""

    name: str
    formula: str
    unit: str
    source: str

    def text(self) -> str:
        """One line for a tooltip."""
        return f"{self.name} = {self.formula}   [{self.unit}]   {self.source}"
