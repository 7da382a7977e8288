"""One view of a run for a script: its data, its numbers, its figure, as the window shows them."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from loopscope.app.figures import difference_item, has_something, items_of, provenance_of
from loopscope.app.view_spec import ViewSpec
from loopscope.app.views import BY_KEY
from loopscope.core.arrays import F32
from loopscope.core.errors import LoopscopeError
from loopscope.core.options import Setting, settings_of
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import Table, ViewData
from loopscope.core.views.second_run import SecondRun

if TYPE_CHECKING:
    from loopscope.widgets.figures.export import ExportItem
    from loopscope.widgets.figures.page_figure import PageFigure


@dataclass(frozen=True, slots=True, eq=False)
class RunView:
    """What one view shows of a run; made by `Run.view`.

    name : of the view, as its page of the docs is called.
    options : its settings.
    data : what the view draws; its fields are those of ``loopscope.core.views``, which may change.
    """

    name: str
    options: Any
    data: ViewData
    _item: ExportItem
    _provenance: dict[str, str]

    @property
    def statement(self) -> str:
        """One plain sentence on what the view shows."""
        return self.data.statement

    @property
    def formulas(self) -> tuple[str, ...]:
        """The formulas of the numbers shown, each with unit and source."""
        return tuple(formula.text() for formula in self.data.formulas)

    @property
    def table(self) -> Table:
        """The numbers behind the picture: ``columns``, and ``rows``, a tuple of tuples.

        ``pandas.DataFrame(table.rows, columns=table.columns)`` makes a data frame of it.
        """
        made = self._item.table(self.data)
        return Table(made.columns, tuple(tuple(row) for row in made.rows))

    def figure(self, page: str = "two columns") -> PageFigure:
        """Draw it for paper; a notebook shows the `matplotlib.figure.Figure` that is returned.

        ``page`` is the size: "one column", "two columns" or "slide".
        """
        from loopscope.widgets.figures.export import draw_figure

        return draw_figure(self._item, _page(page))

    def save(self, path: str | Path, page: str = "one column", dpi: int = 300) -> None:
        """Write .pdf, .svg, .png, .csv or a format of the view's own, with its provenance.

        Raises `LoopscopeError` for a suffix that is not known and where it cannot be written.
        """
        from loopscope.widgets.figures.export import export

        export(self._item, Path(path), page=_page(page), dpi=dpi, provenance=self._provenance)

    @override
    def __repr__(self) -> str:
        return f"<{self._item.title}: {self.statement}>"


def _page(preset: str) -> Any:
    from loopscope.widgets.figures.style import WIDTHS, Page

    _check_choice("page", preset, WIDTHS)
    return Page(preset)


def find_view(name: str) -> ViewSpec[Any, Any]:
    """Return the view ``name``; raises `LoopscopeError` that names the nearest ones."""
    if name not in BY_KEY:
        near = difflib.get_close_matches(name, BY_KEY, 3) or list(BY_KEY)
        raise LoopscopeError(f"there is no view '{name}'; perhaps {', '.join(near)}")
    return BY_KEY[name]


def options_of(spec: ViewSpec[Any, Any], given: Mapping[str, object]) -> Any:
    """Return the view's options with the settings ``given``, held to their choices and ranges.

    Raises `LoopscopeError` for an unknown name and a value that does not suit.
    """
    options = spec.options()
    settings = {setting.name: setting for setting in settings_of(options)}
    fields = {field.name for field in dataclasses.fields(options)}
    for name, value in given.items():
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 3) or sorted(fields)
            problem = f"the view '{spec.key}' has no setting '{name}'"
            raise LoopscopeError(f"{problem}; perhaps {', '.join(near)}" if fields else problem)
        if name in settings:
            _check(settings[name], getattr(options, name), value)
    return dataclasses.replace(options, **given)


def _check(setting: Setting, default: object, value: object) -> None:
    if setting.kind == "choice":
        _check_choice(setting.name, value, [choice for choice, _ in setting.choices])
    elif setting.kind == "number":
        whole = isinstance(default, int)
        right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not right or not setting.low <= value <= setting.high:  # type: ignore[operator]
            kind = "a whole number" if whole else "a number"
            raise LoopscopeError(
                f"{setting.name}={value!r}: expected {kind}, {setting.low:g} to {setting.high:g}"
            )
    elif type(value) is not type(default):
        raise LoopscopeError(f"{setting.name}={value!r}: expected {type(default).__name__}")


def _check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    known = list(choices)
    if value not in known:
        raise LoopscopeError(f"{name}={value!r}: expected {', '.join(map(repr, known))}")


def selection_of(recording: Recording, at: Mapping[str, Any]) -> Selection:
    """Return the cursor at fields ``at``; at the last recurrence and token where they are left out.

    Raises `LoopscopeError` for a place that the run does not have.
    """
    last = Selection(recurrence=recording.n_recurrences, token=recording.n_tokens - 1)
    most = {
        "recurrence": recording.n_recurrences,
        "layer": recording.n_layers - 1,
        "head": recording.info.architecture.layer.n_heads - 1,
        "token": recording.n_tokens - 1,
        "tokens": recording.n_tokens - 1,
    }
    for name, value in at.items():
        if name not in most:
            raise LoopscopeError(f"at: there is no '{name}'; there are {', '.join(most)}")
        values = value if name == "tokens" else (value,)
        if not all(isinstance(v, int) and 0 <= v <= most[name] for v in values):
            raise LoopscopeError(f"at: {name} {value} is not among 0 to {most[name]}")
    changes: dict[str, Any] = dict(at)
    if "tokens" in at:
        changes["tokens"] = tuple(sorted(at["tokens"]))
    return dataclasses.replace(last, **changes)


def view_of(
    spec: ViewSpec[Any, Any],
    recording: Recording,
    selection: Selection,
    options: Any,
    second: SecondRun | None,
    direction: Callable[[int], F32],
    *,
    difference: bool = False,
) -> RunView:
    """Compute what a view shows; ``direction`` reads the readout direction of a token, ``[d]``.

    With ``difference`` it is of what is different between the two runs. Raises `LoopscopeError`
    where nothing was measured for it, and for two runs that it does not draw on the same axes, or
    has no difference of.
    """
    if not has_something(spec, recording):
        raise LoopscopeError(
            f"“{spec.title}” shows a measurement that was not made: call "
            f"run.analyse('{spec.key}') first"
        )
    if difference:
        if second is None or not spec.has_difference:
            why = "needs a second run" if second is None else "of two runs does not exist"
            raise LoopscopeError(f"the difference in “{spec.title}” {why}")
        item = difference_item(spec, recording, selection, options, second)
        return RunView(spec.key, options, item.data, item, item.provenance or {})
    if second is not None and not spec.draws_both(recording, second.recording):
        raise LoopscopeError(
            f"“{spec.title}” does not draw these two runs on one pair of axes: make a view of each"
        )
    item = next(items_of(spec, recording, selection, options, second))
    if tokens := item.data.directions_to_read:
        recording.readout_directions.update({token: direction(token) for token in tokens})
        item = next(items_of(spec, recording, selection, options, second))
    provenance = item.provenance or provenance_of(recording, selection)
    return RunView(spec.key, options, item.data, item, provenance)
