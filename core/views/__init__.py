"""What each view shows, as plain data.

One file per view. Each holds an ``Options`` dataclass (what the user can change), a ``Data``
dataclass (what is drawn), ``compute(recording, selection, options) -> Data`` and
``table(data) -> Table`` (the numbers behind the picture), and ends with ``VIEW``, the
`base.ViewDefinition` that names them. The screen (`loopscope.widgets`) and the page
(`loopscope.widgets.figures`) draw the same ``Data``. May import `measures` and below. Start with
`base`, then `readout`.
"""
