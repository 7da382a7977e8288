"""Labels of nodes where there is little room, on the screen and on paper. No Qt, no matplotlib."""

from __future__ import annotations

from collections.abc import Iterable

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


def stem(label: str) -> str:
    """A label without its number: "coda " of "coda 12"."""
    return label.rstrip("0123456789")


def longest_labels(labels: Iterable[str]) -> dict[str, str]:
    """The longest label of each stem: what has no room for it has a short form for all of them."""
    return {stem(label): label for label in sorted(labels, key=len)}
