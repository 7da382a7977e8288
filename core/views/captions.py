"""The text under a figure: what is shown, what the marks mean, formulas, settings, and the run."""

from __future__ import annotations

from typing import Any

from loopscope.core.labels import printable
from loopscope.core.options import settings_of
from loopscope.core.views.base import ViewData


def caption(title: str, data: ViewData, options: Any, provenance: dict[str, str]) -> str:
    """A caption ready to be put under the figure, and what it rests on.

    ``options`` are the view's settings; those at their defaults are named too, as a reader cannot
    know them.
    """
    text = " ".join(filter(None, (f"{title}. {_sentence(data.statement)}", data.drawn_words)))
    blocks = [text]
    if data.formulas:
        blocks.append("\n".join(["Formulas", *(f"- {f.text().strip()}" for f in data.formulas)]))
    if settings := _settings(options):
        blocks.append(f"Settings: {settings}.")
    run = "; ".join(f"{key}: {' '.join(value.split())}" for key, value in provenance.items())
    blocks.append(f"Run: {printable(run)}.")
    return "\n\n".join(blocks) + "\n"


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _settings(options: Any) -> str:
    """Every setting with its value, as the settings form shows them."""
    said = []
    for setting in settings_of(options):
        value = getattr(options, setting.name)
        words = dict(setting.choices).get(value, value)
        words = {True: "on", False: "off"}[value] if setting.kind == "flag" else words
        said.append(f"{setting.label}: {words}")
    return "; ".join(said)
