"""A view: the spread of the tokens over recurrences, as curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from loopscope.app.view_spec import Draw, ViewSpec
from loopscope.core.measures.base import measure
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import RECURRENCE, Table, ViewDefinition
from loopscope.core.views.curves_data import Curve, Curves, curves_table
from loopscope.widgets.kit.view import View
from loopscope_example.measure import SPREAD


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the view; the form and the command line follow from it."""

    log: bool = setting(False, "Logarithmic", "Draw the vertical axis on a log scale")


def compute(recording: Recording, selection: Selection, options: Options) -> Curves:
    """Make one curve for each token that is shown."""
    measured = measure(recording, SPREAD)
    tokens = selection.shown_tokens(recording.n_tokens)
    recurrences = np.arange(1.0, len(measured.values) + 1)
    curves = () if measured.missing else tuple(
        Curve(
            recording.info.token_labels[t],
            recurrences,
            measured.values[:, t],
            role="token",
            index=i,
            count=len(tokens),
            place={"token": t},
        )
        for i, t in enumerate(tokens)
    )  # fmt: skip
    return Curves(
        statement=measured.missing or f"Spread of {len(tokens)} tokens over the recurrences",
        formulas=(SPREAD.formula,),
        curves=curves,
        x_label="recurrence r",
        y_label="spread [relative]",
        formula=SPREAD.formula,
        log_y=options.log,
        cursor="recurrence",
        missing=measured.missing,
        lacks=RECURRENCE if measured.missing else None,
    )


def table(data: Curves) -> Table:
    """Return the numbers behind the curves, as they go into the CSV file."""
    return curves_table(data, x="recurrence", curve="token")


class SpreadCurves(ViewSpec[Options, Curves]):
    """The four parts of the view. Each imports what it needs when it is asked for."""

    key, title = "spread_curves", "Spread of tokens"
    shows = "how far the tokens' states are from their mean"

    @override
    def definition(self) -> ViewDefinition[Options, Curves]:
        return ViewDefinition(Options, compute, table, reads=frozenset({"tokens"}))

    @override
    def view(self) -> View:
        from loopscope.widgets.plots.curves_view import CurvesView

        return CurvesView(self.options())

    @override
    def drawing(self) -> Draw[Curves]:
        from loopscope.widgets.figures.curves import draw_curves

        return draw_curves


SPEC = SpreadCurves()
