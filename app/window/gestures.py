"""What the mouse does, and the keys that views have of their own, for the page of shortcuts."""

from __future__ import annotations

GESTURES: tuple[tuple[str, str, str], ...] = (
    ("Click a title", "Make the view current", "F11, Ctrl+E and the copies act on it"),
    ("Double-click a title", "Maximise the view", "Show it alone, or all of them again"),
    (
        "Drag a title",
        "Move the view",
        "Beside, below or onto another one; off the window it floats",
    ),
    ("Right click", "Menu of a view", "Export, copy, show everything, maximise"),
    ("Click a plot or a cell", "Move the cursor", "To the recurrence, layer, head or token there"),
    ("Wheel", "Zoom or scroll", "Curves and the state space zoom, rows that do not fit scroll"),
    ("Drag in a plot", "Pan or turn", "Ctrl+0 shows everything again"),
    ("Click a token", "Put the cursor on it", "It alone drives the views"),
    ("Ctrl+click a token", "Add it to those shown", "Again takes it away"),
    ("Up, Down in a matrix", "Row before, row after", "Heads, tokens or layers; click it first"),
)
