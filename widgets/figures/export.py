"""Write figures and the numbers behind them: complete files with provenance, or none."""

from __future__ import annotations

import csv
import errno
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from loopscope.core.errors import LoopscopeError
from loopscope.core.labels import printable
from loopscope.core.views.base import Table
from loopscope.widgets.figures.page_figure import PageFigure
from loopscope.widgets.figures.style import Page
from loopscope.widgets.figures.two_runs import draw_both
from loopscope.widgets.kit.export_names import free_stem

FORMATS = ("pdf", "svg", "png", "csv", "txt")
# Characters that are named when no font has them.
MOST_NAMED = 6


class ExportError(LoopscopeError):
    """A file could not be written; the message names it and the cause."""


@dataclass(frozen=True, slots=True, eq=False)
class ExportItem:
    """One view to export: how it is drawn, its numbers and its data.

    exports : by suffix, how it is written in formats of its own, ``(data, provenance) -> str``.
    provenance : of this view alone, where it is not that of all that is exported.
    recurrence : where the cursor is, for what is drawn at one recurrence.
    name : of its files, without suffix; "" for the key.
    caption : writes the text that goes under the figure, from its provenance.
    heading : what it is called in a figure with others, such as the name of a run.
    beside : what is drawn in the same figure, below it, or None; `page_provenance` is of both then.
    pages : whether it has figures of its own, and not only numbers.
    """

    key: str
    title: str
    draw: Callable[..., None]
    table: Callable[[Any], Table]
    data: Any
    exports: Mapping[str, Callable[[Any, dict[str, str]], str]] = field(default_factory=dict)
    provenance: dict[str, str] | None = None
    recurrence: int = 0
    name: str = ""
    caption: Callable[[dict[str, str]], str] | None = None
    heading: str = ""
    beside: ExportItem | None = None
    page_provenance: dict[str, str] | None = None
    pages: bool = True


@dataclass(frozen=True, slots=True)
class ExportReport:
    """Files written, and one line for each that could not be.

    note : which characters could not be drawn, as no font of the system has them, or "".
    """

    written: tuple[Path, ...]
    failures: tuple[str, ...]
    cancelled: bool = False
    note: str = ""


def export(
    item: ExportItem,
    path: Path,
    *,
    page: Page,
    dpi: int,
    provenance: dict[str, str],
    missing: set[str] | None = None,
) -> Path:
    """Write one file; its suffix (.pdf, .svg, .png, .csv, .txt or one of the view's) says what.

    The file is written beside its final name and moved there when it is whole. Raises
    `ExportError`; then nothing stands under the final name that was not there before. To
    ``missing`` are added the characters that no font of the system has.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in FORMATS and suffix not in item.exports:
        known = ", ".join("." + f for f in (*FORMATS, *item.exports))
        raise ExportError(f"cannot export '{path.name}'; use {known}")
    part = None
    try:
        handle, name = tempfile.mkstemp(suffix="." + suffix, prefix=".loopscope-", dir=path.parent)
        os.close(handle)
        part = Path(name)
        if suffix == "csv":
            _write_csv(item, part, provenance)
        elif suffix == "txt":
            part.write_text(_caption(item, provenance), encoding="utf-8")
        elif suffix in item.exports:
            part.write_text(item.exports[suffix](item.data, provenance), encoding="utf-8")
        else:
            lacking = _write_figure(item, part, suffix, page, dpi, provenance)
            (set() if missing is None else missing).update(lacking)
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)  # mkstemp made it private
        os.replace(part, path)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {_cause(error)}") from None
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return path


def _caption(item: ExportItem, provenance: dict[str, str]) -> str:
    """The caption of all that is in the figure, the upper drawing first."""
    own = item.caption(provenance) if item.caption is not None else f"{item.title}.\n"
    if item.beside is None:
        return own
    below = item.beside.provenance or provenance
    return f"Above: {item.heading}.\n\n{own}\nBelow: {_caption(item.beside, below)}"


def _cause(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full"
    return error.strerror or str(error)


def _write_csv(item: ExportItem, path: Path, provenance: dict[str, str]) -> None:
    """Write ``# key: value`` lines, then a header and rows; numbers read back exactly."""
    table = item.table(item.data)
    with path.open("w", encoding="utf-8", newline="") as file:
        for key, value in {"view": item.title, **provenance}.items():
            file.write(f"# {key}: {printable(' '.join(value.split()))}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows([_cell(value) for value in row] for row in table.rows)


def _cell(value: object) -> object:
    # str of a numpy float32 is its shortest form that reads back to the same float32.
    return str(value) if isinstance(value, np.generic) else value


def draw_figure(item: ExportItem, page: Page) -> PageFigure:
    """Draw one view; what is returned can be shown and saved."""
    figure = PageFigure(page)
    with figure.settings():
        if item.beside is None:
            _draw_item(item, figure, page)
        else:
            both = [(i.heading, partial(_draw_item, i)) for i in (item, item.beside)]
            draw_both(figure, page, both)
        figure.settle_fonts()
    return figure


def _draw_item(item: ExportItem, figure: Figure, page: Page) -> None:
    item.draw(item.data, figure, replace(page, recurrence=item.recurrence))


def _write_figure(
    item: ExportItem, path: Path, suffix: str, page: Page, dpi: int, provenance: dict[str, str]
) -> set[str]:
    """Draw and save one figure; returns the characters that no font of the system has."""
    figure = draw_figure(item, page)
    figure.savefig(path, format=suffix, dpi=dpi, metadata=_metadata(item, suffix, provenance))
    return figure.missing


def _metadata(item: ExportItem, suffix: str, provenance: dict[str, str]) -> dict[str, Any]:
    """Provenance in each format's own place; no dates, so that equal data gives equal files."""
    text = printable("; ".join(f"{key}: {value}" for key, value in provenance.items()))
    creator = f"Loopscope {provenance.get('loopscope', '')}".strip()
    if suffix == "pdf":
        return {
            "Title": item.title, "Subject": text, "Creator": creator, "CreationDate": None,
        }  # fmt: skip
    if suffix == "svg":
        return {"Title": item.title, "Description": text, "Creator": creator, "Date": None}
    return {"Title": item.title, "Description": text, "Software": creator}


def export_all(
    items: Iterable[ExportItem],
    folder: Path,
    formats: Sequence[str],
    *,
    page: Page,
    dpi: int,
    provenance: dict[str, str],
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
    cancelled: Callable[[], bool] = lambda: False,
    replace_files: bool = False,
) -> ExportReport:
    """Write every item in every format into ``folder``, which is made if it is missing.

    Files that are there stay, and the new ones get a number, unless ``replace_files``. One file
    that fails does not stop the others. ``progress`` gets files done, files in all and the next
    name. Raises `ExportError` where the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"cannot make the folder {folder}: {_cause(error)}") from None
    jobs = list(_jobs(items, folder, formats, replace_files))
    written: list[Path] = []
    missing: set[str] = set()
    failures = [
        f"nothing that is exported can be written as '.{suffix}'"
        for suffix in formats
        if suffix not in FORMATS and not any(path.suffix == f".{suffix}" for _, path in jobs)
    ]
    for i, (item, path) in enumerate(jobs):
        if cancelled():
            return ExportReport(tuple(written), tuple(failures), True, _note(missing))
        progress(i, len(jobs), path.name)
        own = provenance if item.provenance is None else item.provenance
        if item.page_provenance is not None and path.suffix in (".pdf", ".svg", ".png"):
            own = item.page_provenance
        try:
            file = export(item, path, page=page, dpi=dpi, provenance=own, missing=missing)
            written.append(file)
        except ExportError as error:
            failures.append(str(error))
    progress(len(jobs), len(jobs), "")
    return ExportReport(tuple(written), tuple(failures), note=_note(missing))


def _jobs(
    items: Iterable[ExportItem], folder: Path, formats: Sequence[str], replace_files: bool
) -> Iterator[tuple[ExportItem, Path]]:
    """What to write where; a format that only some views have is written of those."""
    taken: set[str] = set()
    for item in items:
        known = (*(FORMATS if item.pages else ("csv",)), *item.exports)
        suffixes = [s for s in formats if s in known]
        name = item.name or item.key
        name = free_stem(folder, name, () if replace_files else suffixes, taken)
        taken.add(name)
        for suffix in suffixes:
            yield item, folder / f"{name}.{suffix}"


def _note(missing: set[str]) -> str:
    """Say which characters could not be drawn, and what to do."""
    if not missing:
        return ""
    names = " ".join(f"U+{ord(c):04X}" for c in sorted(missing)[:MOST_NAMED])
    more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
    return f"no font of this system has {names}{more}: install one, such as Noto Sans of the script"
