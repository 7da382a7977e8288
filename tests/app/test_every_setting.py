"""Every choice of every setting of every view gives numbers, and a view reads what it declares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from measured import SMALL, Desk

from loopscope.app.view_spec import ViewSpec
from loopscope.app.views import VIEW_SPECS
from loopscope.core.options import Setting, settings_of
from loopscope.core.selection import Selection

pytestmark = pytest.mark.slow

AT = Selection(recurrence=2, layer=1, head=1, token=2)
# The bundled model has no exit gate: the measure of one says so.
SAYS_WHY = {
    ("depth", "measure exit_hazard"): "no exit gate",
    ("prompts", "measure exit_hazard"): "no exit gate",
    ("heads", "shown stable"): "None of the 8 heads is shown (stable).",
    ("heads", "shown sink"): "None of the 8 heads is shown (groups: sink).",
    ("heads", "shown broad"): "None of the 8 heads is shown (groups: broad).",
    ("heads", "shown other"): "None of the 8 heads is shown (groups: other).",
    ("heads", "layer 1000000"): "None of the 8 heads is shown (of layer 1000000).",
}


@pytest.fixture(scope="module")
def desk() -> Desk:
    desk = Desk()
    # Curves over depth of a lens are of what it has read.
    lens = next(spec for spec in VIEW_SPECS if spec.key == "lens")
    for name in ("coda", "logit"):
        desk.measure(lens, AT, replace(lens.options(), lens=name))
    return desk


def small(spec: ViewSpec) -> Any:
    return replace(spec.options(), **SMALL.get(spec.key, {}))


def values_of(spec: ViewSpec, setting: Setting) -> list[Any]:
    """Every choice, both flags; the ends of a number's range, of what takes long the low one."""
    default = getattr(small(spec), setting.name)
    if setting.kind == "choice":
        return [value for value, _ in setting.choices]
    if setting.kind == "flag":
        return [True, False]
    if setting.kind == "number" and spec.request is None:
        return [type(default)(end) for end in (setting.low, setting.high)]
    return []


def every_choice() -> Iterator[Any]:
    for spec in VIEW_SPECS:
        for setting in settings_of(spec.options):
            for value in values_of(spec, setting):
                name = f"{spec.key}-{setting.name}-{value}"
                yield pytest.param(spec, {setting.name: value}, id=name)


@pytest.mark.parametrize(("spec", "change"), list(every_choice()))
def test_every_choice_gives_numbers(desk: Desk, spec: ViewSpec, change: dict[str, Any]) -> None:
    options = replace(small(spec), **change)
    desk.measure(spec, AT, options)
    data = desk.compute(spec, AT, options)
    ((name, value),) = change.items()
    why = SAYS_WHY.get((spec.key, f"{name} {value}"))
    if why is not None:
        assert why in data.statement
        return
    assert getattr(data, "missing", "") == ""
    assert data.statement
    rows = list(spec.table(data).rows)
    assert any(isinstance(cell, float) and np.isfinite(cell) for row in rows for cell in row)


class Watched(Selection):
    """A selection that notes which of its fields are read."""

    read: set[str]

    def __getattribute__(self, name: str) -> Any:
        if name in FIELDS:
            object.__getattribute__(self, "read").add(name)
        return super().__getattribute__(name)


FIELDS = {field.name for field in fields(Selection)}


def watched(at: Selection) -> Watched:
    selection = Watched()
    object.__setattr__(selection, "read", set())
    for name in FIELDS:
        object.__setattr__(selection, name, getattr(at, name))
    return selection


@pytest.mark.parametrize("spec", VIEW_SPECS, ids=lambda spec: spec.key)
def test_a_view_reads_the_fields_it_declares(desk: Desk, spec: ViewSpec) -> None:
    """One too few shows what is old; one too many computes again what has not changed."""
    desk.measure(spec, AT, small(spec))
    read: set[str] = set()
    for setting in settings_of(spec.options):
        for value in values_of(spec, setting):
            options, selection = replace(small(spec), **{setting.name: value}), watched(AT)
            desk.compute(spec, selection, options)
            both = spec.draws_both(desk.recording, desk.branch.recording)
            if spec.compute_second is not None and both:
                spec.compute_second(desk.recording, desk.branch, selection, options)
            read |= selection.read
    if not settings_of(spec.options):
        selection = watched(AT)
        desk.compute(spec, selection, small(spec))
        read = selection.read
    assert read == spec.reads
