"""Write docs/settings.md: every setting of every view, from the code that makes its form.

    python tools/write_settings_page.py

A test holds the page to what this writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loopscope.app.views import VIEW_SPECS
from loopscope.core.options import Setting, settings_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
HEAD = """# Settings of the views

Each view's settings, in the order of its form, written by `tools/write_settings_page.py`.
The formula of what is chosen stands under Σ in the title bar of the view.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for spec in VIEW_SPECS:
        options = spec.options()
        rows = [_row(setting, getattr(options, setting.name)) for setting in settings_of(options)]
        if rows:
            title = f"## [{spec.title}]({spec.key}.md)\n\n"
            parts.append(title + "| setting | what it does | values | default |\n|---|---|---|---|")
            parts[-1] += "".join(f"\n{row}" for row in rows) + "\n"
    without = [spec.title for spec in VIEW_SPECS if not settings_of(spec.options)]
    parts.append(f"Without settings: {', '.join(without)}.\n")
    return "\n".join(parts)


def _row(setting: Setting, default: Any) -> str:
    named = dict(setting.choices)
    match setting.kind:
        case "choice":
            values, default = "; ".join(named.values()), named[default]
        case "flag":
            values, default = "on, off", "on" if default else "off"
        case "number":
            values = f"{setting.low:g} to {setting.high:g}"
            if setting.lowest:
                values += f"; {setting.low:g} is “{setting.lowest}”"
            default = (
                setting.lowest if default == setting.low and setting.lowest else f"{default:g}"
            )
        case _:
            values = "text"
    cells = [setting.label, setting.help, values, default]
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(cell: str) -> str:
    return cell.replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
