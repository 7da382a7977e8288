"""The memory that runs hold, in the status line, with a menu that lets them go."""

from __future__ import annotations

from functools import partial

from PySide6.QtWidgets import QMainWindow, QMenu, QToolButton

from loopscope.app.bench.bench import Bench
from loopscope.app.bench.run_tree import Run
from loopscope.core.labels import size
from loopscope.core.run.budget import shared_budget
from loopscope.widgets.kit.plain_text import plain_tip


class MemoryMeter(QToolButton):
    """Says how much of the memory budget is used; its menu names what each run holds."""

    def __init__(self, bench: Bench, window: QMainWindow) -> None:
        super().__init__(window)
        self._bench = bench
        self.setAutoRaise(True)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.let_go = QMenu(self)
        self.let_go.setToolTipsVisible(True)
        self.let_go.aboutToShow.connect(self._fill)
        self.setMenu(self.let_go)
        self.setToolTip(
            plain_tip(
                "Memory that the runs hold, of the budget that they share; what is more goes to a "
                "temporary file. Click to let runs go."
            )
        )
        bench.session.progressed.connect(self.refresh)
        bench.session.selection_changed.connect(self.refresh)
        bench.analysis.data_shown.connect(self.refresh)  # what is read out for a view is kept
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show what is held now; nothing while there is no run."""
        budget = shared_budget()
        self.setVisible(len(self._bench.runs.tree) > 0)
        text = f"runs {size(budget.held)} of {size(budget.limit)}"
        if text != self.text():
            self.setText(text)

    def _fill(self) -> None:
        self.refresh()
        self.let_go.clear()
        budget, runs = shared_budget(), self._bench.runs
        spilled = f"; {size(budget.spilled)} went to a file" if budget.spilled else ""
        head = f"All runs hold {size(budget.held)} of {size(budget.limit)}{spilled}"
        self.let_go.addAction(head).setEnabled(False)
        self.let_go.addSeparator()
        for run in runs.tree:
            branch = runs.tree.branch_of(run)
            action = self.let_go.addAction(_words(run, branch))
            action.setEnabled(len(branch) < len(runs.tree))
            action.triggered.connect(partial(runs.let_go, run))


def _words(run: Run, branch: list[Run]) -> str:
    held = size(sum(own.stepper.recording.held for own in branch))
    n = len(branch) - 1
    its = f" and its {n} branch{'es' * (n != 1)}" if n else ""
    return f"Let go of {run.name.replace('&', '&&')}{its}: {held}"
