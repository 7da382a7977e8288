"""What to export: formats, size and folder. No Qt, no matplotlib."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExportChoice:
    """What to write where: formats, size preset, DPI of PNG files, folder."""

    formats: tuple[str, ...] = ("pdf", "csv")
    preset: str = "one column"
    dpi: int = 300
    folder: str = ""
