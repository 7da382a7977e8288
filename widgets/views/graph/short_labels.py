"""Labels of nodes where there is little room, on the screen and on paper. No Qt, no matplotlib."""

from __future__ import annotations

SHORT = {
    "adapter": "cat",
    "embedding": "embed",
    "closing norm": "norm",
    "final norm": "norm",
    "z_L + z_H": "⊕",
    "z_H + z_L": "⊕",
}


def short_label(label: str) -> str:
    """Return a node's label for a narrow box, such as "embed" and "pre 0"."""
    return SHORT.get(label, label).replace("prelude ", "pre ")
