"""Settings that have no effect are disabled and say why; lowest numbers are words."""

from __future__ import annotations

import dataclasses

import pytest
from PySide6.QtWidgets import QSpinBox
from pytestqt.qtbot import QtBot

from loopscope.app.views import VIEW_SPECS
from loopscope.core.options import settings_of
from loopscope.core.views import distance, heads_data, probe, settling_data
from loopscope.core.views.state_space import data as state_space
from loopscope.widgets.kit.settings_form import SettingsForm


def form(qtbot: QtBot, options: object) -> SettingsForm:
    made = SettingsForm(options)
    qtbot.addWidget(made)
    return made


def test_what_has_no_effect_is_disabled_and_says_why(qtbot: QtBot) -> None:
    made = form(qtbot, heads_data.Options())
    chosen = made.controls["recurrence"]
    assert not chosen.isEnabled()
    assert "no recurrence is chosen" in chosen.toolTip()
    # By hand in the form, not only from outside.
    box = made.controls["reference"]
    box.setCurrentIndex(box.findData("chosen"))
    box.activated.emit(box.currentIndex())
    assert chosen.isEnabled()
    assert "Used when compared" in chosen.toolTip()
    made.set_options(heads_data.Options(reference="last"))
    assert not chosen.isEnabled()


def test_the_axes_of_the_state_space_name_what_they_use(qtbot: QtBot) -> None:
    made = form(qtbot, state_space.Options())
    enabled = {name for name, control in made.controls.items() if control.isEnabled()}
    assert {"pc_x", "pc_y"} <= enabled
    assert not {"pc_z", "readout_x", "readout_y", "random_seed"} & enabled
    made.set_options(state_space.Options(axes="random", dimensions="3-D"))
    enabled = {name for name, control in made.controls.items() if control.isEnabled()}
    assert "random_seed" in enabled
    assert not {"pc_x", "pc_y", "pc_z", "readout_x"} & enabled


def test_cuts_are_chosen_for_the_recovery_alone(qtbot: QtBot) -> None:
    row = SettingsForm(probe.Options(), defaults=False, across=("picture", "cut"))
    qtbot.addWidget(row)
    assert not row.controls["cut"].isEnabled()
    row.set_options(probe.Options(picture="recovery"))
    assert row.controls["cut"].isEnabled()


def test_algorithm_1_has_its_own_numbers(qtbot: QtBot) -> None:
    made = form(qtbot, settling_data.Options())
    assert not made.controls["tau"].isEnabled()
    made.set_options(settling_data.Options(rules="cosine"))
    assert made.controls["tau"].isEnabled()


def test_the_lowest_number_is_a_word(qtbot: QtBot) -> None:
    made = form(qtbot, distance.Options())
    spin = made.controls["layer"]
    assert isinstance(spin, QSpinBox)
    assert spin.text() == "recurrence ends"
    spin.setValue(1)
    assert spin.text() == "1"
    assert made.options.layer == 1


@pytest.mark.parametrize("spec", VIEW_SPECS, ids=lambda spec: spec.key)
def test_every_reason_reads_the_options(spec) -> None:
    options = spec.options()
    for entry in settings_of(options):
        assert isinstance(entry.idle(options), str)
        # No help speaks of a magic number: that has its word.
        assert not any(text in entry.help for text in ("0 for", "0 takes", "-1 for", "0: "))
        if entry.lowest:
            assert isinstance(getattr(options, entry.name), int)
            dataclasses.replace(options, **{entry.name: int(entry.low)})
