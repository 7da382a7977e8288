"""What to cut, how strongly and where: an intervention at the cursor."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFormLayout,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import END, FOREVER, Intervention, Source
from loopscope.core.interventions.registry import KINDS
from loopscope.core.interventions.states import Replace
from loopscope.core.model.architecture import Architecture
from loopscope.core.options import settings_of
from loopscope.core.selection import Selection
from loopscope.widgets.kit.check_box import CheckBox
from loopscope.widgets.kit.numbers import POINT
from loopscope.widgets.kit.plain_text import PlainLabel, describe, plain_tip
from loopscope.widgets.kit.settings_form import SettingsForm
from loopscope.widgets.palette import LIGHT, Theme

TOKENS = {
    "all": "all tokens",
    "cursor": "the cursor's token",
    "selected": "the selected tokens",
}
NO_RUN = "There is no run to cut into yet."


class CutForm(QWidget):
    """Makes an intervention where the cursor is; the button branches the run there.

    Signals
    -------
    branch_requested(object)
        The `Intervention` to make.
    """

    branch_requested = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setLocale(POINT)
        self.theme: Theme = LIGHT
        self.arch: Architecture | None = None
        self.n_tokens, self.selection = 0, Selection()
        # Makes the source of a replaced state: (run id, recurrence, layer).
        self.make_source: Callable[[int, int, int], Source | None] = lambda run, r, layer: None
        self._strengths: dict[str, Intervention] = {}
        self._form: SettingsForm | None = None
        self.kind, self.layer, self.tokens = QComboBox(), QComboBox(), QComboBox()
        describe(self.kind, "Cut")
        describe(self.layer, "Where", "The layer that is cut, or the recurrence's end")
        describe(self.tokens, "Tokens", "Which tokens are cut")
        for key, cls in KINDS.items():
            self.kind.addItem(cls.title, key)
            self.kind.setItemData(
                self.kind.count() - 1, plain_tip(cls.help), Qt.ItemDataRole.ToolTipRole
            )
        for key, text in TOKENS.items():
            self.tokens.addItem(text, key)
        self.layer.addItem("", "layer")
        self.layer.addItem("the recurrence's end", "end")
        self.lasting = CheckBox("and at every recurrence after it")
        describe(self.lasting, self.lasting.text(), "The cut is made at every later one as well")
        self.source, self.source_recurrence = QComboBox(), QSpinBox()
        describe(self.source, "State of run")
        self.source.setToolTip("The run whose state is put in, position by position")
        self.source_recurrence.setRange(0, 100_000)
        self.source_recurrence.setToolTip("The recurrence whose state is taken; 0 is the start")
        self.words, self.button = PlainLabel(), QPushButton("Branch here")
        self.words.setWordWrap(True)
        self.words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.button.setToolTip(
            "Makes a new run that is this one up to here and is cut here (Ctrl+B); nothing before "
            "is computed again"
        )
        self.fields = QWidget()
        self.rows = QFormLayout(self.fields)
        self.rows.setContentsMargins(8, 6, 8, 2)
        self.rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self.rows.addRow("Cut", self.kind)
        self._strength_at = self.rows.rowCount()
        self.rows.addRow("State of run", self.source)
        self.rows.addRow("at recurrence", self.source_recurrence)
        self.rows.addRow("Where", self.layer)
        self.rows.addRow("Tokens", self.tokens)
        self.rows.addRow("", self.lasting)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        # The fields scroll; what will be done and the button stay in sight.
        self.area = area = QScrollArea()
        area.setWidget(self.fields)
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        box.addWidget(area, 1)
        foot = QVBoxLayout()
        foot.setContentsMargins(8, 0, 8, 6)
        foot.addWidget(self.words)
        foot.addWidget(self.button)
        box.addLayout(foot)
        for combo in (self.kind, self.layer, self.tokens, self.source):
            combo.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            # Shorter than its longest choice where the dock is narrow.
            policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            combo.setSizeAdjustPolicy(policy)
            combo.setMinimumContentsLength(8)
        self.kind.activated.connect(lambda _: self._show_kind())
        for combo in (self.layer, self.tokens, self.source):
            combo.activated.connect(lambda _: self._say())
        self.lasting.toggled.connect(lambda _: self._say())
        self.source_recurrence.valueChanged.connect(lambda _: self._say())
        self.button.clicked.connect(self._branch)
        self._show_kind()

    @property
    def whole_height(self) -> int:
        """Height at which no field has to be scrolled to, whatever is cut."""
        rows = self.rows.sizeHint().height()
        # A kind with two more settings than the one that is chosen fits as well.
        spare = 2 * self.kind.sizeHint().height() if self._form is None else 0
        foot = 2 * self.words.fontMetrics().height() + self.button.sizeHint().height() + 20
        return rows + spare + foot

    # ---- what the app says ----
    def show_place(self, arch: Architecture | None, n_tokens: int, selection: Selection) -> None:
        """Where the cursor is, in which model and prompt; None when there is no run."""
        moved_head = selection.head != self.selection.head
        self.arch, self.n_tokens, self.selection = arch, n_tokens, selection
        if arch is not None:
            name = arch.layer_name(min(selection.layer, arch.n_block - 1))
            self.layer.setItemText(0, f"{name} (the cursor's)")
        if moved_head:
            for key, cut in self._strengths.items():
                if hasattr(cut, "head"):
                    self._strengths[key] = dataclasses.replace(cut, head=selection.head)  # type: ignore[call-arg]
            if self._form is not None:
                self._form.set_options(self._strength)
        self._say()

    def show_sources(self, runs: Sequence[tuple[int, str]]) -> None:
        """List the runs that a state can be taken from, as (id, name)."""
        if [
            (self.source.itemData(i), self.source.itemText(i)) for i in range(self.source.count())
        ] == list(runs):
            return
        chosen = self.source.currentData()
        self.source.clear()
        for run, name in runs:
            self.source.addItem(name, run)
        self.source.setCurrentIndex(max(0, self.source.findData(chosen)))
        self._say()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.theme = theme
        self._say()

    # ---- the cut ----
    @property
    def kind_key(self) -> str:
        """The chosen kind."""
        return str(self.kind.currentData())

    @property
    def _strength(self) -> Intervention:
        key = self.kind_key
        if key not in self._strengths:
            cls = KINDS[key]
            strength = cls()
            if "head" in cls.__dataclass_fields__:
                strength = dataclasses.replace(strength, head=self.selection.head)  # type: ignore[call-arg]
            self._strengths[key] = strength
        return self._strengths[key]

    def cut(self) -> Intervention:
        """The intervention as it stands; raises `LoopscopeError` when it cannot be made here."""
        strength, s, cls = self._strength, self.selection, KINDS[self.kind_key]
        if self.arch is None:
            raise LoopscopeError(NO_RUN)
        if self._form is not None and self._form.problem:
            raise LoopscopeError(self._form.problem)
        tokens: tuple[int, ...] = ()
        if "tokens" in cls.sites and self.tokens.currentData() == "cursor":
            tokens = (s.token,)
        elif "tokens" in cls.sites and self.tokens.currentData() == "selected":
            tokens = s.shown_tokens(self.n_tokens)
        at_end = "end" in cls.sites and (self.layer.currentData() == "end" or s.recurrence == 0)
        layer = END if at_end else min(s.layer, self.arch.n_block - 1) if cls.sites else 0
        made = dataclasses.replace(
            strength,
            recurrence=s.recurrence,
            last=FOREVER if self.lasting.isChecked() else s.recurrence,
            layer=layer,
            tokens=tokens,
        )
        if isinstance(made, Replace):
            made = dataclasses.replace(made, source=self._made_source(layer))
        made.check(self.arch, self.n_tokens)
        return made

    def _made_source(self, layer: int) -> Source:
        run = self.source.currentData()
        r = self.source_recurrence.value()
        source = None if run is None else self.make_source(int(run), r, END if r == 0 else layer)
        if source is None:
            raise LoopscopeError("that run has no state there; choose another run or recurrence")
        return source

    # ---- the form ----
    def _show_kind(self) -> None:
        cls = KINDS[self.kind_key]
        if self._form is not None:
            self.rows.removeRow(self._form)
            self._form = None
        if settings_of(self._strength):
            self._form = SettingsForm(self._strength, self, defaults=False)
            self._form.changed.connect(self._on_strength)
            self._form.edited.connect(self._on_edited)
            self.rows.insertRow(self._strength_at, self._form)
        for widget, on in (
            (self.source, cls is Replace),
            (self.source_recurrence, cls is Replace),
            (self.layer, "end" in cls.sites),
            (self.tokens, "tokens" in cls.sites),
        ):
            self.rows.setRowVisible(widget, on)
        self.kind.setToolTip(plain_tip(f"{cls.help}\n{cls.formula.text()}"))
        self._align()
        self._say()

    def _align(self) -> None:
        """Give the labels of both forms one width, so that the fields stand under each other."""
        fields = (self.kind, self.source, self.source_recurrence, self.layer, self.tokens)
        labels = [self.rows.labelForField(field) for field in fields]
        if self._form is not None:
            labels += self._form.labels
        widest = max(label.sizeHint().width() for label in labels)
        for label in labels:
            label.setMinimumWidth(widest)

    def _on_strength(self, strength: Intervention) -> None:
        self._strengths[self.kind_key] = strength
        self._say()

    def _on_edited(self) -> None:
        """Take numbers while they are typed, and say what is not a number yet."""
        if self._form is not None and not self._form.problem:
            self._form.commit()
        self._say()

    def _say(self) -> None:
        """What the button would do, or why it cannot."""
        try:
            cut = self.cut()
        except LoopscopeError as error:
            text, colour, on = str(error), self.theme.warning, False
            layers_only = "end" not in KINDS[self.kind_key].sites
            if self.arch is not None and self.selection.recurrence == 0 and layers_only:
                text = "Layers run from recurrence 1 on: move the cursor there (Right)."
        else:
            assert self.arch is not None
            words = cut.describe(self.arch.layer_name)
            text, colour, on = words, self.theme.muted, True
        self.words.setText(text[0].upper() + text[1:])
        palette = self.words.palette()
        palette.setColor(palette.ColorRole.WindowText, colour)
        self.words.setPalette(palette)
        self.button.setEnabled(on)

    def branch(self) -> bool:
        """Press the button; says whether it could be pressed, `words` says why it could not."""
        on = self.button.isEnabled()
        if on:
            self._branch()
        return on

    def _branch(self) -> None:
        self.branch_requested.emit(self.cut())
