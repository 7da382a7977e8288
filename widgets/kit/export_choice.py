"""What to export: formats, size and folder. No Qt, no matplotlib."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExportChoice:
    """What to write where: formats, size preset, DPI of PNG files, folder, names.

    name : pattern of the files' names (`loopscope.widgets.kit.export_names`).
    replace : whether files that are there are written over; else the new ones get a number.
    together : whether two runs that are drawn one by one share one figure.
    """

    formats: tuple[str, ...] = ("pdf", "csv")
    preset: str = "one column"
    dpi: int = 300
    folder: str = ""
    name: str = "{view}"
    replace: bool = False
    together: bool = True
