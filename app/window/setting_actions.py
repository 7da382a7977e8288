"""The settings of all views as actions, so that they can be found by their words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction

from loopscope.app.view_spec import ViewSpec
from loopscope.app.views import VIEW_SPECS
from loopscope.app.window.docks import Docks
from loopscope.app.window.view_docks import ViewDocks
from loopscope.core.options import Setting, settings_of
from loopscope.widgets.kit.plain_text import plain_tip


def setting_actions(docks: Docks, views: ViewDocks, parent: QObject) -> list[QAction]:
    """One action for each choice and each flag, ticked where it is so; one for any other setting.

    Each brings its view into sight; a number or a text is typed in the form that then opens.
    """
    return [
        action
        for spec in VIEW_SPECS
        for setting in settings_of(spec.options)
        for action in _actions_of(spec, setting, docks, views, parent)
    ]


def _actions_of(
    spec: ViewSpec[Any, Any],
    setting: Setting,
    docks: Docks,
    views: ViewDocks,
    parent: QObject,
) -> list[QAction]:
    name = f"{spec.title}: {setting.label}"
    now = getattr(views.options(spec.key), setting.name)
    wanted: list[tuple[str, Any, bool]] = []
    if setting.kind == "choice":
        wanted = [(f"{name}: {text}", value, value == now) for value, text in setting.choices]
    elif setting.kind == "flag":
        wanted = [(name, not now, bool(now))]
    actions = []
    for text, value, ticked in wanted:
        action = QAction(text, parent)
        action.setCheckable(True)
        action.setChecked(ticked)
        action.triggered.connect(
            lambda _=False, value=value: _set(docks, views, spec.key, setting.name, value)
        )
        actions.append(action)
    if not wanted:
        actions = [QAction(f"{name}…", parent)]
        actions[0].triggered.connect(lambda: views.show_settings(spec.key))
    for action in actions:
        action.setToolTip(plain_tip(setting.help or name))
    return actions


def _set(docks: Docks, views: ViewDocks, key: str, name: str, value: object) -> None:
    docks.show(key)
    views.set_options(key, replace(views.options(key), **{name: value}))
