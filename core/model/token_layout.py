"""Where a prompt's tokens stand, in a family whose prompts are grids."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenLayout:
    """Rows and columns of a grid, row by row, behind ``before`` positions that stand outside it."""

    rows: int
    columns: int
    before: int = 0

    @classmethod
    def square(cls, cells: int, before: int) -> TokenLayout | None:
        """The square that so many cells make (Sudoku's 81, a maze's 900); None where none does."""
        side = math.isqrt(cells)
        return cls(side, side, before) if side > 1 and side * side == cells else None

    def cell(self, token: int) -> tuple[int, int] | None:
        """Row and column of a token, from 1; None outside the grid."""
        place = token - self.before
        if not 0 <= place < self.rows * self.columns:
            return None
        row, column = divmod(place, self.columns)
        return row + 1, column + 1

    def name(self, token: int, label: str) -> str:
        """A token's label with its cell: ``r2c3 7``."""
        cell = self.cell(token)
        return label if cell is None else f"r{cell[0]}c{cell[1]} {label}"
