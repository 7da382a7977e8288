"""The readout and the lens: letters on a grid. Start with `answers_view`."""
